// BLAKE3 with one message per vector lane, for each Highway target that includes this file.
//
// Every lane does what blake3_portable.cpp does; the message words of one block are transposed
// so that vector w holds word w of all messages.
#if defined(TORCHNOTARY_BLAKE3_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TORCHNOTARY_BLAKE3_SIMD_INL_H_
#undef TORCHNOTARY_BLAKE3_SIMD_INL_H_
#else
#define TORCHNOTARY_BLAKE3_SIMD_INL_H_
#endif

#include <cstring>

#include "hashing/blake3_kernels.h"
#include "hwy/cache_control.h"
#include "hwy/highway.h"

// Without vectors there is nothing to transpose: the plain C++ path serves.
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

template <class D, class V = hn::Vec<D>>
HWY_INLINE void Mix(D d, V& a, V& b, V& c, V& e, V x, V y) {
  a = hn::Add(hn::Add(a, b), x);
  e = Rotate<16>(d, hn::Xor(e, a));
  c = hn::Add(c, e);
  b = Rotate<12>(d, hn::Xor(b, c));
  a = hn::Add(hn::Add(a, b), y);
  e = Rotate<8>(d, hn::Xor(e, a));
  c = hn::Add(c, e);
  b = Rotate<7>(d, hn::Xor(b, c));
}

template <size_t kRound, class D, class V = hn::Vec<D>>
HWY_INLINE void MixRound(D d, V* HWY_RESTRICT v, const V* HWY_RESTRICT m) {
  constexpr const auto& s = kSchedule[kRound];
  Mix(d, v[0], v[4], v[8], v[12], m[s[0]], m[s[1]]);
  Mix(d, v[1], v[5], v[9], v[13], m[s[2]], m[s[3]]);
  Mix(d, v[2], v[6], v[10], v[14], m[s[4]], m[s[5]]);
  Mix(d, v[3], v[7], v[11], v[15], m[s[6]], m[s[7]]);
  Mix(d, v[0], v[5], v[10], v[15], m[s[8]], m[s[9]]);
  Mix(d, v[1], v[6], v[11], v[12], m[s[10]], m[s[11]]);
  Mix(d, v[2], v[7], v[8], v[13], m[s[12]], m[s[13]]);
  Mix(d, v[3], v[4], v[9], v[14], m[s[14]], m[s[15]]);
}

// A vector whose 128-bit block b is the 16 bytes at from + b * step.
template <class D>
HWY_INLINE hn::Vec<D> LoadBlocks(D d, const uint8_t* HWY_RESTRICT from, size_t step) {
  constexpr size_t kBlocks = hn::MaxLanes(D()) / 4;
  if constexpr (kBlocks == 1) {
    const hn::Repartition<uint8_t, D> d8;
    return hn::BitCast(d, hn::LoadU(d8, from));
  } else {
    const hn::Half<D> half;
    return hn::Combine(d, LoadBlocks(half, from + (kBlocks / 2) * step, step),
                       LoadBlocks(half, from, step));
  }
}

// m[w] = word w of the 64-byte blocks at from, from + step, …, one per lane. Lane 4b + r gets
// its words by way of 128-bit block b of row r, so that transposing 4 × 4 inside 128-bit blocks,
// which every target does well, is all the transposing there is.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void LoadTransposed(D d, const uint8_t* HWY_RESTRICT from, size_t step,
                               V* HWY_RESTRICT m) {
  const hn::Repartition<uint64_t, D> d64;
  for (size_t quarter = 0; quarter < 4; ++quarter) {
    const uint8_t* at = from + 16 * quarter;
    const V r0 = LoadBlocks(d, at, 4 * step);
    const V r1 = LoadBlocks(d, at + step, 4 * step);
    const V r2 = LoadBlocks(d, at + 2 * step, 4 * step);
    const V r3 = LoadBlocks(d, at + 3 * step, 4 * step);
    const auto low01 = hn::BitCast(d64, hn::InterleaveLower(d, r0, r1));
    const auto low23 = hn::BitCast(d64, hn::InterleaveLower(d, r2, r3));
    const auto high01 = hn::BitCast(d64, hn::InterleaveUpper(d, r0, r1));
    const auto high23 = hn::BitCast(d64, hn::InterleaveUpper(d, r2, r3));
    m[4 * quarter + 0] = hn::BitCast(d, hn::InterleaveLower(d64, low01, low23));
    m[4 * quarter + 1] = hn::BitCast(d, hn::InterleaveUpper(d64, low01, low23));
    m[4 * quarter + 2] = hn::BitCast(d, hn::InterleaveLower(d64, high01, high23));
    m[4 * quarter + 3] = hn::BitCast(d, hn::InterleaveUpper(d64, high01, high23));
  }
}

