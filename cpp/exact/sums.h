// Sums, and what is made of them, over any axes (docs/exact-profile.md, section 7).
#pragma once

#include <cstddef>
#include <span>

#include "exact/element.h"
#include "hashing/parallel.h"

namespace torchnotary::exact {

enum class Reduction : std::uint8_t {
  sum,
  nansum,
  mean,
  variance,
  standard_deviation,
  product,
  greatest,  // amax
  least,     // amin
  norm_1,
  norm_2,
  norm_infinity,
  logsumexp,
};

// Over the axes `axes` of x, in row-major order. y is floating and has the other axes, with or
// without the reduced ones as axes of size 1. Only variance and standard_deviation have a
// correction. Raises NotaryError for the greatest or least of nothing.
void reduce(Reduction reduction, const Input& x, std::span<const std::size_t> axes, const Output& y,
            double correction, ParallelFor parallel = kSerial);

// y[i] = y[i - 1] + x[i] along one axis. Both have the same sizes; they may be the same memory.
void cumsum(const Input& x, const Output& y, std::size_t axis, ParallelFor parallel = kSerial);
// The same with × in place of +.
void cumprod(const Input& x, const Output& y, std::size_t axis, ParallelFor parallel = kSerial);

}  // namespace torchnotary::exact
