// The tiles of matrix products in vectors, for each Highway target that includes this file.
//
// A lane holds one element of the result: its chain of fma runs through k alone, so that tiles of
// any shape give the same bits.
#if defined(TORCHNOTARY_EXACT_GEMM_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TORCHNOTARY_EXACT_GEMM_SIMD_INL_H_
#undef TORCHNOTARY_EXACT_GEMM_SIMD_INL_H_
#else
#define TORCHNOTARY_EXACT_GEMM_SIMD_INL_H_
#endif

#include <array>
#include <utility>

#include "exact/gemm_kernels.h"
#include "hwy/cache_control.h"
#include "hwy/highway.h"

// Without vectors the plain C++ path serves; Highway's MulAdd is not fused there.
#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

HWY_BEFORE_NAMESPACE();
namespace torchnotary::exact {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using D = hn::CappedTag<float, kUnit>;
using V = hn::Vec<D>;
constexpr size_t kLanes = hn::MaxLanes(D());
constexpr size_t kVectors = kUnit / kLanes;  // of a unit

// The greatest tile leaves registers for one row of b and an element of a: of 32 and of 16.
#if HWY_TARGET == HWY_AVX3
constexpr size_t kRows = 8, kUnits = 3;
#else
constexpr size_t kRows = 6, kUnits = 1;
#endif

template <Storage kStorage>
HWY_INLINE V LoadB(const void* b, ptrdiff_t i) {
  const D d;
  if constexpr (kStorage == Storage::float32) {
    return hn::LoadU(d, static_cast<const float*>(b) + i);
  } else if constexpr (kStorage == Storage::bfloat16) {
    const hn::Rebind<uint16_t, D> half;
    const hn::RebindToUnsigned<D> word;
    const auto bits = hn::LoadU(half, static_cast<const uint16_t*>(b) + i);
    return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(word, bits)));
  } else {
    const hn::Rebind<hwy::float16_t, D> half;
    return hn::PromoteTo(d, hn::LoadU(half, static_cast<const hwy::float16_t*>(b) + i));
  }
}

HWY_INLINE V Canonical(V x) {
  const D d;
  const hn::RebindToUnsigned<D> word;
  return hn::IfThenElse(hn::Eq(x, x), x, hn::BitCast(d, hn::Set(word, kNan)));
}

// How many rows of b ahead a line is fetched, so that it has come from the second-level cache, or
// for low tiles, which read faster than they compute, from memory.
constexpr size_t Ahead(size_t height) { return height <= 2 ? 24 : 8; }

// In so many steps of k one line of the sums so far is fetched, which are wanted at the end and may
// lie far away. All at once they would keep the rows of b from coming.
constexpr size_t kSteps = 8;

HWY_INLINE void FetchSums(const Tile& tile, size_t k) {
  const size_t line = k / kSteps;
  hwy::Prefetch(tile.c + static_cast<ptrdiff_t>(line % 8) * tile.c_stride + line / 8 * 16);
}

// A tile of kHeight rows and kPanels panels of kWidth units. Every loop but that over k is
// unrolled, and the sums stay in registers.
template <Storage kStorage, size_t kWidth, size_t kHeight, size_t kPanels>
void RunTile(const Tile& tile) {
  const D d;
  constexpr size_t kSize = element_size(kStorage);
  constexpr size_t kPanelVectors = kWidth * kVectors, kAcross = kPanelVectors * kPanels;
  V sum[kHeight][kAcross];
#pragma GCC unroll 16
  for (size_t row = 0; row < kHeight; ++row) {
#pragma GCC unroll 16
    for (size_t v = 0; v < kAcross; ++v) sum[row][v] = hn::Zero(d);
  }

  const float* HWY_RESTRICT a = tile.a;
  const ptrdiff_t a_stride = tile.a_stride;
  const char* b = static_cast<const char*>(tile.b);
  const ptrdiff_t b_bytes = tile.b_stride * static_cast<ptrdiff_t>(kSize);
  const ptrdiff_t panel_bytes = tile.panel_stride * static_cast<ptrdiff_t>(kSize);
  const ptrdiff_t ahead = static_cast<ptrdiff_t>(Ahead(kHeight)) * b_bytes;
  const auto step = [&](size_t k) HWY_ATTR {
    V across[kAcross];
#pragma GCC unroll 16
    for (size_t v = 0; v < kAcross; ++v) {
      const char* panel = b + static_cast<ptrdiff_t>(v / kPanelVectors) * panel_bytes;
      const size_t column = v % kPanelVectors * kLanes;
      across[v] = LoadB<kStorage>(panel, static_cast<ptrdiff_t>(column));
      if (column * kSize % 64 == 0) hwy::Prefetch(panel + ahead + column * kSize);
    }
    b += b_bytes;
#pragma GCC unroll 16
    for (size_t row = 0; row < kHeight; ++row) {
      const V x = hn::Set(d, a[static_cast<ptrdiff_t>(row) * a_stride + static_cast<ptrdiff_t>(k)]);
#pragma GCC unroll 16
      for (size_t v = 0; v < kAcross; ++v) sum[row][v] = hn::MulAdd(x, across[v], sum[row][v]);
    }
  };
  size_t k = 0;
  for (; k + kSteps <= tile.k; k += kSteps) {
    FetchSums(tile, k);
#pragma GCC unroll 16
    for (size_t i = 0; i < kSteps; ++i) step(k + i);
  }
  for (; k < tile.k; ++k) step(k);

  if (!tile.first) {
#pragma GCC unroll 16
    for (size_t row = 0; row < kHeight; ++row) {
      const float* HWY_RESTRICT c = tile.c + static_cast<ptrdiff_t>(row) * tile.c_stride;
#pragma GCC unroll 16
      for (size_t v = 0; v < kAcross; ++v) {
        sum[row][v] = hn::Add(hn::LoadU(d, c + v * kLanes), sum[row][v]);
      }
    }
  }
  if (tile.last) {
#pragma GCC unroll 16
    for (size_t v = 0; v < kAcross; ++v) {
      if (tile.bias != nullptr) {
        const V bias = hn::LoadU(d, tile.bias + v * kLanes);
#pragma GCC unroll 16
        for (size_t row = 0; row < kHeight; ++row) sum[row][v] = hn::Add(sum[row][v], bias);
      }
#pragma GCC unroll 16
      for (size_t row = 0; row < kHeight; ++row) sum[row][v] = Canonical(sum[row][v]);
    }
  }
#pragma GCC unroll 16
  for (size_t row = 0; row < kHeight; ++row) {
    float* HWY_RESTRICT c = tile.c + static_cast<ptrdiff_t>(row) * tile.c_stride;
#pragma GCC unroll 16
    for (size_t v = 0; v < kAcross; ++v) hn::StoreU(sum[row][v], d, c + v * kLanes);
  }
}

