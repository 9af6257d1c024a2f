// Drawing a token from probabilities (docs/exact-profile.md, section 11).
#pragma once

#include <cstddef>
#include <cstdint>

#include "exact/element.h"

namespace torchnotary::exact {

// The first 32-bit word of Philox4x32-10 (Salmon, Moraes, Dror, Shaw, "Parallel random numbers: as
// easy as 1, 2, 3", SC11), with the key (seed low, seed high) and the counter (position low,
// position high, sequence low, sequence high).
std::uint32_t philox(std::uint64_t seed, std::uint64_t position, std::uint64_t sequence);

// The token that n probabilities, not necessarily of sum 1, and that word choose; -1 where no sum
// exceeds the drawn part of the last one: where it is +0 or a NaN.
std::int64_t sample(const void* probabilities, Element element, std::ptrdiff_t stride,
                    std::size_t n, std::uint64_t seed, std::uint64_t position,
                    std::uint64_t sequence);

}  // namespace torchnotary::exact
