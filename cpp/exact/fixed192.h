// Non-negative numbers below 2^64 with 192 bits after the point: what decides the powers that
// binary64 cannot round. Slow and simple; every operation rounds down, by less than 2^-192.
#pragma once

#include <array>
#include <cstdint>

namespace torchnotary::exact {

struct Fixed192 {
  std::array<std::uint64_t, 4> words = {};  // the most significant first: words[0] is the integer

  static Fixed192 integer(std::uint64_t value) { return {{value, 0, 0, 0}}; }
};

inline Fixed192 operator+(const Fixed192& a, const Fixed192& b) {
  Fixed192 sum;
  unsigned __int128 carry = 0;
  for (int i = 3; i >= 0; --i) {
    carry += static_cast<unsigned __int128>(a.words[i]) + b.words[i];
    sum.words[i] = static_cast<std::uint64_t>(carry);
    carry >>= 64;
  }
  return sum;
}

// a ≥ b.
inline Fixed192 operator-(const Fixed192& a, const Fixed192& b) {
  Fixed192 difference;
  std::uint64_t borrow = 0;
  for (int i = 3; i >= 0; --i) {
    const unsigned __int128 taken = static_cast<unsigned __int128>(b.words[i]) + borrow;
    difference.words[i] = static_cast<std::uint64_t>(a.words[i] - taken);
    borrow = a.words[i] < taken;
  }
  return difference;
}

inline bool operator<(const Fixed192& a, const Fixed192& b) { return a.words < b.words; }

inline Fixed192 operator*(const Fixed192& a, const Fixed192& b) {
  std::array<std::uint64_t, 8> product = {};  // in units of 2^-384
  for (int i = 3; i >= 0; --i) {
    std::uint64_t carry = 0;
    for (int j = 3; j >= 0; --j) {
      const unsigned __int128 step =
          static_cast<unsigned __int128>(a.words[i]) * b.words[j] + product[i + j + 1] + carry;
      product[i + j + 1] = static_cast<std::uint64_t>(step);
      carry = static_cast<std::uint64_t>(step >> 64);
    }
    product[i] += carry;
  }
  return {{product[1], product[2], product[3], product[4]}};
}

inline Fixed192 operator/(const Fixed192& a, std::uint32_t divisor) {
  Fixed192 quotient;
  unsigned __int128 rest = 0;
  for (int i = 0; i < 4; ++i) {
    rest = rest << 64 | a.words[i];
    quotient.words[i] = static_cast<std::uint64_t>(rest / divisor);
    rest %= divisor;
  }
  return quotient;
}

// a × 2^count, without what leaves at either end.
inline Fixed192 shifted(Fixed192 a, int count) {
  for (; count >= 64; count -= 64) a.words = {a.words[1], a.words[2], a.words[3], 0};
  for (; count <= -64; count += 64) a.words = {0, a.words[0], a.words[1], a.words[2]};
  if (count == 0) return a;
  Fixed192 result;
  for (int i = 0; i < 4; ++i) {
    if (count > 0) {
      result.words[i] = a.words[i] << count | (i < 3 ? a.words[i + 1] >> (64 - count) : 0);
    } else {
      result.words[i] = a.words[i] >> -count | (i > 0 ? a.words[i - 1] << (64 + count) : 0);
    }
  }
  return result;
}

}  // namespace torchnotary::exact
