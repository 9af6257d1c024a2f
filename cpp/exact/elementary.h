// The elementary functions of exact/1 over arrays: correctly rounded in binary32
// (docs/exact-profile.md, section 5).
#pragma once

#include <cstddef>

#include "hashing/cpu.h"

namespace torchnotary::exact {

// The name here, and that of the function on vectors in elementary-inl.h.
#define TORCHNOTARY_ELEMENTARY(F) \
  F(exp, Exp)                     \
  F(exp2, Exp2)                   \
  F(expm1, ExpM1)                 \
  F(log, Log)                     \
  F(log2, Log2)                   \
  F(log10, Log10)                 \
  F(log1p, Log1P)                 \
  F(sin, Sin)                     \
  F(cos, Cos)                     \
  F(tan, Tan)                     \
  F(sinh, Sinh)                   \
  F(cosh, Cosh)                   \
  F(tanh, Tanh)                   \
  F(erf, Erf)                     \
  F(erfc, Erfc)

// Writes the function of x[i] to y[i] for i < n; y may be x. The caller has set the environment
// (environment.h).
using ElementaryFunction = void (*)(const float* x, float* y, std::size_t n);

struct ElementaryKernels {
#define TORCHNOTARY_MEMBER(name, Name) ElementaryFunction name;
  TORCHNOTARY_ELEMENTARY(TORCHNOTARY_MEMBER)
#undef TORCHNOTARY_MEMBER
};

// The implementation for a path that this machine supports; all give the same bits.
const ElementaryKernels& elementary_kernels(CpuPath path);

// The plain C++ one.
extern const ElementaryKernels kElementaryPortable;

// The implementation for the path in use.
inline const ElementaryKernels& elementary_kernels() { return elementary_kernels(cpu_path()); }

}  // namespace torchnotary::exact
