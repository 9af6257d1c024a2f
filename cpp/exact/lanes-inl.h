// The sixteen lanes of a sum in vectors, for each Highway target that includes this file.
#if defined(TORCHNOTARY_EXACT_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TORCHNOTARY_EXACT_LANES_INL_H_
#undef TORCHNOTARY_EXACT_LANES_INL_H_
#else
#define TORCHNOTARY_EXACT_LANES_INL_H_
#endif

#include "exact/lanes.h"
#include "hwy/highway.h"

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

HWY_BEFORE_NAMESPACE();
namespace torchnotary::exact {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// GCC keeps an array of vectors in registers only if the loops over it are unrolled early.
#undef TORCHNOTARY_UNROLL
#define TORCHNOTARY_UNROLL _Pragma("GCC unroll 16")

// v[l] + v[l + n / 2] for the lower half of the lanes, and so on to one.
template <class D, class V = hn::Vec<D>>
HWY_INLINE hn::TFromD<D> SumOfHalves(D d, V v) {
  if constexpr (hn::MaxLanes(D()) == 1) {
    return hn::GetLane(v);
  } else {
    const hn::Half<D> half;
    return SumOfHalves(half, hn::LowerHalf(half, v) + hn::UpperHalf(half, v));
  }
}

// sum_of_lanes of the sixteen lanes that lie in vectors.
template <class D, size_t kCount, class V = hn::Vec<D>>
HWY_INLINE hn::TFromD<D> SumOfLanes(D d, const V (&v)[kCount]) {
  if constexpr (kCount == 1) {
    return SumOfHalves(d, v[0]);
  } else {
    V half[kCount / 2];
    TORCHNOTARY_UNROLL
    for (size_t i = 0; i < kCount / 2; ++i) half[i] = v[i] + v[i + kCount / 2];
    return SumOfLanes(d, half);
  }
}

template <class D, size_t kCount, class V = hn::Vec<D>>
HWY_INLINE hn::TFromD<D> ProductOfLanes(D d, const V (&v)[kCount]) {
  hn::TFromD<D> lanes[kSumLanes];
  for (size_t i = 0; i < kCount; ++i) hn::StoreU(v[i], d, lanes + i * hn::MaxLanes(D()));
  return product_of_lanes(lanes);
}

}  // namespace HWY_NAMESPACE
}  // namespace torchnotary::exact
HWY_AFTER_NAMESPACE();

#endif
#endif  // per-target include guard
