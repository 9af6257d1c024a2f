// Attention against docs/exact-profile.md, section 8, step by step, on every CPU path.
#include "exact/attention.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <random>
#include <string>
#include <vector>

#include "exact/environment.h"
#include "exact_support.h"
#include "support.h"

namespace torchnotary::exact {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

struct Sizes {
  std::int64_t batch, heads, key_heads, queries, keys, width, value_width;
};

enum class Numbers { tame, far, hard };  // scores near each other; weights of 0; everything

// Operands as (batch, head, row, element) over memory ordered (batch, row, head, element), with
// gaps.
struct Problem {
  Sizes sizes;
  Element element;
  AttentionMask::Kind kind = AttentionMask::Kind::none;
  bool causal = false;
  TestTensor q, k, v, mask, output;

  Problem(const Sizes& s, Element element)
      : sizes(s),
        element(element),
        q(rows(s.heads, s.queries, s.width)),
        k(rows(s.key_heads, s.keys, s.width)),
        v(rows(s.key_heads, s.keys, s.value_width)),
        mask(element, {0}),
        output(rows(s.heads, s.queries, s.value_width)) {}

  TestTensor rows(std::int64_t heads, std::int64_t count, std::int64_t width) const {
    const std::int64_t row = heads * (width + 3);
    return TestTensor(element, {sizes.batch, heads, count, width},
                      {count * row + 5, width + 3, row, 1});
  }

  Attention attention() {
    const auto input = [](const TestTensor& t) -> AttentionInput {
      return {t.bytes.data(), t.strides[0], t.strides[1], t.strides[2]};
    };
    const auto size = [](std::int64_t n) { return static_cast<std::size_t>(n); };
    Attention a = {
        .storage = static_cast<Storage>(element),
        .batch = size(sizes.batch),
        .heads = size(sizes.heads),
        .key_heads = size(sizes.key_heads),
        .queries = size(sizes.queries),
        .keys = size(sizes.keys),
        .width = size(sizes.width),
        .value_width = size(sizes.value_width),
        .q = input(q),
        .k = input(k),
        .v = input(v),
        .output = {output.bytes.data(), output.strides[0], output.strides[1], output.strides[2]},
        .mask = {},
        .causal = causal,
        .scale = 0.3f};
    if (kind != AttentionMask::Kind::none) {
      a.mask = {kind,
                kind == AttentionMask::Kind::additive ? static_cast<Storage>(mask.element)
                                                      : Storage::float32,
                mask.bytes.data(),
                mask.strides[0],
                mask.strides[1],
                mask.strides[2],
                mask.strides[3]};
    }
    return a;
  }

