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
#include "hashing/blake3_rows-inl.h"
#include "hashing/transpose-inl.h"
#include "hwy/highway.h"

// Without vectors there is nothing to transpose: the plain C++ path serves.
#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

HWY_BEFORE_NAMESPACE();
namespace torchnotary {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// Four quarter-rounds in lockstep, of columns (kTurn = 0) or diagonals (kTurn = 1): each operation
// on all four before the next, so that none waits for the one before it. m holds x and y of each.
template <size_t kTurn, class D, class V = hn::Vec<D>>
HWY_INLINE void MixFour(D d, V* HWY_RESTRICT v, const V* HWY_RESTRICT m, const uint8_t* s) {
  V a[4], b[4], c[4], e[4];
  for (size_t i = 0; i < 4; ++i) {
    a[i] = v[i];
    b[i] = v[4 + (i + kTurn) % 4];
    c[i] = v[8 + (i + 2 * kTurn) % 4];
    e[i] = v[12 + (i + 3 * kTurn) % 4];
  }
  for (size_t i = 0; i < 4; ++i) a[i] = hn::Add(Held(hn::Add(a[i], m[s[2 * i]])), b[i]);
  for (size_t i = 0; i < 4; ++i) e[i] = Rotate<16>(d, hn::Xor(e[i], a[i]));
  for (size_t i = 0; i < 4; ++i) c[i] = hn::Add(c[i], e[i]);
  for (size_t i = 0; i < 4; ++i) b[i] = Rotate<12>(d, hn::Xor(b[i], c[i]));
  for (size_t i = 0; i < 4; ++i) a[i] = hn::Add(Held(hn::Add(a[i], m[s[2 * i + 1]])), b[i]);
  for (size_t i = 0; i < 4; ++i) e[i] = Rotate<8>(d, hn::Xor(e[i], a[i]));
  for (size_t i = 0; i < 4; ++i) c[i] = hn::Add(c[i], e[i]);
  for (size_t i = 0; i < 4; ++i) b[i] = Rotate<7>(d, hn::Xor(b[i], c[i]));
  for (size_t i = 0; i < 4; ++i) {
    v[i] = a[i];
    v[4 + (i + kTurn) % 4] = b[i];
    v[8 + (i + 2 * kTurn) % 4] = c[i];
    v[12 + (i + 3 * kTurn) % 4] = e[i];
  }
}

template <size_t kRound, class D, class V = hn::Vec<D>>
HWY_INLINE void MixRound(D d, V* HWY_RESTRICT v, const V* HWY_RESTRICT m) {
  MixFour<0>(d, v, m, kSchedule[kRound].data());
  MixFour<1>(d, v, m, kSchedule[kRound].data() + 8);
}

// The chaining values of `count` lanes, lane i's at output + i * stride.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void StoreTransposed(D d, V* HWY_RESTRICT cv, size_t count, std::byte* output,
                                size_t stride) {
  constexpr size_t kLanes = hn::MaxLanes(D());
  alignas(64) uint32_t words[8 * kLanes];
  for (size_t half = 0; half < 2; ++half) {
    TransposeFour(d, cv + 4 * half);
    for (size_t r = 0; r < 4; ++r) hn::Store(cv[4 * half + r], d, words + (4 * half + r) * kLanes);
  }
  for (size_t lane = 0; lane < count; ++lane) {
    const uint32_t* from = words + lane % 4 * kLanes + lane / 4 * 4;
    std::memcpy(output + lane * stride, from, 16);
    std::memcpy(output + lane * stride + 16, from + 4 * kLanes, 16);
  }
}

// Asks for the part of the memory ahead that corresponds to block `at` of a chunk. The chunks of
// a group are streams too short for the hardware to notice, but what comes after the group is
// known: two groups ahead, into the second level. Not every machine brings a line's neighbour
// along.
template <size_t kLanes>
HWY_INLINE void FetchAhead(const Blake3Batch& batch, size_t first, size_t at) {
  constexpr size_t kPart = kLanes * kBlockSize;  // of a group, for each block of its chunks
  const std::byte* from = batch.input + (first + 2 * kLanes) * kChunkSize + at / kBlockSize * kPart;
  if (from >= batch.ahead) return;
  for (size_t line = 0; line < kPart; line += kBlockSize) __builtin_prefetch(from + line, 0, 2);
}

