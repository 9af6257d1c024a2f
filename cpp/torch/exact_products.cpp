// linear, matmul and their kin (docs/exact-profile.md, section 3), and convolutions (section 4).
#include "torch/exact_products.h"

#include <ATen/ExpandUtils.h>
#include <ATen/native/TypeProperties.h>
#include <ATen/ops/pad.h>

#include <algorithm>
#include <array>
#include <optional>
#include <utility>

#include "exact/convolution.h"
#include "exact/gemm.h"
#include "torch/exact_conversions.h"
#include "torch/exact_dispatch.h"
#include "torch/exact_tensors.h"
#include "torch/intra_op.h"
#include "torch/packs.h"
#include "torch/sealing.h"

namespace torchnotary::exact {
namespace {

Matrix matrix_of(const at::Tensor& tensor) {  // of the last two axes
  return {tensor.const_data_ptr(), storage_of(tensor.scalar_type()), tensor.stride(-2),
          tensor.stride(-1)};
}

MatrixOut matrix_out(const at::Tensor& tensor) {  // whose rows are contiguous
  return {tensor.mutable_data_ptr(), storage_of(tensor.scalar_type()), tensor.size(-1)};
}

void require_same_types(const char* op, const at::Tensor& a, const at::Tensor& b) {
  TORCH_CHECK(a.scalar_type() == b.scalar_type(), op, ": expected operands of one type, got ",
              a.scalar_type(), " and ", b.scalar_type());
}

// a (…, k) and packed weights (n, k), then a bias of n numbers if there is one.
at::Tensor by_weights(const at::Tensor& a, const at::Tensor& weights, const at::Tensor& bias,
                      const Results& results) {
  const std::int64_t n = weights.size(0), k = weights.size(1);
  at::DimVector sizes(a.sizes().begin(), a.sizes().end() - 1);
  std::int64_t rows = 1;
  for (const std::int64_t size : sizes) rows *= size;
  sizes.push_back(n);
  const at::Tensor out = results.fresh(sizes, a.scalar_type());
  if (out.numel() == 0) return out;
  multiply_by_weights(a.dim() == 2 ? a : a.reshape({rows, k}), weights, bias,
                      out.dim() == 2 ? out : out.view({rows, n}));
  return out;
}

bool linear_kernel(Arguments a, Results& results) {
  const at::Tensor& x = a[0].toTensor();
  at::Tensor weights = a[1].toTensor();
  const at::Tensor bias = optional_tensor(a[2]);
  if (!is_float(x.scalar_type()) && !is_float(weights.scalar_type())) return false;
  require_same_types("linear", x, weights);
  TORCH_CHECK(
      x.dim() > 0 && weights.dim() > 0 && weights.dim() <= 2 && x.size(-1) == weights.size(-1),
      "linear: inputs ", x.sizes(), " do not fit weights ", weights.sizes());
  const bool is_vector = weights.dim() == 1;
  if (is_vector) weights = weights.unsqueeze(0);
  TORCH_CHECK(!bias.defined() || bias.numel() == weights.size(0), "linear: a bias of ",
              bias.sizes(), " does not fit weights ", weights.sizes());
  at::Tensor out = by_weights(x, weights, bias.defined() ? bias.reshape({-1}) : bias, results);
  results.add(is_vector ? out.squeeze(-1) : out);
  return true;
}

// a (…, m, k) by b (…, k, n), whose leading axes broadcast, then `scaling`, whose c is `added`.
at::Tensor multiply(const char* op, const at::Tensor& a, const at::Tensor& b,
                    const Results& results, Scaling scaling = {}, at::Tensor added = {}) {
  require_same_types(op, a, b);
  TORCH_CHECK(a.size(-1) == b.size(-2), op, ": shapes ", a.sizes(), " and ", b.sizes(),
              " cannot be multiplied");
  const std::int64_t m = a.size(-2), k = a.size(-1), n = b.size(-1);
  if (b.dim() == 2 && is_sealed(b) && scaling.alpha == 1 && scaling.beta == 0) {
    return by_weights(a, b.t(), {}, results);
  }
  at::DimVector lead =
      at::infer_size_dimvector(a.sizes().slice(0, a.dim() - 2), b.sizes().slice(0, b.dim() - 2));
  at::DimVector sizes = lead;
  sizes.append({m, n});
  const at::Tensor out = results.fresh(sizes, a.scalar_type());
  if (out.numel() == 0) return out;
  const std::int64_t items = out.numel() / (m * n);
  const auto stacked = [&](const at::Tensor& tensor) {  // as (i, j, rows, columns)
    at::DimVector wide = lead;
    wide.append({tensor.size(-2), tensor.size(-1)});
    at::Tensor view = tensor.expand(wide);
    if (lead.size() < 2) {
      while (view.dim() < 4) view = view.unsqueeze(0);
      return view;
    }
    const std::int64_t last = lead.back(), others = items / last;
    return view.reshape({others, last, tensor.size(-2), tensor.size(-1)});
  };
  const at::Tensor x = stacked(a), y = stacked(b), z = stacked(out);
  Batch batch;
  batch.sizes = {static_cast<std::size_t>(x.size(0)), static_cast<std::size_t>(x.size(1))};
  batch.a = {x.stride(0), x.stride(1)};
  batch.b = {y.stride(0), y.stride(1)};
  batch.out = {z.stride(0), z.stride(1)};
  if (added.defined() && scaling.beta != 0) {
    added = stacked(added.expand(sizes));
    scaling.c = matrix_of(added);
    batch.c = {added.stride(0), added.stride(1)};
  }
  matmul(matrix_of(x), matrix_of(y), static_cast<std::size_t>(m), static_cast<std::size_t>(n),
         static_cast<std::size_t>(k), batch, scaling, matrix_out(out), kIntraOpThreads);
  return out;
}

bool are_floats(const at::Tensor& a, const at::Tensor& b) {
  return is_float(a.scalar_type()) || is_float(b.scalar_type());
}

// Products of two operands, vectors among them, as torch.matmul says.
bool matmul_kernel(Arguments args, Results& results) {
  at::Tensor a = args[0].toTensor(), b = args[1].toTensor();
  if (!are_floats(a, b)) return false;
  TORCH_CHECK(a.dim() > 0 && b.dim() > 0, "matmul: both operands need at least one axis");
  const bool is_row = a.dim() == 1, is_column = b.dim() == 1;
  if (is_row) a = a.unsqueeze(0);
  if (is_column) b = b.unsqueeze(1);
  at::Tensor out = multiply("matmul", a, b, results);
  if (is_column) out = out.squeeze(-1);
  if (is_row) out = out.squeeze(is_column ? -1 : -2);
  results.add(out);
  return true;
}

void require_axes(const char* op, const at::Tensor& a, std::int64_t of_a, const at::Tensor& b,
                  std::int64_t of_b) {
  TORCH_CHECK(a.dim() == of_a && b.dim() == of_b, op, ": expected operands of ", of_a, " and ",
              of_b, " axes, got ", a.sizes(), " and ", b.sizes());
}

// Products whose operands have numbers of axes that are fixed, and nothing that broadcasts.
template <std::int64_t kAxesOfA, std::int64_t kAxesOfB>
bool product(Arguments args, Results& results) {
  const at::Tensor &a = args[0].toTensor(), &b = args[1].toTensor();
  require_axes("a product", a, kAxesOfA, b, kAxesOfB);
  TORCH_CHECK(kAxesOfA < 3 || a.size(0) == b.size(0), "bmm: batches of ", a.size(0), " and ",
              b.size(0));
  return matmul_kernel(args, results);
}

// d = a b, then as addmm does.
bool scaled_product(const char* op, const at::Tensor& c, const at::Tensor& a, const at::Tensor& b,
                    const c10::IValue& beta, const c10::IValue& alpha, Results& results) {
  if (!are_floats(a, b)) return false;
  const Scaling scaling{.alpha = rounded(alpha.toScalar()), .beta = rounded(beta.toScalar())};
  require_same_types(op, a, c);
  const bool is_bias = b.dim() == 2 && is_sealed(b) && scaling.alpha == 1 && scaling.beta == 1 &&
                       c.dim() == 1 && c.size(0) == b.size(1);
  if (is_bias) {
    results.add(by_weights(a, b.t(), c, results));
  } else {
    results.add(multiply(op, a, b, results, scaling, c));
  }
  return true;
}

bool addmm(Arguments a, Results& results) {
  require_axes("addmm", a[1].toTensor(), 2, a[2].toTensor(), 2);
  return scaled_product("addmm", a[0].toTensor(), a[1].toTensor(), a[2].toTensor(), a[3], a[4],
                        results);
}

bool baddbmm(Arguments a, Results& results) {
  require_axes("baddbmm", a[1].toTensor(), 3, a[2].toTensor(), 3);
  TORCH_CHECK(a[1].toTensor().size(0) == a[2].toTensor().size(0), "baddbmm: batches of ",
              a[1].toTensor().size(0), " and ", a[2].toTensor().size(0));
  return scaled_product("baddbmm", a[0].toTensor(), a[1].toTensor(), a[2].toTensor(), a[3], a[4],
                        results);
}

bool addmv(Arguments a, Results& results) {
  require_axes("addmv", a[1].toTensor(), 2, a[2].toTensor(), 1);
  const at::Tensor column = a[2].toTensor().unsqueeze(1);
  const at::Tensor& c = a[0].toTensor();
  if (!scaled_product("addmv", c.dim() == 0 ? c : c.unsqueeze(1), a[1].toTensor(), column, a[3],
                      a[4], results)) {
    return false;
  }
  results.tensors()[0] = results.tensors()[0].squeeze(1);
  return true;
}

// Groups, stride, padding, dilation and the rest, of the first axes of a convolution over one or
// two.
struct ConvolutionArguments {
  at::Tensor input, weights, bias;
  at::DimVector stride, padding, dilation, output_padding;
  std::int64_t groups = 1;
  bool transposed = false;
};

at::DimVector per_axis(const c10::IValue& value, std::size_t axes) {
  const auto given = value.toIntVector();
  TORCH_CHECK(given.size() == axes || given.size() == 1, "convolution: expected ", axes,
              " numbers, got ", given.size());
  return given.size() == axes ? at::DimVector(given.begin(), given.end())
                              : at::DimVector(axes, given[0]);
}

at::Tensor with_rows(const at::Tensor& tensor, std::int64_t axes) {  // one axis becomes two
  return axes == 1 ? tensor.unsqueeze(-2) : tensor;
}

void check_convolution(const ConvolutionArguments& given) {
  const auto all = [](const at::DimVector& values, std::int64_t least) {
    return std::all_of(values.begin(), values.end(), [&](auto each) { return each >= least; });
  };
  TORCH_CHECK(given.groups > 0 && all(given.stride, 1) && all(given.dilation, 1) &&
                  all(given.padding, 0) && all(given.output_padding, 0),
              "convolution: groups, stride and dilation have to be positive, padding not negative");
  const at::Tensor& weights = given.weights;
  const std::int64_t outputs = given.transposed ? weights.size(1) * given.groups : weights.size(0);
  TORCH_CHECK(weights.size(0) % given.groups == 0, "convolution: weights ", weights.sizes(),
              " have no ", given.groups, " groups");
  TORCH_CHECK(!given.bias.defined() || given.bias.sizes() == at::IntArrayRef{outputs},
              "convolution: a bias of ", given.bias.sizes(), " for ", outputs, " channels");
  for (std::size_t i = 0; given.transposed && i < given.output_padding.size(); ++i) {
    TORCH_CHECK(given.output_padding[i] < std::max(given.stride[i], given.dilation[i]),
                "convolution: output_padding has to be less than stride or dilation");
  }
}

bool convolve_kernel(const ConvolutionArguments& given, Results& results) {
  at::Tensor input = given.input;
  const at::Tensor& weights = given.weights;
  if (!are_floats(input, weights)) return false;
  require_same_types("convolution", input, weights);
  const std::int64_t axes = weights.dim() - 2;
  if (axes < 1 || axes > 2) {
    refuse("a convolution over this number of axes is not part of exact/1", "1 or 2",
           std::to_string(axes), "record with profile=\"native\"");
  }
  check_convolution(given);
  const bool is_batch = input.dim() == axes + 2;
  if (!is_batch) input = input.unsqueeze(0);
  const std::int64_t inputs = given.transposed ? weights.size(0) : weights.size(1) * given.groups;
  TORCH_CHECK(input.dim() == axes + 2 && input.size(1) == inputs, "convolution: an input of ",
              given.input.sizes(), " does not fit weights ", weights.sizes(), " in ", given.groups,
              " groups");
  const at::Tensor x = with_rows(input, axes), w = with_rows(weights, axes);
  const auto two = [&](const at::DimVector& values, std::size_t other) {
    return axes == 1 ? std::array<std::size_t, 2>{other, static_cast<std::size_t>(values[0])}
                     : std::array<std::size_t, 2>{static_cast<std::size_t>(values[0]),
                                                  static_cast<std::size_t>(values[1])};
  };
  Convolution convolution{};
  convolution.batch = static_cast<std::size_t>(x.size(0));
  convolution.in_channels = static_cast<std::size_t>(x.size(1));
  convolution.out_channels =
      static_cast<std::size_t>(given.transposed ? w.size(1) * given.groups : w.size(0));
  convolution.groups = static_cast<std::size_t>(given.groups);
  convolution.in = {static_cast<std::size_t>(x.size(2)), static_cast<std::size_t>(x.size(3))};
  convolution.kernel = {static_cast<std::size_t>(w.size(2)), static_cast<std::size_t>(w.size(3))};
  convolution.stride = two(given.stride, 1);
  convolution.padding = two(given.padding, 0);
  convolution.dilation = two(given.dilation, 1);
  convolution.transposed = given.transposed;
  if (given.transposed) convolution.output_padding = two(given.output_padding, 0);
  const std::array<std::size_t, 2> out_size = convolution.out();
  TORCH_CHECK(out_size[0] > 0 && out_size[1] > 0, "convolution: the kernel ", weights.sizes(),
              " does not fit the input ", given.input.sizes());
  const auto channels = static_cast<std::int64_t>(convolution.out_channels);
  const auto rows = static_cast<std::int64_t>(out_size[0]);
  const auto columns = static_cast<std::int64_t>(out_size[1]);
  const bool channels_last = axes == 2 && is_batch &&
                             (input.suggest_memory_format() == at::MemoryFormat::ChannelsLast ||
                              weights.suggest_memory_format() == at::MemoryFormat::ChannelsLast);
  at::Tensor out = channels_last
                       ? results.fresh({x.size(0), rows, columns, channels}, input.scalar_type())
                             .permute({0, 3, 1, 2})
                       : results.fresh({x.size(0), channels, rows, columns}, input.scalar_type());
  if (out.numel() > 0) {
    const at::Tensor bias = given.bias.defined() ? as_float32(given.bias) : at::Tensor();
    const ConvolutionPack pack = pack_convolution(convolution, w);
    convolve(convolution, input_of(x), pack.weights,
             bias.defined() ? bias.const_data_ptr<float>() : nullptr, output_of(out),
             kIntraOpThreads);
  }
  if (axes == 1) out = out.squeeze(-2);
  results.add(is_batch ? out : out.squeeze(0));
  return true;
}

// conv1d, conv2d: input, weight, bias, stride, padding, dilation, groups.
bool conv(Arguments a, Results& results) {
  ConvolutionArguments given{a[0].toTensor(), a[1].toTensor(), optional_tensor(a[2])};
  const auto axes = static_cast<std::size_t>(given.weights.dim() - 2);
  given.stride = per_axis(a[3], axes);
  given.padding = per_axis(a[4], axes);
  given.dilation = per_axis(a[5], axes);
  given.groups = a[6].toInt();
  return convolve_kernel(given, results);
}

// convolution: input, weight, bias, stride, padding, dilation, transposed, output_padding, groups.
bool convolution_kernel(Arguments a, Results& results) {
  ConvolutionArguments given{a[0].toTensor(), a[1].toTensor(), optional_tensor(a[2])};
  const auto axes = static_cast<std::size_t>(given.weights.dim() - 2);
  given.stride = per_axis(a[3], axes);
  given.padding = per_axis(a[4], axes);
  given.dilation = per_axis(a[5], axes);
  given.transposed = a[6].toBool();
  given.output_padding = per_axis(a[7], axes);
  given.groups = a[8].toInt();
  return convolve_kernel(given, results);
}

// int8 by int8, in int32.
bool int8_product(Arguments args, Results& results) {
  const at::Tensor &a = args[0].toTensor(), &b = args[1].toTensor();
  TORCH_CHECK(a.dim() == 2 && b.dim() == 2 && a.size(1) == b.size(0), "_int_mm: shapes ", a.sizes(),
              " and ", b.sizes(), " cannot be multiplied");
  TORCH_CHECK(a.scalar_type() == at::kChar && b.scalar_type() == at::kChar,
              "_int_mm: expected int8, got ", a.scalar_type(), " and ", b.scalar_type());
  const std::int64_t m = a.size(0), k = a.size(1), n = b.size(1);
  if (k >= static_cast<std::int64_t>(kMaxInt8Products)) {
    refuse("aten::_int_mm sums more products than int32 surely holds",
           "fewer than " + std::to_string(kMaxInt8Products), std::to_string(k),
           "add products of parts in int64");
  }
  const at::Tensor out = results.fresh({m, n}, at::kInt);
  const auto matrix = [](const at::Tensor& tensor) {
    return Int8Matrix{tensor.const_data_ptr<std::int8_t>(), tensor.stride(0), tensor.stride(1)};
  };
  int8_matmul(matrix(a), matrix(b), static_cast<std::size_t>(m), static_cast<std::size_t>(n),
              static_cast<std::size_t>(k), out.mutable_data_ptr<std::int32_t>(), n,
              kIntraOpThreads);
  results.add(out);
  return true;
}

constexpr NamedKernel kKernels[] = {
    {"aten::linear", &linear_kernel},
    {"aten::matmul", &matmul_kernel},
    {"aten::mm", &product<2, 2>},
    {"aten::bmm", &product<3, 3>},
    {"aten::mv", &product<2, 1>},
    {"aten::dot", &product<1, 1>},
    {"aten::addmm", &addmm},
    {"aten::baddbmm", &baddbmm},
    {"aten::addmv", &addmv},
    {"aten::_int_mm", &int8_product},
    {"aten::conv1d", &conv},
    {"aten::conv2d", &conv},
    {"aten::convolution", &convolution_kernel},
};

}  // namespace

void multiply_by_weights(const at::Tensor& x, const at::Tensor& weights, const at::Tensor& bias,
                         const at::Tensor& out) {
  multiply_by_weights(x, pack_matrix(weights), bias, out);
}

void multiply_by_weights(const at::Tensor& x, const MatrixPack& weights, const at::Tensor& bias,
                         const at::Tensor& out) {
  const at::Tensor added = bias.defined() ? bias.contiguous() : bias;
  Epilogue epilogue;
  if (added.defined()) {
    epilogue.bias = added.const_data_ptr();
    epilogue.bias_storage = storage_of(added.scalar_type());
  }
  linear(matrix_of(x), static_cast<std::size_t>(x.size(0)), weights.matrix, epilogue,
         matrix_out(out), kIntraOpThreads);
}

std::span<const NamedKernel> product_kernels() { return kKernels; }

}  // namespace torchnotary::exact
