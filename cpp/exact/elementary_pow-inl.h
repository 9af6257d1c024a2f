// Powers on vectors, for each Highway target that includes this file: binary64 where it tells how
// to round, which is nearly everywhere, and pow_one() for the rest.
#if defined(TORCHNOTARY_EXACT_ELEMENTARY_POW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TORCHNOTARY_EXACT_ELEMENTARY_POW_INL_H_
#undef TORCHNOTARY_EXACT_ELEMENTARY_POW_INL_H_
#else
#define TORCHNOTARY_EXACT_ELEMENTARY_POW_INL_H_
#endif

#include <algorithm>

#include "exact/elementary-inl.h"
#include "exact/elementary_pow.h"

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

HWY_BEFORE_NAMESPACE();
namespace torchnotary::exact::HWY_NAMESPACE {

// The two ends of what x^y may be, rounded to binary32.
template <class D, class V>
HWY_INLINE void PowEnds(D half, V x, V y, V& low, V& high) {
  const hn::Rebind<double, D> wide;
  const auto power = PowLanes(wide, hn::PromoteTo(wide, x), hn::PromoteTo(wide, y));
  low = hn::DemoteTo(half, power * hn::Set(wide, 1 - kPowSlack));
  high = hn::DemoteTo(half, power * hn::Set(wide, 1 + kPowSlack));
}

// Writes the powers of one vector to z.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void PowVector(D d, V x, V y, float* z) {
  const hn::Half<D> half;
  hn::Vec<decltype(half)> low[2], high[2];
  PowEnds(half, hn::LowerHalf(half, x), hn::LowerHalf(half, y), low[0], high[0]);
  PowEnds(half, hn::UpperHalf(half, x), hn::UpperHalf(half, y), low[1], high[1]);
  const V result = hn::Combine(d, low[1], low[0]);
  const V infinity = hn::Set(d, HUGE_VALF);
  const auto usual = hn::And(hn::And(hn::Zero(d) < x, x < infinity), hn::Abs(y) < infinity);
  const auto decided = hn::And(usual, result == hn::Combine(d, high[1], high[0]));
  hn::Store(result, d, z);
  if (HWY_LIKELY(hn::AllTrue(d, decided))) return;
  constexpr size_t kLanes = hn::MaxLanes(D());
  alignas(64) float bases[kLanes], exponents[kLanes], is_decided[kLanes];
  hn::Store(x, d, bases);
  hn::Store(y, d, exponents);
  hn::Store(hn::IfThenElse(decided, hn::Set(d, 1.0f), hn::Zero(d)), d, is_decided);
  for (size_t i = 0; i < kLanes; ++i) {
    if (is_decided[i] == 0) z[i] = pow_one(bases[i], exponents[i]);
  }
}

// The last, incomplete vector is completed by ones.
inline void PowArray(const Powers& powers) {
  const hn::ScalableTag<float> d;
  constexpr size_t kLanes = hn::MaxLanes(d);
  alignas(64) float x[kLanes], y[kLanes], z[kLanes];
  for (size_t begin = 0; begin < powers.n; begin += kLanes) {
    const size_t count = std::min(kLanes, powers.n - begin);
    for (size_t i = 0; i < kLanes; ++i) {
      x[i] = i < count ? powers.x[(begin + i) * powers.x_step] : 1.0f;
      y[i] = i < count ? powers.y[(begin + i) * powers.y_step] : 1.0f;
    }
    PowVector(d, hn::Load(d, x), hn::Load(d, y), z);
    std::copy(z, z + count, powers.z + begin);
  }
}

}  // namespace torchnotary::exact::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
#endif  // per-target include guard
