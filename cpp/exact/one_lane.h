// Vectors of one lane, with the names that Highway gives the operations: the portable path of
// kernels that are written once for all paths. Arithmetic and comparisons are float's own
// operators.
#pragma once

#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

namespace torchnotary::exact::one_lane {

struct FloatLane {};

inline float Set(FloatLane, float x) { return x; }
inline float Zero(FloatLane) { return 0.0f; }
inline float LoadU(FloatLane, const float* from) { return *from; }
inline void StoreU(float x, FloatLane, float* to) { *to = x; }

inline float And(float a, float b) {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(a) & std::bit_cast<std::uint32_t>(b));
}
inline float Or(float a, float b) {
  return std::bit_cast<float>(std::bit_cast<std::uint32_t>(a) | std::bit_cast<std::uint32_t>(b));
}
inline bool And(bool a, bool b) { return a && b; }
inline bool Or(bool a, bool b) { return a || b; }
inline bool Xor(bool a, bool b) { return a != b; }
inline bool Not(bool a) { return !a; }
inline float IfThenElse(bool mask, float yes, float no) { return mask ? yes : no; }

inline float Sqrt(float x) {
  return std::sqrt(x);
}  // IEEE's, like all of these: exact or rounded once
inline float Abs(float x) { return std::fabs(x); }
inline float Neg(float x) { return -x; }
inline float Floor(float x) { return std::floor(x); }
inline float Ceil(float x) { return std::ceil(x); }
inline float Trunc(float x) { return std::trunc(x); }
inline float Round(float x) { return std::nearbyint(x); }

}  // namespace torchnotary::exact::one_lane
