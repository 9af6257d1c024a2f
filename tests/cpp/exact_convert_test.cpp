// Conversions between element types, and ranges, against their definitions.
#include "exact/convert.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

#include "exact/elementwise.h"
#include "exact/environment.h"
#include "exact_support.h"
#include "support.h"

namespace torchnotary::exact {
namespace {

class Conversions : public EveryCpuPath {};

TEST_P(Conversions, EveryNarrowValueIsWidenedAndNarrowedBack) {
  std::vector<std::uint16_t> narrow_values(0x10000), back(0x10000);
  for (std::uint32_t bits = 0; bits < 0x10000; ++bits) narrow_values[bits] = bits;
  for (const Element element : {Element::bfloat16, Element::float16}) {
    std::vector<float> wide(0x10000);
    widen(narrow_values.data(), element, wide.data(), wide.size());
    narrow(wide.data(), element, back.data(), wide.size());
    for (std::uint32_t bits = 0; bits < 0x10000; ++bits) {
      const float value = element == Element::bfloat16 ? widen_bfloat16(bits) : widen_float16(bits);
      ASSERT_EQ(stored_bits(wide[bits], Element::float32), stored_bits(value, Element::float32));
      ASSERT_EQ(back[bits], stored_bits(value, element));
    }
  }
}

// Around every float16 and bfloat16 number and every midpoint between two.
TEST_P(Conversions, NarrowingRoundsAsTheScalarRuleDoes) {
  std::vector<float> wide;
  for (std::uint32_t top = 0; top < 0x10000; ++top) {
    for (const std::uint32_t low : {0x0000u, 0x0001u, 0x0fffu, 0x1000u, 0x1001u, 0x2fffu, 0x3000u,
                                    0x7fffu, 0x8000u, 0x8001u, 0xffffu}) {
      wide.push_back(std::bit_cast<float>(top << 16 | low));
    }
  }
  std::vector<std::uint16_t> results(wide.size());
  for (const Element element : {Element::bfloat16, Element::float16}) {
    narrow(wide.data(), element, results.data(), wide.size());
    for (std::size_t i = 0; i < wide.size(); ++i) {
      ASSERT_EQ(results[i], stored_bits(wide[i], element)) << wide[i];
    }
  }
}

// Midpoints between binary32 numbers and their neighbours, rounded by hand.
TEST_P(Conversions, LargeIntegersAreRoundedOnce) {
  std::vector<std::int64_t> integers = {0,
                                        1,
                                        -1,
                                        (1 << 24) + 1,
                                        (1 << 24) + 3,
                                        -(1 << 24) - 1,
                                        INT64_MAX,
                                        INT64_MIN,
                                        0x4000004000000001,
                                        0x4000004000000000,
                                        0x400000C000000000,
                                        0x7fffffbfffffffff,
                                        0x7fffffc000000000};
  std::vector<float> wide(integers.size());
  widen(integers.data(), Element::int64, wide.data(), wide.size());
  const std::vector<float> expected = {0,
                                       1,
                                       -1,
                                       0x1p24f,
                                       0x1.000004p24f,
                                       -0x1p24f,
                                       0x1p63f,
                                       -0x1p63f,
                                       0x1.000002p62f,
                                       0x1p62f,
                                       0x1.000004p62f,
                                       0x1.fffffep62f,
                                       0x1p63f};
  EXPECT_EQ(wide, expected);
}

template <class Integer>
Integer slowly_truncated(float x) {
  using Limits = std::numeric_limits<Integer>;
  if (std::isnan(x)) return 0;
  const long double whole = std::trunc(static_cast<long double>(x));
  if (whole < static_cast<long double>(Limits::min())) return Limits::min();
  if (whole > static_cast<long double>(Limits::max())) return Limits::max();
  return static_cast<Integer>(whole);
}

template <class Integer>
void expect_truncation(Element element) {
  using Limits = std::numeric_limits<Integer>;
  const Shape shape = {5, 301};
  TestTensor in(Element::float32, shape, {1, 5}), out(element, shape);
  std::mt19937 random(1);
  for (std::size_t at = 0; at < in.bytes.size(); at += 4) {
    const double twice = std::uniform_real_distribution<double>(-2, 2)(random);
    in.put(at, static_cast<float>(twice * static_cast<double>(Limits::max())));
  }
  const auto low = static_cast<float>(Limits::min());
  const float beyond = std::ldexp(1.0f, Limits::digits), infinity = INFINITY, nan = NAN;
  const float hard[] = {nan,
                        -nan,
                        infinity,
                        -infinity,
                        0x1p-149f,
                        -0.0f,
                        -0.75f,
                        0.99f,
                        3e38f,
                        low,
                        std::nextafter(low, -infinity),
                        std::nextafter(low, 0.0f),
                        low - 0.5f,
                        low - 1,
                        beyond,
                        std::nextafter(beyond, 0.0f),
                        std::nextafter(beyond, infinity),
                        beyond - 0.5f,
                        -beyond,
                        -1,
                        -1e20f};
  for (std::size_t i = 0; i < std::size(hard); ++i) in.put(4 * i, hard[i]);
  truncate(in.input(), out.output(), Threads(2));
  for (std::size_t i = 0; i < elements_of(shape); ++i) {
    const auto value = static_cast<float>(in.value(in.place(shape, i)));
    ASSERT_EQ(out.get<Integer>(out.place(shape, i)), slowly_truncated<Integer>(value)) << value;
  }
}

TEST_P(Conversions, FloatsAreTruncatedAndThoseBeyondTheRangeBecomeItsNearestEnd) {
  expect_truncation<std::uint8_t>(Element::uint8);
  expect_truncation<std::int8_t>(Element::int8);
  expect_truncation<std::int16_t>(Element::int16);
  expect_truncation<std::int32_t>(Element::int32);
  expect_truncation<std::int64_t>(Element::int64);
}

TEST_P(Conversions, NarrowFloatsAreTruncatedToo) {
  TestTensor in(Element::bfloat16, {3}), out(Element::int64, {3});
  in.put<std::uint16_t>(0, narrow_bfloat16(2.75f));
  in.put<std::uint16_t>(2, narrow_bfloat16(-2.75f));
  in.put<std::uint16_t>(4, narrow_bfloat16(0x1p40f));
  truncate(in.input(), out.output(), kSerial);
  EXPECT_EQ(out.get<std::int64_t>(0), 2);
  EXPECT_EQ(out.get<std::int64_t>(8), -2);
  EXPECT_EQ(out.get<std::int64_t>(16), std::int64_t{1} << 40);
}

TEST_P(Conversions, ARangeIsRoundedOnceFromBinary64) {
  for (const std::int64_t n : {0, 1, 3, 100000}) {
    TestTensor out(Element::float32, {n}, {2});
    arange(-7.1, 0.3, out.output(), Threads(3));
    for (std::int64_t i = 0; i < n; ++i) {
      const volatile double product = static_cast<double>(i) * 0.3;
      ASSERT_EQ(out.get<float>(8 * i), static_cast<float>(-7.1 + product)) << i;
    }
  }
}

// What lies a hair beyond a midpoint of the narrow format is the midpoint itself in binary32, and
// would then go to the even neighbour below.
TEST_P(Conversions, ARangeOfANarrowTypeIsNotRoundedTwice) {
  TestTensor half(Element::float16, {1}), bfloat(Element::bfloat16, {1});
  arange(1 + 0x1p-11 + 0x1p-40, 1, half.output(), kSerial);
  EXPECT_EQ(half.value(0), 1 + 0x1p-10f);
  arange(-(1 + 0x1p-8 + 0x1p-40), 1, bfloat.output(), kSerial);
  EXPECT_EQ(bfloat.value(0), -(1 + 0x1p-7f));
  arange(1 + 0x1p-11 - 0x1p-40, 1, half.output(), kSerial);
  EXPECT_EQ(half.value(0), 1);
  arange(1e300, 1, half.output(), kSerial);
  EXPECT_EQ(half.value(0), INFINITY);
  arange(NAN, 1, half.output(), kSerial);
  EXPECT_EQ(bits_at(half, 0), 0x7e00u);
}

TORCHNOTARY_ON_EVERY_CPU_PATH(Conversions);

}  // namespace
}  // namespace torchnotary::exact
