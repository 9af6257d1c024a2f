// The powers of each CPU path, compiled from one source and looked up by path.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "exact/elementary_pow-inl.h"
#include "hwy/foreach_target.h"
//
#include "exact/elementary_pow-inl.h"

namespace torchnotary::exact {
namespace {

void pow_portable(const Powers& powers) {
  for (std::size_t i = 0; i < powers.n; ++i) {
    powers.z[i] = pow_one(powers.x[i * powers.x_step], powers.y[i * powers.y_step]);
  }
}

}  // namespace

PowFunction pow_kernel(CpuPath path) {
  switch (path) {
#if HWY_TARGETS & HWY_AVX3
    case CpuPath::avx512:
      return N_AVX3::PowArray;
#endif
#if HWY_TARGETS & HWY_AVX2
    case CpuPath::avx2:
      return N_AVX2::PowArray;
#endif
#if HWY_TARGETS & HWY_NEON
    case CpuPath::neon:
      return N_NEON::PowArray;
#endif
    default:
      return pow_portable;
  }
}

}  // namespace torchnotary::exact
