// Golden cases of what goes along rows (docs/exact-profile.md, section 7): sums and what is made of
// them, norms, softmax, order.
//
// Operands: 1 is x; 2 and 3 are weight and bias; 4 is a mean, 5 a variance (its absolute values).
// eps is fl(1e-5); a correction is 1.
#include <array>

#include "exact/elementwise.h"
#include "exact/norms.h"
#include "exact/order.h"
#include "exact/softmax.h"
#include "exact/sums.h"
#include "exact_golden.h"

namespace torchnotary::exact {
namespace {

struct NamedReduction {
  const char* name;
  Reduction reduction;
};
constexpr NamedReduction kReductions[] = {
    {"sum", Reduction::sum},
    {"nansum", Reduction::nansum},
    {"mean", Reduction::mean},
    {"var", Reduction::variance},
    {"std", Reduction::standard_deviation},
    {"prod", Reduction::product},
    {"amax", Reduction::greatest},
    {"amin", Reduction::least},
    {"norm-1", Reduction::norm_1},
    {"norm-2", Reduction::norm_2},
    {"norm-infinity", Reduction::norm_infinity},
    {"logsumexp", Reduction::logsumexp},
};

void add_reduction(GoldenLines& lines, const NamedReduction& named, Element element,
                   const Shape& sizes, std::size_t axis, Numbers numbers) {
  const TestTensor x = operand(1, element, sizes, numbers);
  Shape left = sizes;
  left[axis] = 1;
  TestTensor y(element, left);
  reduce(named.reduction, x.input(), {&axis, 1}, y.output(), 1, lines.threads());
  lines.add(case_name({named.name, name_of(element), name_of(sizes),
                       axis + 1 == sizes.size() ? "" : "first-axis", name_of(numbers)}),
            y);
}

void add_reductions(GoldenLines& lines) {
  for (const NamedReduction& named : kReductions) {
    const bool has_maximum =
        named.reduction == Reduction::greatest || named.reduction == Reduction::least ||
        named.reduction == Reduction::norm_infinity || named.reduction == Reduction::logsumexp;
    for (const std::int64_t n : {0, 1, 15, 17, 4096, 4097}) {
      if (n == 0 && has_maximum) continue;
      add_reduction(lines, named, Element::float32, {19, n}, 1, Numbers::plain);
    }
    add_reduction(lines, named, Element::float32, {300, 70}, 0, Numbers::plain);
    add_reduction(lines, named, Element::float32, {5000, 3}, 1, Numbers::hard);
    add_reduction(lines, named, Element::bfloat16, {70, 999}, 1, Numbers::plain);
    add_reduction(lines, named, Element::float16, {70, 999}, 1, Numbers::plain);
  }
}

void add_along_rows(GoldenLines& lines, Element element, const Shape& sizes, Numbers numbers) {
  const TestTensor x = operand(1, element, sizes, numbers);
  const auto add = [&](const char* name, const TestTensor& y) {
    lines.add(case_name({name, name_of(element), name_of(sizes), name_of(numbers)}), y);
  };
  TestTensor y(element, sizes);
  softmax(x.input(), y.output(), 1, lines.threads());
  add("softmax", y);
  log_softmax(x.input(), y.output(), 1, lines.threads());
  add("log_softmax", y);
  cumsum(x.input(), y.output(), 1, lines.threads());
  add("cumsum", y);
}

Parameter parameter(const TestTensor& tensor) { return {tensor.bytes.data(), tensor.element}; }

void add_norms(GoldenLines& lines, Element element, std::int64_t rows, std::int64_t n) {
  const TestTensor x = operand(1, element, {rows, n}), weight = operand(2, element, {n}),
                   bias = operand(3, element, {n});
  const auto add = [&](const char* name, const char* parameters, const TestTensor& y) {
    lines.add(case_name({name, name_of(element), name_of({rows, n}), parameters}), y);
  };
  const Parameter none, w = parameter(weight), b = parameter(bias);
  TestTensor y(element, {rows, n});
  const auto layer = [&](const char* name, Parameter first, Parameter second) {
    layer_norm(x.input(), y.output(), 1, first, second, 1e-5f, lines.threads());
    add("layer_norm", name, y);
  };
  layer("weight-bias", w, b);
  layer("weight", w, none);
  layer("bias", none, b);
  layer("", none, none);
  for (const bool weighted : {true, false}) {
    rms_norm(x.input(), y.output(), 1, weighted ? w : none, 1e-5f, lines.threads());
    add("rms_norm", weighted ? "weight" : "", y);
  }
}

void add_channel_norms(GoldenLines& lines, Element element) {
  const Shape sizes = {6, 12, 17, 29};
  const TestTensor x = operand(1, element, sizes), weight = operand(2, element, {12}),
                   bias = operand(3, element, {12}), mean = operand(4, element, {12});
  TestTensor variance = operand(5, element, {12});
  const Input signed_variance = variance.input();
  elementwise(ElementOp::abs, {&signed_variance, 1}, {}, variance.output(), lines.threads());
  const Parameter none, w = parameter(weight), b = parameter(bias);
  TestTensor y(element, sizes);
  for (const bool affine : {true, false}) {
    const char* const parameters = affine ? "weight-bias" : "";
    batch_norm(x.input(), y.output(), parameter(mean), parameter(variance), affine ? w : none,
               affine ? b : none, 1e-5f, lines.threads());
    lines.add(case_name({"batch_norm", name_of(element), parameters}), y);
    for (const std::size_t groups : {1, 3, 12}) {
      group_norm(x.input(), y.output(), groups, affine ? w : none, affine ? b : none, 1e-5f,
                 lines.threads());
      lines.add(case_name({"group_norm", name_of(element), std::to_string(groups), parameters}), y);
    }
  }
}

void add_order(GoldenLines& lines, Element element, std::int64_t rows, std::int64_t n,
               Numbers numbers) {
  const TestTensor x = operand(1, element, {rows, n}, numbers);
  const auto of = [&](std::int64_t count, auto kernel) {
    TestTensor values(element, {rows, count}), indices(Element::int64, {rows, count});
    kernel(values.output(), indices.output());
    return std::pair(std::move(values.bytes), std::move(indices.bytes));
  };
  for (const bool down : {true, false}) {
    const auto add = [&](const std::string& name, std::int64_t count, auto kernel) {
      const auto [values, indices] = of(count, kernel);
      lines.add(case_name({name, name_of(element), name_of({rows, n}), name_of(numbers)}),
                {values, indices});
    };
    add(down ? "max" : "min", 1, [&](const Output& values, const Output& indices) {
      extreme(down, x.input(), 1, values, indices, lines.threads());
    });
    for (const std::int64_t count : {n, (n + 6) / 7}) {
      const std::string name = count == n ? "sort" : "topk";
      add(case_name({name, down ? "descending" : "ascending"}), count,
          [&](const Output& values, const Output& indices) {
            sort(down, x.input(), 1, values, indices, lines.threads());
          });
    }
  }
}

}  // namespace

void golden_rows(GoldenLines& lines) {
  add_reductions(lines);
  for (const Element element : kFloating) {
    for (const Shape& sizes : {Shape{3, 1}, {130, 37}, {100, 384}, {3, 5000}, {40, 0}}) {
      add_along_rows(lines, element, sizes, Numbers::plain);
    }
    add_along_rows(lines, element, {5000, 3}, Numbers::hard);
    add_norms(lines, element, 129, 384);
    add_norms(lines, element, 3, 4097);
    add_channel_norms(lines, element);
    add_order(lines, element, 700, 57, Numbers::plain);
    add_order(lines, element, 3000, 5, Numbers::hard);
  }
  for (const Element element : {Element::uint8, Element::int64}) {
    add_order(lines, element, 30, 1000, Numbers::plain);
  }
}

}  // namespace torchnotary::exact
