// Transposing 32-bit words from rows in memory into vectors of one word of each row, for each
// Highway target that includes this file.
#if defined(TORCHNOTARY_TRANSPOSE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TORCHNOTARY_TRANSPOSE_INL_H_
#undef TORCHNOTARY_TRANSPOSE_INL_H_
#else
#define TORCHNOTARY_TRANSPOSE_INL_H_
#endif

#include "hwy/highway.h"

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

HWY_BEFORE_NAMESPACE();
namespace torchnotary {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Where the rows of the lanes begin: adjacent ones of kLength bytes each, by one address …
template <size_t kLength>
struct Adjacent {
  const uint8_t* first;
  const uint8_t* operator[](size_t lane) const { return first + lane * kLength; }
};

// … and others by one address each. Loading these takes 4 % of the time of hashing whole chunks.
template <size_t kLanes>
struct Scattered {
  const uint8_t* at[kLanes];
  const uint8_t* operator[](size_t lane) const { return at[lane]; }
};

// A vector whose 128-bit block b is the 16 bytes `at` bytes into the row of lane + 4 * b.
template <class D, class Rows>
HWY_INLINE hn::Vec<D> LoadBlocks(D d, const Rows& rows, size_t lane, size_t at) {
  constexpr size_t kBlocks = hn::MaxLanes(D()) / 4;
  if constexpr (kBlocks == 1) {
    const hn::Repartition<uint8_t, D> d8;
    return hn::BitCast(d, hn::LoadU(d8, rows[lane] + at));
#if HWY_TARGET == HWY_AVX3
  } else if constexpr (kBlocks == 4) {
    // Inserting from memory can use either vector port; combining registers only the one that
    // the transposition needs.
    const auto block = [&](size_t b) {
      return _mm_loadu_si128(reinterpret_cast<const __m128i*>(rows[lane + 4 * b] + at));
    };
    __m512i v = _mm512_castsi128_si512(block(0));
    v = _mm512_inserti32x4(v, block(1), 1);
    v = _mm512_inserti32x4(v, block(2), 2);
    return hn::Vec<D>{_mm512_inserti32x4(v, block(3), 3)};
#endif
  } else {
    const hn::Half<D> half;
    return hn::Combine(d, LoadBlocks(half, rows, lane + 2 * kBlocks, at),
                       LoadBlocks(half, rows, lane, at));
  }
}

// Transposes 4 × 4 words inside each 128-bit block: word w of vector r becomes word r of vector w.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void TransposeFour(D d, V* HWY_RESTRICT v) {
  const hn::Repartition<uint64_t, D> d64;
  const auto low01 = hn::BitCast(d64, hn::InterleaveLower(d, v[0], v[1]));
  const auto low23 = hn::BitCast(d64, hn::InterleaveLower(d, v[2], v[3]));
  const auto high01 = hn::BitCast(d64, hn::InterleaveUpper(d, v[0], v[1]));
  const auto high23 = hn::BitCast(d64, hn::InterleaveUpper(d, v[2], v[3]));
  v[0] = hn::BitCast(d, hn::InterleaveLower(d64, low01, low23));
  v[1] = hn::BitCast(d, hn::InterleaveUpper(d64, low01, low23));
  v[2] = hn::BitCast(d, hn::InterleaveLower(d64, high01, high23));
  v[3] = hn::BitCast(d, hn::InterleaveUpper(d64, high01, high23));
}

// m[w] = word w of the `kWords` words that are `at` bytes into the lanes' rows. Lane 4b + r
// gets its words by way of 128-bit block b of vector r, so that transposing inside 128-bit blocks,
// which every target does well, is all the transposing there is.
template <size_t kWords, class D, class Rows, class V = hn::Vec<D>>
HWY_INLINE void LoadTransposed(D d, const Rows& rows, size_t at, V* HWY_RESTRICT m) {
  for (size_t four = 0; four < kWords; four += 4) {
    for (size_t r = 0; r < 4; ++r) m[four + r] = LoadBlocks(d, rows, r, at + 4 * four);
    TransposeFour(d, m + four);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace torchnotary
HWY_AFTER_NAMESPACE();

#endif  // HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
#endif  // TORCHNOTARY_TRANSPOSE_INL_H_