// Messages first … first + count - 1 of the batch, count ≤ lanes of D. Lanes without a message
// compress zeros.
template <class D>
HWY_NOINLINE void HashLanes(D d, const Blake3Batch& batch, size_t first, size_t count) {
  using V = hn::Vec<D>;
  constexpr size_t kLanes = hn::MaxLanes(D());
  const uint8_t* input = reinterpret_cast<const uint8_t*>(batch.input) + first * batch.stride;

  V cv[8];
  for (size_t i = 0; i < 8; ++i) cv[i] = hn::Set(d, batch.key[i]);

  const uint64_t counter = batch.counter + (batch.counting ? first : 0);
  const V base = hn::Set(d, static_cast<uint32_t>(counter));
  const V low = batch.counting ? hn::Add(base, hn::Iota(d, 0)) : base;
  const V high = hn::Sub(hn::Set(d, static_cast<uint32_t>(counter >> 32)),
                         hn::VecFromMask(d, hn::Lt(low, base)));  // minus -1 where low wrapped

  alignas(64) uint8_t padded[kLanes * kBlockSize];
  const bool prefetch = batch.length == kChunkSize;

  uint32_t flags = batch.flags | batch.start_flags;
  for (size_t at = 0; at < batch.length; at += kBlockSize) {
    const size_t length = HWY_MIN(kBlockSize, batch.length - at);
    V m[16];
    if (HWY_LIKELY(count == kLanes && length == kBlockSize)) {
      LoadTransposed(d, input + at, batch.stride, m);
    } else {
      std::memset(padded, 0, sizeof(padded));
      for (size_t i = 0; i < count; ++i) {
        std::memcpy(padded + i * kBlockSize, input + i * batch.stride + at, length);
      }
      LoadTransposed(d, padded, kBlockSize, m);
    }
    if (prefetch) {
      // The caller walks memory upwards: what comes next is the same block of the next group.
      // Each of these streams is too short for the hardware to notice.
      const uint8_t* next = input + kLanes * batch.stride + at;
      for (size_t i = 0; i < kLanes; ++i) hwy::Prefetch(next + i * batch.stride);
    }
    if (at + length == batch.length) flags |= batch.end_flags;

    V v[16] = {cv[0],
               cv[1],
               cv[2],
               cv[3],
               cv[4],
               cv[5],
               cv[6],
               cv[7],
               hn::Set(d, kBlake3Iv[0]),
               hn::Set(d, kBlake3Iv[1]),
               hn::Set(d, kBlake3Iv[2]),
               hn::Set(d, kBlake3Iv[3]),
               low,
               high,
               hn::Set(d, static_cast<uint32_t>(length)),
               hn::Set(d, flags)};
    MixRound<0>(d, v, m);
    MixRound<1>(d, v, m);
    MixRound<2>(d, v, m);
    MixRound<3>(d, v, m);
    MixRound<4>(d, v, m);
    MixRound<5>(d, v, m);
    MixRound<6>(d, v, m);
    for (size_t i = 0; i < 8; ++i) cv[i] = hn::Xor(v[i], v[i + 8]);
    flags = batch.flags;
  }

  alignas(64) uint32_t words[8][kLanes];
  for (size_t i = 0; i < 8; ++i) hn::Store(cv[i], d, words[i]);
  std::byte* output = batch.output + first * kDigestSize;
  for (size_t lane = 0; lane < count; ++lane) {
    for (size_t i = 0; i < 8; ++i) {
      store_le(output + lane * kDigestSize + 4 * i, words[i][lane]);
    }
  }
}

void HashBatch(const Blake3Batch& batch) {
  const hn::ScalableTag<uint32_t> full;
  constexpr size_t kLanes = hn::MaxLanes(hn::ScalableTag<uint32_t>());
  size_t first = 0;
  while (first < batch.count) {
    const size_t left = batch.count - first;
    if (left == 1) {
      // One message is quicker in scalar registers than in a vector of idle lanes.
      Blake3Batch last = batch;
      last.input += first * batch.stride;
      last.output += first * kDigestSize;
      last.counter += batch.counting ? first : 0;
      last.count = 1;
      kBlake3Portable.hash_batch(last);
      return;
    }
    if constexpr (kLanes > 4) {
      if (left <= kLanes / 2) {
        HashLanes(hn::Half<decltype(full)>(), batch, first, left);
        return;
      }
    }
    HashLanes(full, batch, first, HWY_MIN(left, kLanes));
    first += kLanes;
  }
}

const Blake3Kernels& Kernels() {
  static const Blake3Kernels kernels = {.lanes = hn::MaxLanes(hn::ScalableTag<uint32_t>()),
                                        .hash_batch = HashBatch};
  return kernels;
}

}  // namespace HWY_NAMESPACE
}  // namespace torchnotary
HWY_AFTER_NAMESPACE();

#endif  // HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
#endif  // TORCHNOTARY_BLAKE3_SIMD_INL_H_
