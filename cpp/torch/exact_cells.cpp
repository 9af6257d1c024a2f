// Recurrent layers: LSTM, GRU and plain ones, over sequences of one length or packed
// (docs/exact-profile.md, section 9).
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <vector>

#include "exact/cells.h"
#include "torch/arena.h"
#include "torch/exact_conversions.h"
#include "torch/exact_dispatch.h"
#include "torch/exact_products.h"
#include "torch/exact_tensors.h"
#include "torch/intra_op.h"

namespace torchnotary::exact {
namespace {

enum class Kind { lstm, gru, tanh, relu };

constexpr std::int64_t gates_of(Kind kind) {
  return kind == Kind::lstm ? 4 : kind == Kind::gru ? 3 : 1;
}

// Rows of a contiguous binary32 matrix, from `first` on.
FloatRows rows_of(const at::Tensor& matrix, std::int64_t first = 0) {
  const auto stride = static_cast<std::size_t>(matrix.size(1));
  return {matrix.mutable_data_ptr<float>() + static_cast<std::size_t>(first) * stride, stride};
}
ConstFloatRows const_rows_of(const at::Tensor& matrix, std::int64_t first = 0) {
  const FloatRows rows = rows_of(matrix, first);
  return {rows.data, rows.stride};
}

at::Tensor floats(at::IntArrayRef sizes) { return empty_in_arena(sizes, at::kFloat); }

// The parameters of one layer in one direction. Those without biases, or projection, are undefined.
struct Weights {
  at::Tensor input, state, input_bias, state_bias, projection;
};

void require_float(const at::Tensor& tensor, at::ScalarType type) {
  TORCH_CHECK(tensor.scalar_type() == type, "recurrent layers: expected operands of one type, got ",
              type, " and ", tensor.scalar_type());
}

void check(Kind kind, const Weights& weights, const at::Tensor& x, std::int64_t state,
           std::int64_t hidden) {
  const std::int64_t rows = gates_of(kind) * hidden;
  const auto fits = [](const at::Tensor& tensor, at::IntArrayRef sizes) {
    return !tensor.defined() || tensor.sizes() == sizes;
  };
  TORCH_CHECK(fits(weights.input, {rows, x.size(1)}) && fits(weights.state, {rows, state}) &&
                  fits(weights.input_bias, {rows}) && fits(weights.state_bias, {rows}) &&
                  fits(weights.projection, {state, hidden}),
              "recurrent layers: weights ", weights.input.sizes(), " and ", weights.state.sizes(),
              " do not fit an input of ", x.size(1), " and a state of ", hidden, " features");
  TORCH_CHECK(weights.projection.defined() || state == hidden,
              "recurrent layers: a hidden state of ", state, " features beside one of ", hidden);
}

// One layer in one direction; states are binary32, and kept as such between steps.
class Layer {
 public:
  Layer(Kind kind, const Weights& weights, const at::Tensor& hidden, const at::Tensor& cell)
      : kind_(kind),
        weights_(weights),
        state_pack_(pack_matrix(weights.state)),
        hidden_(hidden),
        cell_(cell) {
    const std::int64_t features = cell.defined() ? cell.size(1) : hidden.size(1);
    from_state_ = floats({hidden.size(0), gates_of(kind) * features});
    if (weights.projection.defined()) {
      projection_pack_ = pack_matrix(weights.projection);
      unprojected_ = floats({hidden.size(0), features});
    }
  }

