// The elementary functions on vectors of binary32, for each Highway target that includes this file:
// Exp(d, x), Log(d, x), Sin(d, x), Tanh(d, x), Erf(d, x) … give the correctly rounded function of
// every lane, the canonical NaN for a NaN, and docs/exact-profile.md's values for other special
// arguments. x has at least two lanes. The environment is the caller's to set (environment.h).
#if defined(TORCHNOTARY_EXACT_ELEMENTARY_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TORCHNOTARY_EXACT_ELEMENTARY_INL_H_
#undef TORCHNOTARY_EXACT_ELEMENTARY_INL_H_
#else
#define TORCHNOTARY_EXACT_ELEMENTARY_INL_H_
#endif

#include <bit>
#include <cmath>

#include "exact/elementary_coefficients.h"
#include "exact/elementary_exceptions.h"
#include "exact/elementary_large.h"
#include "exact/storage.h"
#include "hwy/highway.h"

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

HWY_BEFORE_NAMESPACE();
namespace torchnotary::exact::HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class D, class Rule, class V = hn::Vec<D>>
HWY_INLINE V Widened(D d, V x, Rule rule) {
  const hn::Half<D> half;
  const hn::Rebind<double, decltype(half)> wide;
  const auto low = rule(wide, hn::PromoteTo(wide, hn::LowerHalf(half, x)));
  const auto high = rule(wide, hn::PromoteTo(wide, hn::UpperHalf(half, x)));
  return hn::Combine(d, hn::DemoteTo(half, high), hn::DemoteTo(half, low));
}

#include "exact/elementary_rules-inl.h"
//
#include "exact/elementary_functions-inl.h"

}  // namespace torchnotary::exact::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
#endif  // per-target include guard
