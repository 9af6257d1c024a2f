// Pooling against docs/exact-profile.md, section 10: the elements of each window are listed, then
// their maximum or sum is taken as the page says.
#include "exact/pooling.h"

#include <gtest/gtest.h>

#include <cmath>

#include "exact/environment.h"
#include "exact_support.h"
#include "support.h"

namespace torchnotary::exact {
namespace {

struct Listed {
  std::vector<std::int64_t> places;  // within the plane
  std::int64_t padded = 1;
};

// The places of a window along one axis, and how many it has with those in the padding.
Listed along(const PoolAxis& axis, std::int64_t i) {
  Listed listed;
  const auto in = static_cast<std::int64_t>(axis.in), out = static_cast<std::int64_t>(axis.out);
  if (axis.adaptive) {
    const std::int64_t end = static_cast<std::int64_t>(
        std::ceil(static_cast<double>((i + 1) * in) / static_cast<double>(out)));
    for (std::int64_t at = i * in / out; at < end; ++at) listed.places.push_back(at);
    listed.padded = std::ssize(listed.places);
    return listed;
  }
  const auto padding = static_cast<std::int64_t>(axis.padding);
  listed.padded = 0;
  for (std::size_t tap = 0; tap < axis.kernel; ++tap) {
    const std::int64_t at = i * static_cast<std::int64_t>(axis.stride) - padding +
                            static_cast<std::int64_t>(tap * axis.dilation);
    if (at >= 0 && at < in) listed.places.push_back(at);
    if (at < in + padding) ++listed.padded;
  }
  return listed;
}

Listed window(const PoolAxes& axes, std::int64_t result) {
  const auto rows = static_cast<std::int64_t>(axes[1].out),
             columns = static_cast<std::int64_t>(axes[2].out);
  const Listed d = along(axes[0], result / columns / rows),
               r = along(axes[1], result / columns % rows), c = along(axes[2], result % columns);
  Listed listed;
  listed.padded = d.padded * r.padded * c.padded;
  for (const std::int64_t depth : d.places) {
    for (const std::int64_t row : r.places) {
      for (const std::int64_t column : c.places) {
        listed.places.push_back((depth * static_cast<std::int64_t>(axes[1].in) + row) *
                                    static_cast<std::int64_t>(axes[2].in) +
                                column);
      }
    }
  }
  return listed;
}

float larger(float a, float b) {
  if (a != a || b != b) return NAN;
  if (a == 0 && b == 0) return std::signbit(a) ? b : a;
  return a > b ? a : b;
}

template <class Number>
float sum_of(const std::vector<float>& x) {
  Number lane[16] = {}, t[8], u[4], v[2];
  for (std::size_t i = 0; i < x.size(); ++i) lane[i % 16] += static_cast<Number>(x[i]);
  for (int l = 0; l < 8; ++l) t[l] = lane[l] + lane[l + 8];
  for (int l = 0; l < 4; ++l) u[l] = t[l] + t[l + 4];
  for (int l = 0; l < 2; ++l) v[l] = u[l] + u[l + 2];
  return static_cast<float>(v[0] + v[1]);
}

float sum(const std::vector<float>& x) {
  return x.size() > 4096 ? sum_of<double>(x) : sum_of<float>(x);
}

Shape in_shape(const PoolAxes& a, std::int64_t planes) {
  return {planes, static_cast<std::int64_t>(a[0].in), static_cast<std::int64_t>(a[1].in),
          static_cast<std::int64_t>(a[2].in)};
}
Shape out_shape(const PoolAxes& a, std::int64_t planes) {
  return {planes, static_cast<std::int64_t>(a[0].out), static_cast<std::int64_t>(a[1].out),
          static_cast<std::int64_t>(a[2].out)};
}

// How many windows of torch's formula fit.
PoolAxis plain(std::size_t in, std::size_t kernel, std::size_t stride, std::size_t padding = 0,
               std::size_t dilation = 1, bool ceil = false) {
  const std::size_t room = in + 2 * padding - dilation * (kernel - 1) - 1;
  std::size_t out = (room + (ceil ? stride - 1 : 0)) / stride + 1;
  if (ceil && (out - 1) * stride >= in + padding) --out;
  return {in, out, kernel, stride, padding, dilation, false};
}
PoolAxis adaptive(std::size_t in, std::size_t out) { return {in, out, 1, 1, 0, 1, true}; }

std::vector<PoolAxes> shapes() {
  const PoolAxis one;
  return {
      {one, one, plain(1, 1, 1)},
      {one, plain(112, 3, 2, 1), plain(112, 3, 2, 1)},
      {one, plain(7, 2, 2), plain(9, 2, 2)},
      {one, plain(8, 3, 2, 1, 1, true), plain(10, 3, 3, 1, 1, true)},
      {one, one, plain(300, 5, 1, 2)},
      {plain(5, 2, 1, 1), plain(6, 3, 2), plain(17, 4, 3, 2)},
      {one, adaptive(7, 1), adaptive(7, 1)},
      {one, adaptive(10, 3), adaptive(11, 4)},
      {one, adaptive(3, 5), adaptive(2, 7)},
      {one, one, plain(5000, 4097, 100)},
      {one, one, plain(5000, 4096, 300)},
  };
}

TestTensor hard(Element element, const Shape& shape, const Shape& strides) {
  TestTensor tensor(element, shape, strides);
  HardNumbers(shape[1] + 100 * shape[3]).fill(tensor);
  return tensor;
}

class Pooling : public EveryCpuPath {};

void check_max(const PoolAxes& axes, Element element, const Shape& strides, std::size_t threads,
               std::int64_t planes) {
  const TestTensor in = hard(element, in_shape(axes, planes), strides);
  TestTensor out(element, out_shape(axes, planes)), with = out;
  std::vector<std::int64_t> indices(elements_of(out.sizes));
  max_pool(axes, in.input(), out.output(), nullptr, Threads(threads));
  max_pool(axes, in.input(), with.output(), indices.data(), Threads(threads));
  EXPECT_EQ(out.bytes, with.bytes);
  const std::size_t plane_in = elements_of(in.sizes) / planes, plane_out = indices.size() / planes;
  for (std::size_t i = 0; i < indices.size(); ++i) {
    const Listed listed = window(axes, static_cast<std::int64_t>(i % plane_out));
    const auto x = [&](std::int64_t at) {
      return in.value(in.place(in.sizes, i / plane_out * plane_in + static_cast<std::size_t>(at)));
    };
    float maximum = -INFINITY;
    for (const std::int64_t at : listed.places) maximum = larger(maximum, x(at));
    ASSERT_EQ(bits_at(out, out.place(out.sizes, i)), stored_bits(maximum, element)) << i;
    std::int64_t first = -1;
    for (const std::int64_t at : listed.places) {
      const bool greatest = maximum != maximum ? x(at) != x(at) : x(at) == maximum;
      if (greatest && first < 0) first = at;
    }
    ASSERT_EQ(indices[i], first) << i;
  }
}

TEST_P(Pooling, MaximaAndTheirPlacesAreThoseOfTheWindow) {
  for (PoolAxes axes : shapes()) {
    check_max(axes, Element::float32, contiguous(in_shape(axes, 3)), 1, 3);
    check_max(axes, Element::bfloat16, contiguous(in_shape(axes, 3), 2), 3, 3);
  }
  check_max({PoolAxis{}, plain(20, 3, 2, 1, 2), plain(21, 2, 1, 0, 5)}, Element::float32,
            {420, 420, 1, 20}, 2, 5);
}

void check_average(const PoolAxes& axes, Element element, AverageOver over, std::int64_t divisor,
                   std::size_t threads) {
  const std::int64_t planes = 2;
  const TestTensor in = hard(element, in_shape(axes, planes), contiguous(in_shape(axes, planes)));
  TestTensor out(element, out_shape(axes, planes), contiguous(out_shape(axes, planes), 3));
  average_pool(axes, in.input(), out.output(), over, divisor, Threads(threads));
  const FloatEnvironment environment;
  const std::size_t plane_in = elements_of(in.sizes) / planes,
                    plane_out = elements_of(out.sizes) / planes;
  for (std::size_t i = 0; i < planes * plane_out; ++i) {
    const Listed listed = window(axes, static_cast<std::int64_t>(i % plane_out));
    std::vector<float> x;
    for (const std::int64_t at : listed.places)
      x.push_back(
          in.value(in.place(in.sizes, i / plane_out * plane_in + static_cast<std::size_t>(at))));
    std::int64_t by = over == AverageOver::padded ? listed.padded : std::ssize(x);
    if (divisor != 0) by = divisor;
    ASSERT_EQ(bits_at(out, out.place(out.sizes, i)),
              stored_bits(sum(x) / static_cast<float>(by), element))
        << i;
  }
}

TEST_P(Pooling, AveragesAreTheSumOfTheWindowByItsCount) {
  for (const PoolAxes& axes : shapes()) {
    check_average(axes, Element::float32, AverageOver::padded, 0, 1);
    check_average(axes, Element::float32, AverageOver::elements, 0, 2);
    check_average(axes, Element::float16, AverageOver::elements, 3, 3);
  }
}

TORCHNOTARY_ON_EVERY_CPU_PATH(Pooling);

}  // namespace
}  // namespace torchnotary::exact
