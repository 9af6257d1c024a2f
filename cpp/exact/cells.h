// The element-by-element part of recurrent cells (docs/exact-profile.md, section 9): what follows
// the two products of a step.
#pragma once

#include <cstddef>

#include "hashing/parallel.h"

namespace torchnotary::exact {

// Rows of floats, `stride` apart.
struct FloatRows {
  float* data;
  std::size_t stride;
};
struct ConstFloatRows {
  const float* data;
  std::size_t stride;
};

// A step of `batch` sequences with `hidden` units. from_input = linear(x, W_ih, b_ih) and
// from_state = linear(h, W_hh, b_hh) have the gates side by side in torch's order: i, f, g, o of an
// LSTM, r, z, n of a GRU. New states may be written over the old ones.
void lstm_cell(std::size_t batch, std::size_t hidden, ConstFloatRows from_input,
               ConstFloatRows from_state, ConstFloatRows cell, FloatRows new_hidden,
               FloatRows new_cell, ParallelFor parallel);
void gru_cell(std::size_t batch, std::size_t hidden, ConstFloatRows from_input,
              ConstFloatRows from_state, ConstFloatRows state, FloatRows new_hidden,
              ParallelFor parallel);

enum class RnnActivation { tanh, relu };
void rnn_cell(RnnActivation activation, std::size_t batch, std::size_t hidden,
              ConstFloatRows from_input, ConstFloatRows from_state, FloatRows new_hidden,
              ParallelFor parallel);

}  // namespace torchnotary::exact
