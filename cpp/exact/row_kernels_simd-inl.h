// Sums, norms and softmax over rows, for each Highway target that includes this file.
#if defined(TORCHNOTARY_ROW_KERNELS_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TORCHNOTARY_ROW_KERNELS_SIMD_INL_H_
#undef TORCHNOTARY_ROW_KERNELS_SIMD_INL_H_
#else
#define TORCHNOTARY_ROW_KERNELS_SIMD_INL_H_
#endif

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>

#include "exact/elementary-inl.h"
#include "exact/lanes-inl.h"
#include "exact/row_kernels.h"
#include "exact/storage.h"
#include "hwy/highway.h"

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

HWY_BEFORE_NAMESPACE();
namespace torchnotary::exact {
namespace HWY_NAMESPACE {
namespace rows {
namespace hn = hwy::HWY_NAMESPACE;

using Tag = hn::ScalableTag<float>;
using V = hn::Vec<Tag>;
constexpr size_t kLanes = hn::MaxLanes(Tag());
constexpr size_t kLaneVectors = kSumLanes / kLanes;

HWY_INLINE V Canonical(V v) {
  return hn::IfThenElse(v == v, v, hn::Set(Tag(), std::bit_cast<float>(kNan)));
}

// The first n < kLanes elements, with zeros behind them. The vectors of x86 leave memory that is
// masked out alone.
HWY_INLINE V LoadFirst(const float* from, size_t n) {
  const Tag d;
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  return hn::MaskedLoad(hn::FirstN(d, n), d, from);
#else
  float padded[kLanes] = {};
  std::memcpy(padded, from, n * sizeof(float));
  return hn::LoadU(d, padded);
#endif
}

HWY_INLINE void StoreFirst(V v, float* to, size_t n) {
  const Tag d;
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3
  hn::BlendedStore(v, hn::FirstN(d, n), d, to);
#else
  float padded[kLanes];
  hn::StoreU(v, d, padded);
  std::memcpy(to, padded, n * sizeof(float));
#endif
}

// y = f(x, load) by vectors, where load(p) gives the elements of p beside those of x.
template <class F>
HWY_INLINE void Map(const float* x, float* y, size_t n, F f) {
  const Tag d;
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    const auto load = [&](const float* p) HWY_ATTR { return hn::LoadU(d, p + i); };
    hn::StoreU(f(load(x), load), d, y + i);
  }
  if (i == n) return;
  const auto load = [&](const float* p) HWY_ATTR { return LoadFirst(p + i, n - i); };
  StoreFirst(f(load(x), load), y + i, n - i);
}

template <LaneOp kOp>
HWY_INLINE V Taken(V lane, V x, V mean) {
  if constexpr (kOp == LaneOp::sum) return lane + x;
  if constexpr (kOp == LaneOp::product) return lane * x;
  const V d = x - mean;
  return hn::MulAdd(d, d, lane);
}

// Rows side by side, so that the chains of one row do not wait for themselves alone.
template <LaneOp kOp, size_t kRows>
HWY_INLINE void SumRows(const float* x, ptrdiff_t stride, size_t n, const float* means,
                        float* out) {
  const Tag d;
  const V neutral = hn::Set(d, kOp == LaneOp::product ? 1.0f : 0.0f);
  V lane[kRows][kLaneVectors], mean[kRows];
  TORCHNOTARY_UNROLL
  for (size_t r = 0; r < kRows; ++r) {
    mean[r] = hn::Set(d, means != nullptr ? means[r] : 0.0f);
    TORCHNOTARY_UNROLL
    for (size_t v = 0; v < kLaneVectors; ++v) lane[r][v] = neutral;
  }
  size_t i = 0;
  for (; i + kSumLanes <= n; i += kSumLanes) {
    TORCHNOTARY_UNROLL
    for (size_t r = 0; r < kRows; ++r) {
      const float* row = x + static_cast<ptrdiff_t>(r) * stride + i;
      TORCHNOTARY_UNROLL
      for (size_t v = 0; v < kLaneVectors; ++v) {
        lane[r][v] = Taken<kOp>(lane[r][v], hn::LoadU(d, row + v * kLanes), mean[r]);
      }
    }
  }
  TORCHNOTARY_UNROLL
  for (size_t r = 0; r < kRows; ++r) {
    if (i < n) {
      float padded[kSumLanes] = {};
      std::memcpy(padded, x + static_cast<ptrdiff_t>(r) * stride + i, (n - i) * sizeof(float));
      TORCHNOTARY_UNROLL
      for (size_t v = 0; v < kLaneVectors; ++v) {
        const auto inside = hn::FirstN(d, n - i > v * kLanes ? n - i - v * kLanes : 0);
        const V taken = Taken<kOp>(lane[r][v], hn::LoadU(d, padded + v * kLanes), mean[r]);
        lane[r][v] = hn::IfThenElse(inside, taken, lane[r][v]);
      }
    }
    if constexpr (kOp == LaneOp::product) {
      out[r] = ProductOfLanes(d, lane[r]);
    } else {
      out[r] = SumOfLanes(d, lane[r]);
    }
  }
}

template <LaneOp kOp>
void SumsOf(const float* x, ptrdiff_t stride, size_t rows, size_t n, const float* means,
            float* out) {
  constexpr size_t kTogether = 64 / kLanes >= 4 ? 4 : 2;
  size_t r = 0;
  for (; r + kTogether <= rows; r += kTogether) {
    SumRows<kOp, kTogether>(x + static_cast<ptrdiff_t>(r) * stride, stride, n,
                            means != nullptr ? means + r : nullptr, out + r);
  }
  for (; r < rows; ++r) {
    SumRows<kOp, 1>(x + static_cast<ptrdiff_t>(r) * stride, stride, n,
                    means != nullptr ? means + r : nullptr, out + r);
  }
}

void Sums(LaneOp op, const float* x, ptrdiff_t stride, size_t rows, size_t n, const float* means,
          float* out) {
  switch (op) {
    case LaneOp::sum:
      return SumsOf<LaneOp::sum>(x, stride, rows, n, means, out);
    case LaneOp::squares:
      return SumsOf<LaneOp::squares>(x, stride, rows, n, means, out);
    case LaneOp::product:
      return SumsOf<LaneOp::product>(x, stride, rows, n, means, out);
  }
}

template <LaneOp kOp>
void WideLanesOf(const float* x, size_t n, float mean, double (&lanes)[kSumLanes]) {
  const hn::ScalableTag<double> d;
  constexpr size_t kWide = hn::MaxLanes(hn::ScalableTag<double>());
  constexpr size_t kVectors = kSumLanes / kWide;
  const hn::Rebind<float, decltype(d)> narrow;
  const auto m = hn::Set(narrow, mean);
  hn::Vec<decltype(d)> lane[kVectors];
  TORCHNOTARY_UNROLL
  for (size_t v = 0; v < kVectors; ++v) lane[v] = hn::LoadU(d, lanes + v * kWide);
  const size_t whole = n - n % kSumLanes;
  for (size_t i = 0; i < whole; i += kSumLanes) {
    TORCHNOTARY_UNROLL
    for (size_t v = 0; v < kVectors; ++v) {
      const auto e = hn::LoadU(narrow, x + i + v * kWide);
      if constexpr (kOp == LaneOp::squares) {
        const auto difference = hn::PromoteTo(d, e - m);
        lane[v] = hn::MulAdd(difference, difference, lane[v]);
      } else if constexpr (kOp == LaneOp::sum) {
        lane[v] = lane[v] + hn::PromoteTo(d, e);
      } else {
        lane[v] = lane[v] * hn::PromoteTo(d, e);
      }
    }
  }
  TORCHNOTARY_UNROLL
  for (size_t v = 0; v < kVectors; ++v) hn::StoreU(lane[v], d, lanes + v * kWide);
  kRowPortable.wide_lanes(kOp, x + whole, n - whole, mean, lanes);
}

void WideLanes(LaneOp op, const float* x, size_t n, float mean, double (&lanes)[kSumLanes]) {
  switch (op) {
    case LaneOp::sum:
      return WideLanesOf<LaneOp::sum>(x, n, mean, lanes);
    case LaneOp::squares:
      return WideLanesOf<LaneOp::squares>(x, n, mean, lanes);
    case LaneOp::product:
      return WideLanesOf<LaneOp::product>(x, n, mean, lanes);
  }
}

// The maximum or minimum of n ≥ kTogether * kLanes numbers, a zero of either sign; NaN for a NaN.
// Highway's operators alone would give what the machine gives for these two.
template <bool kGreatest, size_t kTogether>
HWY_INLINE float FurthestNumber(const float* x, size_t n) {
  const Tag d;
  V most[kTogether];
  auto ordered = hn::FirstN(d, kLanes);
  TORCHNOTARY_UNROLL
  for (size_t v = 0; v < kTogether; ++v) most[v] = hn::LoadU(d, x + v * kLanes);
  for (size_t i = 0; i < n; i += kTogether * kLanes) {
    // The last ones once more rather than a partial vector.
    const float* at = x + std::min(i, n - kTogether * kLanes);
    TORCHNOTARY_UNROLL
    for (size_t v = 0; v < kTogether; ++v) {
      const V e = hn::LoadU(d, at + v * kLanes);
      ordered = hn::And(ordered, e == e);
      most[v] = kGreatest ? hn::Max(most[v], e) : hn::Min(most[v], e);
    }
  }
  if (!hn::AllTrue(d, ordered)) return std::numeric_limits<float>::quiet_NaN();
  for (size_t v = 1; v < kTogether; ++v) {
    most[0] = kGreatest ? hn::Max(most[0], most[v]) : hn::Min(most[0], most[v]);
  }
  return hn::GetLane(kGreatest ? hn::MaxOfLanes(d, most[0]) : hn::MinOfLanes(d, most[0]));
}

template <bool kGreatest>
float Furthest(const float* x, size_t n) {
  const auto slow = kGreatest ? kRowPortable.greatest : kRowPortable.least;
  if (n < kLanes) return slow(x, n);
  const float number =
      n < 4 * kLanes ? FurthestNumber<kGreatest, 1>(x, n) : FurthestNumber<kGreatest, 4>(x, n);
  return number == 0 ? slow(x, n) : number;  // which zero?
}

float Greatest(const float* x, size_t n) { return Furthest<true>(x, n); }
float Least(const float* x, size_t n) { return Furthest<false>(x, n); }

void Exponentials(const float* x, float m, float* y, size_t n) {
  const V most = hn::Set(Tag(), m);
  Map(x, y, n, [&](V v, auto) HWY_ATTR { return Exp(Tag(), v - most); });
}

void Divide(float* y, float divisor, size_t n) {
  const V by = hn::Set(Tag(), divisor);
  Map(y, y, n, [&](V v, auto) HWY_ATTR { return Canonical(v / by); });
}

void Subtract(const float* x, float m, float l, float* y, size_t n) {
  const V first = hn::Set(Tag(), m), second = hn::Set(Tag(), l);
  Map(x, y, n, [&](V v, auto) HWY_ATTR { return Canonical((v - first) - second); });
}

template <bool kWeight, bool kBias, bool kOneParameter>
void NormaliseBy(const float* x, const Normalisation& how, float* y, size_t n) {
  const Tag d;
  const V mean = hn::Set(d, how.mean), factor = hn::Set(d, how.factor);
  Map(x, y, n, [&](V v, auto load) HWY_ATTR {
    const auto parameter = [&](const float* p) HWY_ATTR {
      if constexpr (kOneParameter) {
        return hn::Set(d, *p);
      } else {
        return load(p);
      }
    };
    v = (v - mean) * factor;
    if constexpr (kWeight && kBias) {
      v = hn::MulAdd(v, parameter(how.weight), parameter(how.bias));
    } else if constexpr (kWeight) {
      v = v * parameter(how.weight);
    } else if constexpr (kBias) {
      v = v + parameter(how.bias);
    }
    return Canonical(v);
  });
}

template <bool kOneParameter>
void NormaliseWith(const float* x, const Normalisation& how, float* y, size_t n) {
  if (how.weight != nullptr && how.bias != nullptr) {
    NormaliseBy<true, true, kOneParameter>(x, how, y, n);
  } else if (how.weight != nullptr) {
    NormaliseBy<true, false, kOneParameter>(x, how, y, n);
  } else if (how.bias != nullptr) {
    NormaliseBy<false, true, kOneParameter>(x, how, y, n);
  } else {
    NormaliseBy<false, false, kOneParameter>(x, how, y, n);
  }
}

void Normalise(const float* x, const Normalisation& how, float* y, size_t n) {
  how.one_parameter ? NormaliseWith<true>(x, how, y, n) : NormaliseWith<false>(x, how, y, n);
}

void NormaliseEach(const float* x, const float* means, const float* weights, const float* biases,
                   float* y, size_t n) {
  Map(x, y, n, [&](V v, auto load) HWY_ATTR {
    const V d = v - load(means), weight = load(weights);
    return Canonical(biases != nullptr ? hn::MulAdd(d, weight, load(biases)) : d * weight);
  });
}

}  // namespace rows

constexpr RowKernels kRows = {rows::Sums,     rows::WideLanes,    rows::Greatest,
                              rows::Least,    rows::Exponentials, rows::Divide,
                              rows::Subtract, rows::Normalise,    rows::NormaliseEach};

}  // namespace HWY_NAMESPACE
}  // namespace torchnotary::exact
HWY_AFTER_NAMESPACE();

#endif
#endif  // per-target include guard
