// One power: IEEE 754-2019's special values, binary64, exact powers, and 192 bits where none of
// these tells how to round.
#include <algorithm>
#include <optional>

#include "exact/elementary_portable.h"
#include "exact/elementary_pow.h"
#include "exact/fixed192.h"
#include "hashing/errors.h"

namespace torchnotary::exact {
namespace {

// value = mantissa × 2^exponent, for finite value > 0; the mantissa is odd.
struct Odd {
  std::uint32_t mantissa;
  int exponent;
};

Odd odd(float value) {
  int exponent;
  const double fraction = std::frexp(static_cast<double>(value), &exponent);
  auto mantissa = static_cast<std::uint32_t>(fraction * 0x1p24);
  const int zeros = std::countr_zero(mantissa);
  return {mantissa >> zeros, exponent - 24 + zeros};
}

// x^y, if it has at most 25 significant bits, as all numbers of binary32 and midpoints between them
// have; x > 0. The exponent's denominator is a power of two: so many times x must be a square.
std::optional<double> short_power(float x, float y) {
  auto [base, scale] = odd(x);
  auto [times, halvings] = odd(std::fabs(y));
  for (; halvings < 0; ++halvings) {
    const auto root = static_cast<std::uint32_t>(std::sqrt(static_cast<double>(base)));
    if (root * root != base || scale % 2 != 0) return std::nullopt;
    base = root;
    scale /= 2;
  }
  if (base != 1 && (y < 0 || halvings > 4 || times << halvings > 24)) return std::nullopt;
  const double whole = std::ldexp(y < 0 ? -double(times) : double(times), halvings);
  std::uint64_t power = 1;
  for (std::uint32_t i = 0; base != 1 && i < times << halvings; ++i) {
    power *= base;
    if (power >= 1u << 25) return std::nullopt;
  }
  // A power beyond binary64 is far beyond binary32, where this is not asked.
  return std::ldexp(static_cast<double>(power), static_cast<int>(scale * whole));
}

constexpr Fixed192 kFixedLn2 = {{0, 0xb17217f7d1cf79ab, 0xc9e3b39803f2f6af, 0x40f343267298b62d}};

// abs(log(x)), and whether log(x) < 0; x > 0.
Fixed192 log_size(float x, bool& negative) {
  int exponent;
  const double fraction = std::frexp(static_cast<double>(x), &exponent);
  const auto mantissa = static_cast<std::uint32_t>(fraction * 0x1p24);  // x = 2^(exponent - 1) m
  constexpr std::uint32_t kOne = 1u << 23;                              // 1 ≤ m < 2, in its unit
  --exponent;
  const Fixed192 s = Fixed192::integer(mantissa - kOne) / (mantissa + kOne);
  const Fixed192 square = s * s;
  Fixed192 power = s, atanh;
  for (std::uint32_t i = 1; Fixed192{} < power; i += 2, power = power * square) {
    atanh = atanh + power / i;
  }
  negative = exponent < 0;
  const Fixed192 scale = Fixed192::integer(negative ? -exponent : exponent) * kFixedLn2;
  return negative ? scale - shifted(atanh, 1) : scale + shifted(atanh, 1);
}

// e^r, 0 ≤ r < 1.
Fixed192 exp_fixed(const Fixed192& r) {
  Fixed192 sum = Fixed192::integer(1), term = sum;
  for (std::uint32_t i = 1; Fixed192{} < term; ++i) {
    term = term * r / i;
    sum = sum + term;
  }
  return sum;
}

// number × 2^exponent, 1 ≤ number < 2 but for its error of less than 2^-147, rounded to binary32.
float rounded(const Fixed192& number, int exponent) {
  const int unit = std::max(exponent - 23, -149);
  const Fixed192 units = shifted(number, exponent - unit);
  constexpr std::uint64_t kHalf = std::uint64_t{1} << 63;
  // The fraction is within 2^-124 of a half.
  if ((units.words[1] == kHalf && units.words[2] < 16) ||
      (units.words[1] == kHalf - 1 && units.words[2] >= std::uint64_t{0} - 16)) {
    throw NotaryError("a power is too near the middle of two float32 numbers", "", "",
                      "compute it in float64 outside the profile");
  }
  const std::uint64_t whole = units.words[0] + (units.words[1] >= kHalf);
  return static_cast<float>(std::ldexp(static_cast<double>(whole), unit));
}

// 2^-152 < x^y < 2^130.
float long_power(float x, float y) {
  bool negative;
  const Fixed192 log = log_size(x, negative);
  int shift;
  const double fraction = std::frexp(std::fabs(static_cast<double>(y)), &shift);
  const auto mantissa = static_cast<std::uint64_t>(fraction * 0x1p24);
  const Fixed192 size = shifted(log * Fixed192::integer(mantissa), shift - 24);
  int k = 0;  // size = k ln2 + rest
  Fixed192 rest = size;
  for (; !(rest < kFixedLn2); ++k) rest = rest - kFixedLn2;
  if (negative == (y < 0)) return rounded(exp_fixed(rest), k);
  return rounded(exp_fixed(kFixedLn2 - rest), -k - 1);
}

// x > 0, both finite, y not 0.
float positive_power(float x, float y) {
  const portable::hn::Lane<double> d;
  const double power = portable::PowLanes(d, static_cast<double>(x), static_cast<double>(y));
  const auto low = static_cast<float>(power * (1 - portable::kPowSlack));
  if (low == static_cast<float>(power * (1 + portable::kPowSlack))) return low;
  if (const std::optional<double> exact = short_power(x, y)) return static_cast<float>(*exact);
  return long_power(x, y);
}

bool is_integer(float y) { return std::trunc(y) == y; }
bool is_odd(float y) { return is_integer(y) && std::fabs(std::fmod(y, 2.0f)) == 1; }

}  // namespace

float pow_one(float x, float y) {
  const float size = std::fabs(x);
  if (y == 0 || x == 1) return 1;
  if (x != x || y != y) return std::bit_cast<float>(kNan);
  if (std::isinf(y)) return size == 1 ? 1 : (size > 1) == (y > 0) ? HUGE_VALF : 0.0f;
  if (x < 0 && !std::isinf(x) && !is_integer(y)) return std::bit_cast<float>(kNan);
  float power;
  if (size == 0 || std::isinf(size)) {
    power = (size == 0) == (y < 0) ? HUGE_VALF : 0.0f;
  } else {
    power = positive_power(size, y);
  }
  return std::signbit(x) && is_odd(y) ? -power : power;
}

}  // namespace torchnotary::exact
