// Golden cases of what looks through windows (docs/exact-profile.md, sections 4 and 10):
// convolutions, pooling, resampling.
//
// Operands: 1 is the input, 2 the weights, 3 the bias.
#include <array>

#include "exact/convolution.h"
#include "exact/interpolate.h"
#include "exact/pooling.h"
#include "exact_golden.h"

namespace torchnotary::exact {
namespace {

struct NamedConvolution {
  const char* name;
  Convolution convolution;
};

const NamedConvolution kConvolutions[] = {
    {"1x1", {3, 17, 33, 1, {9, 11}, {1, 1}}},
    {"3x3-padded", {2, 8, 20, 1, {19, 23}, {3, 3}, {1, 1}, {1, 1}}},
    {"7x7-strided", {1, 3, 16, 1, {40, 44}, {7, 7}, {2, 2}, {3, 3}}},
    {"blocks", {1, 65, 9, 1, {6, 7}, {2, 2}}},  // 260 products in a dot
    {"groups", {2, 12, 18, 3, {14, 15}, {3, 2}, {1, 2}, {1, 0}}},
    {"depthwise", {2, 24, 24, 24, {16, 18}, {3, 3}, {1, 1}, {1, 1}}},
    {"dilated", {1, 6, 10, 2, {25, 21}, {3, 3}, {2, 1}, {2, 3}, {2, 3}}},
    {"one-axis", {3, 5, 7, 1, {1, 200}, {1, 9}, {1, 3}, {0, 4}}},
    {"transposed", {2, 10, 6, 1, {9, 8}, {3, 4}, {2, 3}, {1, 0}, {1, 1}, true, {1, 2}}},
    {"transposed-groups", {1, 8, 12, 4, {7, 9}, {3, 3}, {2, 1}, {1, 2}, {2, 1}, true, {0, 0}}},
};

void add(GoldenLines& lines, const NamedConvolution& named, Element element, Numbers numbers) {
  const Convolution& c = named.convolution;
  const auto size = [](std::size_t n) { return static_cast<std::int64_t>(n); };
  const TestTensor input = operand(
      1, element, {size(c.batch), size(c.in_channels), size(c.in[0]), size(c.in[1])}, numbers);
  const std::int64_t first = size(c.transposed ? c.in_channels : c.out_channels),
                     second = size((c.transposed ? c.out_channels : c.in_channels) / c.groups);
  const TestTensor weights =
      operand(2, element, {first, second, size(c.kernel[0]), size(c.kernel[1])});
  const std::vector<float> bias = floats(3, c.out_channels);
  std::vector<float> packed(packed_weights_size(c));
  pack_weights(c, weights.input(), packed.data());
  TestTensor out(element,
                 {size(c.batch), size(c.out_channels), size(c.out()[0]), size(c.out()[1])});
  convolve(c, input.input(), packed.data(), bias.data(), out.output(), lines.threads());
  lines.add(case_name({"convolution", name_of(element), named.name, name_of(numbers)}), out);
}

PoolAxis adaptive(std::size_t in, std::size_t out) { return {in, out, 1, 1, 0, 1, true}; }

struct NamedPool {
  const char* name;
  PoolAxes axes;
};

constexpr PoolAxis kOne;
const NamedPool kPools[] = {
    {"one-axis", {kOne, kOne, {300, 296, 5, 1, 0, 1}}},
    {"two-axes", {kOne, {40, 20, 3, 2, 1, 1}, {44, 22, 3, 2, 1, 1}}},
    {"three-axes", {{{5, 6, 2, 1, 1, 1}, {6, 2, 3, 2, 0, 1}, {17, 6, 4, 3, 2, 1}}}},
    {"adaptive", {kOne, adaptive(10, 3), adaptive(11, 4)}},
    {"adaptive-wider", {kOne, adaptive(3, 5), adaptive(2, 7)}},
    {"long", {kOne, kOne, {5000, 10, 4097, 100, 0, 1}}},
};

void add(GoldenLines& lines, const NamedPool& pool, Element element, Numbers numbers) {
  const PoolAxes& a = pool.axes;
  const auto sizes = [&](auto member) {
    Shape shape = {12};
    for (const PoolAxis& axis : a) shape.push_back(static_cast<std::int64_t>(axis.*member));
    return shape;
  };
  const TestTensor input = operand(1, element, sizes(&PoolAxis::in), numbers);
  TestTensor out(element, sizes(&PoolAxis::out)), places(Element::int64, out.sizes);
  const auto add = [&](const char* name, const char* options,
                       std::initializer_list<Bytes> results) {
    lines.add(case_name({name, name_of(element), pool.name, options, name_of(numbers)}), results);
  };
  max_pool(a, input.input(), out.output(), reinterpret_cast<std::int64_t*>(places.bytes.data()),
           lines.threads());
  add("max_pool", "", {out.bytes, places.bytes});
  average_pool(a, input.input(), out.output(), AverageOver::elements, 0, lines.threads());
  add("avg_pool", "", {out.bytes});
  if (a[2].adaptive) return;
  average_pool(a, input.input(), out.output(), AverageOver::padded, 0, lines.threads());
  add("avg_pool", "include-pad", {out.bytes});
  average_pool(a, input.input(), out.output(), AverageOver::padded, 7, lines.threads());
  add("avg_pool", "divided-by-7", {out.bytes});
}

using Resampling = std::vector<ResampledAxis>;

Shape resampled(const Resampling& axes, std::size_t ResampledAxis::*member) {
  Shape shape = {2, 5};
  for (const ResampledAxis& axis : axes) shape.push_back(static_cast<std::int64_t>(axis.*member));
  return shape;
}

std::string name_of(const Resampling& axes) {
  std::string name;
  for (const ResampledAxis& axis : axes) {
    if (!name.empty()) name += ',';
    name += std::to_string(axis.in);
    name += '-';
    name += std::to_string(axis.out);
    if (axis.factor) name += "-factor";
  }
  return name;
}

void add_nearest(GoldenLines& lines, const Resampling& axes) {
  const TestTensor in = operand(1, Element::int16, resampled(axes, &ResampledAxis::in));
  TestTensor out(Element::int16, resampled(axes, &ResampledAxis::out));
  for (const Nearest mode : {Nearest::floor, Nearest::exact}) {
    interpolate_nearest(axes, 10, in.bytes.data(), out.bytes.data(), 2, mode, lines.threads());
    lines.add(case_name({"interpolate", mode == Nearest::floor ? "nearest" : "nearest-exact",
                         name_of(axes)}),
              out);
  }
}

void add_linear(GoldenLines& lines, const Resampling& axes, Element element) {
  const TestTensor in = operand(1, element, resampled(axes, &ResampledAxis::in));
  TestTensor out(element, resampled(axes, &ResampledAxis::out));
  for (const bool aligned : {false, true}) {
    interpolate_linear(axes, in.input(), out.output(), aligned, lines.threads());
    lines.add(case_name({"interpolate", "linear", exact::name_of(element), name_of(axes),
                         aligned ? "align-corners" : ""}),
              out);
  }
}

}  // namespace

void golden_windows(GoldenLines& lines) {
  for (const Element element : kFloating) {
    for (const NamedConvolution& each : kConvolutions) add(lines, each, element, Numbers::plain);
    add(lines, kConvolutions[0], element, Numbers::hard);
    for (const NamedPool& each : kPools) {
      add(lines, each, element, Numbers::plain);
      add(lines, each, element, Numbers::hard);
    }
    for (const Resampling& axes : {Resampling{{5, 13}},
                                   {{13, 5}},
                                   {{10, 25, 2.5}},
                                   {{9, 20}, {11, 300}},
                                   {{6, 9, 1.5}, {1, 4}}}) {
      add_linear(lines, axes, element);
    }
  }
  for (const Resampling& axes : {Resampling{{5, 13}},
                                 {{10, 25, 2.5}},
                                 {{3, 4}, {9, 2}},
                                 {{2, 3}, {4, 2}, {5, 11}},
                                 {{40, 60}, {50, 77}}}) {
    add_nearest(lines, axes);
  }
}

}  // namespace torchnotary::exact
