// Golden cases of what is computed element by element (docs/exact-profile.md, sections 1, 5, 6),
// and of ranges (section 11).
//
// Operands 1, 2, 3 are an operator's inputs; numbers beside them (alpha, a slope, bounds …) are
// fl(0.75), fl(1.5), fl(0.3) in the order of cpp/exact/elementwise.h.
#include <limits>

#include "exact/convert.h"
#include "exact/elementwise.h"
#include "exact_golden.h"

namespace torchnotary::exact {
namespace {

constexpr Scalars kScalars = {0.75f, 1.5f, 0.3f};

struct Named {
  const char* name;
  ElementOp op;
};

constexpr Named kOperators[] = {
#define OP(name, rest) {#name, ElementOp::name},
    TORCHNOTARY_ELEMENT_OPS(OP) TORCHNOTARY_MOVING_OPS(OP)
#undef OP
};

constexpr Named kElementary[] = {
#define OP(name, rest) {#name, ElementOp::name},
    TORCHNOTARY_ELEMENTARY(OP)
#undef OP
};

bool is_boolean(ElementOp op) { return op >= ElementOp::eq && op <= ElementOp::logical_xor; }

void add(GoldenLines& lines, const std::string& name, ElementOp op, Element element,
         std::int64_t count, const Scalars& scalars) {
  std::vector<TestTensor> operands;
  std::vector<Input> inputs;
  for (std::uint32_t s = 1; s <= input_count(op); ++s) {
    const bool condition = op == ElementOp::where && s == 1;
    operands.push_back(operand(s, condition ? Element::boolean : element, {count}, Numbers::hard));
  }
  for (const TestTensor& each : operands) inputs.push_back(each.input());
  TestTensor out(is_boolean(op) ? Element::boolean : element, {count});
  elementwise(op, inputs, scalars, out.output(), lines.threads());
  lines.add(case_name({"element", name_of(element), name}), out);
}

// Every 65,537th of the 2^32 arguments.
void add_elementary(GoldenLines& lines, const Named& function) {
  constexpr std::int64_t kCount = 65536;
  TestTensor x(Element::float32, {kCount}), y = x;
  for (std::uint32_t i = 0; i < kCount; ++i) x.put(4 * i, i * 65537);
  const Input input = x.input();
  elementwise(function.op, {&input, 1}, {}, y.output(), lines.threads());
  lines.add(case_name({"elementary", function.name}), y);
}

// x^y for an exponent of its own for each base, and for one for all.
void add_powers(GoldenLines& lines, Numbers numbers, const char* name) {
  constexpr std::int64_t kCount = 40000;
  const TestTensor x = operand(1, Element::float32, {kCount}, numbers),
                   y = operand(2, Element::float32, {kCount}, numbers);
  const float exponent = 0.3f;
  const Input inputs[] = {x.input(), y.input()}, one[] = {x.input(), {&exponent}};
  TestTensor out(Element::float32, {kCount}), with_one = out;
  elementwise(ElementOp::pow, inputs, {}, out.output(), lines.threads());
  elementwise(ElementOp::pow, one, {}, with_one.output(), lines.threads());
  lines.add(case_name({"elementary", "pow", name}), {out.bytes, with_one.bytes});
}

void add_conversion(GoldenLines& lines, Element from, Element to) {
  const TestTensor x = operand(1, from, {4099}, Numbers::hard);
  const Input input = x.input();
  TestTensor out(to, {4099});
  elementwise(ElementOp::identity, {&input, 1}, {}, out.output(), lines.threads());
  lines.add(case_name({"convert", name_of(from), name_of(to)}), out);
}

// Plain numbers by truncation, negative ones as their absolute value where `to` has no sign.
void add_truncation(GoldenLines& lines, Element from, Element to) {
  TestTensor x = operand(1, from, {4099}), out(to, {4099});
  if (to == Element::uint8) {
    const Input input = x.input();
    elementwise(ElementOp::abs, {&input, 1}, {}, x.output(), lines.threads());
  }
  truncate(x.input(), out.output(), lines.threads());
  lines.add(case_name({"convert", name_of(from), name_of(to)}), out);
}

}  // namespace

void golden_elements(GoldenLines& lines) {
  for (const Element element : kFloating) {
    const std::int64_t count = element == Element::float32 ? 70001 : 4099;
    for (const auto& [name, op] : kOperators) add(lines, name, op, element, count, kScalars);
    for (const auto& [name, op] :
         {Named{"add", ElementOp::add}, Named{"sub", ElementOp::sub},
          Named{"addcmul", ElementOp::addcmul}, Named{"addcdiv", ElementOp::addcdiv}}) {
      add(lines, case_name({name, "one"}), op, element, count, {1, 0, 0});
    }
  }
  for (const Named& function : kElementary) {
    add_elementary(lines, function);
    for (const Element element : {Element::bfloat16, Element::float16}) {
      add(lines, function.name, function.op, element, 4099, {});
    }
  }
  add_powers(lines, Numbers::plain, "plain");
  add_powers(lines, Numbers::hard, "hard");

  constexpr Element kIntegers[] = {Element::boolean, Element::uint8, Element::int8,
                                   Element::int16,   Element::int32, Element::int64};
  for (const Element element : kFloating) {
    for (const Element to : kFloating) add_conversion(lines, element, to);
    add_conversion(lines, element, Element::boolean);
    for (const Element integer : kIntegers) {
      add_conversion(lines, integer, element);
      if (integer != Element::boolean) add_truncation(lines, element, integer);
    }
    TestTensor range(element, {5000});
    arange(-7.3, 0.1, range.output(), lines.threads());
    lines.add(case_name({"arange", name_of(element)}), range);
  }
}

}  // namespace torchnotary::exact
