// The sixteen lanes of a sum (docs/exact-profile.md, section 7).
#pragma once

#include <cstddef>

namespace torchnotary::exact {

inline constexpr std::size_t kSumLanes = 16;
inline constexpr std::size_t kMostInBinary32 = 4096;  // elements; above, the lanes are binary64

// Lanes l and l + 8, then l and l + 4, l + 2, l + 1 combined. Rotating the lanes does not change
// the result where a ∘ b = b ∘ a: a run of elements may begin in any lane.
template <class T, class Combine>
T combined_lanes(const T (&lanes)[kSumLanes], Combine combine) {
  T t[kSumLanes / 2];
  for (std::size_t l = 0; l < kSumLanes / 2; ++l)
    t[l] = combine(lanes[l], lanes[l + kSumLanes / 2]);
  for (std::size_t half = kSumLanes / 4; half > 0; half /= 2) {
    for (std::size_t l = 0; l < half; ++l) t[l] = combine(t[l], t[l + half]);
  }
  return t[0];
}

template <class T>
T sum_of_lanes(const T (&lanes)[kSumLanes]) {
  return combined_lanes(lanes, [](T a, T b) { return a + b; });
}

template <class T>
T product_of_lanes(const T (&lanes)[kSumLanes]) {
  return combined_lanes(lanes, [](T a, T b) { return a * b; });
}

}  // namespace torchnotary::exact
