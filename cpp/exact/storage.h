// How floating tensors are stored: widened exactly, narrowed by one rounding
// (docs/exact-profile.md, section 1).
#pragma once

#include <bit>
#include <cstddef>
#include <cstdint>

namespace torchnotary::exact {

enum class Storage : std::uint8_t { float32, bfloat16, float16 };

constexpr std::size_t element_size(Storage storage) { return storage == Storage::float32 ? 4 : 2; }

inline constexpr std::uint32_t kNan = 0x7fc00000;

// A NaN becomes the NaN that results have.
inline float canonical(float x) { return x != x ? std::bit_cast<float>(kNan) : x; }

inline float widen_bfloat16(std::uint16_t bits) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(bits) << 16);
}

inline std::uint16_t narrow_bfloat16(float x) {
  if (x != x) return 0x7fc0;
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  return static_cast<std::uint16_t>((bits + 0x7fff + ((bits >> 16) & 1)) >> 16);
}

inline float widen_float16(std::uint16_t bits) {
  const std::uint32_t sign = static_cast<std::uint32_t>(bits & 0x8000) << 16;
  const std::uint32_t exponent = (bits >> 10) & 31, fraction = bits & 0x3ff;
  if (exponent == 31) return std::bit_cast<float>(sign | 0x7f800000 | fraction << 13);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 112) << 23 | fraction << 13);
  const float denormal = static_cast<float>(fraction) * 0x1p-24f;  // exact
  return std::bit_cast<float>(sign | std::bit_cast<std::uint32_t>(denormal));
}

inline std::uint16_t narrow_float16(float x) {
  if (x != x) return 0x7e00;
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  const std::uint16_t sign = static_cast<std::uint16_t>((bits >> 16) & 0x8000);
  const std::uint32_t size = bits & 0x7fffffff;
  if (size >= 0x477ff000) return sign | 0x7c00;  // 65,520 and above
  if (size < 0x38800000) {
    // A denormal: adding 2^-1 rounds to a multiple of 2^-24, as float16's denormals are.
    const float shifted = std::bit_cast<float>(size) + 0x1p-1f;
    return static_cast<std::uint16_t>(sign | (std::bit_cast<std::uint32_t>(shifted) - 0x3f000000));
  }
  const std::uint32_t rounded = size + 0xfff + ((size >> 13) & 1);
  return static_cast<std::uint16_t>(sign | ((rounded >> 13) - (112 << 10)));
}

}  // namespace torchnotary::exact
