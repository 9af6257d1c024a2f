// BLAKE3 of one message or a few: the state's four rows in four vectors, for each Highway target
// that includes this file.
//
// Few messages have no lanes to fill; what can go side by side are the four quarter-rounds of a
// column or diagonal step, and with wider vectors those of two or four messages. The time is that
// of the longest chain of dependent operations, whatever the number of messages.
// Source: the layout of "BLAKE2: simpler, smaller, fast as MD5", §3.1.
#if defined(TORCHNOTARY_BLAKE3_ROWS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TORCHNOTARY_BLAKE3_ROWS_INL_H_
#undef TORCHNOTARY_BLAKE3_ROWS_INL_H_
#else
#define TORCHNOTARY_BLAKE3_ROWS_INL_H_
#endif

#include <array>
#include <cstring>

#include "hashing/blake3_kernels.h"
#include "hwy/highway.h"

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

HWY_BEFORE_NAMESPACE();
namespace torchnotary {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <int kBits, class D, class V = hn::Vec<D>>
HWY_INLINE V Rotate([[maybe_unused]] D d, V v) {
#if HWY_TARGET == HWY_AVX2
  // AVX2 has no rotate; by whole bytes, one shuffle does what two shifts and an or do.
  if constexpr (kBits % 8 == 0) {
    const hn::Repartition<uint8_t, D> d8;
    constexpr uint8_t k = kBits / 8;
    constexpr uint8_t kBytes[4] = {k % 4, (k + 1) % 4, (k + 2) % 4, (k + 3) % 4};
    alignas(16) constexpr uint8_t kOrder[16] = {
        kBytes[0],      kBytes[1],      kBytes[2],      kBytes[3],     kBytes[0] + 4, kBytes[1] + 4,
        kBytes[2] + 4,  kBytes[3] + 4,  kBytes[0] + 8,  kBytes[1] + 8, kBytes[2] + 8, kBytes[3] + 8,
        kBytes[0] + 12, kBytes[1] + 12, kBytes[2] + 12, kBytes[3] + 12};
    return hn::BitCast(d, hn::TableLookupBytes(hn::BitCast(d8, v), hn::LoadDup128(d8, kOrder)));
  }
#endif
  return hn::RotateRight<kBits>(v);
}

// The sum as it is: GCC would rather add what is ready last first, and so lengthen the chain.
template <class V>
HWY_INLINE V Held(V sum) {
#if HWY_ARCH_X86
  __asm__("" : "+v"(sum.raw));
#elif HWY_ARCH_ARM_A64
  __asm__("" : "+w"(sum.raw));
#endif
  return sum;
}

#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3

// A row of the state, four words, of each of kMessages messages: one a 128-bit block.
template <size_t kMessages>
using Row = hn::FixedTag<uint32_t, 4 * kMessages>;
template <size_t kMessages>
using RowV = hn::Vec<Row<kMessages>>;

// For each round and step, the schedule's places of x (first four) and y of the quarter-rounds.
// The diagonal step leaves the second row where it is and turns the other three instead, since the
// second is what the next step waits for; so its quarter-rounds begin with the last.
constexpr std::array<std::array<std::array<uint32_t, 8>, 2>, 7> kPlaces = [] {
  std::array<std::array<std::array<uint32_t, 8>, 2>, 7> places{};
  for (size_t round = 0; round < 7; ++round) {
    for (size_t i = 0; i < 8; ++i) {
      places[round][0][i] = kSchedule[round][2 * (i % 4) + i / 4];
      places[round][1][i] = kSchedule[round][8 + 2 * ((i + 3) % 4) + i / 4];
    }
  }
  return places;
}();

// kPlaces for loading, and all ones where a place is among the second eight words.
struct PickPlaces {
  alignas(32) uint32_t at[7][2][8];
  alignas(32) uint32_t upper[7][2][8];
};
constexpr PickPlaces kPickPlaces = [] {
  PickPlaces picks{};
  for (size_t i = 0; i < 7 * 2 * 8; ++i) {
    const size_t round = i / 16, step = i / 8 % 2;
    picks.at[round][step][i % 8] = kPlaces[round][step][i % 8];
    picks.upper[round][step][i % 8] = kPlaces[round][step][i % 8] >= 8 ? ~uint32_t{0} : 0;
  }
  return picks;
}();

// The words of blocks, and the rows of x and y that a step needs of them.
template <size_t kMessages>
struct Words;

template <>
struct Words<1> {
  __m256i low, high;

  HWY_INLINE void Load(size_t, const uint8_t* block) {
    low = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block));
    high = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(block) + 1);
  }
  HWY_INLINE void Pick(size_t round, size_t step, RowV<1>& x, RowV<1>& y) const {
    const auto load = [](const uint32_t* from) {
      return _mm256_load_si256(reinterpret_cast<const __m256i*>(from));
    };
    const __m256i at = load(kPickPlaces.at[round][step]);
#if HWY_TARGET == HWY_AVX3
    const __m256i picked = _mm256_permutex2var_epi32(low, at, high);
#else
    const __m256i picked = _mm256_blendv_epi8(_mm256_permutevar8x32_epi32(low, at),
                                              _mm256_permutevar8x32_epi32(high, at),
                                              load(kPickPlaces.upper[round][step]));
#endif
    x = RowV<1>{_mm256_castsi256_si128(picked)};
    y = RowV<1>{_mm256_extracti128_si256(picked, 1)};
  }
};

