// Resampling against the formulas of docs/exact-profile.md, section 10.
#include "exact/interpolate.h"

#include <gtest/gtest.h>

#include <cmath>

#include "exact/environment.h"
#include "exact/rounding.h"
#include "exact_support.h"
#include "support.h"

namespace torchnotary::exact {
namespace {

using Sizes = std::vector<ResampledAxis>;

float scale(const ResampledAxis& axis) {
  // The quotient in 64 bits of precision, which is enough for the factors used here.
  if (axis.factor) return static_cast<float>(1.0L / static_cast<long double>(*axis.factor));
  return static_cast<float>(axis.in) / static_cast<float>(axis.out);
}

std::size_t nearest(const ResampledAxis& axis, std::size_t i, Nearest mode) {
  const float at = mode == Nearest::floor ? static_cast<float>(i) : static_cast<float>(i) + 0.5f;
  return std::min(static_cast<std::size_t>(std::floor(at * scale(axis))), axis.in - 1);
}

TEST(Interpolate, NearestElementsAreMovedBitByBit) {
  const std::vector<Sizes> all = {{{7, 7}},
                                  {{5, 13}},
                                  {{13, 5}},
                                  {{10, 25, 2.5}},
                                  {{3, 4}, {9, 2}},
                                  {{6, 9, 1.5}, {1, 4}},
                                  {{2, 3}, {4, 2}, {5, 11}},
                                  {{0, 0}}};
  for (const Sizes& axes : all) {
    for (const Nearest mode : {Nearest::floor, Nearest::exact}) {
      std::size_t in_size = 1, out_size = 1;
      for (const ResampledAxis& axis : axes) in_size *= axis.in, out_size *= axis.out;
      std::vector<std::uint16_t> in(3 * in_size), out(3 * out_size);
      for (std::size_t i = 0; i < in.size(); ++i) in[i] = static_cast<std::uint16_t>(0xff00 + i);
      interpolate_nearest(axes, 3, in.data(), out.data(), 2, mode, Threads(2));
      for (std::size_t i = 0; i < out.size(); ++i) {
        std::size_t rest = i % out_size, from = 0, stride = 1;
        for (std::size_t axis = axes.size(); axis-- > 0;) {
          from += nearest(axes[axis], rest % axes[axis].out, mode) * stride;
          rest /= axes[axis].out;
          stride *= axes[axis].in;
        }
        ASSERT_EQ(out[i], in[i / out_size * in_size + from]);
      }
    }
  }
}

struct Place {
  std::size_t low, high;
  float weight;
};

Place place(const ResampledAxis& axis, std::size_t i, bool align) {
  float p;
  if (align) {
    const float s =
        axis.out == 1 ? 0 : static_cast<float>(axis.in - 1) / static_cast<float>(axis.out - 1);
    p = static_cast<float>(i) * s;
  } else {
    p = ((static_cast<float>(i) + 0.5f) * scale(axis)) - 0.5f;
    if (!(p > 0)) p = 0;
  }
  const auto low = static_cast<std::size_t>(std::floor(p));
  return {low, std::min(low + 1, axis.in - 1), p - std::floor(p)};
}

class Linear : public EveryCpuPath {};

TEST_P(Linear, RowsComeFirstThenColumns) {
  const std::vector<Sizes> all = {{{7, 7}},
                                  {{5, 13}},
                                  {{13, 5}},
                                  {{10, 25, 2.5}},
                                  {{8, 1}},
                                  {{1, 3}},
                                  {{3, 4}, {9, 2}},
                                  {{6, 9, 1.5}, {1, 40}},
                                  {{16, 32}, {20, 40, 2.0}}};
  for (const Sizes& axes : all) {
    const bool two = axes.size() == 2;
    const ResampledAxis down = two ? axes[0] : ResampledAxis{}, along = axes.back();
    Shape in_shape = {2, 3}, out_shape = {2, 3};
    for (const ResampledAxis& axis : axes) {
      in_shape.push_back(static_cast<std::int64_t>(axis.in));
      out_shape.push_back(static_cast<std::int64_t>(axis.out));
    }
    for (const Element element : {Element::float32, Element::bfloat16}) {
      for (const bool align : {false, true}) {
        TestTensor in(element, in_shape, contiguous(in_shape, 2)), out(element, out_shape);
        HardNumbers(5).fill(in);
        interpolate_linear(axes, in.input(), out.output(), align, Threads(3));
        const FloatEnvironment environment;
        const std::size_t plane = down.out * along.out;
        for (std::size_t i = 0; i < 6 * plane; ++i) {
          const Place y = place(down, i % plane / along.out, align),
                      x = place(along, i % along.out, align);
          const auto value = [&](std::size_t row, std::size_t column) {
            return in.value(in.place(in_shape, (i / plane * down.in + row) * along.in + column));
          };
          const auto blend = [&](std::size_t row) {
            return value(row, x.low) + (x.weight * (value(row, x.high) - value(row, x.low)));
          };
          const float low = blend(y.low);
          const float result = two ? low + (y.weight * (blend(y.high) - low)) : low;
          ASSERT_EQ(bits_at(out, out.place(out_shape, i)), stored_bits(result, element)) << i;
        }
      }
    }
  }
}

TORCHNOTARY_ON_EVERY_CPU_PATH(Linear);

// x is an odd multiple of what makes 1 ÷ x lie near midpoints of binary32: the binary64 quotient is
// such a midpoint, and the exact one beside it.
TEST(Rounding, AReciprocalIsRoundedOnce) {
  std::size_t hard = 0;
  for (std::uint32_t i = 1; i < 4000; ++i) {
    const double midpoint = 1 + (i - 0.5) * 0x1p-23;
    for (const double x :
         {1 / midpoint, std::nextafter(1 / midpoint, 2), std::nextafter(1 / midpoint, 0)}) {
      // 1 ÷ x against the midpoint: the sign of 1 − x × midpoint, exactly.
      const double beyond = std::fma(-x, midpoint, 1.0);
      const float low = static_cast<float>(1 + (i - 1) * 0x1p-23),
                  high = static_cast<float>(1 + i * 0x1p-23);
      const float even = i % 2 == 0 ? high : low;
      const float expected = beyond > 0 ? high : beyond < 0 ? low : even;
      ASSERT_EQ(reciprocal_rounded_once(x), expected) << i;
      ASSERT_EQ(reciprocal_rounded_once(-x), -expected) << i;
      hard += static_cast<float>(1 / x) != expected ? 1 : 0;
    }
  }
  EXPECT_GT(hard, 0u);
  EXPECT_EQ(reciprocal_rounded_once(2), 0.5f);
}

}  // namespace
}  // namespace torchnotary::exact
