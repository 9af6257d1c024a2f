// Transposing tiles of 8, 16 and 32-bit elements in registers, for each Highway target that
// includes this file: each line of memory is read once and written once, whatever the strides
// alias.
#if defined(TORCHNOTARY_TENSOR_TRANSPOSE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TORCHNOTARY_TENSOR_TRANSPOSE_INL_H_
#undef TORCHNOTARY_TENSOR_TRANSPOSE_INL_H_
#else
#define TORCHNOTARY_TENSOR_TRANSPOSE_INL_H_
#endif

#include "hashing/transpose-inl.h"
#include "hwy/highway.h"

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

HWY_BEFORE_NAMESPACE();
namespace torchnotary {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_AVX3
// Block b of vector 4 * k becomes block k of vector 4 * b.
HWY_INLINE void TransposeBlocks(hn::Vec<hn::ScalableTag<uint32_t>>* HWY_RESTRICT v) {
  const __m512i low01 = _mm512_shuffle_i32x4(v[0].raw, v[4].raw, 0x44);
  const __m512i high01 = _mm512_shuffle_i32x4(v[0].raw, v[4].raw, 0xEE);
  const __m512i low23 = _mm512_shuffle_i32x4(v[8].raw, v[12].raw, 0x44);
  const __m512i high23 = _mm512_shuffle_i32x4(v[8].raw, v[12].raw, 0xEE);
  v[0].raw = _mm512_shuffle_i32x4(low01, low23, 0x88);
  v[4].raw = _mm512_shuffle_i32x4(low01, low23, 0xDD);
  v[8].raw = _mm512_shuffle_i32x4(high01, high23, 0x88);
  v[12].raw = _mm512_shuffle_i32x4(high01, high23, 0xDD);
}
#endif

// A tile of `lanes` rows and as many columns.
void TransposeTile(const std::byte* from, std::int64_t stride, std::byte* to, std::size_t pitch) {
  const hn::ScalableTag<uint32_t> d;
  constexpr size_t kLanes = hn::MaxLanes(hn::ScalableTag<uint32_t>());
  Scattered<kLanes> columns;
  for (size_t j = 0; j < kLanes; ++j) {
    columns.at[j] = reinterpret_cast<const uint8_t*>(from) + static_cast<int64_t>(j) * stride;
  }
  const hn::Repartition<uint8_t, decltype(d)> d8;
  hn::Vec<decltype(d)> rows[kLanes];
#if HWY_TARGET == HWY_AVX3
  // Sixteen columns that are a power of two apart share one set of a cache, which cannot hold
  // them all: each line is read once, whole.
  for (size_t j = 0; j < kLanes; ++j) {
    rows[j] = hn::BitCast(d, hn::LoadU(d8, columns.at[j]));
  }
  for (size_t four = 0; four < kLanes; four += 4) TransposeFour(d, rows + four);
  for (size_t w = 0; w < 4; ++w) TransposeBlocks(rows + w);
#else
  LoadTransposed<kLanes>(d, columns, 0, rows);
#endif
  for (size_t i = 0; i < kLanes; ++i) {
    hn::StoreU(hn::BitCast(d8, rows[i]), d8, reinterpret_cast<uint8_t*>(to) + i * pitch);
  }
}

// A tile of 2 * lanes rows and as many columns of 16-bit elements: neighbours become one word.
void TransposeTile16(const std::byte* from, std::int64_t stride, std::byte* to, std::size_t pitch) {
  const hn::ScalableTag<uint16_t> d;
  constexpr size_t kVector = 2 * hn::MaxLanes(d);
  constexpr size_t kLanes = kVector / 4;
  alignas(64) std::byte words[kLanes * 2 * kVector];
  const auto column = [&](size_t j) {
    return hn::LoadU(d, reinterpret_cast<const uint16_t*>(from + static_cast<int64_t>(j) * stride));
  };
  for (size_t j = 0; j < kLanes; ++j) {
    hn::StoreInterleaved2(column(2 * j), column(2 * j + 1), d,
                          reinterpret_cast<uint16_t*>(words + j * 2 * kVector));
  }
  for (size_t part = 0; part < 2; ++part) {
    TransposeTile(words + part * kVector, 2 * kVector, to + part * kLanes * pitch, pitch);
  }
}

// A tile of 4 * lanes rows and as many columns of 8-bit elements.
void TransposeTile8(const std::byte* from, std::int64_t stride, std::byte* to, std::size_t pitch) {
  const hn::ScalableTag<uint8_t> d;
  constexpr size_t kVector = hn::MaxLanes(d);
  constexpr size_t kLanes = kVector / 4;
  alignas(64) std::byte words[kLanes * 4 * kVector];
  const auto column = [&](size_t j) {
    return hn::LoadU(d, reinterpret_cast<const uint8_t*>(from + static_cast<int64_t>(j) * stride));
  };
  for (size_t j = 0; j < kLanes; ++j) {
    hn::StoreInterleaved4(column(4 * j), column(4 * j + 1), column(4 * j + 2), column(4 * j + 3), d,
                          reinterpret_cast<uint8_t*>(words + j * 4 * kVector));
  }
  for (size_t part = 0; part < 4; ++part) {
    TransposeTile(words + part * kVector, 4 * kVector, to + part * kLanes * pitch, pitch);
  }
}

constexpr TileKernels kTiles = {.lanes = hn::MaxLanes(hn::ScalableTag<uint32_t>()),
                                .bits8 = TransposeTile8,
                                .bits16 = TransposeTile16,
                                .bits32 = TransposeTile};

}  // namespace HWY_NAMESPACE
}  // namespace torchnotary
HWY_AFTER_NAMESPACE();

#endif  // HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
#endif  // TORCHNOTARY_TENSOR_TRANSPOSE_INL_H_
