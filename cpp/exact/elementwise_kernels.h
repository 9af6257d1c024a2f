// The one interface that every CPU path of the element-by-element operators implements.
#pragma once

#include <cstddef>
#include <cstdint>

#include "exact/elementwise.h"
#include "hashing/cpu.h"

namespace torchnotary::exact {

inline constexpr std::size_t kArithmeticOps = static_cast<std::size_t>(ElementOp::neg);

// out[i] = op(x[i], y[i], z[i]) for n elements; out may be one of the inputs. Reads of inputs that
// the operator lacks do not happen.
using ArithmeticKernel = void (*)(const float* const inputs[3], float* out, std::size_t n,
                                  const float* scalars);

struct ElementwiseKernels {
  const ArithmeticKernel* arithmetic;  // kArithmeticOps of them, by ElementOp
  void (*widen_bfloat16)(const std::uint16_t* in, float* out, std::size_t n);
  void (*widen_float16)(const std::uint16_t* in, float* out, std::size_t n);
  void (*narrow_bfloat16)(const float* in, std::uint16_t* out, std::size_t n);
  void (*narrow_float16)(const float* in, std::uint16_t* out, std::size_t n);
};

// The implementation for a path that this machine supports.
const ElementwiseKernels& elementwise_kernels(CpuPath path);

// The plain C++ one, which stands beside every vector path.
extern const ElementwiseKernels kElementwisePortable;

// The implementation for the path in use.
inline const ElementwiseKernels& elementwise_kernels() { return elementwise_kernels(cpu_path()); }

}  // namespace torchnotary::exact
