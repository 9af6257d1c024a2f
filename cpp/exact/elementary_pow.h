// x^y of exact/1: correctly rounded in binary32 (docs/exact-profile.md, section 5).
#pragma once

#include <cstddef>

#include "hashing/cpu.h"

namespace torchnotary::exact {

// z[i] = x[i * x_step]^y[i * y_step] for i < n, the steps 0 or 1: one base or one exponent for all.
// z may be x or y where their step is 1. The special exponents of torch's pow (0, 1, 2, 3, ½ …) are
// the caller's. The caller has set the environment (environment.h).
struct Powers {
  const float* x;
  std::size_t x_step;
  const float* y;
  std::size_t y_step;
  float* z;
  std::size_t n;
};
using PowFunction = void (*)(const Powers& powers);

// The implementation for a path that this machine supports; all give the same bits.
PowFunction pow_kernel(CpuPath path);

// One power, of any arguments. Raises NotaryError where 130 bits after the rounding position do not
// tell how to round, which no arguments are known to need.
float pow_one(float x, float y);

}  // namespace torchnotary::exact
