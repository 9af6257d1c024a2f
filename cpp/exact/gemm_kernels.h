// The one interface that every CPU path's kernels of matrix products implement.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>

#include "exact/dot_block.h"
#include "exact/storage.h"
#include "hashing/cpu.h"

namespace torchnotary::exact {

// Columns come in units of so many; a panel is a few units wide.
inline constexpr std::size_t kUnit = 16;
inline constexpr std::size_t kMaxRows = 8;
inline constexpr std::size_t kMaxUnits = 3;
inline constexpr std::size_t kMaxSide = 4;

// Element `i` after `from`, widened.
inline float widen_element(const void* from, Storage storage, std::ptrdiff_t i) {
  if (storage == Storage::float32) return static_cast<const float*>(from)[i];
  const std::uint16_t bits = static_cast<const std::uint16_t*>(from)[i];
  return storage == Storage::bfloat16 ? widen_bfloat16(bits) : widen_float16(bits);
}

// A tile of the result, `rows` by `panels` panels: one block of k, added to what the blocks before
// it gave.
struct Tile {
  const float* a;  // element (row, i) at a[row * a_stride + i]
  std::ptrdiff_t a_stride;
  const void* b;  // element (i, column) of panel p at b + p * panel_stride + i * b_stride + column
  std::ptrdiff_t b_stride;
  std::ptrdiff_t panel_stride;
  std::size_t k;  // at most kDotBlock
  float* c;       // element (row, column) at c[row * c_stride + column]
  std::ptrdiff_t c_stride;
  bool first;         // c holds nothing yet
  bool last;          // the sums are complete: `bias` is added, and NaNs become canonical
  const float* bias;  // one value a column; null for none
};

using TileKernel = void (*)(const Tile& tile);

struct GemmKernels {
  std::size_t rows;   // of the highest tile
  std::size_t units;  // of the widest panel
  // [storage of b][units - 1][rows - 1], for one panel
  std::array<std::array<std::array<TileKernel, kMaxRows>, kMaxUnits>, 3> tile;
  // Low tiles take several panels of the greatest width side by side, so that there are enough
  // independent chains: up to how many, and [storage of b][rows - 1][panels - 1].
  std::array<std::size_t, kMaxRows> side_by_side;
  std::array<std::array<std::array<TileKernel, kMaxSide>, kMaxRows>, 3> wide;

  // `count` neighbouring elements, widened.
  void (*widen)(const void* from, Storage storage, std::size_t count, float* to);
};

extern const GemmKernels kGemmPortable;

const GemmKernels& gemm_kernels(CpuPath path);

// How n columns are cut into panels: as few as the greatest width allows, of widths that differ by
// one unit at most, the wider ones first.
struct Panels {
  Panels(std::size_t n, std::size_t max_units)
      : units((n + kUnit - 1) / kUnit),
        count((units + max_units - 1) / max_units),
        narrow(count == 0 ? 0 : units / count),
        wide_ones(count == 0 ? 0 : units % count) {}

  std::size_t width(std::size_t panel) const { return narrow + (panel < wide_ones ? 1 : 0); }
  // The first unit of a panel.
  std::size_t begin(std::size_t panel) const { return panel * narrow + std::min(panel, wide_ones); }

  std::size_t units, count, narrow, wide_ones;
};

}  // namespace torchnotary::exact
