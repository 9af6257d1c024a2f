// softmax and log_softmax (docs/exact-profile.md, section 7).
#pragma once

#include <cstddef>

#include "exact/element.h"
#include "hashing/parallel.h"

namespace torchnotary::exact {

// Along one axis. Both are floating and have the same sizes; they may be the same memory. An axis
// past the last one stands for that of a scalar.
void softmax(const Input& x, const Output& y, std::size_t axis, ParallelFor parallel = kSerial);
void log_softmax(const Input& x, const Output& y, std::size_t axis, ParallelFor parallel = kSerial);

}  // namespace torchnotary::exact
