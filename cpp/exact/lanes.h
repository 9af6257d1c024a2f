// The sixteen lanes of a sum (docs/exact-profile.md, section 7).
#pragma once

#include <cstddef>

namespace torchnotary::exact {

inline constexpr std::size_t kSumLanes = 16;
inline constexpr std::size_t kMostInBinary32 = 4096;  // elements; above, the lanes are binary64

// The sum of the lanes. Rotating them does not change it, because a + b = b + a: a run of
// elements may begin in any lane.
template <class T>
T sum_of_lanes(const T (&lanes)[kSumLanes]) {
  T t[kSumLanes / 2];
  for (std::size_t l = 0; l < kSumLanes / 2; ++l) t[l] = lanes[l] + lanes[l + kSumLanes / 2];
  for (std::size_t half = kSumLanes / 4; half > 0; half /= 2) {
    for (std::size_t l = 0; l < half; ++l) t[l] = t[l] + t[l + half];
  }
  return t[0];
}

}  // namespace torchnotary::exact
