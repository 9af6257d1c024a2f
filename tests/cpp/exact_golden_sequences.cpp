// Golden cases of what belongs to sequences (docs/exact-profile.md, sections 9, 10, 11): bags of
// rows, recurrent cells, drawing of tokens.
//
// Operands: 1 is the table, what comes from the input, or the probabilities (absolute values); 2
// the weights of a bag's rows or what comes from the state; 3 the state.
#include "exact/cells.h"
#include "exact/elementwise.h"
#include "exact/embedding_bag.h"
#include "exact/sampling.h"
#include "exact_golden.h"

namespace torchnotary::exact {
namespace {

// Bags of 0, 1, 17, 0, 4,096, 4,097 and 300 rows; index i is word(4, i) % 50. Row 7 is padding.
void add_bags(GoldenLines& lines, Element element) {
  const TestTensor table = operand(1, element, {50, 33});
  const std::vector<std::int64_t> ends = {0, 1, 18, 18, 4114, 8211, 8511};
  std::vector<std::int64_t> indices;
  for (std::int64_t i = 0; i < ends.back(); ++i)
    indices.push_back(word(4, static_cast<std::size_t>(i)) % 50);
  const std::vector<float> weights = floats(2, indices.size());
  TestTensor out(element, {static_cast<std::int64_t>(ends.size()), 33});
  struct {
    const char* name;
    BagMode mode;
    const float* weights;
  } const modes[] = {{"sum", BagMode::sum, nullptr},
                     {"weighted-sum", BagMode::sum, weights.data()},
                     {"mean", BagMode::mean, nullptr},
                     {"max", BagMode::max, nullptr}};
  for (const auto& mode : modes) {
    embedding_bag(mode.mode, table.input(), indices, ends, 7, mode.weights, out.output(),
                  lines.threads());
    lines.add(case_name({"embedding_bag", name_of(element), mode.name}), out);
  }
}

void add_cells(GoldenLines& lines, std::size_t batch, std::size_t hidden, Numbers numbers) {
  const std::size_t states = batch * hidden;
  const std::vector<float> from_input = floats(1, 4 * states, numbers),
                           from_state = floats(2, 4 * states, numbers),
                           state = floats(3, states, numbers);
  std::vector<float> h(states), c(states);
  const auto bytes = [](const std::vector<float>& values) {
    return std::as_bytes(std::span(values));
  };
  const auto add = [&](const char* cell, std::initializer_list<Bytes> results) {
    const Shape sizes = {static_cast<std::int64_t>(batch), static_cast<std::int64_t>(hidden)};
    lines.add(case_name({"cells", cell, name_of(sizes), name_of(numbers)}), results);
  };
  lstm_cell(batch, hidden, {from_input.data(), 4 * hidden}, {from_state.data(), 4 * hidden},
            {state.data(), hidden}, {h.data(), hidden}, {c.data(), hidden}, lines.threads());
  add("lstm", {bytes(h), bytes(c)});
  gru_cell(batch, hidden, {from_input.data(), 3 * hidden}, {from_state.data(), 3 * hidden},
           {state.data(), hidden}, {h.data(), hidden}, lines.threads());
  add("gru", {bytes(h)});
  for (const RnnActivation activation : {RnnActivation::tanh, RnnActivation::relu}) {
    rnn_cell(activation, batch, hidden, {from_input.data(), hidden}, {from_state.data(), hidden},
             {h.data(), hidden}, lines.threads());
    add(activation == RnnActivation::tanh ? "rnn-tanh" : "rnn-relu", {bytes(h)});
  }
}

// Tokens for positions 0 to 255 and beyond 2^32 of two sequences, as int64.
void add_draws(GoldenLines& lines, Element element) {
  TestTensor probabilities = operand(1, element, {1000});
  const Input raw = probabilities.input();
  elementwise(ElementOp::abs, {&raw, 1}, {}, probabilities.output(), lines.threads());
  std::vector<std::int64_t> tokens;
  for (const std::uint64_t sequence : {std::uint64_t{3}, std::uint64_t{1} << 40}) {
    for (std::uint64_t position = 0; position < 512; ++position) {
      const std::uint64_t at = position < 256 ? position : position << 32;
      tokens.push_back(
          sample(probabilities.bytes.data(), element, 1, 1000, 0x123456789abcdef0, at, sequence));
    }
  }
  lines.add(case_name({"sample", name_of(element)}), {std::as_bytes(std::span(tokens))});
}

}  // namespace

void golden_sequences(GoldenLines& lines) {
  for (const Element element : kFloating) {
    add_bags(lines, element);
    add_draws(lines, element);
  }
  add_cells(lines, 3, 257, Numbers::plain);
  add_cells(lines, 40, 1100, Numbers::plain);
  add_cells(lines, 9, 1000, Numbers::hard);
}

}  // namespace torchnotary::exact
