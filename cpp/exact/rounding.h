// Rounding once where the hardware would round twice.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

namespace torchnotary::exact {

// A binary64 number truncated to binary32, but odd where anything was cut off: rounding that to a
// format with two bits less or fewer still is as rounding the binary64 number (Boldo and Melquiond,
// 2008).
inline float rounded_to_odd(double x) {
  const float nearest = static_cast<float>(x);
  if (!(std::fabs(x) < std::numeric_limits<double>::infinity()) || nearest == x) return nearest;
  auto bits = std::bit_cast<std::uint32_t>(nearest);
  if (std::fabs(static_cast<double>(nearest)) > std::fabs(x)) --bits;
  return std::bit_cast<float>(bits | 1);
}

// fl(1 ÷ x) for a normal x: the quotient in binary64, made odd where it is not exact.
inline float reciprocal_rounded_once(double x) {
  const double quotient = 1 / x;
  const double left = std::fma(-quotient, x, 1.0) / x;  // of the sign of what is missing
  if (left == 0 || !std::isfinite(quotient)) return static_cast<float>(quotient);
  auto bits = std::bit_cast<std::uint64_t>(quotient);
  if ((left < 0) == (quotient > 0)) --bits;
  return static_cast<float>(std::bit_cast<double>(bits | 1));
}

}  // namespace torchnotary::exact