  // The first `batch` sequences go on by one step, whose input's gates begin at `row`.
  void step(std::int64_t batch, const at::Tensor& from_input, std::int64_t row) {
    if (batch == 0) return;
    const auto first = [&](const at::Tensor& tensor) { return tensor.narrow(0, 0, batch); };
    multiply_by_weights(first(hidden_), state_pack_, weights_.state_bias, first(from_state_));
    const at::Tensor& made = unprojected_.defined() ? unprojected_ : hidden_;
    const auto count = static_cast<std::size_t>(batch);
    const auto features = static_cast<std::size_t>(made.size(1));
    const ConstFloatRows x = const_rows_of(from_input, row), h = const_rows_of(from_state_);
    switch (kind_) {
      case Kind::lstm:
        lstm_cell(count, features, x, h, const_rows_of(cell_), rows_of(made), rows_of(cell_),
                  kIntraOpThreads);
        break;
      case Kind::gru:
        gru_cell(count, features, x, h, const_rows_of(hidden_), rows_of(made), kIntraOpThreads);
        break;
      case Kind::tanh:
      case Kind::relu:
        rnn_cell(kind_ == Kind::tanh ? RnnActivation::tanh : RnnActivation::relu, count, features,
                 x, h, rows_of(made), kIntraOpThreads);
    }
    if (unprojected_.defined()) {
      multiply_by_weights(first(unprojected_), *projection_pack_, {}, first(hidden_));
    }
  }

  const at::Tensor& hidden() const { return hidden_; }
  const at::Tensor& cell() const { return cell_; }

