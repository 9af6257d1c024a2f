// Operators that compute each element of the result from one element of each operand
// (docs/exact-profile.md, sections 1, 5, 6), broadcast as torch broadcasts.
#pragma once

#include <array>
#include <cstdint>
#include <span>

#include "exact/element.h"
#include "exact/elementary.h"
#include "hashing/parallel.h"

namespace torchnotary::exact {

// The operators, beside the elementary functions of elementary.h: name, number of inputs x, y, z;
// scalars s0, s1, s2 are told beside. A number that stands in a tensor's place (`x + 2`, a bound of
// clamp) is an Input without axes.
//
// Conversions are `identity`: between floating types, from integers, to booleans.
#define TORCHNOTARY_ELEMENT_OPS(OP)                                                    \
  OP(identity, 1)                                                                      \
  OP(add, 2) /* s0 = alpha */                                                          \
  OP(sub, 2) /* s0 = alpha */                                                          \
  OP(mul, 2)                                                                           \
  OP(div, 2)                                                                           \
  OP(trunc_divide, 2) /* div with a rounding mode */                                   \
  OP(floor_divide, 2)                                                                  \
  OP(fmod, 2)                                                                          \
  OP(remainder, 2)                                                                     \
  OP(addcmul, 3) /* s0 = value */                                                      \
  OP(addcdiv, 3) /* s0 = value */                                                      \
  OP(lerp, 3)    /* z is the weight */                                                 \
  OP(sqrt, 1)                                                                          \
  OP(reciprocal, 1)                                                                    \
  OP(rsqrt, 1)                                                                         \
  OP(square, 1)                                                                        \
  OP(one, 1) /* x to the power of 0; see pow_op() */                                   \
  OP(cube, 1)                                                                          \
  OP(root, 1) /* to the power of 1/2: not quite sqrt */                                \
  OP(reciprocal_root, 1)                                                               \
  OP(reciprocal_square, 1)                                                             \
  OP(maximum, 2) /* clamp with one bound, too */                                       \
  OP(minimum, 2)                                                                       \
  OP(fmax, 2)                                                                          \
  OP(fmin, 2)                                                                          \
  OP(clamp, 3) /* y, z = bounds */                                                     \
  OP(relu, 1)                                                                          \
  OP(relu6, 1)                                                                         \
  OP(hardtanh, 1)   /* s0, s1 = bounds */                                              \
  OP(leaky_relu, 1) /* s0 = slope */                                                   \
  OP(hardsigmoid, 1)                                                                   \
  OP(hardswish, 1)                                                                     \
  OP(softsign, 1)                                                                      \
  OP(threshold, 1)  /* s0 = threshold, s1 = value */                                   \
  OP(hardshrink, 1) /* s0 = λ */                                                      \
  OP(softshrink, 1) /* s0 = λ */                                                      \
  OP(nan_to_num, 1) /* s0, s1, s2 = what NaN, +∞ and −∞ become */                \
  OP(floor, 1)                                                                         \
  OP(ceil, 1)                                                                          \
  OP(round, 1)                                                                         \
  OP(trunc, 1)                                                                         \
  OP(frac, 1)                                                                          \
  OP(sign, 1)                                                                          \
  OP(eq, 2) /* from here to logical_xor: booleans, 0 or 1 */                           \
  OP(ne, 2)                                                                            \
  OP(lt, 2)                                                                            \
  OP(le, 2)                                                                            \
  OP(gt, 2)                                                                            \
  OP(ge, 2)                                                                            \
  OP(isnan, 1)                                                                         \
  OP(isinf, 1)                                                                         \
  OP(isfinite, 1)                                                                      \
  OP(logical_not, 1)                                                                   \
  OP(logical_and, 2)                                                                   \
  OP(logical_or, 2)                                                                    \
  OP(logical_xor, 2)                                                                   \
  OP(elu, 1) /* s0 = scale, s1 = input_scale, s2 = α·scale, a product in binary64 */ \
  OP(sigmoid, 1)                                                                       \
  OP(silu, 1)                                                                          \
  OP(log_sigmoid, 1)                                                                   \
  OP(softplus, 1) /* s0 = β, s1 = threshold */                                        \
  OP(mish, 1)                                                                          \
  OP(gelu, 1)      /* approximate="none" */                                            \
  OP(gelu_tanh, 1) /* approximate="tanh" */

// Those that move bits: a NaN keeps its payload where the input has the output's type.
#define TORCHNOTARY_MOVING_OPS(OP) \
  OP(neg, 1)                       \
  OP(abs, 1)                       \
  OP(copysign, 2)                  \
  OP(where, 3) /* x is the condition; masked_fill(a, m, v) is where(m, v, a) */

enum class ElementOp : std::uint8_t {
#define OP(name, rest) name,
  TORCHNOTARY_ELEMENT_OPS(OP) TORCHNOTARY_ELEMENTARY(OP) TORCHNOTARY_MOVING_OPS(OP)
#undef OP
      pow,  // 2 inputs: correctly rounded, for all exponents that are none of pow_op()'s
};

// How many inputs the operator takes, 1 to 3.
std::size_t input_count(ElementOp op);

// The operator of pow(x, exponent) for a number as the exponent: the product or root that section 5
// writes, of one input, or else `pow`.
ElementOp pow_op(float exponent);

// s0, s1, s2 of the operator, each rounded once to binary32.
using Scalars = std::array<float, 3>;

// out = op(inputs). The inputs' sizes must broadcast to out's. An input may be the very memory of
// the output, but must not overlap it otherwise.
//
// Integers and booleans are read as binary32, by one rounding (section 1); the result is written as
// out.element: float32, bfloat16, float16, or boolean, which is "≠ 0".
void elementwise(ElementOp op, std::span<const Input> inputs, const Scalars& scalars,
                 const Output& out, ParallelFor parallel);

}  // namespace torchnotary::exact