#if HWY_TARGET == HWY_AVX3
constexpr size_t kMostRows = 4;

// Places in two messages' 32 words: x of both, then y of both.
struct PairPlaces {
  alignas(64) uint32_t at[7][2][16];
};
constexpr PairPlaces kPairPlaces = [] {
  PairPlaces pairs{};
  for (size_t i = 0; i < 7 * 2 * 16; ++i) {
    const size_t round = i / 32, step = i / 16 % 2, message = i / 4 % 2, half = i / 8 % 2;
    const uint32_t place = kPlaces[round][step][4 * half + i % 4];
    pairs.at[round][step][i % 16] = place + static_cast<uint32_t>(16 * message);
  }
  return pairs;
}();

HWY_INLINE __m512i PickPair(__m512i first, __m512i second, size_t round, size_t step) {
  const __m512i places = _mm512_load_si512(kPairPlaces.at[round][step]);
  return _mm512_permutex2var_epi32(first, places, second);
}

template <>
struct Words<2> {
  __m512i m[2];

  HWY_INLINE void Load(size_t i, const uint8_t* block) { m[i] = _mm512_loadu_si512(block); }
  HWY_INLINE void Pick(size_t round, size_t step, RowV<2>& x, RowV<2>& y) const {
    const __m512i pair = PickPair(m[0], m[1], round, step);
    x = RowV<2>{_mm512_castsi512_si256(pair)};
    y = RowV<2>{_mm512_extracti64x4_epi64(pair, 1)};
  }
};

template <>
struct Words<4> {
  __m512i m[4];

  HWY_INLINE void Load(size_t i, const uint8_t* block) { m[i] = _mm512_loadu_si512(block); }
  HWY_INLINE void Pick(size_t round, size_t step, RowV<4>& x, RowV<4>& y) const {
    const __m512i first = PickPair(m[0], m[1], round, step);
    const __m512i second = PickPair(m[2], m[3], round, step);
    x = RowV<4>{_mm512_shuffle_i64x2(first, second, 0x44)};
    y = RowV<4>{_mm512_shuffle_i64x2(first, second, 0xEE)};
  }
};

#else
constexpr size_t kMostRows = 1;
#endif

template <size_t kMessages>
HWY_INLINE void MixRows(RowV<kMessages>* HWY_RESTRICT r, RowV<kMessages> x, RowV<kMessages> y) {
  const Row<kMessages> d;
  r[0] = hn::Add(Held(hn::Add(r[0], x)), r[1]);
  r[3] = Rotate<16>(d, hn::Xor(r[3], r[0]));
  r[2] = hn::Add(r[2], r[3]);
  r[1] = Rotate<12>(d, hn::Xor(r[1], r[2]));
  r[0] = hn::Add(Held(hn::Add(r[0], y)), r[1]);
  r[3] = Rotate<8>(d, hn::Xor(r[3], r[0]));
  r[2] = hn::Add(r[2], r[3]);
  r[1] = Rotate<7>(d, hn::Xor(r[1], r[2]));
}

// Compresses one block of each message: r[0], r[1] hold the chaining values, r[3] counter, length
// and flags. What comes out is the rows, not yet added to each other.
template <size_t kMessages>
HWY_INLINE void CompressRows(RowV<kMessages>* HWY_RESTRICT r, const Words<kMessages>& words) {
  r[2] = hn::LoadDup128(Row<kMessages>(), kBlake3Iv.data());
  HWY_UNROLL(7)
  for (size_t round = 0; round < 7; ++round) {
    RowV<kMessages> x, y;
    words.Pick(round, 0, x, y);
    MixRows<kMessages>(r, x, y);
    r[0] = hn::Shuffle2103(r[0]);
    r[3] = hn::Shuffle1032(r[3]);
    r[2] = hn::Shuffle0321(r[2]);
    words.Pick(round, 1, x, y);
    MixRows<kMessages>(r, x, y);
    r[0] = hn::Shuffle0321(r[0]);
    r[3] = hn::Shuffle1032(r[3]);
    r[2] = hn::Shuffle2103(r[2]);
  }
}

void Compress(const uint32_t cv[8], const std::byte block[kBlockSize], uint8_t block_length,
              uint64_t counter, uint8_t flags, uint32_t out[16]) {
  const Row<1> d;
  const RowV<1> before[2] = {hn::LoadU(d, cv), hn::LoadU(d, cv + 4)};
  alignas(16) const uint32_t last[4] = {static_cast<uint32_t>(counter),
                                        static_cast<uint32_t>(counter >> 32), block_length, flags};
  RowV<1> r[4] = {before[0], before[1], before[0], hn::Load(d, last)};
  Words<1> words;
  words.Load(0, reinterpret_cast<const uint8_t*>(block));
  CompressRows<1>(r, words);
  hn::StoreU(hn::Xor(r[0], r[2]), d, out);
  hn::StoreU(hn::Xor(r[1], r[3]), d, out + 4);
  hn::StoreU(hn::Xor(r[2], before[0]), d, out + 8);
  hn::StoreU(hn::Xor(r[3], before[1]), d, out + 12);
}

