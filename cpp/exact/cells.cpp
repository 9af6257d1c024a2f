#include "exact/cells.h"

#include <algorithm>

#include "exact/elementwise_kernels.h"
#include "exact/environment.h"

namespace torchnotary::exact {
namespace {

// Units that are computed together, in buffers that stay in the first-level cache.
constexpr std::size_t kUnits = 256;

// The operators of one path on n adjacent floats.
struct Units {
  std::size_t n;
  const ElementwiseKernels& kernels = elementwise_kernels();

  void run(ElementOp op, const float* x, const float* y, float* out) const {
    static constexpr float kAlpha = 1;
    const float* const inputs[3] = {x, y, nullptr};
    kernels.arithmetic[static_cast<std::size_t>(op)](inputs, out, n, &kAlpha);
  }
  void add(const float* x, const float* y, float* out) const { run(ElementOp::add, x, y, out); }
  void mul(const float* x, const float* y, float* out) const { run(ElementOp::mul, x, y, out); }
  void sigmoid(float* x) const { run(ElementOp::sigmoid, x, nullptr, x); }
  void tanh(const float* x, float* out) const { run(ElementOp::tanh, x, nullptr, out); }
};

// run(units, row, unit) for runs of units of every row.
template <class Run>
void for_each_units(std::size_t batch, std::size_t hidden, ParallelFor parallel, Run run) {
  const std::size_t runs = (hidden + kUnits - 1) / kUnits;
  for_each_task(parallel, batch * runs, [&](std::size_t task) {
    const std::size_t unit = task % runs * kUnits;
    run(Units{std::min(kUnits, hidden - unit)}, task / runs, unit);
  });
}

}  // namespace

void lstm_cell(std::size_t batch, std::size_t hidden, ConstFloatRows from_input,
               ConstFloatRows from_state, ConstFloatRows cell, FloatRows new_hidden,
               FloatRows new_cell, ParallelFor parallel) {
  for_each_units(
      batch, hidden, parallel, [&](const Units& units, std::size_t row, std::size_t unit) {
        alignas(64) float gates[4][kUnits];
        for (std::size_t gate = 0; gate < 4; ++gate) {
          units.add(from_input.data + row * from_input.stride + gate * hidden + unit,
                    from_state.data + row * from_state.stride + gate * hidden + unit, gates[gate]);
        }
        auto& [i, f, g, o] = gates;
        units.sigmoid(i);
        units.sigmoid(f);
        units.tanh(g, g);
        units.sigmoid(o);
        float* c = new_cell.data + row * new_cell.stride + unit;
        units.mul(f, cell.data + row * cell.stride + unit, f);
        units.mul(i, g, i);
        units.add(f, i, c);
        units.tanh(c, g);
        units.mul(o, g, new_hidden.data + row * new_hidden.stride + unit);
      });
}

void gru_cell(std::size_t batch, std::size_t hidden, ConstFloatRows from_input,
              ConstFloatRows from_state, ConstFloatRows state, FloatRows new_hidden,
              ParallelFor parallel) {
  for_each_units(batch, hidden, parallel,
                 [&](const Units& units, std::size_t row, std::size_t unit) {
                   const float* input = from_input.data + row * from_input.stride + unit;
                   const float* hidden_part = from_state.data + row * from_state.stride + unit;
                   alignas(64) float r[kUnits], z[kUnits], n[kUnits];
                   units.add(input, hidden_part, r);
                   units.sigmoid(r);
                   units.add(input + hidden, hidden_part + hidden, z);
                   units.sigmoid(z);
                   units.mul(r, hidden_part + 2 * hidden, n);
                   units.add(input + 2 * hidden, n, n);
                   units.tanh(n, n);
                   units.run(ElementOp::sub, state.data + row * state.stride + unit, n, r);
                   units.mul(r, z, r);
                   units.add(r, n, new_hidden.data + row * new_hidden.stride + unit);
                 });
}

void rnn_cell(RnnActivation activation, std::size_t batch, std::size_t hidden,
              ConstFloatRows from_input, ConstFloatRows from_state, FloatRows new_hidden,
              ParallelFor parallel) {
  const ElementOp op = activation == RnnActivation::tanh ? ElementOp::tanh : ElementOp::relu;
  for_each_units(batch, hidden, parallel,
                 [&](const Units& units, std::size_t row, std::size_t unit) {
                   float* out = new_hidden.data + row * new_hidden.stride + unit;
                   units.add(from_input.data + row * from_input.stride + unit,
                             from_state.data + row * from_state.stride + unit, out);
                   units.run(op, out, nullptr, out);
                 });
}

}  // namespace torchnotary::exact
