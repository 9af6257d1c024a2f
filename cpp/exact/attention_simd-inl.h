// Attention's kernels for each Highway target that includes this file.
#if defined(TORCHNOTARY_ATTENTION_SIMD_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TORCHNOTARY_ATTENTION_SIMD_INL_H_
#undef TORCHNOTARY_ATTENTION_SIMD_INL_H_
#else
#define TORCHNOTARY_ATTENTION_SIMD_INL_H_
#endif

#include "exact/attention_kernels.h"
#include "exact/attention_products-inl.h"
#include "exact/attention_weights-inl.h"
#include "hwy/highway.h"

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

HWY_BEFORE_NAMESPACE();
namespace torchnotary::exact {
namespace HWY_NAMESPACE {
constexpr AttentionKernels kAttention = {attention::Scores, attention::Weights, attention::Values,
                                         attention::Divide, attention::Absent,  attention::Present,
                                         attention::kLanes};

}  // namespace HWY_NAMESPACE
}  // namespace torchnotary::exact
HWY_AFTER_NAMESPACE();

#endif
#endif  // per-target include guard
