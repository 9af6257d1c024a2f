// Maxima and averages over windows of one to three axes (docs/exact-profile.md, section 10).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "exact/element.h"
#include "hashing/parallel.h"

namespace torchnotary::exact {

// One axis: its windows, of which `out` says how many there are (torch's ceil_mode shows in nothing
// else). Adaptive windows need `in` and `out` only.
struct PoolAxis {
  std::size_t in = 1, out = 1, kernel = 1, stride = 1, padding = 0, dilation = 1;
  bool adaptive = false;
};

// Planes of (depth, rows, columns). Pooling over fewer axes leaves the first ones as they are: 1.
using PoolAxes = std::array<PoolAxis, 3>;

// The input is (planes, in, in, in) and the output (planes, out, out, out), contiguous or not, with
// all leading axes as one or more.
//
// `indices`, if not null, gets for each result, contiguously, the place of the first of the
// greatest elements within its plane: a NaN is greatest, −0 equals +0.
void max_pool(const PoolAxes& axes, const Input& input, const Output& output, std::int64_t* indices,
              ParallelFor parallel);

enum class AverageOver {
  elements,  // those inside the input
  padded,    // and those in the padding (count_include_pad)
};

// `divisor`, if not 0, is divided by in place of the count (divisor_override).
void average_pool(const PoolAxes& axes, const Input& input, const Output& output, AverageOver over,
                  std::int64_t divisor, ParallelFor parallel);

}  // namespace torchnotary::exact
