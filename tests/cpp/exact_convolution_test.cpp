// Convolutions against docs/exact-profile.md, section 4: one dot product after another, of an input
// to which zeros have really been added.
#include "exact/convolution.h"

#include <gtest/gtest.h>

#include <cmath>

#include "exact/environment.h"
#include "exact_support.h"
#include "support.h"

namespace torchnotary::exact {
namespace {

using Plane = std::vector<std::vector<float>>;

float dot(const std::vector<float>& a, const std::vector<float>& b) {
  float sum = 0;
  for (std::size_t j = 0; j < a.size(); j += 256) {
    float block = 0;
    for (std::size_t k = j; k < std::min(a.size(), j + 256); ++k)
      block = std::fma(a[k], b[k], block);
    sum = j == 0 ? block : sum + block;
  }
  return sum;
}

// A channel of the input with the zeros of section 4 inserted, around it and, transposed, within.
Plane with_zeros(const Convolution& c, const TestTensor& input, std::size_t image,
                 std::size_t channel) {
  std::array<std::int64_t, 2> low, high, spread;
  for (int axis = 0; axis < 2; ++axis) {
    const auto padding = static_cast<std::int64_t>(c.padding[axis]);
    spread[axis] = c.transposed ? c.stride[axis] : 1;
    low[axis] = c.transposed
                    ? static_cast<std::int64_t>(c.dilation[axis] * (c.kernel[axis] - 1)) - padding
                    : padding;
    high[axis] = low[axis] + (c.transposed ? c.output_padding[axis] : 0);
  }
  const auto extent = [&](int axis) {
    const std::int64_t n =
        (static_cast<std::int64_t>(c.in[axis]) - 1) * spread[axis] + 1 + low[axis] + high[axis];
    return static_cast<std::size_t>(std::max<std::int64_t>(n, 0));
  };
  Plane plane(extent(0), std::vector<float>(extent(1)));
  for (std::size_t row = 0; row < c.in[0]; ++row) {
    for (std::size_t column = 0; column < c.in[1]; ++column) {
      const std::int64_t y = low[0] + static_cast<std::int64_t>(row) * spread[0];
      const std::int64_t x = low[1] + static_cast<std::int64_t>(column) * spread[1];
      if (y < 0 || x < 0 || y >= std::ssize(plane) || x >= std::ssize(plane[y])) continue;
      const std::size_t at = ((image * c.in_channels + channel) * c.in[0] + row) * c.in[1] + column;
      plane[y][x] = input.value(input.place(input.sizes, at));
    }
  }
  return plane;
}

// The element of the weights in torch's order; a transposed kernel is reversed and exchanged.
float weight_of(const Convolution& c, const TestTensor& weights, std::size_t out, std::size_t in,
                std::size_t row, std::size_t column) {
  const std::size_t outs = c.out_channels / c.groups, ins = c.in_channels / c.groups;
  std::size_t first = out, second = in, seconds = ins;
  if (c.transposed) {
    first = out / outs * ins + in, second = out % outs, seconds = outs;
    row = c.kernel[0] - 1 - row, column = c.kernel[1] - 1 - column;
  }
  const std::size_t at = ((first * seconds + second) * c.kernel[0] + row) * c.kernel[1] + column;
  return weights.value(weights.place(weights.sizes, at));
}

std::vector<float> expected(const Convolution& c, const TestTensor& input,
                            const TestTensor& weights, const float* bias) {
  const FloatEnvironment environment;
  const std::size_t ins = c.in_channels / c.groups, outs = c.out_channels / c.groups;
  const std::array<std::size_t, 2> step =
      c.transposed ? std::array<std::size_t, 2>{1, 1} : c.stride;
  std::vector<float> results;
  for (std::size_t image = 0; image < c.batch; ++image) {
    std::vector<Plane> planes;
    for (std::size_t i = 0; i < c.in_channels; ++i)
      planes.push_back(with_zeros(c, input, image, i));
    for (std::size_t out = 0; out < c.out_channels; ++out) {
      for (std::size_t y = 0; y < c.out()[0]; ++y) {
        for (std::size_t x = 0; x < c.out()[1]; ++x) {
          std::vector<float> a, b;
          for (std::size_t i = 0; i < ins; ++i) {
            for (std::size_t row = 0; row < c.kernel[0]; ++row) {
              for (std::size_t column = 0; column < c.kernel[1]; ++column) {
                const Plane& plane = planes[out / outs * ins + i];
                a.push_back(plane.at(y * step[0] + row * c.dilation[0])
                                .at(x * step[1] + column * c.dilation[1]));
                b.push_back(weight_of(c, weights, out, i, row, column));
              }
            }
          }
          const float sum = dot(a, b);
          results.push_back(canonical(bias != nullptr ? sum + bias[out] : sum));
        }
      }
    }
  }
  return results;
}

Shape input_shape(const Convolution& c) {
  return {static_cast<std::int64_t>(c.batch), static_cast<std::int64_t>(c.in_channels),
          static_cast<std::int64_t>(c.in[0]), static_cast<std::int64_t>(c.in[1])};
}

Shape weight_shape(const Convolution& c) {
  const auto outs = static_cast<std::int64_t>(c.transposed ? c.in_channels : c.out_channels);
  const auto ins =
      static_cast<std::int64_t>((c.transposed ? c.out_channels : c.in_channels) / c.groups);
  return {outs, ins, static_cast<std::int64_t>(c.kernel[0]),
          static_cast<std::int64_t>(c.kernel[1])};
}

Shape output_shape(const Convolution& c) {
  return {static_cast<std::int64_t>(c.batch), static_cast<std::int64_t>(c.out_channels),
          static_cast<std::int64_t>(c.out()[0]), static_cast<std::int64_t>(c.out()[1])};
}

// (batch, channels, rows, columns) with the channels innermost.
Shape channels_last(const Shape& s) { return {s[1] * s[2] * s[3], 1, s[1] * s[3], s[1]}; }

enum class Values { ordinary, hard };

void fill(TestTensor& tensor, Values values, unsigned seed) {
  HardNumbers hard(seed);
  if (values == Values::hard) return hard.fill(tensor);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  for (std::size_t at = 0; at < tensor.bytes.size(); at += element_size(tensor.element)) {
    const std::uint32_t bits = stored_bits(normal(random), tensor.element);
    std::memcpy(&tensor.bytes[at], &bits, element_size(tensor.element));
  }
}

void check(const Convolution& c, Values values = Values::ordinary, std::size_t threads = 1,
           Element element = Element::float32, bool last = false, bool with_bias = true) {
  TestTensor input(element, input_shape(c),
                   last ? channels_last(input_shape(c)) : contiguous(input_shape(c)));
  TestTensor weights(element, weight_shape(c),
                     last ? channels_last(weight_shape(c)) : contiguous(weight_shape(c)));
  TestTensor output(element, output_shape(c),
                    last ? channels_last(output_shape(c)) : contiguous(output_shape(c)));
  TestTensor bias(Element::float32, {static_cast<std::int64_t>(c.out_channels)});
  fill(input, values, 1);
  fill(weights, values, 2);
  fill(bias, values, 3);
  const auto* addends = with_bias ? reinterpret_cast<const float*>(bias.bytes.data()) : nullptr;
  std::vector<float> packed(packed_weights_size(c));
  pack_weights(c, weights.input(), packed.data());
  convolve(c, input.input(), packed.data(), addends, output.output(), Threads(threads));
  const std::vector<float> results = expected(c, input, weights, addends);
  ASSERT_EQ(results.size(), elements_of(output.sizes));
  for (std::size_t i = 0; i < results.size(); ++i) {
    ASSERT_EQ(bits_at(output, output.place(output.sizes, i)), stored_bits(results[i], element))
        << "element " << i << " of " << results.size() << ": " << results[i];
  }
}

class Convolutions : public EveryCpuPath {};

// Kernels, strides, paddings and dilations of either axis apart; results that end within a vector,
// a tile, a task; dot products that end within a block.
std::vector<Convolution> shapes() {
  return {
      {.batch = 2, .in_channels = 0, .out_channels = 3, .in = {4, 5}, .kernel = {3, 3}},
      {.batch = 0, .in_channels = 2, .out_channels = 3, .in = {4, 5}, .kernel = {3, 3}},
      {.batch = 1, .in_channels = 1, .out_channels = 1, .in = {1, 1}, .kernel = {1, 1}},
      {.batch = 2,
       .in_channels = 5,
       .out_channels = 9,
       .in = {7, 7},
       .kernel = {3, 3},
       .padding = {1, 1}},
      {.batch = 1,
       .in_channels = 3,
       .out_channels = 17,
       .in = {31, 45},
       .kernel = {7, 7},
       .stride = {2, 2},
       .padding = {3, 3}},
      {.batch = 3,
       .in_channels = 40,
       .out_channels = 8,
       .in = {9, 14},
       .kernel = {3, 3},
       .padding = {1, 1}},
      {.batch = 1, .in_channels = 256, .out_channels = 3, .in = {2, 3}, .kernel = {1, 1}},
      {.batch = 1,
       .in_channels = 257,
       .out_channels = 3,
       .in = {2, 3},
       .kernel = {1, 1},
       .stride = {2, 2}},
      {.batch = 2,
       .in_channels = 2,
       .out_channels = 4,
       .in = {6, 50},
       .kernel = {2, 5},
       .stride = {3, 1},
       .padding = {0, 4},
       .dilation = {2, 3}},
      {.batch = 1,
       .in_channels = 2,
       .out_channels = 2,
       .in = {4, 4},
       .kernel = {3, 3},
       .padding = {5, 5}},
      {.batch = 1,
       .in_channels = 2,
       .out_channels = 5,
       .in = {1, 300},
       .kernel = {1, 9},
       .stride = {1, 3},
       .padding = {0, 4}},
      {.batch = 1,
       .in_channels = 6,
       .out_channels = 10,
       .groups = 2,
       .in = {8, 33},
       .kernel = {3, 3},
       .stride = {1, 2},
       .padding = {1, 1}},
      {.batch = 2,
       .in_channels = 12,
       .out_channels = 24,
       .groups = 12,
       .in = {14, 14},
       .kernel = {3, 3},
       .padding = {1, 1}},
      {.batch = 1, .in_channels = 2, .out_channels = 2, .in = {2, 2}, .kernel = {3, 3}},
      {.batch = 1, .in_channels = 4, .out_channels = 300, .in = {3, 70}, .kernel = {1, 1}},
  };
}

std::vector<Convolution> transposed_shapes() {
  return {
      {.batch = 1,
       .in_channels = 2,
       .out_channels = 3,
       .in = {3, 4},
       .kernel = {3, 3},
       .transposed = true},
      {.batch = 2,
       .in_channels = 4,
       .out_channels = 6,
       .groups = 2,
       .in = {5, 20},
       .kernel = {4, 4},
       .stride = {2, 2},
       .padding = {1, 1},
       .transposed = true},
      {.batch = 1,
       .in_channels = 3,
       .out_channels = 9,
       .in = {4, 7},
       .kernel = {3, 2},
       .stride = {3, 2},
       .padding = {1, 0},
       .dilation = {2, 1},
       .transposed = true,
       .output_padding = {2, 1}},
      {.batch = 1,
       .in_channels = 2,
       .out_channels = 2,
       .in = {5, 5},
       .kernel = {2, 2},
       .padding = {2, 3},
       .transposed = true},
      {.batch = 1,
       .in_channels = 100,
       .out_channels = 2,
       .in = {1, 30},
       .kernel = {1, 5},
       .stride = {1, 4},
       .padding = {0, 2},
       .transposed = true},
  };
}

TEST_P(Convolutions, EveryElementIsItsDotProduct) {
  for (const Convolution& c : shapes()) check(c);
}

TEST_P(Convolutions, TransposedOnesAreConvolutionsAmongZeros) {
  for (const Convolution& c : transposed_shapes()) check(c);
}

TEST_P(Convolutions, PaddingTakesPartInInfinitiesAndNans) {
  for (const Convolution& c : shapes()) check(c, Values::hard);
  for (const Convolution& c : transposed_shapes()) check(c, Values::hard);
}

TEST_P(Convolutions, ThreadsStridesAndStoragesChangeNoSum) {
  for (std::size_t i = 1; i < shapes().size(); ++i) {
    check(shapes()[i], Values::ordinary, 2);
    check(shapes()[i], Values::ordinary, 7, Element::float32, true, false);
    check(shapes()[i], Values::hard, 3, Element::bfloat16);
    check(shapes()[i], Values::ordinary, 1, Element::float16, true);
  }
  for (const Convolution& c : transposed_shapes())
    check(c, Values::ordinary, 3, Element::bfloat16, true);
}

TEST_P(Convolutions, ASumOfNegativeZerosStaysOne) {
  const Convolution c{
      .batch = 1, .in_channels = 1, .out_channels = 1, .in = {1, 1}, .kernel = {1, 1}};
  const float zero = -0.0f, one = 1, bias = -0.0f;
  float out = 1;
  const std::int64_t sizes[] = {1, 1, 1, 1};
  // fma(−0, 1, +0) is +0, and +0 + −0 too.
  convolve(c, {&zero, Element::float32, sizes, sizes}, &one, &bias,
           {&out, Element::float32, sizes, sizes}, kSerial);
  EXPECT_FALSE(std::signbit(out));
}

TORCHNOTARY_ON_EVERY_CPU_PATH(Convolutions);

}  // namespace
}  // namespace torchnotary::exact
