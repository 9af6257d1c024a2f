// Golden cases of attention (docs/exact-profile.md, section 8).
//
// Operands: 1, 2, 3 are q, k, v; 4 is the mask: booleans, or numbers of which every fifth, from the
// fourth on, is −∞. The scale is fl(0.3).
#include <limits>

#include "exact/attention.h"
#include "exact_golden.h"

namespace torchnotary::exact {
namespace {

struct Case {
  const char* name;
  AttentionMask::Kind mask = AttentionMask::Kind::none;
  bool causal = false;
  std::int64_t key_heads = 4, queries = 37, keys = 133, width = 24, value_width = 20;
  Numbers numbers = Numbers::plain;
};

constexpr auto kNone = AttentionMask::Kind::none, kBoolean = AttentionMask::Kind::boolean,
               kAdditive = AttentionMask::Kind::additive;

constexpr Case kCases[] = {
    {"plain"},
    {"causal", kNone, true},
    {"boolean", kBoolean},
    {"additive", kAdditive},
    {"causal-boolean", kBoolean, true},
    {"grouped", kNone, false, 2},
    {"grouped-causal-additive", kAdditive, true, 1},
    {"one-query", kBoolean, false, 2, 1, 300, 64, 64},
    {"no-keys", kNone, false, 4, 5, 0},
    {"one-key", kNone, false, 4, 5, 1},
    {"wide", kNone, true, 4, 9, 65, 257, 129},
    {"long", kAdditive, false, 2, 3, 5000, 16, 16},
    {"hard", kAdditive, false, 4, 37, 9, 3, 5, Numbers::hard},
};

TestTensor mask_of(const Case& c, Element element) {
  if (c.mask == kBoolean) return operand(4, Element::boolean, {2, 1, c.queries, c.keys});
  TestTensor mask = operand(4, element, {2, 1, c.queries, c.keys});
  const TestTensor infinity = [&] {
    TestTensor one(element, {1});
    const float value = -std::numeric_limits<float>::infinity();
    if (element == Element::float32) one.put(0, value);
    if (element == Element::bfloat16) one.put(0, narrow_bfloat16(value));
    if (element == Element::float16) one.put(0, narrow_float16(value));
    return one;
  }();
  const std::size_t size = element_size(element);
  for (std::size_t at = 3 * size; at < mask.bytes.size(); at += 5 * size) {
    std::memcpy(mask.bytes.data() + at, infinity.bytes.data(), size);
  }
  return mask;
}

AttentionInput input(const TestTensor& t) {
  return {t.bytes.data(), t.strides[0], t.strides[1], t.strides[2]};
}

void add(GoldenLines& lines, const Case& c, Element element) {
  constexpr std::int64_t kBatch = 2, kHeads = 4;
  const TestTensor q = operand(1, element, {kBatch, kHeads, c.queries, c.width}, c.numbers),
                   k = operand(2, element, {kBatch, c.key_heads, c.keys, c.width}),
                   v = operand(3, element, {kBatch, c.key_heads, c.keys, c.value_width}, c.numbers),
                   mask = mask_of(c, element);
  TestTensor out(element, {kBatch, kHeads, c.queries, c.value_width});
  Attention a = {.storage = static_cast<Storage>(element),
                 .batch = kBatch,
                 .heads = kHeads,
                 .key_heads = static_cast<std::size_t>(c.key_heads),
                 .queries = static_cast<std::size_t>(c.queries),
                 .keys = static_cast<std::size_t>(c.keys),
                 .width = static_cast<std::size_t>(c.width),
                 .value_width = static_cast<std::size_t>(c.value_width),
                 .q = input(q),
                 .k = input(k),
                 .v = input(v),
                 .output = {out.bytes.data(), out.strides[0], out.strides[1], out.strides[2]},
                 .mask = {},
                 .causal = c.causal,
                 .scale = 0.3f};
  if (c.mask != kNone) {
    a.mask = {c.mask,
              c.mask == kAdditive ? a.storage : Storage::float32,
              mask.bytes.data(),
              mask.strides[0],
              0,
              mask.strides[2],
              1};
  }
  attention(a, lines.threads());
  lines.add(case_name({"attention", name_of(element), c.name}), out);
}

}  // namespace

void golden_attention(GoldenLines& lines) {
  for (const Element element : kFloating) {
    for (const Case& c : kCases) add(lines, c, element);
  }
}

}  // namespace torchnotary::exact
