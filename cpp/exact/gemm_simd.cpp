// The kernels of matrix products of each CPU path, compiled from one source and looked up by path.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "exact/gemm_simd-inl.h"
#include "hwy/foreach_target.h"
//
#include "exact/gemm_simd-inl.h"

namespace torchnotary::exact {

const GemmKernels& gemm_kernels(CpuPath path) {
  switch (path) {
#if HWY_TARGETS & HWY_AVX3
    case CpuPath::avx512:
      return N_AVX3::kGemm;
#endif
#if HWY_TARGETS & HWY_AVX2
    case CpuPath::avx2:
      return N_AVX2::kGemm;
#endif
#if HWY_TARGETS & HWY_NEON
    case CpuPath::neon:
      return N_NEON::kGemm;
#endif
    default:
      return kGemmPortable;
  }
}

}  // namespace torchnotary::exact
