// Reductions against docs/exact-profile.md, section 7, row by row, on every CPU path.
#include "exact/sums.h"

#include <algorithm>
#include <string>

#include "exact/environment.h"
#include "exact_rows_support.h"
#include "hashing/errors.h"
#include "support.h"

namespace torchnotary::exact {
namespace {

std::vector<float> absolute(std::vector<float> x) {
  for (float& v : x) v = std::fabs(v);
  return x;
}

float variance(const std::vector<float>& x, double correction) {
  const auto n = static_cast<float>(x.size());
  const double divisor = std::max(static_cast<double>(n) - correction, 0.0);
  return spec::squares(spec::minus(x, spec::sum(x) / n)) / static_cast<float>(divisor);
}

float logsumexp(std::vector<float> x) {
  const float greatest = spec::maximum(x), m = std::isinf(greatest) ? 0 : greatest;
  for (float& v : x) v = spec::exp(v - m);
  return spec::log(spec::sum(x)) + m;
}

float expected(Reduction reduction, std::vector<float> x, double correction) {
  switch (reduction) {
    case Reduction::sum:
      return spec::sum(x);
    case Reduction::nansum:
      for (float& v : x) v = v != v ? 0 : v;
      return spec::sum(x);
    case Reduction::mean:
      return spec::sum(x) / static_cast<float>(x.size());
    case Reduction::variance:
      return variance(x, correction);
    case Reduction::standard_deviation:
      return std::sqrt(variance(x, correction));
    case Reduction::product:
      return spec::product(x);
    case Reduction::greatest:
      return spec::maximum(x);
    case Reduction::least:
      for (float& v : x) v = -v;
      return -spec::maximum(x);
    case Reduction::norm_1:
      return spec::sum(absolute(x));
    case Reduction::norm_2:
      return std::sqrt(spec::squares(x));
    case Reduction::norm_infinity:
      return spec::maximum(absolute(x));
    case Reduction::logsumexp:
      return logsumexp(x);
  }
  return 0;
}

constexpr Reduction kAll[] = {
    Reduction::sum,           Reduction::nansum,    Reduction::mean,
    Reduction::variance,      Reduction::product,   Reduction::greatest,
    Reduction::least,         Reduction::norm_1,    Reduction::norm_2,
    Reduction::norm_infinity, Reduction::logsumexp, Reduction::standard_deviation};
constexpr Element kStorages[] = {Element::float32, Element::bfloat16, Element::float16};

// Wild values now and then, so that most sums are numbers; products near 1.
void fill_rows(TestTensor& x, Reduction reduction, std::mt19937& random) {
  if (random() % 4 == 0) return HardNumbers(random()).fill(x);
  std::normal_distribution<float> normal(0, 2);
  for (std::size_t at = 0; at < x.bytes.size(); at += element_size(x.element)) {
    float v = normal(random);
    if (reduction == Reduction::product) v = 1 + v / 64;
    if (random() % 64 == 0) v = std::copysign(0.0f, v);
    if (x.element == Element::float32) x.put(at, v);
    if (x.element == Element::bfloat16) x.put(at, narrow_bfloat16(v));
    if (x.element == Element::float16) x.put(at, narrow_float16(v));
  }
}

class ExactSums : public EveryCpuPath {};
TORCHNOTARY_ON_EVERY_CPU_PATH(ExactSums);

void expect_reduction(Reduction reduction, const TestTensor& x, const std::vector<bool>& along,
                      TestTensor y, double correction, std::size_t threads) {
  const FloatEnvironment environment;
  std::vector<std::size_t> axes;
  for (std::size_t axis = 0; axis < along.size(); ++axis) {
    if (along[axis]) axes.push_back(axis);
  }
  reduce(reduction, x.input(), axes, y.output(), correction, Threads(threads));
  const auto rows = spec::rows(x, along);
  for (std::size_t r = 0; r < rows.size(); ++r) {
    const float want = expected(reduction, spec::values(x, rows[r]), correction);
    ASSERT_EQ(bits_at(y, y.place(y.sizes, r)), stored_bits(want, y.element)) << "row " << r;
  }
}

TEST_P(ExactSums, FollowTheSpecificationOverAnyAxes) {
  std::mt19937 random(1);
  const Shape shapes[] = {{3, 5, 17},  {2, 33, 9},   {40, 2, 1},   {1, 1, 5000}, {5000, 1, 3},
                          {9, 30, 40}, {1, 1, 4096}, {1, 4097, 1}, {6, 16, 16},  {1, 1, 1}};
  int round = 0;
  for (const Shape& sizes : shapes) {
    for (const Reduction reduction : kAll) {
      for (unsigned subset = 0; subset < 8; subset += 1 + random() % 2) {
        const std::vector<bool> along = {(subset & 1) != 0, (subset & 2) != 0, (subset & 4) != 0};
        Shape strides = contiguous(sizes, 1 + random() % 2);
        if (random() % 3 == 0) strides = {1, sizes[0] * sizes[2], sizes[0]};
        Shape kept = sizes;
        for (std::size_t axis = 0; axis < 3; ++axis) {
          if (along[axis]) kept[axis] = 1;
        }
        const Element element = kStorages[random() % 3];
        TestTensor x(element, sizes, strides);
        fill_rows(x, reduction, random);
        TestTensor y(random() % 2 == 0 ? element : Element::float32, kept,
                     contiguous(kept, 1 + random() % 2));
        SCOPED_TRACE("round " + std::to_string(++round) + " reduction " +
                     std::to_string(static_cast<int>(reduction)));
        expect_reduction(reduction, x, along, y, random() % 2 * 0.5, 1 + random() % 3);
        if (HasFatalFailure()) return;
      }
    }
  }
}

TEST_P(ExactSums, NothingHasASumButNoMaximum) {
  const std::size_t last[] = {1};
  const auto result = [&](Reduction reduction) {
    TestTensor x(Element::float32, {2, 0}), y(Element::float32, {2});
    reduce(reduction, x.input(), last, y.output(), 1);
    return bits_at(y, 4);
  };
  EXPECT_EQ(result(Reduction::sum), 0u);
  EXPECT_EQ(result(Reduction::norm_2), 0u);
  EXPECT_EQ(result(Reduction::product), 0x3f800000u);
  EXPECT_EQ(result(Reduction::mean), kNan);
  EXPECT_EQ(result(Reduction::variance), kNan);
  EXPECT_THROW(result(Reduction::greatest), NotaryError);
  EXPECT_THROW(result(Reduction::least), NotaryError);
}

TEST_P(ExactSums, TheZerosOfTwoSignsAreToldApartByMaximumAndMinimum) {
  const std::size_t last[] = {0};
  for (const std::int64_t n : {2, 5, 16, 17, 64, 65, 200, 5000}) {
    for (const std::int64_t odd : {std::int64_t{0}, n / 2, n - 1}) {
      for (const bool greatest : {false, true}) {
        // One zero of the wanted sign among those of the other, and numbers that do not matter.
        const float wanted = greatest ? 0.0f : -0.0f;
        TestTensor x(Element::float32, {n}), y(Element::float32, {1});
        for (std::int64_t i = 0; i < n; ++i) {
          const float other = i % 3 == 0 ? -wanted : greatest ? -1.0f : 1.0f;
          x.put(4 * static_cast<std::size_t>(i), i == odd ? wanted : other);
        }
        reduce(greatest ? Reduction::greatest : Reduction::least, x.input(), last, y.output(), 0);
        ASSERT_EQ(bits_at(y, 0), std::bit_cast<std::uint32_t>(wanted)) << n << " " << odd;
      }
    }
  }
}

TEST_P(ExactSums, CumsumIsOneChainAlongAnyAxis) {
  std::mt19937 random(2);
  for (const Shape& sizes : {Shape{3, 5, 17}, Shape{2, 33, 9}, Shape{40, 2, 1}, Shape{2, 0, 3}}) {
    for (std::size_t axis = 0; axis < 3; ++axis) {
      const FloatEnvironment environment;
      const Element element = kStorages[random() % 3];
      TestTensor x(element, sizes), y(element, sizes);
      fill_rows(x, Reduction::sum, random);
      cumsum(x.input(), y.output(), axis, Threads(2));
      std::vector<bool> along(3, false);
      along[axis] = true;
      for (const auto& places : spec::rows(x, along)) {
        float sum = 0;
        for (std::size_t i = 0; i < places.size(); ++i) {
          sum = i == 0 ? x.value(places[0]) : sum + x.value(places[i]);
          ASSERT_EQ(bits_at(y, places[i]), stored_bits(sum, element));
        }
      }
    }
  }
}

}  // namespace
}  // namespace torchnotary::exact
