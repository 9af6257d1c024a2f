// The element-by-element operators for each Highway target that includes this file.
#if defined(TORCHNOTARY_ELEMENTWISE_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TORCHNOTARY_ELEMENTWISE_SIMD_INL_H_
#undef TORCHNOTARY_ELEMENTWISE_SIMD_INL_H_
#else
#define TORCHNOTARY_ELEMENTWISE_SIMD_INL_H_
#endif

#include <algorithm>
#include <bit>
#include <limits>

#include "exact/division.h"
#include "exact/elementary-inl.h"
#include "exact/elementwise_kernels.h"
#include "exact/narrow-inl.h"
#include "exact/storage.h"
#include "hwy/highway.h"

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

HWY_BEFORE_NAMESPACE();
namespace torchnotary::exact {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using FloatTag = hn::ScalableTag<float>;
constexpr size_t kFloatLanes = hn::MaxLanes(FloatTag());
#include "exact/elementwise_ops-inl.h"

void WidenBfloat16s(const uint16_t* in, float* out, size_t n) {
  const FloatTag d;
  size_t i = 0;
  for (; i + kFloatLanes <= n; i += kFloatLanes) hn::StoreU(WidenBfloat16(d, in + i), d, out + i);
  for (; i < n; ++i) out[i] = widen_bfloat16(in[i]);
}

void WidenFloat16s(const uint16_t* in, float* out, size_t n) {
  const FloatTag d;
  size_t i = 0;
  for (; i + kFloatLanes <= n; i += kFloatLanes) hn::StoreU(WidenFloat16(d, in + i), d, out + i);
  for (; i < n; ++i) out[i] = widen_float16(in[i]);
}

void NarrowBfloat16s(const float* in, uint16_t* out, size_t n) {
  const FloatTag d;
  size_t i = 0;
  for (; i + kFloatLanes <= n; i += kFloatLanes) NarrowBfloat16(d, hn::LoadU(d, in + i), out + i);
  for (; i < n; ++i) out[i] = narrow_bfloat16(in[i]);
}

void NarrowFloat16s(const float* in, uint16_t* out, size_t n) {
  const FloatTag d;
  size_t i = 0;
  for (; i + kFloatLanes <= n; i += kFloatLanes) NarrowFloat16(d, hn::LoadU(d, in + i), out + i);
  for (; i < n; ++i) out[i] = narrow_float16(in[i]);
}

constexpr ElementwiseKernels kElementwise = {
    kArithmetic, &WidenBfloat16s, &WidenFloat16s, &NarrowBfloat16s, &NarrowFloat16s,
};

}  // namespace HWY_NAMESPACE
}  // namespace torchnotary::exact
HWY_AFTER_NAMESPACE();

#endif
#endif