// Messages first … first + count - 1 of the batch, 1 ≤ count ≤ kMessages; the last one fills up.
template <size_t kMessages>
HWY_NOINLINE void HashRows(const Blake3Batch& batch, size_t first, size_t count) {
  const Row<kMessages> d;
  const uint8_t* from[kMessages];
  alignas(64) uint32_t rows[3][4 * kMessages];  // both halves of the keys; counter, length, flags
  for (size_t i = 0; i < kMessages; ++i) {
    const size_t message = first + HWY_MIN(i, count - 1);
    from[i] = reinterpret_cast<const uint8_t*>(batch.message(message));
    const void* key = batch.key;
    if (batch.keys != nullptr) key = batch.keys[message].data();
    std::memcpy(rows[0] + 4 * i, key, 16);
    std::memcpy(rows[1] + 4 * i, static_cast<const std::byte*>(key) + 16, 16);
    const uint64_t counter = batch.counter + (batch.counting ? message : 0);
    std::memcpy(rows[2] + 4 * i, &counter, 8);
    rows[2][4 * i + 2] = kBlockSize;
    rows[2][4 * i + 3] = batch.flags;
  }
  RowV<kMessages> r[4] = {hn::Load(d, rows[0]), hn::Load(d, rows[1])};
  const RowV<kMessages> middle = hn::Load(d, rows[2]);
  // Adds to length and flags of every message.
  const auto differing = [&](uint32_t length, uint32_t flags) {
    alignas(16) const uint32_t add[4] = {0, 0, length - static_cast<uint32_t>(kBlockSize), flags};
    return hn::Add(middle, hn::LoadDup128(d, add));
  };

  Words<kMessages> words;
  size_t at = 0;
  r[3] = differing(kBlockSize, batch.start_flags);
  for (; batch.length - at > kBlockSize; at += kBlockSize) {
    for (size_t i = 0; i < kMessages; ++i) words.Load(i, from[i] + at);
    CompressRows<kMessages>(r, words);
    r[0] = hn::Xor(r[0], r[2]);
    r[1] = hn::Xor(r[1], r[3]);
    r[3] = middle;
  }
  const size_t left = batch.length - at;
  alignas(64) uint8_t padded[kMessages][kBlockSize];
  for (size_t i = 0; i < kMessages; ++i) {
    const uint8_t* last = from[i] + at;
    if (left < kBlockSize) {
      std::memset(padded[i], 0, kBlockSize);
      std::memcpy(padded[i], last, left);
      last = padded[i];
    }
    words.Load(i, last);
  }
  r[3] = differing(static_cast<uint32_t>(left),
                   batch.end_flags | (at == 0 ? batch.start_flags : uint32_t{0}));
  CompressRows<kMessages>(r, words);
  hn::Store(hn::Xor(r[0], r[2]), d, rows[0]);
  hn::Store(hn::Xor(r[1], r[3]), d, rows[1]);
  for (size_t i = 0; i < count; ++i) {
    std::byte* output = batch.output + (first + i) * batch.output_stride;
    std::memcpy(output, rows[0] + 4 * i, 16);
    std::memcpy(output + 16, rows[1] + 4 * i, 16);
  }
}

HWY_INLINE void HashFew(const Blake3Batch& batch, size_t first, size_t count) {
#if HWY_TARGET == HWY_AVX3
  if (count > 2) return HashRows<4>(batch, first, count);
  if (count == 2) return HashRows<2>(batch, first, count);
#endif
  HashRows<1>(batch, first, count);
}

#else  // 128-bit vectors without a shuffle of 16 words: the plain C++ is as fast

inline void Compress(const uint32_t cv[8], const std::byte block[kBlockSize], uint8_t block_length,
                     uint64_t counter, uint8_t flags, uint32_t out[16]) {
  kBlake3Portable.compress(cv, block, block_length, counter, flags, out);
}

constexpr size_t kMostRows = 1;

inline void HashFew(const Blake3Batch& batch, size_t first, size_t) {
  Blake3Batch one = batch;
  one.inputs = nullptr;
  one.input = batch.message(first);
  one.keys = batch.keys == nullptr ? nullptr : batch.keys + first;
  one.counter += batch.counting ? first : 0;
  one.output += first * batch.output_stride;
  one.count = 1;
  kBlake3Portable.hash_batch(one);
}

#endif

}  // namespace HWY_NAMESPACE
}  // namespace torchnotary
HWY_AFTER_NAMESPACE();

#endif  // HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
#endif  // TORCHNOTARY_BLAKE3_ROWS_INL_H_
