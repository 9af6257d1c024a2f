// argmax, sort and their kin (docs/exact-profile.md, section 7, "Order"): a NaN is greater than
// every number, -0 equals +0, and of equal elements the lower index comes first.
#pragma once

#include <cstddef>

#include "exact/element.h"
#include "hashing/parallel.h"

namespace torchnotary::exact {

// All are along one axis of x, of any element type. Values are elements of x, bit for bit, of x's
// type; indices are int64. Where a result's data is null it is not written.

// The first of the greatest or least; of elements among which is a NaN, the first NaN. Results have
// x's sizes, but 1 along the axis. The axis has elements, or NotaryError is raised.
void extreme(bool greatest, const Input& x, std::size_t axis, const Output& values,
             const Output& indices, ParallelFor parallel = kSerial);

// All elements in order, or as many as the results have along the axis: the first ones.
void sort(bool descending, const Input& x, std::size_t axis, const Output& values,
          const Output& indices, ParallelFor parallel = kSerial);

}  // namespace torchnotary::exact
