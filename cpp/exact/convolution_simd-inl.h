// The kernels of convolutions for each Highway target that includes this file.
#if defined(TORCHNOTARY_CONVOLUTION_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TORCHNOTARY_CONVOLUTION_SIMD_INL_H_
#undef TORCHNOTARY_CONVOLUTION_SIMD_INL_H_
#else
#define TORCHNOTARY_CONVOLUTION_SIMD_INL_H_
#endif

#include <algorithm>
#include <bit>

#include "exact/convolution_kernels.h"
#include "exact/storage.h"
#include "hwy/highway.h"

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

HWY_BEFORE_NAMESPACE();
namespace torchnotary::exact {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// n adjacent floats: the last, partial vector overlaps the one before it, or there is none.
HWY_INLINE void CopyAdjacent(const float* from, float* to, size_t n) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  if (n < lanes) {
    for (size_t i = 0; i < n; ++i) to[i] = from[i];
    return;
  }
  for (size_t i = 0; i + lanes < n; i += lanes) hn::StoreU(hn::LoadU(d, from + i), d, to + i);
  hn::StoreU(hn::LoadU(d, from + n - lanes), d, to + n - lanes);
}

// Every other float. The last one is read alone, since what follows it may not be ours.
HWY_INLINE void CopyHalf(const float* from, float* to, size_t n) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  size_t i = 0;
  for (; i + lanes < n; i += lanes) {
    hn::Vec<decltype(d)> even, odd;
    hn::LoadInterleaved2(d, from + 2 * i, even, odd);
    hn::StoreU(even, d, to + i);
  }
  for (; i < n; ++i) to[i] = from[2 * i];
}

void Copy(const ConvolutionCopy* copies, size_t n, const float* from_base, float* to_base) {
  for (size_t i = 0; i < n; ++i) {
    const ConvolutionCopy& copy = copies[i];
    const float* from = from_base + copy.from;
    float* to = to_base + copy.to;
    if (copy.to_step == 1 && copy.from_step == 1) {
      CopyAdjacent(from, to, copy.count);
    } else if (copy.to_step == 1 && copy.from_step == 2) {
      CopyHalf(from, to, copy.count);
    } else {
      for (size_t c = 0; c < copy.count; ++c) {
        to[c * copy.to_step] = from[static_cast<ptrdiff_t>(c) * copy.from_step];
      }
    }
  }
}

void CopyPieces(const ConvolutionCopy* pieces, size_t n, const float* from, float* to) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  for (size_t i = 0; i < n; ++i) {
    for (size_t c = 0; c < pieces[i].count; c += lanes) {
      hn::StoreU(hn::LoadU(d, from + pieces[i].from + c), d, to + pieces[i].to + c);
    }
  }
}

// Accumulators of the largest tile, its operands and one weight fit the registers: 32, on AVX2 16.
constexpr size_t kTileRows = HWY_TARGET == HWY_AVX2 ? 4 : 8;

// Rows of `tile` from `row` on.
template <size_t kRows, size_t kVectors>
void Tile(const ConvolutionTile& tile, size_t row) {
  const hn::ScalableTag<float> d;
  using V = hn::Vec<decltype(d)>;
  const size_t lanes = hn::Lanes(d);
  V sums[kRows][kVectors];
  HWY_UNROLL(8)
  for (size_t r = 0; r < kRows; ++r) {
    HWY_UNROLL(3)
    for (size_t v = 0; v < kVectors; ++v) sums[r][v] = hn::Zero(d);
  }
  const float* HWY_RESTRICT weights = tile.weights + row;
  const float* HWY_RESTRICT operands = tile.operands;
  for (size_t k = 0; k < tile.k; ++k) {
    V operand[kVectors];
    HWY_UNROLL(3)
    for (size_t v = 0; v < kVectors; ++v) operand[v] = hn::LoadU(d, operands + v * lanes);
    HWY_UNROLL(8)
    for (size_t r = 0; r < kRows; ++r) {
      const V weight = hn::Set(d, weights[r]);
      HWY_UNROLL(3)
      for (size_t v = 0; v < kVectors; ++v) sums[r][v] = hn::MulAdd(operand[v], weight, sums[r][v]);
    }
    weights += tile.rows;
    operands += tile.operand_step;
  }
  HWY_UNROLL(8)
  for (size_t r = 0; r < kRows; ++r) {
    float* to = tile.sums + (row + r) * tile.sum_step;
    HWY_UNROLL(3)
    for (size_t v = 0; v < kVectors; ++v) {
      const V sum = tile.first ? sums[r][v] : hn::LoadU(d, to + v * lanes) + sums[r][v];
      hn::StoreU(sum, d, to + v * lanes);
    }
  }
}

template <size_t kVectors>
void TileRows(const ConvolutionTile& tile, size_t row, size_t rows) {
  switch (rows) {
    case 1:
      return Tile<1, kVectors>(tile, row);
    case 2:
      return Tile<2, kVectors>(tile, row);
    case 3:
      return Tile<3, kVectors>(tile, row);
    case 4:
      return Tile<4, kVectors>(tile, row);
    case 5:
      return Tile<5, kVectors>(tile, row);
    case 6:
      return Tile<6, kVectors>(tile, row);
    case 7:
      return Tile<7, kVectors>(tile, row);
    default:
      return Tile<8, kVectors>(tile, row);
  }
}

void RunTile(const ConvolutionTile& tile) {
  for (size_t row = 0; row < tile.rows; row += kTileRows) {
    const size_t rows = std::min(kTileRows, tile.rows - row);
    if (tile.vectors == 1) TileRows<1>(tile, row, rows);
    if (tile.vectors == 2) TileRows<2>(tile, row, rows);
    if (tile.vectors == 3) TileRows<3>(tile, row, rows);
  }
}

// Sums have whole vectors; the output ends where it ends.
void Finish(const float* sums, const float* bias, float* out, size_t n) {
  const hn::ScalableTag<float> d;
  const size_t lanes = hn::Lanes(d);
  const auto nan = hn::Set(d, std::bit_cast<float>(kNan));
  const auto addend = hn::Set(d, bias != nullptr ? *bias : 0.0f);
  float rest[hn::MaxLanes(d)];
  for (size_t i = 0; i < n; i += lanes) {
    const auto sum = hn::LoadU(d, sums + i);
    const auto value = bias != nullptr ? sum + addend : sum;
    const auto result = hn::IfThenElse(value == value, value, nan);
    if (i + lanes <= n) {
      hn::StoreU(result, d, out + i);
    } else {
      hn::StoreU(result, d, rest);
      std::copy_n(rest, n - i, out + i);
    }
  }
}

constexpr ConvolutionKernels kConvolution = {hn::MaxLanes(hn::ScalableTag<float>()), &Copy,
                                             &CopyPieces, &RunTile, &Finish};

}  // namespace HWY_NAMESPACE
}  // namespace torchnotary::exact
HWY_AFTER_NAMESPACE();

#endif
#endif
