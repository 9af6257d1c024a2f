// Attention's kernels for each Highway target that includes this file.
#if defined(TORCHNOTARY_ATTENTION_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TORCHNOTARY_ATTENTION_SIMD_INL_H_
#undef TORCHNOTARY_ATTENTION_SIMD_INL_H_
#else
#define TORCHNOTARY_ATTENTION_SIMD_INL_H_
#endif

#include <algorithm>
#include <bit>
#include <limits>
#include <type_traits>

#include "exact/attention_kernels.h"
#include "exact/elementary-inl.h"
#include "exact/lanes-inl.h"
#include "exact/storage.h"
#include "hwy/highway.h"

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

HWY_BEFORE_NAMESPACE();
namespace torchnotary::exact {
namespace HWY_NAMESPACE {
namespace attention {
namespace hn = hwy::HWY_NAMESPACE;

using Tag = hn::ScalableTag<float>;
using V = hn::Vec<Tag>;
constexpr size_t kLanes = hn::MaxLanes(Tag());
constexpr size_t kChunkVectors = kKeyChunk / kLanes;
// As many columns as fit into the registers beside kRowBlock rows of them.
constexpr size_t kVectors = HWY_TARGET == HWY_AVX2 ? 2 : 4;
constexpr float kAbsent = -std::numeric_limits<float>::infinity();

// f(the number of rows, as a constant), for up to kRowBlock rows.
template <class F>
HWY_INLINE void WithRows(size_t rows, F f) {
  static_assert(kRowBlock == 6);
  switch (rows) {
    case 1:
      return f(std::integral_constant<size_t, 1>());
    case 2:
      return f(std::integral_constant<size_t, 2>());
    case 3:
      return f(std::integral_constant<size_t, 3>());
    case 4:
      return f(std::integral_constant<size_t, 4>());
    case 5:
      return f(std::integral_constant<size_t, 5>());
    default:
      return f(std::integral_constant<size_t, 6>());
  }
}

// kRows × kVectors chains over the elements from `first` to `last`.
template <size_t kRows>
HWY_INLINE void ScoreChains(const float* HWY_RESTRICT queries, ptrdiff_t pitch,
                            const float* HWY_RESTRICT keys, size_t first, size_t last,
                            float* HWY_RESTRICT scores) {
  const Tag d;
  V p[kRows][kVectors];
  TORCHNOTARY_UNROLL
  for (size_t r = 0; r < kRows; ++r) {
    TORCHNOTARY_UNROLL
    for (size_t v = 0; v < kVectors; ++v) p[r][v] = hn::Zero(d);
  }
  const float* query[kRows];
  TORCHNOTARY_UNROLL
  for (size_t r = 0; r < kRows; ++r) query[r] = queries + static_cast<ptrdiff_t>(r) * pitch;
  for (size_t e = first; e < last; ++e) {
    V k[kVectors];
    TORCHNOTARY_UNROLL
    for (size_t v = 0; v < kVectors; ++v) k[v] = hn::LoadU(d, keys + e * kKeyChunk + v * kLanes);
    TORCHNOTARY_UNROLL
    for (size_t r = 0; r < kRows; ++r) {
      const V q = hn::Set(d, query[r][e]);
      TORCHNOTARY_UNROLL
      for (size_t v = 0; v < kVectors; ++v) p[r][v] = hn::MulAdd(q, k[v], p[r][v]);
    }
  }
  TORCHNOTARY_UNROLL
  for (size_t r = 0; r < kRows; ++r) {
    TORCHNOTARY_UNROLL
    for (size_t v = 0; v < kVectors; ++v) {
      float* dot = scores + r * kKeyChunk + v * kLanes;
      hn::StoreU(first == 0 ? p[r][v] : hn::LoadU(d, dot) + p[r][v], d, dot);
    }
  }
}

void Scores(const float* queries, ptrdiff_t pitch, const float* keys, size_t width, size_t begin,
            size_t end, float* scores) {
  for (size_t r = begin; r < end; r += kRowBlock) {
    WithRows(end - r, [&](auto rows) {
      for (size_t j = 0; j < kKeyChunk; j += kVectors * kLanes) {
        size_t first = 0;
        do {
          const size_t last = std::min(width, first + kDotBlock);
          ScoreChains<rows>(queries + static_cast<ptrdiff_t>(r) * pitch, pitch, keys + j, first,
                            last, scores + r * kKeyChunk + j);
          first = last;
        } while (first < width);
      }
    });
  }
}

// One row's scores before they become weights, its chunks `pitch` floats apart.
struct Row {
  float* scores;
  size_t pitch;
  const float* added;
  size_t end;