 private:
  Kind kind_;
  Weights weights_;
  MatrixPack state_pack_;
  std::optional<MatrixPack> projection_pack_;
  at::Tensor hidden_, cell_;
  at::Tensor from_state_;
  at::Tensor unprojected_;
};

// A copy that steps may overwrite.
at::Tensor state_of(const at::Tensor& states, std::int64_t index) {
  const at::Tensor from = states.select(0, index);
  const at::Tensor state = floats(from.sizes());
  copy_converted(state, from);
  return state;
}

at::Tensor gates_from(const at::Tensor& x, const Weights& weights) {
  const at::Tensor gates = floats({x.size(0), weights.input.size(0)});
  if (gates.numel() > 0) multiply_by_weights(x, weights.input, weights.input_bias, gates);
  return gates;
}

// All steps of x (rows, features), of which step t has batch_sizes[t]: a sequence that has ended is
// left out, and keeps its states. Rows of states go to `out`, from a column on.
void run_layer(Layer& layer, const at::Tensor& x, const Weights& weights,
               const std::vector<std::int64_t>& batch_sizes, bool backwards, const at::Tensor& out,
               std::int64_t column) {
  const at::Tensor from_input = gates_from(x, weights);
  std::int64_t row = backwards ? x.size(0) : 0;
  for (std::size_t i = 0; i < batch_sizes.size(); ++i) {
    const std::int64_t batch = batch_sizes[backwards ? batch_sizes.size() - 1 - i : i];
    if (backwards) row -= batch;
    layer.step(batch, from_input, row);
    const FloatRows from = rows_of(layer.hidden()), to = rows_of(out, row);
    for (std::int64_t b = 0; b < batch; ++b) {
      std::memcpy(to.data + static_cast<std::size_t>(b) * to.stride + column,
                  from.data + static_cast<std::size_t>(b) * from.stride,
                  from.stride * sizeof(float));
    }
    if (!backwards) row += batch;
  }
}

struct Recurrence {
  at::Tensor x;  // (rows, features), the steps' sequences side by side
  std::vector<std::int64_t> batch_sizes;
  at::Tensor hidden, cell;  // (layers times directions, batch, features)
  std::vector<at::Tensor> parameters;
  bool has_biases;
  std::int64_t layers, directions;
};

Weights weights_of(const Recurrence& given, std::int64_t index, bool projects) {
  const std::size_t each = 2 + (given.has_biases ? 2 : 0) + (projects ? 1 : 0);
  TORCH_CHECK(
      given.parameters.size() == each * static_cast<std::size_t>(given.layers * given.directions),
      "recurrent layers: ", given.parameters.size(), " parameters for ", given.layers,
      " layers in ", given.directions, " directions");
  const at::Tensor* first = given.parameters.data() + each * static_cast<std::size_t>(index);
  for (std::size_t i = 0; i < each; ++i) require_float(first[i], given.x.scalar_type());
  Weights weights{.input = first[0], .state = first[1]};
  if (given.has_biases) {
    weights.input_bias = first[2];
    weights.state_bias = first[3];
  }
  if (projects) weights.projection = first[each - 1];
  return weights;
}

void check_states(const Recurrence& given, const at::Tensor& states, std::int64_t batch) {
  require_float(states, given.x.scalar_type());
  TORCH_CHECK(states.dim() == 3 && states.size(0) == given.layers * given.directions &&
                  states.size(1) == batch,
              "recurrent layers: states of ", states.sizes(), " for ", given.layers, " layers in ",
              given.directions, " directions of ", batch, " sequences");
}

// Adds output (rows, directions times features), hidden and, of an LSTM, cell states.
void recur(Kind kind, const Recurrence& given, Results& results) {
  const at::ScalarType type = given.x.scalar_type();
  const std::int64_t batch = given.batch_sizes.empty() ? 0 : given.batch_sizes[0];
  check_states(given, given.hidden, batch);
  if (given.cell.defined()) check_states(given, given.cell, batch);
  const std::int64_t state = given.hidden.size(2);
  const bool projects = given.cell.defined() && given.cell.size(2) != state;
  const at::Tensor last_hidden = results.fresh(given.hidden.sizes(), type);
  at::Tensor last_cell;
  if (given.cell.defined()) last_cell = results.fresh(given.cell.sizes(), type);
  at::Tensor x = given.x;
  for (std::int64_t index = 0; index < given.layers * given.directions;) {
    const at::Tensor out = floats({x.size(0), given.directions * state});
    for (std::int64_t direction = 0; direction < given.directions; ++direction, ++index) {
      const Weights weights = weights_of(given, index, projects);
      check(kind, weights, x, state, given.cell.defined() ? given.cell.size(2) : state);
      Layer layer(kind, weights, state_of(given.hidden, index),
                  given.cell.defined() ? state_of(given.cell, index) : at::Tensor());
      run_layer(layer, x, weights, given.batch_sizes, direction == 1, out, direction * state);
      copy_converted(last_hidden.select(0, index), layer.hidden());
      if (last_cell.defined()) copy_converted(last_cell.select(0, index), layer.cell());
    }
    x = out;
  }
  results.add(converted(x, type));
  results.add(last_hidden);
  if (last_cell.defined()) results.add(last_cell);
}

// has_biases, num_layers, dropout, train, bidirectional, from a[at] on.
void read_settings(Arguments a, std::size_t at, Recurrence& into) {
  into.has_biases = a[at].toBool();
  into.layers = a[at + 1].toInt();
  into.directions = a[at + 4].toBool() ? 2 : 1;
  TORCH_CHECK(into.layers > 0, "recurrent layers: at least one layer is needed");
  if (a[at + 2].toDouble() > 0 && a[at + 3].toBool() && into.layers > 1) {
    refuse("dropout between recurrent layers draws random numbers, which exact/1 does not specify",
           "evaluation", "training", "call model.eval()");
  }
}

void read_states(const c10::IValue& value, Kind kind, Recurrence& into) {
  if (kind != Kind::lstm) {
    into.hidden = value.toTensor();
    return;
  }
  const auto states = value.toTensorVector();
  TORCH_CHECK(states.size() == 2, "lstm: expected two states, got ", states.size());
  into.hidden = states[0];
  into.cell = states[1];
}

// input, hx, params, has_biases, num_layers, dropout, train, bidirectional, batch_first
template <Kind kKind>
bool sequences(Arguments a, Results& results) {
  const bool batch_first = a[8].toBool();
  const at::Tensor& input = a[0].toTensor();
  TORCH_CHECK(input.dim() == 3, "recurrent layers: expected an input of three axes, got ",
              input.sizes());
  storage_of(input.scalar_type());
  const at::Tensor x = batch_first ? input.transpose(0, 1) : input;
  Recurrence given{.x = x.reshape({x.size(0) * x.size(1), x.size(2)})};
  TORCH_CHECK(x.size(0) > 0, "recurrent layers: expected sequences of at least one step");
  given.batch_sizes.assign(static_cast<std::size_t>(x.size(0)), x.size(1));
  read_states(a[1], kKind, given);
  given.parameters = a[2].toTensorVector();
  read_settings(a, 3, given);
  recur(kKind, given, results);
  at::Tensor& out = results.tensors()[0];
  out = out.view({x.size(0), x.size(1), out.size(1)});
  if (batch_first) out = out.transpose(0, 1);
  return true;
}

// data, batch_sizes, hx, params, has_biases, num_layers, dropout, train, bidirectional
template <Kind kKind>
bool packed_sequences(Arguments a, Results& results) {
  const at::Tensor &data = a[0].toTensor(), &batch_sizes = a[1].toTensor();
  TORCH_CHECK(data.dim() == 2 && batch_sizes.dim() == 1 && batch_sizes.scalar_type() == at::kLong,
              "recurrent layers: expected packed data of two axes and int64 batch sizes");
  storage_of(data.scalar_type());
  Recurrence given{.x = data};
  std::int64_t rows = 0;
  for (std::int64_t i = 0; i < batch_sizes.numel(); ++i) {
    const std::int64_t size = batch_sizes[i].item<std::int64_t>();
    TORCH_CHECK(size > 0 && (i == 0 || size <= given.batch_sizes.back()),
                "recurrent layers: batch sizes have to be positive and must not grow");
    given.batch_sizes.push_back(size);
    rows += size;
  }
  TORCH_CHECK(rows == data.size(0) && rows > 0, "recurrent layers: batch sizes of sum ", rows,
              " for ", data.size(0), " rows");
  read_states(a[2], kKind, given);
  given.parameters = a[3].toTensorVector();
  read_settings(a, 4, given);
  recur(kKind, given, results);
  return true;
}

// input, hx, w_ih, w_hh, b_ih, b_hh: one step of x (batch, features), or of a vector.
template <Kind kKind>
bool cell(Arguments a, Results& results) {
  const at::Tensor& input = a[0].toTensor();
  Recurrence given;
  read_states(a[1], kKind, given);
  const bool is_vector = input.dim() == 1;
  TORCH_CHECK(input.dim() >= 1 && input.dim() <= 2 && given.hidden.dim() == input.dim(),
              "recurrent cells: an input of ", input.sizes(), " and a state of ",
              given.hidden.sizes());
  storage_of(input.scalar_type());
  given.x = is_vector ? input.unsqueeze(0) : input;
  given.batch_sizes = {given.x.size(0)};
  const auto three_axes = [&](at::Tensor state) {
    return (is_vector ? state.unsqueeze(0) : state).unsqueeze(0);
  };
  given.hidden = three_axes(given.hidden);
  if (given.cell.defined()) given.cell = three_axes(given.cell);
  given.parameters = {a[2].toTensor(), a[3].toTensor()};
  given.has_biases = !a[4].isNone() && !a[5].isNone();
  TORCH_CHECK(a[4].isNone() == a[5].isNone(), "recurrent cells: one bias without the other");
  if (given.has_biases) {
    given.parameters.push_back(a[4].toTensor());
    given.parameters.push_back(a[5].toTensor());
  }
  given.layers = given.directions = 1;
  recur(kKind, given, results);
  std::vector<at::Tensor>& made = results.tensors();
  made.erase(made.begin());  // the output is the new state
  for (at::Tensor& each : made) each = each.squeeze(0);
  if (is_vector) {
    for (at::Tensor& each : made) each = each.squeeze(0);
  }
  return true;
}

constexpr NamedKernel kKernels[] = {
    {"aten::lstm.input", &sequences<Kind::lstm>},
    {"aten::lstm.data", &packed_sequences<Kind::lstm>},
    {"aten::lstm_cell", &cell<Kind::lstm>},
    {"aten::gru.input", &sequences<Kind::gru>},
    {"aten::gru.data", &packed_sequences<Kind::gru>},
    {"aten::gru_cell", &cell<Kind::gru>},
    {"aten::rnn_tanh.input", &sequences<Kind::tanh>},
    {"aten::rnn_tanh.data", &packed_sequences<Kind::tanh>},
    {"aten::rnn_tanh_cell", &cell<Kind::tanh>},
    {"aten::rnn_relu.input", &sequences<Kind::relu>},
    {"aten::rnn_relu.data", &packed_sequences<Kind::relu>},
    {"aten::rnn_relu_cell", &cell<Kind::relu>},
};

}  // namespace

std::span<const NamedKernel> cell_kernels() { return kKernels; }

}  // namespace torchnotary::exact
