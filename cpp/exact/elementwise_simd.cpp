// The element-by-element operators of each CPU path, compiled from one source and looked up by
// path.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "exact/elementwise_simd-inl.h"
#include "hwy/foreach_target.h"
//
#include "exact/elementwise_simd-inl.h"

namespace torchnotary::exact {

const ElementwiseKernels& elementwise_kernels(CpuPath path) {
  switch (path) {
#if HWY_TARGETS & HWY_AVX3
    case CpuPath::avx512:
      return N_AVX3::kElementwise;
#endif
#if HWY_TARGETS & HWY_AVX2
    case CpuPath::avx2:
      return N_AVX2::kElementwise;
#endif
#if HWY_TARGETS & HWY_NEON
    case CpuPath::neon:
      return N_NEON::kElementwise;
#endif
    default:
      return kElementwisePortable;
  }
}

}  // namespace torchnotary::exact