// Chaining values or keys, and counters, of all lanes.
template <class V>
struct Lanes {
  // Written out, since GCC compiles an implicit one without the target of its surroundings.
  HWY_INLINE Lanes() {}
  V cv[8];
  V low, high;  // of the counters
};

template <class D, class V = hn::Vec<D>>
HWY_INLINE void StartCounters(D d, const Blake3Batch& batch, size_t first, Lanes<V>& lanes) {
  const uint64_t counter = batch.counter + (batch.counting ? first : 0);
  const V base = hn::Set(d, static_cast<uint32_t>(counter));
  lanes.low = batch.counting ? hn::Add(base, hn::Iota(d, 0)) : base;
  lanes.high = hn::Sub(hn::Set(d, static_cast<uint32_t>(counter >> 32)),
                       hn::VecFromMask(d, hn::Lt(lanes.low, base)));  // minus -1 where low wrapped
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE void CompressLanes(D d, Lanes<V>& lanes, const V* HWY_RESTRICT m, uint32_t length,
                              uint32_t flags) {
  V* cv = lanes.cv;
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
             lanes.low,
             lanes.high,
             hn::Set(d, length),
             hn::Set(d, flags)};
  MixRound<0>(d, v, m);
  MixRound<1>(d, v, m);
  MixRound<2>(d, v, m);
  MixRound<3>(d, v, m);
  MixRound<4>(d, v, m);
  MixRound<5>(d, v, m);
  MixRound<6>(d, v, m);
  for (size_t i = 0; i < 8; ++i) cv[i] = hn::Xor(v[i], v[i + 8]);
}

// Adjacent messages of kLength bytes, a chunk's or a parent's, one for each lane, from `first` on:
// their chaining values.
template <size_t kLength, class D>
HWY_INLINE void CompressAdjacent(D d, const Blake3Batch& batch, size_t first,
                                 Lanes<hn::Vec<D>>& lanes) {
  const Adjacent<kLength> rows{reinterpret_cast<const uint8_t*>(batch.input) + first * kLength};
  for (size_t i = 0; i < 8; ++i) lanes.cv[i] = hn::Set(d, batch.key[i]);
  StartCounters(d, batch, first, lanes);
  uint32_t flags = batch.flags | batch.start_flags;
  for (size_t at = 0; at < kLength; at += kBlockSize) {
    hn::Vec<D> m[16];
    LoadTransposed<16>(d, rows, at, m);
    if (batch.ahead != nullptr) FetchAhead<hn::MaxLanes(D())>(batch, first, at);
    if (at + kBlockSize == kLength) flags |= batch.end_flags;
    CompressLanes(d, lanes, m, kBlockSize, flags);
    flags = batch.flags;
  }
}

template <size_t kLength, class D>
HWY_NOINLINE void HashAdjacent(D d, const Blake3Batch& batch, size_t first) {
  Lanes<hn::Vec<D>> lanes;
  CompressAdjacent<kLength>(d, batch, first, lanes);
  StoreTransposed(d, lanes.cv, hn::MaxLanes(D()), batch.output + first * batch.output_stride,
                  batch.output_stride);
}

// The parents of 2 × lanes chunks: the chaining values of the chunks, word for word in vectors,
// are the parents' messages but for every second lane.
void HashPairs(const Blake3Batch& batch) {
  const hn::ScalableTag<uint32_t> d;
  using V = hn::Vec<decltype(d)>;
  constexpr size_t kLanes = hn::MaxLanes(hn::ScalableTag<uint32_t>());
  V m[16];
  Lanes<V> lanes;
  CompressAdjacent<kChunkSize>(d, batch, 0, lanes);
  for (size_t i = 0; i < 8; ++i) m[i] = lanes.cv[i];
  CompressAdjacent<kChunkSize>(d, batch, kLanes, lanes);
  for (size_t i = 0; i < 8; ++i) {
    m[8 + i] = hn::ConcatOdd(d, lanes.cv[i], m[i]);
    m[i] = hn::ConcatEven(d, lanes.cv[i], m[i]);
    lanes.cv[i] = hn::Set(d, batch.key[i]);
  }
  lanes.low = lanes.high = hn::Zero(d);
  CompressLanes(d, lanes, m, kBlockSize, batch.flags | kParent);
  StoreTransposed(d, lanes.cv, kLanes, batch.output, batch.output_stride);
}

