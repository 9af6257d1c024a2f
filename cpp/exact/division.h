// Quotients that are whole numbers, and what is left (docs/exact-profile.md, section 6). All are
// of the exact quotient of two binary32 numbers, and round once.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>

namespace torchnotary::exact {

// The exact x − y × trunc(x ÷ y): it has x's sign, and needs no rounding.
inline float remainder_by_truncation(float x, float y) { return std::fmod(x, y); }

// The same with floor: it has y's sign, or is a zero of x's.
inline float remainder_by_floor(float x, float y) {
  const float left = std::fmod(x, y);
  return left != 0 && (left < 0) != (y < 0) ? left + y : left;
}

// Of a finite number above 0: whole × 2^exponent.
struct WholeAndExponent {
  std::uint64_t whole;  // below 2^24
  int exponent;
};
inline WholeAndExponent whole_and_exponent(float x) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  const std::uint32_t field = bits >> 23 & 0xff, fraction = bits & 0x7fffff;
  if (field == 0) return {fraction, -149};
  return {fraction | 0x800000, static_cast<int>(field) - 150};
}

// trunc(x ÷ y), or the next integer above where `up` and something is left, for finite numbers
// above 0.
inline float whole_quotient(float x, float y, bool up) {
  auto [a, exponent] = whole_and_exponent(x);
  auto [b, by] = whole_and_exponent(y);
  const int shift = exponent - by;  // the quotient is a ÷ b × 2^shift
  const bool is_up = up && std::fmod(x, y) != 0;
  if (shift <= 0) {
    // Beyond 24 bits b × 2^−shift is greater than a.
    const std::uint64_t whole = shift < -24 ? 0 : a / (b << -shift);
    return static_cast<float>(whole + is_up);
  }
  // The first bits of the quotient, as many as 63 hold; the others only say whether they are 0.
  const int taken = shift < 39 ? shift : 39, rest = shift - taken;
  std::uint64_t top = (a << taken) / b;
  const std::uint64_t left = (a << taken) % b;
  if (rest == 0) return static_cast<float>(top + is_up);
  // What is below `top`, in units of 2^−rest of it: left × 2^rest ÷ b, of which `up` makes the next
  // integer. From 25 bits on it is at least 1 and below the last but one, unless nothing is left.
  bool below = left != 0;
  if (rest <= 24) {
    const std::uint64_t units = (left << rest) / b + is_up;
    top += units >> rest;
    below = (units & ((std::uint64_t{1} << rest) - 1)) != 0;
  }
  // 38 bits or more: the lowest is below all that are rounded.
  return std::ldexp(static_cast<float>(top | below), rest);
}

// The exact quotient truncated, or the greatest integer that is not above it.
inline float divided(float x, float y, bool floors) {
  const float quotient = x / y;
  const bool negative = std::signbit(quotient), infinite = std::isinf(x) || std::isinf(y);
  if (x != x || y != y || y == 0 || x == 0) return quotient;
  if (floors && infinite) {
    return std::isinf(x) ? std::bit_cast<float>(0x7fc00000) : negative ? -1.0f : quotient;
  }
  if (infinite) return quotient;
  return std::copysign(whole_quotient(std::fabs(x), std::fabs(y), floors && negative), quotient);
}

inline float divided_by_truncation(float x, float y) { return divided(x, y, false); }
inline float divided_by_floor(float x, float y) { return divided(x, y, true); }

}  // namespace torchnotary::exact
