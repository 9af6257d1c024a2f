// The order of docs/exact-profile.md, section 7, against std::stable_sort with that order said
// plainly; and sampling (section 11).
#include "exact/order.h"

#include <algorithm>
#include <numeric>

#include "exact/sampling.h"
#include "exact_rows_support.h"
#include "hashing/errors.h"

namespace torchnotary::exact {
namespace {

constexpr Element kElements[] = {Element::float32, Element::bfloat16, Element::float16,
                                 Element::boolean, Element::uint8,    Element::int8,
                                 Element::int16,   Element::int32,    Element::int64};

// Whether the element at place a is less than that at b.
bool less(const TestTensor& x, std::size_t a, std::size_t b) {
  if (x.element == Element::int64) return x.get<std::int64_t>(a) < x.get<std::int64_t>(b);
  if (x.element == Element::int32) return x.get<std::int32_t>(a) < x.get<std::int32_t>(b);
  const float u = x.value(a), v = x.value(b);
  return v != v ? u == u : u < v;
}

bool is_nan(const TestTensor& x, std::size_t place) {
  return is_floating(x.element) && std::isnan(x.value(place));
}

std::vector<std::size_t> sorted(const TestTensor& x, const std::vector<std::size_t>& places,
                                bool descending) {
  std::vector<std::size_t> order(places.size());
  std::iota(order.begin(), order.end(), 0u);
  std::stable_sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {
    return descending ? less(x, places[b], places[a]) : less(x, places[a], places[b]);
  });
  return order;
}

std::size_t first_extreme(const TestTensor& x, const std::vector<std::size_t>& places,
                          bool greatest) {
  for (std::size_t i = 0; i < places.size(); ++i) {
    if (is_nan(x, places[i])) return i;
  }
  return sorted(x, places, greatest)[0];
}

// Few different numbers, so that many are equal.
void fill_with_repeats(TestTensor& x, unsigned seed) {
  TestTensor some(x.element, {7});
  HardNumbers(seed).fill(some);
  std::mt19937 random(seed);
  const std::size_t size = element_size(x.element);
  for (std::size_t at = 0; at < x.bytes.size(); at += size) {
    std::memcpy(x.bytes.data() + at, some.bytes.data() + random() % 7 * size, size);
  }
  if (x.element == Element::float32 && seed % 2 == 0) {
    for (std::size_t at = 0; at < x.bytes.size(); at += 8) x.put(at, at % 16 == 0 ? -0.0f : 0.0f);
  }
}

void expect_order(const TestTensor& x, std::size_t axis, std::int64_t wanted, bool descending) {
  Shape sizes = x.sizes;
  sizes[axis] = wanted;
  TestTensor values(x.element, sizes, contiguous(sizes, 2)), indices(Element::int64, sizes);
  sort(descending, x.input(), axis, values.output(), indices.output(), Threads(2));
  std::vector<bool> along(x.sizes.size(), false);
  along[axis] = true;
  const auto from = spec::rows(x, along), to = spec::rows(values, along);
  const auto index_places = spec::rows(indices, along);
  for (std::size_t r = 0; r < to.size(); ++r) {
    const std::vector<std::size_t> order = sorted(x, from[r], descending);
    for (std::size_t i = 0; i < to[r].size(); ++i) {
      const auto size = element_size(x.element);
      ASSERT_EQ(indices.get<std::int64_t>(index_places[r][i]), static_cast<std::int64_t>(order[i]));
      ASSERT_EQ(
          std::memcmp(values.bytes.data() + to[r][i], x.bytes.data() + from[r][order[i]], size), 0);
    }
  }
}

TEST(ExactOrder, SortAndTopkAreStableInBothDirections) {
  unsigned seed = 0;
  for (const Element element : kElements) {
    for (const Shape& sizes : {Shape{4, 50}, Shape{30, 3}, Shape{1, 1}, Shape{3, 0}}) {
      for (std::size_t axis = 0; axis < 2; ++axis) {
        for (const bool descending : {false, true}) {
          TestTensor x(element, sizes, {1, sizes[0]});
          ++seed % 2 == 0 ? fill_with_repeats(x, seed) : HardNumbers(seed).fill(x);
          for (const std::int64_t wanted : {sizes[axis], sizes[axis] / 3}) {
            expect_order(x, axis, wanted, descending);
            if (HasFatalFailure()) return;
          }
        }
      }
    }
  }
}

TEST(ExactOrder, ExtremesAreTheFirstOfEqualsAndTheFirstNanIfThereIsOne) {
  unsigned seed = 0;
  for (const Element element : kElements) {
    for (const Shape& sizes : {Shape{4, 50}, Shape{30, 3}, Shape{1, 1}, Shape{0, 3}}) {
      for (const bool greatest : {false, true}) {
        TestTensor x(element, sizes, {1, sizes[0]});
        ++seed % 2 == 0 ? fill_with_repeats(x, seed) : HardNumbers(seed).fill(x);
        TestTensor values(element, {sizes[0], 1}), indices(Element::int64, {sizes[0], 1});
        extreme(greatest, x.input(), 1, values.output(), indices.output(), Threads(2));
        const auto rows = spec::rows(x, {false, true});
        for (std::size_t r = 0; r < rows.size(); ++r) {
          const std::size_t first = first_extreme(x, rows[r], greatest);
          ASSERT_EQ(indices.get<std::int64_t>(8 * r), static_cast<std::int64_t>(first));
          const std::size_t size = element_size(element);
          ASSERT_EQ(
              std::memcmp(values.bytes.data() + size * r, x.bytes.data() + rows[r][first], size),
              0);
        }
      }
    }
  }
}

TEST(ExactOrder, NothingHasNoExtreme) {
  TestTensor x(Element::int64, {3, 0}), indices(Element::int64, {3, 1});
  EXPECT_THROW(extreme(true, x.input(), 1, {}, indices.output()), NotaryError);
}

// The known answers of Random123, kat_vectors, philox4x32 with 10 rounds.
TEST(ExactSampling, PhiloxGivesItsKnownAnswers) {
  EXPECT_EQ(philox(0, 0, 0), 0x6627e8d5u);
  EXPECT_EQ(philox(~0ull, ~0ull, ~0ull), 0x408f276du);
  EXPECT_EQ(philox(0x299f31d0a4093822, 0x85a308d3243f6a88, 0x0370734413198a2e), 0xd16cfe09u);
}

TEST(ExactSampling, TheTokenIsTheFirstWhoseSumExceedsTheDrawnPart) {
  const TestTensor p = [] {
    TestTensor t(Element::float32, {5}, {2});
    const float values[] = {0, 0.5f, 0, 1.5f, 2};
    for (std::size_t i = 0; i < 5; ++i) t.put(8 * i, values[i]);
    return t;
  }();
  std::array<int, 5> counts{};
  for (std::uint64_t position = 0; position < 4000; ++position) {
    const std::int64_t token = sample(p.bytes.data(), p.element, 2, 5, 7, position, 1);
    const double u = (philox(7, position, 1) + 0.5) / 4294967296.0 * 4;
    ASSERT_EQ(token, u < 0.5 ? 1 : u < 2 ? 3 : 4);
    ++counts[static_cast<std::size_t>(token)];
  }
  EXPECT_NEAR(counts[1], 500, 100);
  const float nothing[] = {0, 0}, nan[] = {1, NAN};
  EXPECT_EQ(sample(nothing, Element::float32, 1, 2, 7, 0, 0), -1);
  EXPECT_EQ(sample(nan, Element::float32, 1, 2, 7, 0, 0), -1);
}

}  // namespace
}  // namespace torchnotary::exact
