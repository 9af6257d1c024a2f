// Bags of rows against docs/exact-profile.md, section 10: the rows of a bag are listed and summed
// as section 7 says.
#include "exact/embedding_bag.h"

#include <gtest/gtest.h>

#include <cmath>

#include "exact/environment.h"
#include "exact_support.h"
#include "hashing/errors.h"
#include "support.h"

namespace torchnotary::exact {
namespace {

template <class Number>
float sum_of(const std::vector<float>& x, const std::vector<float>* weights) {
  Number lane[16] = {};
  for (std::size_t i = 0; i < x.size(); ++i) {
    Number& l = lane[i % 16];
    l = weights == nullptr
            ? l + static_cast<Number>(x[i])
            : std::fma(static_cast<Number>(x[i]), static_cast<Number>((*weights)[i]), l);
  }
  for (int half = 8; half > 0; half /= 2) {
    for (int l = 0; l < half; ++l) lane[l] += lane[l + half];
  }
  return static_cast<float>(lane[0]);
}

float larger(float a, float b) {
  if (a != a || b != b) return NAN;
  if (a == 0 && b == 0) return std::signbit(a) ? b : a;
  return a > b ? a : b;
}

struct Case {
  BagMode mode;
  std::int64_t columns;
  std::optional<std::int64_t> padding;
  bool weighted = false;
  Element element = Element::float32;
  bool transposed = false;
};

void check(const Case& c, std::size_t threads) {
  const std::int64_t rows = 50;
  TestTensor table(c.element, {rows, c.columns},
                   c.transposed ? Shape{1, rows} : Shape{c.columns, 1});
  HardNumbers numbers(9);
  numbers.fill(table);
  // Bags of none, one, some, 4,096 and 4,097 rows.
  const std::vector<std::int64_t> ends = {0, 1, 18, 18, 4114, 8211};
  std::vector<std::int64_t> indices;
  std::vector<float> weights;
  for (std::int64_t i = 0; i < ends.back(); ++i) {
    indices.push_back(i < 18 ? i * 7 % rows : 40 + i * 7 % 10);
    weights.push_back(static_cast<float>(i % 13) - 5.3f);
  }
  TestTensor out(c.element, {std::ssize(ends), c.columns});
  embedding_bag(c.mode, table.input(), indices, ends, c.padding,
                c.weighted ? weights.data() : nullptr, out.output(), Threads(threads));
  const FloatEnvironment environment;
  for (std::int64_t bag = 0; bag < std::ssize(ends); ++bag) {
    for (std::int64_t column = 0; column < c.columns; ++column) {
      std::vector<float> x, w;
      for (std::int64_t i = bag == 0 ? 0 : ends[bag - 1]; i < ends[bag]; ++i) {
        if (c.padding == indices[i]) continue;
        x.push_back(table.value(table.place(table.sizes, indices[i] * c.columns + column)));
        w.push_back(weights[i]);
      }
      const auto* products = c.weighted ? &w : nullptr;
      float value = x.size() > 4096 ? sum_of<double>(x, products) : sum_of<float>(x, products);
      if (c.mode == BagMode::mean && !x.empty()) value = value / static_cast<float>(x.size());
      if (c.mode == BagMode::max) {
        value = x.empty() ? 0 : x[0];
        for (const float each : x) value = larger(value, each);
      }
      ASSERT_EQ(bits_at(out, out.place(out.sizes, bag * c.columns + column)),
                stored_bits(value, c.element))
          << bag << ", " << column;
    }
  }
}

class EmbeddingBag : public EveryCpuPath {};

TEST_P(EmbeddingBag, RowsAreSummedInTheOrderOfTheIndices) {
  check({BagMode::sum, 300, std::nullopt}, 1);
  check({BagMode::sum, 5, 7, true}, 2);
  check({BagMode::sum, 3, 47, true, Element::bfloat16}, 1);
  check({BagMode::mean, 17, 0, false, Element::float16}, 3);
  check({BagMode::mean, 4, 45, false, Element::float32, true}, 1);
  check({BagMode::max, 33, 14}, 2);
  check({BagMode::max, 2, 0, false, Element::bfloat16, true}, 1);
}

TEST_P(EmbeddingBag, AnIndexOutsideTheTableIsRefused) {
  const TestTensor table(Element::float32, {4, 2});
  TestTensor out(Element::float32, {1, 2});
  for (const std::int64_t index : {-1, 4}) {
    EXPECT_THROW(
        embedding_bag(BagMode::sum, table.input(), std::array{index}, std::array{std::int64_t{1}},
                      std::nullopt, nullptr, out.output(), kSerial),
        NotaryError);
  }
}

TORCHNOTARY_ON_EVERY_CPU_PATH(EmbeddingBag);

}  // namespace
}  // namespace torchnotary::exact
