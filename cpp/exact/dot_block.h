// The block of a dot product (docs/exact-profile.md, section 3).
#pragma once

#include <cstddef>

namespace torchnotary::exact {

// So many elements go into one chain of fma; the blocks' sums are then added in order.
inline constexpr std::size_t kDotBlock = 256;

}  // namespace torchnotary::exact
