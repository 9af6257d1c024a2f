// Elements of any type to binary32 and back (docs/exact-profile.md, section 1), and ranges
// (section 11).
#pragma once

#include <cstddef>
#include <cstdint>

#include "exact/element.h"
#include "hashing/parallel.h"

namespace torchnotary::exact {

// out[i] = in[i] for n adjacent elements, integers by one rounding.
void widen(const void* in, Element element, float* out, std::size_t n);

// out[i] = in[i] for n adjacent elements, rounded once; booleans are "≠ 0". The element type is
// floating or boolean.
void narrow(const float* in, Element element, void* out, std::size_t n);

// A strided tensor to an integer type, by truncation; beyond the type's range to the nearest end of
// it, and a NaN to 0.
void truncate(const Input& in, const Output& out, ParallelFor parallel);

// out[i] = start + i × step in binary64, rounded once to the output's storage; out has one axis.
void arange(double start, double step, const Output& out, ParallelFor parallel);

}  // namespace torchnotary::exact
