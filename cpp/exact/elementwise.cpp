#include "exact/elementwise.h"

#include <algorithm>
#include <array>
#include <string>

#include "exact/axes.h"
#include "exact/blocks.h"
#include "exact/elementary_pow.h"
#include "exact/elementwise_kernels.h"
#include "exact/elementwise_moves.h"
#include "hashing/errors.h"

namespace torchnotary::exact {
namespace {

bool moves(ElementOp op) { return op >= ElementOp::neg && op != ElementOp::pow; }

struct Call {
  ElementOp op;
  const float* scalars;
  std::span<const Input> inputs;
  const Output& output;
  const Axes& axes;
  const ElementwiseKernels& kernels;

  // The element types in which the operator takes an input and gives its result.
  Element taken(std::size_t input) const {
    return op == ElementOp::where && input == 0 ? Element::boolean : given();
  }
  Element given() const { return moves(op) ? output.element : Element::float32; }

  // How many elements of a row one block may have: all, if none of them needs a buffer.
  std::size_t longest_block() const {
    bool adjacent = axes.inner_stride(0) == 1 && output.element == given();
    for (std::size_t k = 0; k < inputs.size(); ++k) {
      adjacent = adjacent && axes.inner_stride(k + 1) == 1 && inputs[k].element == taken(k);
    }
    return adjacent ? kTask : kBlock;
  }
};

void run_block(const Call& call, const void* const* inputs, void* out, std::size_t n) {
  if (moves(call.op)) {
    move_elements(call.op, element_size(call.output.element), inputs, out, n);
    return;
  }
  const float* const values[3] = {static_cast<const float*>(inputs[0]),
                                  static_cast<const float*>(inputs[1]),
                                  static_cast<const float*>(inputs[2])};
  auto* results = static_cast<float*>(out);
  if (call.op == ElementOp::pow) {
    pow_kernel(cpu_path())({values[0], 1, values[1], 1, results, n});
    return;
  }
  call.kernels.arithmetic[static_cast<std::size_t>(call.op)](values, results, n, call.scalars);
}

// Elements begin … end − 1 of the result.
void run_task(const Call& call, std::size_t begin, std::size_t end) {
  // Those that the operator lacks read the first input, and are not asked to: readers are too large
  // to be made in a std::optional, which clears its memory.
  const auto reader = [&call](std::size_t k) {
    const std::size_t input = k < call.inputs.size() ? k : 0;
    return BlockReader(call.axes, input + 1, call.inputs[input], call.taken(input), moves(call.op));
  };
  BlockReader readers[3] = {reader(0), reader(1), reader(2)};
  BlockWriter writer(call.axes, call.output, call.given());
  const std::size_t longest = call.longest_block();
  Position at(call.axes, begin);
  for (std::size_t element = begin; element < end;) {
    const std::size_t n = std::min(end - element, block_size(call.axes, at, longest));
    const void* inputs[3] = {};
    for (std::size_t k = 0; k < call.inputs.size(); ++k) inputs[k] = readers[k].read(at, n);
    run_block(call, inputs, writer.place(at, n), n);
    writer.write(at, n);
    at.advance(n);
    element += n;
  }
}

void check(ElementOp op, std::span<const Input> inputs, const Output& out) {
  if (inputs.size() != input_count(op)) {
    throw NotaryError("an operator has another number of inputs", std::to_string(input_count(op)),
                      std::to_string(inputs.size()), "give each of its inputs");
  }
  bool fits = is_floating(out.element) || (!moves(op) && out.element == Element::boolean);
  if (op == ElementOp::where) {
    fits = fits || (inputs[1].element == out.element && inputs[2].element == out.element);
  }
  if (!fits) {
    throw NotaryError("an operator gives no integers", "a floating type or booleans", "integers",
                      "convert with truncate()");
  }
}

}  // namespace

std::size_t input_count(ElementOp op) {
  static constexpr std::uint8_t kCounts[] = {
#define OP(name, inputs) inputs,
#define FUNCTION(name, Name) 1,
      TORCHNOTARY_ELEMENT_OPS(OP) TORCHNOTARY_ELEMENTARY(FUNCTION) TORCHNOTARY_MOVING_OPS(OP)
#undef FUNCTION
#undef OP
          2,  // pow
  };
  return kCounts[static_cast<std::size_t>(op)];
}

ElementOp pow_op(float exponent) {
  if (exponent == 0.0f) return ElementOp::one;
  if (exponent == 1.0f) return ElementOp::identity;
  if (exponent == 2.0f) return ElementOp::square;
  if (exponent == 3.0f) return ElementOp::cube;
  if (exponent == 0.5f) return ElementOp::root;
  if (exponent == -0.5f) return ElementOp::reciprocal_root;
  if (exponent == -1.0f) return ElementOp::reciprocal;
  if (exponent == -2.0f) return ElementOp::reciprocal_square;
  return ElementOp::pow;
}

void elementwise(ElementOp op, std::span<const Input> inputs, const Scalars& scalars,
                 const Output& out, ParallelFor parallel) {
  check(op, inputs, out);
  const Axes axes = collapsed_axes(out, inputs);
  const Call call{op, scalars.data(), inputs, out, axes, elementwise_kernels()};
  for_each_range(parallel, axes.elements(),
                 [&](std::size_t begin, std::size_t end) { run_task(call, begin, end); });
}

}  // namespace torchnotary::exact
