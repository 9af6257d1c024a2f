// Norms and softmax against docs/exact-profile.md, section 7, row by row, on every CPU path.
#include "exact/norms.h"

#include <functional>
#include <string>

#include "exact/environment.h"
#include "exact/softmax.h"
#include "exact_rows_support.h"
#include "support.h"

namespace torchnotary::exact {
namespace {

// A row of the result from a row of x; `row` counts the rows.
using RowRule = std::function<std::vector<float>(const std::vector<float>& x, std::size_t row)>;
using Kernel = std::function<void(const Input& x, const Output& y, ParallelFor parallel)>;

void expect_rows(const TestTensor& x, TestTensor y, const std::vector<bool>& along,
                 const Kernel& kernel, const RowRule& rule, std::size_t threads) {
  const FloatEnvironment environment;
  TestTensor want = y;
  kernel(x.input(), y.output(), Threads(threads));
  const auto from = spec::rows(x, along), to = spec::rows(y, along);
  for (std::size_t r = 0; r < from.size(); ++r) {
    const std::vector<float> row = rule(spec::values(x, from[r]), r);
    for (std::size_t i = 0; i < row.size(); ++i) {
      const std::uint32_t bits = stored_bits(row[i], y.element);
      ASSERT_EQ(bits_at(y, to[r][i]), bits) << "row " << r << " element " << i;
      std::memcpy(want.bytes.data() + to[r][i], &bits, element_size(y.element));
    }
  }
  ASSERT_EQ(y.bytes, want.bytes) << "wrote beside the result";
}

struct Layout {
  Shape sizes, x_strides, y_strides;
};

// Contiguous, with gaps, and with the last axis outermost.
std::vector<Layout> layouts(const Shape& sizes) {
  const std::int64_t last = sizes.back(),
                     before = contiguous(sizes)[0] * sizes[0] / std::max<std::int64_t>(last, 1);
  Shape transposed = contiguous(sizes);
  for (std::int64_t& stride : transposed) stride /= std::max<std::int64_t>(last, 1);
  transposed.back() = std::max<std::int64_t>(before, 1);
  return {{sizes, contiguous(sizes), contiguous(sizes)},
          {sizes, contiguous(sizes, 2), contiguous(sizes)},
          {sizes, transposed, contiguous(sizes)},
          {sizes, contiguous(sizes), transposed},
          {sizes, transposed, transposed}};
}

std::vector<float> parameter(TestTensor& t, HardNumbers& numbers) {
  numbers.fill(t);
  std::vector<float> values;
  for (std::size_t i = 0; i < elements_of(t.sizes); ++i) {
    values.push_back(t.value(i * element_size(t.element)));
  }
  return values;
}

constexpr float kEps = 1e-5f;

std::vector<float> normalised(const std::vector<float>& x, bool centred,
                              const std::vector<float>* w, const std::vector<float>* b) {
  const auto n = static_cast<float>(x.size());
  const float mean = centred ? spec::sum(x) / n : 0;
  std::vector<float> d = centred ? spec::minus(x, mean) : x;
  const float r = 1 / std::sqrt(spec::squares(d) / n + kEps);
  for (std::size_t i = 0; i < d.size(); ++i) {
    const float v = d[i] * r;
    d[i] = w != nullptr && b != nullptr ? std::fma(v, (*w)[i], (*b)[i])
           : w != nullptr               ? v * (*w)[i]
           : b != nullptr               ? v + (*b)[i]
                                        : v;
  }
  return d;
}

// Mostly tame, so that rows are not all NaN.
void fill_rows(TestTensor& x, unsigned seed) {
  HardNumbers hard(seed);
  if (seed % 4 == 0) return hard.fill(x);
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.5f, 2);
  for (std::size_t at = 0; at < x.bytes.size(); at += element_size(x.element)) {
    const float v = normal(random);
    if (x.element == Element::float32) x.put(at, v);
    if (x.element == Element::bfloat16) x.put(at, narrow_bfloat16(v));
    if (x.element == Element::float16) x.put(at, narrow_float16(v));
  }
}

constexpr Element kStorages[] = {Element::float32, Element::bfloat16, Element::float16};

class ExactNorms : public EveryCpuPath {};
TORCHNOTARY_ON_EVERY_CPU_PATH(ExactNorms);

TEST_P(ExactNorms, LayerNormAndRmsNormFollowTheSpecification) {
  unsigned seed = 0;
  for (const std::int64_t n : {0, 1, 2, 15, 16, 17, 33, 384, 4096, 4097, 5000}) {
    for (const Layout& layout : layouts({3, 7, n})) {
      const Element element = kStorages[++seed % 3];
      TestTensor x(element, layout.sizes, layout.x_strides),
          y(element, layout.sizes, layout.y_strides);
      fill_rows(x, seed);
      HardNumbers numbers(seed);
      TestTensor w(kStorages[seed % 2], {n}), b(kStorages[seed % 2], {n});
      const std::vector<float> weights = parameter(w, numbers), biases = parameter(b, numbers);
      const bool has_w = seed % 3 != 0, has_b = seed % 5 != 0, rms = seed % 2 == 0;
      const Parameter weight = {has_w ? w.bytes.data() : nullptr, w.element};
      const Parameter bias = {has_b ? b.bytes.data() : nullptr, b.element};
      SCOPED_TRACE("seed " + std::to_string(seed) + " n " + std::to_string(n));
      expect_rows(
          x, y, {false, false, true},
          [&](const Input& from, const Output& to, ParallelFor parallel) {
            rms ? rms_norm(from, to, 1, weight, kEps, parallel)
                : layer_norm(from, to, 1, weight, bias, kEps, parallel);
          },
          [&](const std::vector<float>& row, std::size_t) {
            return normalised(row, !rms, has_w ? &weights : nullptr,
                              has_b && !rms ? &biases : nullptr);
          },
          1 + seed % 3);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(ExactNorms, LayerNormReducesSeveralAxesInRowMajorOrder) {
  TestTensor x(Element::float32, {5, 6, 7}, {1, 40, 5}), y(Element::float32, {5, 6, 7});
  fill_rows(x, 1);
  expect_rows(
      x, y, {false, true, true},
      [](const Input& from, const Output& to, ParallelFor parallel) {
        layer_norm(from, to, 2, {}, {}, kEps, parallel);
      },
      [](const std::vector<float>& row, std::size_t) {
        return normalised(row, true, nullptr, nullptr);
      },
      2);
}

TEST_P(ExactNorms, BatchNormFollowsTheSpecification) {
  unsigned seed = 0;
  for (const Shape& sizes :
       {Shape{2, 5, 7, 3}, Shape{3, 4, 40}, Shape{6, 37}, Shape{2, 3, 0}, Shape{2, 40, 1, 9}}) {
    std::vector<Layout> all = layouts(sizes);
    if (sizes.size() == 4) {  // channels last
      const Shape strides = {sizes[1] * sizes[2] * sizes[3], 1, sizes[1] * sizes[3], sizes[1]};
      all.push_back({sizes, strides, strides});
      all.push_back({sizes, strides, strides});
    }
    for (const Layout& layout : all) {
      const Element element = kStorages[++seed % 3];
      TestTensor x(element, sizes, layout.x_strides), y(element, sizes, layout.y_strides);
      fill_rows(x, seed);
      HardNumbers numbers(seed);
      const auto channels = static_cast<std::size_t>(sizes[1]);
      std::vector<TestTensor> tensors(4, TestTensor(kStorages[seed % 2], {sizes[1]}));
      std::vector<std::vector<float>> values;
      for (TestTensor& t : tensors) values.push_back(parameter(t, numbers));
      const bool has_w = seed % 3 != 0, has_b = seed % 4 != 0;
      const auto given = [&](std::size_t i, bool has) -> Parameter {
        return {has ? tensors[i].bytes.data() : nullptr, tensors[i].element};
      };
      std::vector<bool> along(sizes.size(), true);
      along[0] = along[1] = false;
      SCOPED_TRACE("seed " + std::to_string(seed));
      expect_rows(
          x, y, along,
          [&](const Input& from, const Output& to, ParallelFor parallel) {
            batch_norm(from, to, given(0, true), given(1, true), given(2, has_w), given(3, has_b),
                       kEps, parallel);
          },
          [&](std::vector<float> row, std::size_t r) {
            const std::size_t c = r % channels;
            float a = 1 / std::sqrt(values[1][c] + kEps);
            if (has_w) a = a * values[2][c];
            for (float& v : row) {
              const float d = v - values[0][c];
              v = has_b ? std::fma(d, a, values[3][c]) : d * a;
            }
            return row;
          },
          1 + seed % 3);
      if (HasFatalFailure()) return;
    }
  }
}

TEST_P(ExactNorms, GroupNormIsLayerNormWithParametersOfTheChannel) {
  unsigned seed = 0;
  for (const std::int64_t positions : {0, 1, 10, 900}) {
    for (const Layout& layout : layouts({2, 6, positions})) {
      for (const std::size_t groups : {1, 3, 6}) {
        const Element element = kStorages[++seed % 3];
        TestTensor x(element, layout.sizes, layout.x_strides),
            y(element, layout.sizes, layout.y_strides);
        fill_rows(x, seed);
        HardNumbers numbers(seed);
        TestTensor w(Element::float32, {6}), b(Element::float32, {6});
        const std::vector<float> weights = parameter(w, numbers), biases = parameter(b, numbers);
        const bool has_w = seed % 3 != 0, has_b = seed % 5 != 0;
        // As (batch, group, channel of the group, position).
        const auto grouped = [&](TestTensor t) {
          const std::int64_t channels = 6 / static_cast<std::int64_t>(groups);
          t.sizes = {2, static_cast<std::int64_t>(groups), channels, positions};
          t.strides = {t.strides[0], t.strides[1] * channels, t.strides[1], t.strides[2]};
          return t;
        };
        SCOPED_TRACE("seed " + std::to_string(seed));
        expect_rows(
            grouped(x), grouped(y), {false, false, true, true},
            [&](const Input&, const Output& to, ParallelFor parallel) {
              group_norm(x.input(), {to.data, to.element, y.sizes, y.strides}, groups,
                         {has_w ? w.bytes.data() : nullptr, w.element},
                         {has_b ? b.bytes.data() : nullptr, b.element}, kEps, parallel);
            },
            [&](const std::vector<float>& row, std::size_t r) {
              std::vector<float> ws, bs;
              const std::size_t channels = 6 / groups;
              for (std::size_t i = 0; i < row.size(); ++i) {
                const std::size_t c =
                    r % groups * channels + i / static_cast<std::size_t>(positions);
                ws.push_back(weights[c]);
                bs.push_back(biases[c]);
              }
              return normalised(row, true, has_w ? &ws : nullptr, has_b ? &bs : nullptr);
            },
            1 + seed % 3);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(ExactNorms, SoftmaxAndLogSoftmaxFollowTheSpecificationAlongAnyAxis) {
  unsigned seed = 0;
  for (const Shape& sizes : {Shape{3, 5, 17}, Shape{2, 33, 9}, Shape{40, 2, 1}, Shape{1, 1, 5000},
                             Shape{4097, 1, 5}, Shape{2, 0, 3}}) {
    for (const Layout& layout : layouts(sizes)) {
      for (std::size_t axis = 0; axis < 3; ++axis) {
        for (const bool logarithm : {false, true}) {
          const Element element = kStorages[++seed % 3];
          TestTensor x(element, sizes, layout.x_strides), y(element, sizes, layout.y_strides);
          fill_rows(x, seed);
          std::vector<bool> along(3, false);
          along[axis] = true;
          SCOPED_TRACE("seed " + std::to_string(seed));
          expect_rows(
              x, y, along,
              [&](const Input& from, const Output& to, ParallelFor parallel) {
                logarithm ? log_softmax(from, to, axis, parallel)
                          : softmax(from, to, axis, parallel);
              },
              [&](std::vector<float> row, std::size_t) {
                const float m = spec::maximum(row);
                std::vector<float> e = spec::minus(row, m);
                for (float& v : e) v = spec::exp(v);
                const float sum = spec::sum(e), l = spec::log(sum);
                for (std::size_t i = 0; i < row.size(); ++i) {
                  row[i] = logarithm ? (row[i] - m) - l : e[i] / sum;
                }
                return row;
              },
              1 + seed % 3);
          if (HasFatalFailure()) return;
        }
      }
    }
  }
}

TEST_P(ExactNorms, ResultsMayReplaceWhatTheyAreComputedFrom) {
  for (const Element element : kStorages) {
    for (const std::size_t axis : {0, 1}) {
      TestTensor x(element, {40, 70}), y(element, {40, 70});
      fill_rows(x, 1);
      softmax(x.input(), y.output(), axis);
      softmax(x.input(), x.output(), axis);
      EXPECT_EQ(x.bytes, y.bytes);
    }
  }
}

}  // namespace
}  // namespace torchnotary::exact
