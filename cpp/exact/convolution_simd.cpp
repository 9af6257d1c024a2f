// The kernels of convolutions of each CPU path, compiled from one source and looked up by path.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "exact/convolution_simd-inl.h"
#include "hwy/foreach_target.h"
//
#include "exact/convolution_simd-inl.h"

namespace torchnotary::exact {

const ConvolutionKernels& convolution_kernels(CpuPath path) {
  switch (path) {
#if HWY_TARGETS & HWY_AVX3
    case CpuPath::avx512:
      return N_AVX3::kConvolution;
#endif
#if HWY_TARGETS & HWY_AVX2
    case CpuPath::avx2:
      return N_AVX2::kConvolution;
#endif
#if HWY_TARGETS & HWY_NEON
    case CpuPath::neon:
      return N_NEON::kConvolution;
#endif
    default:
      return kConvolutionPortable;
  }
}

}  // namespace torchnotary::exact
