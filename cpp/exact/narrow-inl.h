// Vectors of narrow formats, widened exactly and narrowed by one rounding as storage.h does, for
// each Highway target that includes this file.
#if defined(TORCHNOTARY_NARROW_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TORCHNOTARY_NARROW_INL_H_
#undef TORCHNOTARY_NARROW_INL_H_
#else
#define TORCHNOTARY_NARROW_INL_H_
#endif

#include <bit>

#include "exact/storage.h"
#include "hwy/highway.h"

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

HWY_BEFORE_NAMESPACE();
namespace torchnotary::exact {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class D, class V = hn::Vec<D>>
HWY_INLINE V WidenBfloat16(D d, const uint16_t* from) {
  const hn::RebindToUnsigned<D> du;
  const hn::Rebind<uint16_t, D> half;
  return hn::BitCast(d, hn::ShiftLeft<16>(hn::PromoteTo(du, hn::LoadU(half, from))));
}

// A signalling NaN becomes quiet: the results of operators have no payloads anyway.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V WidenFloat16(D d, const uint16_t* from) {
  const hn::Rebind<uint16_t, D> half;
  const hn::Rebind<hwy::float16_t, D> dh;
  return hn::PromoteTo(d, hn::BitCast(dh, hn::LoadU(half, from)));
}

template <class D, class V = hn::Vec<D>>
HWY_INLINE void NarrowBfloat16(D d, V v, uint16_t* to) {
  const hn::RebindToUnsigned<D> du;
  const hn::RebindToSigned<D> di;
  const hn::Rebind<uint16_t, D> half;
  const auto bits = hn::BitCast(du, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1));
  const auto rounded = hn::BitCast(d, bits + (odd + hn::Set(du, 0x7fff)));
  const V result = hn::IfThenElse(v == v, rounded, hn::Set(d, std::bit_cast<float>(kNan)));
  hn::StoreU(hn::DemoteTo(half, hn::BitCast(di, hn::ShiftRight<16>(hn::BitCast(du, result)))), half,
             to);
}

// The machines' own conversions round to nearest even, keep denormals whatever the environment, and
// turn the canonical NaN into the canonical NaN.
template <class D, class V = hn::Vec<D>>
HWY_INLINE void NarrowFloat16(D d, V v, uint16_t* to) {
  const hn::Rebind<uint16_t, D> half;
  const hn::Rebind<hwy::float16_t, D> dh;
  const V result = hn::IfThenElse(v == v, v, hn::Set(d, std::bit_cast<float>(kNan)));
  hn::StoreU(hn::BitCast(half, hn::DemoteTo(dh, result)), half, to);
}

}  // namespace HWY_NAMESPACE
}  // namespace torchnotary::exact
HWY_AFTER_NAMESPACE();

#endif
#endif
