// Reaches the private cells of at::Context, because torch's public interface cannot restore them:
// getters return what a cell inherits, not what it holds; Float32Precision::DEFAULT, which cuDNN
// convolutions and RNNs start with, is refused by the setter; and setAllowTF32CuDNN, needed so
// that torch's legacy getters agree with the new ones, overwrites two of the cells. A scope built
// on setters alone would leave every process it ran in with `torch.backends.fp32_precision` no
// longer reaching cuDNN.
#include "torch/precision_cells.h"

#include <ATen/Context.h>
#include <c10/util/hash.h>

#include <iterator>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <utility>

namespace torchnotary {
namespace {

using at::Float32Backend;
using at::Float32MatmulPrecision;
using at::Float32Op;
using at::Float32Precision;
using Key = std::pair<Float32Backend, Float32Op>;
using Cells = std::unordered_map<Key, Float32Precision, c10::hash<Key>>;

Cells& cells_of(at::Context& context);
bool& cudnn_tf32_of(at::Context& context);
Float32MatmulPrecision& matmul_precision_of(at::Context& context);

// An explicit instantiation may name private members ([temp.spec.general]/6), so nothing is cast
// and a torch that renames or retypes one of them fails to compile.
template <Cells at::Context::*cells, bool at::Context::*cudnn_tf32,
          Float32MatmulPrecision at::Context::*matmul_precision>
struct Expose {
  friend Cells& cells_of(at::Context& context) { return context.*cells; }
  friend bool& cudnn_tf32_of(at::Context& context) { return context.*cudnn_tf32; }
  friend Float32MatmulPrecision& matmul_precision_of(at::Context& context) {
    return context.*matmul_precision;
  }
};
template struct Expose<&at::Context::fp32_precision, &at::Context::allow_tf32_cudnn,
                       &at::Context::float32_matmul_precision>;

struct Cell {
  const char* name;
  Float32Backend backend;
  Float32Op op;
};

constexpr Cell kCells[] = {
    {"fp32_precision", Float32Backend::GENERIC, Float32Op::ALL},
    {"fp32_precision_cuda", Float32Backend::CUDA, Float32Op::ALL},
    {"fp32_precision_cuda_conv", Float32Backend::CUDA, Float32Op::CONV},
    {"fp32_precision_cuda_matmul", Float32Backend::CUDA, Float32Op::MATMUL},
    {"fp32_precision_cuda_rnn", Float32Backend::CUDA, Float32Op::RNN},
    {"fp32_precision_mkldnn", Float32Backend::MKLDNN, Float32Op::ALL},
    {"fp32_precision_mkldnn_conv", Float32Backend::MKLDNN, Float32Op::CONV},
    {"fp32_precision_mkldnn_matmul", Float32Backend::MKLDNN, Float32Op::MATMUL},
    {"fp32_precision_mkldnn_rnn", Float32Backend::MKLDNN, Float32Op::RNN},
};

std::string text_of(Float32Precision precision) {
  return precision == Float32Precision::DEFAULT ? "default" : at::precision2str(precision);
}

Float32Precision precision_of(const std::string& text) {
  return text == "default" ? Float32Precision::DEFAULT : at::str2precision(text);
}

std::string text_of(Float32MatmulPrecision precision) {
  switch (precision) {
    case Float32MatmulPrecision::HIGHEST:
      return "highest";
    case Float32MatmulPrecision::HIGH:
      return "high";
    case Float32MatmulPrecision::MEDIUM:
      return "medium";
  }
  return "unknown";
}

Float32MatmulPrecision matmul_precision_of(const std::string& text) {
  if (text == "medium") return Float32MatmulPrecision::MEDIUM;
  return text == "high" ? Float32MatmulPrecision::HIGH : Float32MatmulPrecision::HIGHEST;
}

// The legacy getters throw where the new interface was used to say something they cannot.
template <class Getter>
SettingValue unless_mixed(Getter getter) {
  try {
    return getter(at::globalContext());
  } catch (const c10::Error&) {
    return std::string("mixed");
  }
}

Setting cell_setting(const Cell& cell) {
  const Key key{cell.backend, cell.op};
  return {cell.name,
          [key] { return text_of(at::globalContext().float32Precision(key.first, key.second)); },
          [key] { return text_of(cells_of(at::globalContext()).at(key)); },
          // In place, as torch's setter does it: other threads may be reading their own cells.
          [key](const SettingValue& value) {
            cells_of(at::globalContext()).at(key) = precision_of(std::get<std::string>(value));
          },
          std::string("ieee")};
}

}  // namespace

std::vector<Setting> precision_settings() {
  std::vector<Setting> settings;
  for (const Cell& cell : kCells) settings.push_back(cell_setting(cell));
  settings.push_back({"float32_matmul_precision",
                      [] {
                        return unless_mixed(
                            [](at::Context& c) { return text_of(c.float32MatmulPrecision()); });
                      },
                      [] { return text_of(matmul_precision_of(at::globalContext())); },
                      [](const SettingValue& value) {
                        matmul_precision_of(at::globalContext()) =
                            matmul_precision_of(std::get<std::string>(value));
                      },
                      std::string("highest")});
  settings.push_back(
      {"cudnn_allow_tf32",
       [] { return unless_mixed([](at::Context& c) { return c.allowTF32CuDNN(); }); },
       [] { return cudnn_tf32_of(at::globalContext()); },
       [](const SettingValue& value) {
         cudnn_tf32_of(at::globalContext()) = std::get<bool>(value);
       },
       false});
  return settings;
}

void add_precision_cells(std::string& bytes) {
  at::Context& context = at::globalContext();
  // In the table's own order, which stays: no cell is ever added or taken out.
  for (const auto& [key, precision] : cells_of(context)) {
    bytes.push_back(static_cast<char>(precision));
  }
  bytes.push_back(static_cast<char>(matmul_precision_of(context)));
  bytes.push_back(static_cast<char>(cudnn_tf32_of(context)));
}

void check_precision_cells() {
  const Cells& cells = cells_of(at::globalContext());
  bool found = cells.size() == std::size(kCells);
  for (const Cell& cell : kCells) found = found && cells.contains({cell.backend, cell.op});
  if (!found) {
    throw std::runtime_error(
        "this LibTorch keeps its float32 precisions elsewhere than the one _torch was built with");
  }
}

}  // namespace torchnotary