  float at(const TestTensor& t, std::int64_t b, std::int64_t h, std::int64_t row,
           std::int64_t i) const {
    const std::int64_t offset =
        b * t.strides[0] + h * t.strides[1] + row * t.strides[2] + i * t.strides[3];
    return t.value(static_cast<std::size_t>(offset) * element_size(t.element));
  }
};

float dot(const Problem& p, std::int64_t b, std::int64_t h, std::int64_t key_head, std::int64_t i,
          std::int64_t j) {
  float sum = 0;
  for (std::int64_t block = 0; block < p.sizes.width; block += 256) {
    float chain = 0;
    for (std::int64_t e = block; e < std::min(block + 256, p.sizes.width); ++e) {
      chain = std::fma(p.at(p.q, b, h, i, e), p.at(p.k, b, key_head, j, e), chain);
    }
    sum = block == 0 ? chain : sum + chain;
  }
  return sum;
}

template <class T>
float sum_in_lanes(const std::vector<float>& x) {
  std::array<T, 16> lane{};
  for (std::size_t i = 0; i < x.size(); ++i) lane[i % 16] += static_cast<T>(x[i]);
  for (const std::size_t half : {8, 4, 2, 1}) {
    for (std::size_t l = 0; l < half; ++l) lane[l] += lane[l + half];
  }
  return static_cast<float>(lane[0]);
}

// The row of the result for query i of a head.
std::vector<float> expected(const Problem& p, std::int64_t b, std::int64_t h, std::int64_t i) {
  const std::int64_t key_head = h / (p.sizes.heads / p.sizes.key_heads);
  std::vector<std::int64_t> present;
  std::vector<float> s, w;
  for (std::int64_t j = 0; j < p.sizes.keys; ++j) {
    const bool masked = p.kind != AttentionMask::Kind::none;
    const bool boolean = p.kind == AttentionMask::Kind::boolean;
    const float m = masked ? p.at(p.mask, b, h, i, j) : 0;
    if ((p.causal && j > i) || (boolean && m == 0) || (masked && !boolean && m == -kInfinity)) {
      continue;
    }
    const float scaled = dot(p, b, h, key_head, i, j) * 0.3f;
    present.push_back(j);
    s.push_back(masked && !boolean ? scaled + m : scaled);
  }
  float m = -kInfinity;
  for (const float x : s) m = x != x || m != m ? NAN : std::max(m, x);
  for (const float x : s) {
    const float d = x - m;
    w.push_back(static_cast<float>(std::exp(static_cast<long double>(d))));
  }
  const float sum = w.size() > 4096 ? sum_in_lanes<double>(w) : sum_in_lanes<float>(w);
  std::vector<float> row;
  for (std::int64_t e = 0; e < p.sizes.value_width; ++e) {
    float o = 0;
    for (std::size_t n = 0; n < present.size(); ++n) {
      if (w[n] != 0) o = std::fma(w[n], p.at(p.v, b, key_head, present[n], e), o);
    }
    row.push_back(present.empty() ? 0 : o / sum);
  }
  return row;
}

void put(TestTensor& t, std::size_t place, float x) {
  if (t.element == Element::boolean) t.put(place, static_cast<std::uint8_t>(x != -kInfinity));
  if (t.element == Element::float32) t.put(place, x);
  if (t.element == Element::bfloat16) t.put(place, narrow_bfloat16(x));
  if (t.element == Element::float16) t.put(place, narrow_float16(x));
}

void fill(TestTensor& t, float scale, std::mt19937& random) {
  std::normal_distribution<float> normal(0, scale);
  for (std::size_t at = 0; at < t.bytes.size(); at += element_size(t.element)) {
    put(t, at, normal(random));
  }
}

void fill(Problem& p, Numbers numbers, std::mt19937& random) {
  HardNumbers hard(random());
  for (TestTensor* t : {&p.q, &p.k, &p.v}) {
    if (numbers == Numbers::hard && random() % 2 == 0) {
      hard.fill(*t);
    } else {
      fill(*t, numbers == Numbers::tame ? 1 : 8, random);
    }
  }
  if (numbers == Numbers::far) hard.fill(p.v);  // of which most weigh nothing
}

// A mask of the scores' shape, or one that repeats along some axes. Half of them leave one run of
// keys, others leave holes.
void mask(Problem& p, AttentionMask::Kind kind, std::mt19937& random) {
  const Sizes& s = p.sizes;
  p.kind = kind;
  Shape shape = {s.batch, s.heads, s.queries, s.keys};
  for (std::size_t axis = 0; axis < 3; ++axis) {
    if (random() % 3 == 0) shape[axis] = 1;
  }
  const std::int64_t spread = random() % 3 == 0 ? 2 : 1;
  TestTensor t(kind == AttentionMask::Kind::boolean ? Element::boolean : p.element, shape,
               contiguous(shape, spread));
  std::normal_distribution<float> normal(0, 2);
  const bool run = random() % 2 == 0;
  const auto first = static_cast<std::int64_t>(random()) % s.keys;
  const auto end = first + static_cast<std::int64_t>(random()) % (s.keys - first + 1);
  const std::size_t size = element_size(t.element);
  for (std::size_t at = 0; at < t.bytes.size(); at += size) {
    const auto j = static_cast<std::int64_t>(at / size) / spread % s.keys;
    const float some[] = {-kInfinity, -3e38f, -0.0f, normal(random)};
    put(t, at, run ? (j < first || j >= end ? -kInfinity : normal(random)) : some[random() % 4]);
  }
  for (std::size_t axis = 0; axis < 4; ++axis) {
    if (shape[axis] == 1) t.strides[axis] = 0;
  }
  p.mask = std::move(t);
}

// Which rows of memory keep their first bytes, the gaps, is checked by the byte pattern they begin
// with.
void expect_spec(Problem& p, std::size_t threads = 1) {
  const FloatEnvironment environment;
  p.output = p.rows(p.sizes.heads, p.sizes.queries, p.sizes.value_width);
  TestTensor want = p.output;
  const Attention a = p.attention();
  threads == 1 ? attention(a) : attention(a, Threads(threads));
  const Shape& strides = want.strides;
  for (std::int64_t b = 0; b < p.sizes.batch; ++b) {
    for (std::int64_t h = 0; h < p.sizes.heads; ++h) {
      for (std::int64_t i = 0; i < p.sizes.queries; ++i) {
        const std::vector<float> row = expected(p, b, h, i);
        for (std::size_t e = 0; e < row.size(); ++e) {
          const auto offset =
              static_cast<std::size_t>(b * strides[0] + h * strides[1] + i * strides[2]) + e;
          const std::size_t place = offset * element_size(p.element);
          const std::uint32_t bits = stored_bits(row[e], p.element);
          ASSERT_EQ(bits_at(p.output, place), bits)
              << "batch " << b << " head " << h << " query " << i << " column " << e;
          std::memcpy(want.bytes.data() + place, &bits, element_size(p.element));
        }
      }
    }
  }
  ASSERT_EQ(p.output.bytes, want.bytes) << "wrote between the rows";
}

class ExactAttention : public EveryCpuPath {};
TORCHNOTARY_ON_EVERY_CPU_PATH(ExactAttention);

constexpr Element kStorages[] = {Element::float32, Element::bfloat16, Element::float16};
constexpr AttentionMask::Kind kKinds[] = {AttentionMask::Kind::none, AttentionMask::Kind::boolean,
                                          AttentionMask::Kind::additive};

TEST_P(ExactAttention, FollowsTheSpecificationForAnySizesMasksAndStorages) {
  std::mt19937 random(1);
  for (int round = 0; round < 150; ++round) {
    const auto upto = [&](std::int64_t n) { return 1 + static_cast<std::int64_t>(random()) % n; };
    const std::int64_t key_heads = upto(2), group = upto(3);
    Problem p({.batch = upto(2),
               .heads = key_heads * group,
               .key_heads = key_heads,
               .queries = upto(round % 5 == 0 ? 80 : 9),
               .keys = upto(round % 4 == 0 ? 200 : 70),
               .width = upto(40),
               .value_width = upto(70)},
              kStorages[random() % 3]);
    p.causal = random() % 3 == 0;
    fill(p, static_cast<Numbers>(round % 3), random);
    if (const auto kind = kKinds[random() % 3]; kind != AttentionMask::Kind::none) {
      mask(p, kind, random);
    }
    SCOPED_TRACE("round " + std::to_string(round));
    expect_spec(p, static_cast<std::size_t>(upto(3)));
    if (HasFatalFailure()) return;
  }
}

TEST_P(ExactAttention, AddsInBinary64FromSoManyPresentKeysOn) {
  std::mt19937 random(2);
  for (const std::int64_t keys : {4096, 4097, 4111, 9000}) {
    for (const bool holes : {false, true}) {
      Problem p({1, 1, 1, 2, keys, 3, 5}, Element::float32);
      fill(p, Numbers::tame, random);
      if (holes) mask(p, AttentionMask::Kind::boolean, random);
      SCOPED_TRACE(keys);
      expect_spec(p);
    }
  }
}

TEST_P(ExactAttention, ScoresOfWideHeadsAreSumsOfBlocks) {
  std::mt19937 random(3);
  for (const std::int64_t width : {0, 1, 255, 256, 257, 512, 600}) {
    Problem p({1, 2, 1, 7, 70, width, 16}, Element::float32);
    fill(p, Numbers::tame, random);
    SCOPED_TRACE(width);
    expect_spec(p);
  }
}

TEST_P(ExactAttention, NothingToSeeGivesZerosAndNothingToComputeIsLeftAlone) {
  Problem no_keys({2, 2, 1, 3, 0, 8, 8}, Element::float16);
  expect_spec(no_keys);
  for (const Sizes& sizes : {Sizes{0, 2, 1, 3, 4, 8, 8}, Sizes{1, 0, 1, 3, 4, 8, 8},
                             Sizes{1, 2, 1, 0, 4, 8, 8}, Sizes{1, 2, 1, 3, 4, 8, 0}}) {
    Problem empty(sizes, Element::float32);
    expect_spec(empty);
  }
}

// The bits of query `i` are the same in a longer sequence, behind padding, and alone with a cache.
TEST_P(ExactAttention, AQueryDependsOnItsPresentKeysOnly) {
  constexpr std::int64_t kKeys = 150, kPadding = 37, kWidth = 24;
  std::mt19937 random(4);
  Problem whole({1, 2, 2, kKeys, kKeys, kWidth, kWidth}, Element::float32);
  fill(whole, Numbers::tame, random);
  whole.causal = true;
  attention(whole.attention());

  Problem padded({1, 2, 2, 1, kKeys + kPadding, kWidth, kWidth}, Element::float32);
  padded.kind = AttentionMask::Kind::boolean;
  padded.mask = TestTensor(Element::boolean, {1, 1, 1, kKeys + kPadding}, {0, 0, 0, 1});
  fill(padded.k, 1000, random);
  HardNumbers(5).fill(padded.v);
  for (const std::int64_t i : {0, 15, 16, 63, 64, 100, 149}) {
    const auto copy = [&](const TestTensor& from, std::int64_t row, TestTensor& to,
                          std::int64_t to_row) {
      const auto offset = [](const TestTensor& t, std::int64_t r) {
        return t.bytes.data() + r * t.strides[2] * 4;
      };
      std::memcpy(const_cast<std::byte*>(offset(to, to_row)), offset(from, row),
                  static_cast<std::size_t>(from.strides[2]) * 4 - 12);
    };
    copy(whole.q, i, padded.q, 0);
    for (std::int64_t j = 0; j <= i; ++j) {
      copy(whole.k, j, padded.k, kPadding + j);
      copy(whole.v, j, padded.v, kPadding + j);
    }
    for (std::int64_t j = 0; j < kKeys + kPadding; ++j) {
      padded.mask.put(static_cast<std::size_t>(j),
                      static_cast<std::uint8_t>(j >= kPadding && j <= kPadding + i));
    }
    attention(padded.attention());
    for (std::int64_t h = 0; h < 2; ++h) {
      for (std::int64_t e = 0; e < kWidth; ++e) {
        ASSERT_EQ(std::bit_cast<std::uint32_t>(padded.at(padded.output, 0, h, 0, e)),
                  std::bit_cast<std::uint32_t>(whole.at(whole.output, 0, h, i, e)));
      }
    }
  }
}

}  // namespace
}  // namespace torchnotary::exact
