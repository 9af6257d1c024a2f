// Attention's masks, and its weights from scores, for each Highway target that includes this file.
#if defined(TORCHNOTARY_ATTENTION_WEIGHTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TORCHNOTARY_ATTENTION_WEIGHTS_INL_H_
#undef TORCHNOTARY_ATTENTION_WEIGHTS_INL_H_
#else
#define TORCHNOTARY_ATTENTION_WEIGHTS_INL_H_
#endif

#include <algorithm>
#include <limits>

#include "exact/attention_kernels.h"
#include "exact/attention_products-inl.h"
#include "exact/elementary-inl.h"
#include "exact/lanes-inl.h"
#include "hwy/highway.h"

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

HWY_BEFORE_NAMESPACE();
namespace torchnotary::exact {
namespace HWY_NAMESPACE {
namespace attention {

constexpr size_t kChunkVectors = kKeyChunk / kLanes;
constexpr float kAbsent = -std::numeric_limits<float>::infinity();

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
}  // namespace HWY_NAMESPACE
}  // namespace torchnotary::exact
HWY_AFTER_NAMESPACE();

#endif
#endif  // per-target include guard
