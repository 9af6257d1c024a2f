// Transposing elements of every size, those of up to 32 bits in vector registers.
#include "tensor/transpose.h"

#include <algorithm>
#include <cstring>

namespace torchnotary {
namespace {

// A square tile whose rows fill a vector.
using TileKernel = void (*)(const std::byte* from, std::int64_t stride, std::byte* to,
                            std::size_t pitch);

struct TileKernels {
  std::size_t lanes;  // of 32 bits
  TileKernel bits8;
  TileKernel bits16;
  TileKernel bits32;
};

}  // namespace
}  // namespace torchnotary

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/transpose-inl.h"
#include "hwy/foreach_target.h"
//
#include "hashing/cpu.h"
#include "tensor/transpose-inl.h"

namespace torchnotary {
namespace {

// The kernels for the path in use; null where there are no vectors.
const TileKernels* tile_kernels() {
  switch (cpu_path()) {
#if HWY_TARGETS & HWY_AVX3
    case CpuPath::avx512:
      return &N_AVX3::kTiles;
#endif
#if HWY_TARGETS & HWY_AVX2
    case CpuPath::avx2:
      return &N_AVX2::kTiles;
#endif
#if HWY_TARGETS & HWY_NEON
    case CpuPath::neon:
      return &N_NEON::kTiles;
#endif
    default:
      return nullptr;
  }
}

template <std::size_t kItemSize>
void transpose_items(const std::byte* from, std::int64_t stride, std::byte* to, std::size_t pitch,
                     std::size_t rows, std::size_t columns) {
  // So many columns that what is written stays in the first-level cache, even where the rows'
  // lines all fall into the same few sets.
  constexpr std::size_t kColumns = 64 / kItemSize;
  constexpr std::size_t kRows = 8;
  for (std::size_t i = 0; i < rows; i += kRows) {
    const std::size_t last_row = std::min(rows, i + kRows);
    for (std::size_t j = 0; j < columns; j += kColumns) {
      const std::size_t last_column = std::min(columns, j + kColumns);
      for (std::size_t c = j; c < last_column; ++c) {
        const std::byte* column = from + static_cast<std::int64_t>(c) * stride;
        for (std::size_t r = i; r < last_row; ++r) {
          std::memcpy(to + r * pitch + c * kItemSize, column + r * kItemSize, kItemSize);
        }
      }
    }
  }
}

// Whole tiles by `kernel`, the rest element by element.
template <std::size_t kItemSize>
void transpose_tiles(TileKernel kernel, std::size_t side, const std::byte* from,
                     std::int64_t stride, std::byte* to, std::size_t pitch, std::size_t rows,
                     std::size_t columns) {
  constexpr std::size_t kAhead = 24;
  const std::size_t tiled_rows = rows / side * side, tiled_columns = columns / side * side;
  for (std::size_t j = 0; j < tiled_columns; j += side) {
    const std::byte* column = from + static_cast<std::int64_t>(j) * stride;
    for (std::size_t c = kAhead; c < kAhead + side && j + c < columns; ++c) {
      const std::byte* next = column + static_cast<std::int64_t>(c) * stride;
      for (std::size_t i = 0; i < rows * kItemSize; i += 64) __builtin_prefetch(next + i, 0, 2);
    }
    for (std::size_t i = 0; i < tiled_rows; i += side) {
      kernel(column + i * kItemSize, stride, to + i * pitch + j * kItemSize, pitch);
    }
  }
  transpose_items<kItemSize>(from + tiled_rows * kItemSize, stride, to + tiled_rows * pitch, pitch,
                             rows - tiled_rows, columns);
  transpose_items<kItemSize>(from + static_cast<std::int64_t>(tiled_columns) * stride, stride,
                             to + tiled_columns * kItemSize, pitch, tiled_rows,
                             columns - tiled_columns);
}

}  // namespace

void transpose(const std::byte* from, std::int64_t stride, std::byte* to, std::size_t pitch,
               std::size_t rows, std::size_t columns, std::size_t itemsize) {
  const TileKernels* tiles = tile_kernels();
  if (tiles != nullptr) {
    const std::size_t side = tiles->lanes * 4 / itemsize;
    switch (itemsize) {
      case 1:
        return transpose_tiles<1>(tiles->bits8, side, from, stride, to, pitch, rows, columns);
      case 2:
        return transpose_tiles<2>(tiles->bits16, side, from, stride, to, pitch, rows, columns);
      case 4:
        return transpose_tiles<4>(tiles->bits32, side, from, stride, to, pitch, rows, columns);
    }
  }
  switch (itemsize) {
    case 1:
      return transpose_items<1>(from, stride, to, pitch, rows, columns);
    case 2:
      return transpose_items<2>(from, stride, to, pitch, rows, columns);
    case 4:
      return transpose_items<4>(from, stride, to, pitch, rows, columns);
    case 8:
      return transpose_items<8>(from, stride, to, pitch, rows, columns);
    default:
      return transpose_items<16>(from, stride, to, pitch, rows, columns);
  }
}

}  // namespace torchnotary
