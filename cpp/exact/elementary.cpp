// The elementary functions of each CPU path, compiled from one source and looked up by path.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "exact/elementary_arrays-inl.h"
#include "hwy/foreach_target.h"
//
#include "exact/elementary_arrays-inl.h"

namespace torchnotary::exact {

const ElementaryKernels& elementary_kernels(CpuPath path) {
  switch (path) {
#if HWY_TARGETS & HWY_AVX3
    case CpuPath::avx512:
      return N_AVX3::kElementary;
#endif
#if HWY_TARGETS & HWY_AVX2
    case CpuPath::avx2:
      return N_AVX2::kElementary;
#endif
#if HWY_TARGETS & HWY_NEON
    case CpuPath::neon:
      return N_NEON::kElementary;
#endif
    default:
      return kElementaryPortable;
  }
}

}  // namespace torchnotary::exact
