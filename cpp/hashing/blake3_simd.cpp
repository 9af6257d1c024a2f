// The BLAKE3 kernels of each CPU path, compiled from one source and looked up by path.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hashing/blake3_simd-inl.h"
#include "hwy/foreach_target.h"
//
#include "hashing/blake3_simd-inl.h"

namespace torchnotary {

const Blake3Kernels& blake3_kernels(CpuPath path) {
  switch (path) {
#if HWY_TARGETS & HWY_AVX3
    case CpuPath::avx512:
      return N_AVX3::kKernels;
#endif
#if HWY_TARGETS & HWY_AVX2
    case CpuPath::avx2:
      return N_AVX2::kKernels;
#endif
#if HWY_TARGETS & HWY_NEON
    case CpuPath::neon:
      return N_NEON::kKernels;
#endif
    default:
      return kBlake3Portable;
  }
}

}  // namespace torchnotary