  float* At(size_t chunk, size_t v) const { return scores + chunk * pitch + v * kLanes; }
};

// The scores of the vector at key j: -∞ where the key is not present.
template <bool kAdded>
HWY_INLINE V ScoresAt(const Row& row, size_t chunk, size_t v, V scale) {
  const Tag d;
  const V absent = hn::Set(d, kAbsent);
  const size_t j = chunk * kKeyChunk + v * kLanes;
  const V s = hn::LoadU(d, row.At(chunk, v)) * scale;
  if constexpr (kAdded) {
    const V added = hn::LoadU(d, row.added + j);
    return hn::IfThenElse(added == absent, absent, s + added);
  } else {
    if (HWY_LIKELY(j + kLanes <= row.end)) return s;
    return hn::IfThenElse(hn::FirstN(d, j < row.end ? row.end - j : 0), s, absent);
  }
}

// Stores the scores of the chunks from `first` to `last`, and gives their maximum. A NaN is looked
// for apart and the sign of a zero does not matter here, so that Highway's maximum will do.
template <bool kAdded>
float Greatest(const Row& row, size_t first, size_t last, float scale) {
  const Tag d;
  const V s = hn::Set(d, scale);
  V most[kChunkVectors];
  auto ordered = hn::FirstN(d, kLanes);
  for (V& m : most) m = hn::Set(d, kAbsent);
  for (size_t c = first; c < last; ++c) {
    TORCHNOTARY_UNROLL
    for (size_t v = 0; v < kChunkVectors; ++v) {
      const V x = ScoresAt<kAdded>(row, c, v, s);
      hn::StoreU(x, d, row.At(c, v));
      ordered = hn::And(ordered, x == x);
      most[v] = hn::Max(most[v], x);
    }
  }
  if (!hn::AllTrue(d, ordered)) return std::numeric_limits<float>::quiet_NaN();
  for (size_t v = 1; v < kChunkVectors; ++v) most[0] = hn::Max(most[0], most[v]);
  return hn::GetLane(hn::MaxOfLanes(d, most[0]));
}

HWY_INLINE ChunkWeights State(size_t zeros, size_t keys) {
  return zeros == 0 ? kAllPositive : zeros == keys ? kAllZero : kSomeZero;
}

// Turns the scores of the chunks from `first` to `last` into weights and gives their sum, if no
// absent key lies between present ones. The key that is element 0 may be in any lane (lanes.h), and
// to the lanes the absent keys before it add +0, which changes none: they begin at +0 and never
// become -0.
HWY_INLINE float Exponentials(const Row& row, size_t first, size_t last, size_t keys,
                              float greatest, uint8_t* states, size_t state_pitch) {
  constexpr size_t kLaneVectors = kSumLanes / kLanes;
  const Tag d;
  const V m = hn::Set(d, greatest);
  V sums[kLaneVectors];
  TORCHNOTARY_UNROLL
  for (size_t v = 0; v < kLaneVectors; ++v) sums[v] = hn::Zero(d);
  for (size_t c = first; c < last; ++c) {
    const size_t count = std::min(keys - c * kKeyChunk, kKeyChunk);
    size_t zeros = 0;
    TORCHNOTARY_UNROLL
    for (size_t v = 0; v < kChunkVectors; ++v) {
      const V w = Exp(d, hn::LoadU(d, row.At(c, v)) - m);
      hn::StoreU(w, d, row.At(c, v));
      zeros += hn::CountTrue(d, w == hn::Zero(d));
      sums[v % kLaneVectors] = sums[v % kLaneVectors] + w;
    }
    states[c * state_pitch] = State(zeros - (kKeyChunk - count), count);
  }
  return SumOfLanes(d, sums);
}

// The same sum in lanes of binary64, from the weights.
float WideSum(const Row& row, size_t first, size_t last) {
  const hn::ScalableTag<double> d;
  constexpr size_t kWide = hn::MaxLanes(hn::ScalableTag<double>());
  const hn::Rebind<float, decltype(d)> narrow;
  hn::Vec<decltype(d)> sums[kSumLanes / kWide];
  for (auto& sum : sums) sum = hn::Zero(d);
  for (size_t c = first; c < last; ++c) {
    for (size_t j = 0; j < kKeyChunk; j += kSumLanes) {
      TORCHNOTARY_UNROLL
      for (size_t v = 0; v < kSumLanes / kWide; ++v) {
        const auto w = hn::LoadU(narrow, row.scores + c * row.pitch + j + v * kWide);
        sums[v] = sums[v] + hn::PromoteTo(d, w);
      }
    }
  }
  return static_cast<float>(SumOfLanes(d, sums));
}

// The sum where absent keys lie between present ones, which alone are counted into lanes of T.
template <class T>
float SumOfPresent(const Row& row, const PresentKeys& present) {
  T lanes[kSumLanes] = {};
  size_t rank = 0;
  for (size_t j = present.first; j < present.end; ++j) {
    if (row.added[j] == kAbsent) continue;
    T& lane = lanes[rank++ % kSumLanes];
    lane = lane + static_cast<T>(row.scores[j / kKeyChunk * row.pitch + j % kKeyChunk]);
  }
  return static_cast<float>(sum_of_lanes(lanes));
}

void ZeroChunks(const Row& row, size_t first, size_t last, uint8_t* states, size_t state_pitch) {
  const Tag d;
  for (size_t c = first; c < last; ++c) {
    TORCHNOTARY_UNROLL
    for (size_t v = 0; v < kChunkVectors; ++v) hn::StoreU(hn::Zero(d), d, row.At(c, v));
    states[c * state_pitch] = kAllZero;
  }
}

float Weights(float* scores, size_t pitch, size_t keys, const float* added,
              const PresentKeys& present, float scale, uint8_t* states, size_t state_pitch) {
  const Row row = {scores, pitch, added, present.end};
  const size_t first = present.first / kKeyChunk;
  const size_t last = hwy::DivCeil(present.end, kKeyChunk);
  const size_t chunks = hwy::DivCeil(keys, kKeyChunk);
  if (present.count == 0) {
    ZeroChunks(row, 0, chunks, states, state_pitch);
    return 1;
  }
  const float greatest = added != nullptr ? Greatest<true>(row, first, last, scale)
                                          : Greatest<false>(row, first, last, scale);
  if (!(greatest - greatest == 0)) {
    ZeroChunks(row, 0, chunks, states, state_pitch);
    return std::numeric_limits<float>::quiet_NaN();
  }
  ZeroChunks(row, 0, first, states, state_pitch);
  ZeroChunks(row, last, chunks, states, state_pitch);
  const float sum = Exponentials(row, first, last, keys, greatest, states, state_pitch);
  const bool wide = present.count > kMostInBinary32;
  if (present.count < present.end - present.first) {
    return wide ? SumOfPresent<double>(row, present) : SumOfPresent<float>(row, present);
  }
  return wide ? WideSum(row, first, last) : sum;
}

// o where w is zero, else fma(w, v, o).
HWY_INLINE V AddUnlessZero(V w, V v, V o) {
  const auto zero = w == hn::Zero(Tag());
#if HWY_TARGET == HWY_AVX3
  return V{_mm512_mask3_fmadd_ps(w.raw, v.raw, o.raw, hn::Not(zero).raw)};  // one instruction
#else
  return hn::IfThenElse(zero, o, hn::MulAdd(w, v, o));
#endif
}

// kRows × kColumns chains over the keys of a chunk. With kZeros, keys that weigh 0 are left out:
// adding their product would make +0 of -0, and a NaN of ∞.
template <size_t kRows, size_t kColumns, bool kZeros>
HWY_INLINE void ValueChains(const float* HWY_RESTRICT weights, size_t keys,
                            const float* HWY_RESTRICT v, int64_t v_pitch, float* HWY_RESTRICT out,
                            size_t out_pitch) {
  const Tag d;
  V o[kRows][kColumns];
  TORCHNOTARY_UNROLL
  for (size_t r = 0; r < kRows; ++r) {
    TORCHNOTARY_UNROLL
    for (size_t i = 0; i < kColumns; ++i) o[r][i] = hn::LoadU(d, out + r * out_pitch + i * kLanes);
  }
  for (size_t j = 0; j < keys; ++j, v += v_pitch) {
    V value[kColumns];
    TORCHNOTARY_UNROLL
    for (size_t i = 0; i < kColumns; ++i) value[i] = hn::LoadU(d, v + i * kLanes);
    TORCHNOTARY_UNROLL
    for (size_t r = 0; r < kRows; ++r) {
      const V w = hn::Set(d, weights[r * kKeyChunk + j]);
      TORCHNOTARY_UNROLL
      for (size_t i = 0; i < kColumns; ++i) {
        o[r][i] = kZeros ? AddUnlessZero(w, value[i], o[r][i]) : hn::MulAdd(w, value[i], o[r][i]);
      }
    }
  }
  TORCHNOTARY_UNROLL
  for (size_t r = 0; r < kRows; ++r) {
    TORCHNOTARY_UNROLL
    for (size_t i = 0; i < kColumns; ++i) hn::StoreU(o[r][i], d, out + r * out_pitch + i * kLanes);
  }
}

template <size_t kRows, bool kZeros>
HWY_INLINE void ValueColumns(const float* weights, size_t keys, const float* v, int64_t v_pitch,
                             size_t columns, float* out, size_t out_pitch) {
  size_t i = 0;
  for (; i + kVectors * kLanes <= columns; i += kVectors * kLanes) {
    ValueChains<kRows, kVectors, kZeros>(weights, keys, v + i, v_pitch, out + i, out_pitch);
  }
  if constexpr (kVectors > 2) {
    if (i + 2 * kLanes <= columns) {
      ValueChains<kRows, 2, kZeros>(weights, keys, v + i, v_pitch, out + i, out_pitch);
      i += 2 * kLanes;
    }
  }
  if (i < columns) {
    ValueChains<kRows, 1, kZeros>(weights, keys, v + i, v_pitch, out + i, out_pitch);
  }
}

// One past the last of `keys` keys that does not weigh 0 in all of kRows rows.
template <size_t kRows>
HWY_INLINE size_t EndOfWeights(const float* weights, size_t keys) {
  for (; keys > 0; --keys) {
    TORCHNOTARY_UNROLL
    for (size_t r = 0; r < kRows; ++r) {
      if (weights[r * kKeyChunk + keys - 1] != 0) return keys;
    }
  }
  return 0;
}

void Values(const float* weights, const uint8_t* states, size_t rows, size_t keys, const float* v,
            int64_t v_pitch, size_t columns, float* out, size_t out_pitch) {
  for (size_t r = 0; r < rows; r += kRowBlock) {
    WithRows(rows - r, [&](auto block) {
      const auto is = [&](ChunkWeights state) { return [state](uint8_t s) { return s == state; }; };
      const uint8_t* first = states + r;
      const float* w = weights + r * kKeyChunk;
      if (std::all_of(first, first + block, is(kAllZero))) return;
      if (std::all_of(first, first + block, is(kAllPositive))) {
        return ValueColumns<block, false>(w, keys, v, v_pitch, columns, out + r * out_pitch,
                                          out_pitch);
      }
      ValueColumns<block, true>(w, EndOfWeights<block>(w, keys), v, v_pitch, columns,
                                out + r * out_pitch, out_pitch);
    });
  }
}

HWY_INLINE V Quotient(const float* from, float sum) {
  const Tag d;
  const V o = hn::LoadU(d, from) / hn::Set(d, sum);
  return hn::IfThenElse(o == o, o, hn::Set(d, std::bit_cast<float>(kNan)));
}

void Divide(const float* from, float sum, float* to, size_t n) {
  const Tag d;
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) hn::StoreU(Quotient(from + i, sum), d, to + i);
  if (i == n) return;
  float last[kLanes] = {};
  std::copy(from + i, from + n, last);
  hn::StoreU(Quotient(last, sum), d, last);
  std::copy(last, last + (n - i), to + i);
}

void Absent(const uint8_t* mask, float* added, size_t n) {
  for (size_t j = 0; j < n; ++j) added[j] = mask[j] != 0 ? 0.0f : kAbsent;
}

PresentKeys Present(const float* added, size_t n) {
  const Tag d;
  PresentKeys keys;
  for (size_t j = 0; j < n; j += kLanes) {
    const auto present = hn::And(hn::LoadU(d, added + j) != hn::Set(d, kAbsent),
                                 hn::FirstN(d, std::min(n - j, kLanes)));
    const intptr_t first = hn::FindFirstTrue(d, present);
    if (first < 0) continue;
    if (keys.count == 0) keys.first = j + static_cast<size_t>(first);
    keys.count += hn::CountTrue(d, present);
    keys.end = std::min(n, j + kLanes);
  }
  while (keys.end > keys.first && added[keys.end - 1] == kAbsent) --keys.end;
  return keys;
}

}  // namespace attention

constexpr AttentionKernels kAttention = {attention::Scores, attention::Weights, attention::Values,
                                         attention::Divide, attention::Absent,  attention::Present,
                                         attention::kLanes};

}  // namespace HWY_NAMESPACE
}  // namespace torchnotary::exact
HWY_AFTER_NAMESPACE();

#endif
#endif  // per-target include guard