template <Storage kStorage>
void WidenAs(const void* from, size_t count, float* HWY_RESTRICT to) {
  size_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    hn::StoreU(LoadB<kStorage>(from, static_cast<ptrdiff_t>(i)), D(), to + i);
  }
  for (; i < count; ++i) to[i] = widen_element(from, kStorage, static_cast<ptrdiff_t>(i));
}

void Widen(const void* from, Storage storage, size_t count, float* to) {
  switch (storage) {
    case Storage::float32:
      return WidenAs<Storage::float32>(from, count, to);
    case Storage::bfloat16:
      return WidenAs<Storage::bfloat16>(from, count, to);
    case Storage::float16:
      return WidenAs<Storage::float16>(from, count, to);
  }
}

// The panels that lie side by side under a tile of so many rows: enough for a dozen chains of fma,
// each of which waits four cycles for its own last step.
constexpr size_t SideBySide(size_t height) {
  const size_t panels = 12 / (height * kUnits * kVectors);
  return panels < 1 ? 1 : HWY_MIN(panels, kMaxSide);
}

template <Storage kStorage, size_t kWidth, size_t... kRow>
constexpr std::array<TileKernel, kMaxRows> Heights(std::index_sequence<kRow...>) {
  return {RunTile<kStorage, kWidth, kRow + 1, 1>...};
}

template <Storage kStorage, size_t... kWidth>
constexpr std::array<std::array<TileKernel, kMaxRows>, kMaxUnits> Widths(
    std::index_sequence<kWidth...>) {
  return {Heights<kStorage, kWidth + 1>(std::make_index_sequence<kRows>())...};
}

template <Storage kStorage, size_t kHeight, size_t... kPanel>
constexpr std::array<TileKernel, kMaxSide> Abreast(std::index_sequence<kPanel...>) {
  return {RunTile<kStorage, kUnits, kHeight, kPanel + 1>...};
}

template <Storage kStorage, size_t... kRow>
constexpr std::array<std::array<TileKernel, kMaxSide>, kMaxRows> Wide(
    std::index_sequence<kRow...>) {
  return {Abreast<kStorage, kRow + 1>(std::make_index_sequence<SideBySide(kRow + 1)>())...};
}

template <size_t... kRow>
constexpr std::array<size_t, kMaxRows> Sides(std::index_sequence<kRow...>) {
  return {SideBySide(kRow + 1)...};
}

constexpr GemmKernels MakeKernels() {
  constexpr auto kHeights = std::make_index_sequence<kRows>();
  constexpr auto kWidths = std::make_index_sequence<kUnits>();
  return {.rows = kRows,
          .units = kUnits,
          .tile = {Widths<Storage::float32>(kWidths), Widths<Storage::bfloat16>(kWidths),
                   Widths<Storage::float16>(kWidths)},
          .side_by_side = Sides(kHeights),
          .wide = {Wide<Storage::float32>(kHeights), Wide<Storage::bfloat16>(kHeights),
                   Wide<Storage::float16>(kHeights)},
          .widen = Widen};
}

constexpr GemmKernels kGemm = MakeKernels();

}  // namespace HWY_NAMESPACE
}  // namespace torchnotary::exact
HWY_AFTER_NAMESPACE();

#endif  // HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
#endif  // TORCHNOTARY_EXACT_GEMM_SIMD_INL_H_