// Messages first … first + count - 1 of the batch, count ≤ lanes of D. Lanes without a message
// do the last one again.
template <class D>
HWY_NOINLINE void HashLanes(D d, const Blake3Batch& batch, size_t first, size_t count) {
  constexpr size_t kLanes = hn::MaxLanes(D());
  const auto message = [&](size_t lane) { return first + HWY_MIN(lane, count - 1); };
  Scattered<kLanes> rows;
  for (size_t i = 0; i < kLanes; ++i) {
    rows.at[i] = reinterpret_cast<const uint8_t*>(batch.message(message(i)));
  }
  Lanes<hn::Vec<D>> lanes;
  if (batch.keys == nullptr) {
    for (size_t i = 0; i < 8; ++i) lanes.cv[i] = hn::Set(d, batch.key[i]);
  } else {
    Scattered<kLanes> keys;
    for (size_t i = 0; i < kLanes; ++i) {
      keys.at[i] = reinterpret_cast<const uint8_t*>(batch.keys[message(i)].data());
    }
    LoadTransposed<8>(d, keys, 0, lanes.cv);
  }
  StartCounters(d, batch, first, lanes);

  alignas(64) uint8_t padded[kLanes * kBlockSize];
  uint32_t flags = batch.flags | batch.start_flags;
  for (size_t at = 0; at < batch.length; at += kBlockSize) {
    const size_t length = HWY_MIN(kBlockSize, batch.length - at);
    size_t from = at;
    if (HWY_UNLIKELY(length < kBlockSize)) {
      std::memset(padded, 0, sizeof(padded));
      for (size_t i = 0; i < kLanes; ++i) {
        std::memcpy(padded + i * kBlockSize, rows.at[i] + at, length);
        rows.at[i] = padded + i * kBlockSize;
      }
      from = 0;
    }
    hn::Vec<D> m[16];
    LoadTransposed<16>(d, rows, from, m);
    if (at + length == batch.length) flags |= batch.end_flags;
    CompressLanes(d, lanes, m, static_cast<uint32_t>(length), flags);
    flags = batch.flags;
  }
  StoreTransposed(d, lanes.cv, count, batch.output + first * batch.output_stride,
                  batch.output_stride);
}

// The same in half a vector where that is enough; with 128 bits there is none of whole blocks.
template <class D>
HWY_INLINE void HashFewerLanes(D d, const Blake3Batch& batch, size_t first, size_t count) {
  if constexpr (hn::MaxLanes(D()) > 8) {
    if (count <= hn::MaxLanes(D()) / 2) return HashLanes(hn::Half<D>(), batch, first, count);
  }
  HashLanes(d, batch, first, count);
}

// Whether the messages lie one after the other, as whole chunks do and as parents do.
HWY_INLINE bool IsAdjacent(const Blake3Batch& batch, size_t length) {
  return batch.length == length && batch.stride == length && batch.inputs == nullptr &&
         batch.keys == nullptr;
}

void HashBatch(const Blake3Batch& batch) {
  const hn::ScalableTag<uint32_t> full;
  constexpr size_t kLanes = hn::MaxLanes(hn::ScalableTag<uint32_t>());
  const bool chunks = IsAdjacent(batch, kChunkSize), parents = IsAdjacent(batch, kBlockSize);
  for (size_t first = 0; first < batch.count; first += kLanes) {
    const size_t count = HWY_MIN(batch.count - first, kLanes);
    if (count == kLanes && chunks) {
      HashAdjacent<kChunkSize>(full, batch, first);
    } else if (count == kLanes && parents) {
      HashAdjacent<kBlockSize>(full, batch, first);
    } else if (count <= kMostRows) {
      HashFew(batch, first, count);
    } else {
      HashFewerLanes(full, batch, first, count);
    }
  }
}

constexpr Blake3Kernels kKernels = {.lanes = hn::MaxLanes(hn::ScalableTag<uint32_t>()),
                                    .hash_batch = HashBatch,
                                    .hash_pairs = HashPairs,
                                    .compress = Compress};

}  // namespace HWY_NAMESPACE
}  // namespace torchnotary
HWY_AFTER_NAMESPACE();

#endif  // HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
#endif  // TORCHNOTARY_BLAKE3_SIMD_INL_H_
