// The narrow formats against what the arithmetic of wider ones says, over all their values.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>

#include "exact/environment.h"
#include "exact/storage.h"

namespace torchnotary::exact {
namespace {

// float16 with the given bits, by its definition.
double float16_value(std::uint16_t bits) {
  const int exponent = (bits >> 10) & 31, fraction = bits & 0x3ff;
  const double size =
      exponent == 0 ? std::ldexp(fraction, -24) : std::ldexp(1024 + fraction, exponent - 25);
  return (bits & 0x8000) != 0 ? -size : size;
}

TEST(Storage, EveryFloat16WidensToItsValueAndNarrowsBack) {
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
    const auto half = static_cast<std::uint16_t>(bits);
    const float wide = widen_float16(half);
    if ((half & 0x7c00) == 0x7c00) {
      EXPECT_EQ(std::isnan(wide), (half & 0x3ff) != 0);
      EXPECT_EQ(narrow_float16(wide), std::isnan(wide) ? 0x7e00 : half);
    } else {
      ASSERT_EQ(wide, float16_value(half));
      ASSERT_EQ(narrow_float16(wide), half);
    }
  }
}

TEST(Storage, EveryMidpointOfFloat16GoesToTheEvenNeighbour) {
  for (std::uint16_t half = 0; half < 0x7bff; ++half) {
    const float low = widen_float16(half), high = widen_float16(half + 1);
    const float middle = low + (high - low) / 2;  // exact
    ASSERT_EQ(narrow_float16(middle), half + (half & 1));
    ASSERT_EQ(narrow_float16(std::nextafter(middle, low)), half);
    ASSERT_EQ(narrow_float16(std::nextafter(middle, high)), half + 1);
    ASSERT_EQ(narrow_float16(-middle), 0x8000 | (half + (half & 1)));
  }
  EXPECT_EQ(narrow_float16(65519.996f), 0x7bff);
  EXPECT_EQ(narrow_float16(65520.0f), 0x7c00);
  EXPECT_EQ(narrow_float16(-INFINITY), 0xfc00);
}

TEST(Storage, EveryMidpointOfBfloat16GoesToTheEvenNeighbour) {
  for (std::uint32_t half = 0; half < 0x7f80; ++half) {
    const auto bits = static_cast<std::uint16_t>(half);
    ASSERT_EQ(narrow_bfloat16(widen_bfloat16(bits)), bits);
    const float middle = std::bit_cast<float>(half << 16 | 0x8000);
    ASSERT_EQ(narrow_bfloat16(middle), bits + (bits & 1));
    ASSERT_EQ(narrow_bfloat16(std::bit_cast<float>(half << 16 | 0x7fff)), bits);
    ASSERT_EQ(narrow_bfloat16(std::bit_cast<float>(half << 16 | 0x8001)), bits + 1);
  }
  EXPECT_EQ(narrow_bfloat16(-NAN), 0x7fc0);
}

#if defined(__x86_64__)
TEST(FloatEnvironment, FlushingSetByOthersIsOffInsideAndBackAfterwards) {
  const unsigned before = _mm_getcsr();
  _mm_setcsr(before | 0x8040);  // FTZ and DAZ
  volatile float denormal = 1e-40f;
  {
    const FloatEnvironment environment;
    EXPECT_NE(denormal + 0.0f, 0.0f);
  }
  EXPECT_EQ(denormal + 0.0f, 0.0f);
  EXPECT_EQ(_mm_getcsr() & 0x8040, 0x8040u);
  _mm_setcsr(before);
}
#endif

}  // namespace
}  // namespace torchnotary::exact
