// Sums, norms, softmax and orders as torch's operators ask for them (docs/exact-profile.md,
// section 7).
#include <ATen/WrapDimUtils.h>
#include <ATen/ops/full.h>
#include <ATen/ops/scalar_tensor.h>
#include <ATen/ops/where.h>
#include <c10/core/ScalarType.h>

#include <cmath>
#include <limits>
#include <optional>
#include <string>
#include <vector>

#include "exact/norms.h"
#include "exact/order.h"
#include "exact/softmax.h"
#include "exact/sums.h"
#include "torch/arena.h"
#include "torch/exact_conversions.h"
#include "torch/exact_dispatch.h"
#include "torch/exact_tensors.h"
#include "torch/intra_op.h"

namespace torchnotary::exact {
namespace {

using Axes = std::vector<std::size_t>;

// The axes an argument names; all of them for None or an empty list.
Axes axes_of(const c10::IValue& value, const at::Tensor& tensor) {
  std::vector<bool> chosen(static_cast<std::size_t>(tensor.dim()), false);
  std::vector<std::int64_t> given;
  if (value.isInt()) {
    given.push_back(value.toInt());
  } else if (!value.isNone()) {
    given = value.toIntVector();
  }
  for (const std::int64_t axis : given) {
    const std::int64_t at = axis_of(axis, tensor.dim());
    if (tensor.dim() > 0) chosen[static_cast<std::size_t>(at)] = true;
  }
  Axes axes;
  for (std::size_t i = 0; i < chosen.size(); ++i)
    if (given.empty() || chosen[i]) axes.push_back(i);
  return axes;
}

at::DimVector reduced_sizes(const at::Tensor& tensor, const Axes& axes, bool keep) {
  at::DimVector sizes;
  std::size_t next = 0;
  for (std::int64_t i = 0; i < tensor.dim(); ++i) {
    if (next < axes.size() && axes[next] == static_cast<std::size_t>(i)) {
      ++next;
      if (keep) sizes.push_back(1);
    } else {
      sizes.push_back(tensor.size(i));
    }
  }
  return sizes;
}

std::optional<at::ScalarType> type_argument(const c10::IValue& value) {
  if (value.isNone()) return std::nullopt;
  return value.toScalarType();
}

bool reduction(Reduction kind, const at::Tensor& self, const c10::IValue& axes, bool keep,
               std::optional<at::ScalarType> type, Results& results, double correction = 0) {
  const at::ScalarType result = type.value_or(self.scalar_type());
  if (!is_float(result)) return false;
  const at::Tensor x = is_float(self.scalar_type()) ? self : converted(self, result);
  const Axes over = axes_of(axes, x);
  const at::Tensor out = results.fresh(reduced_sizes(x, over, keep), result);
  if (kind == Reduction::logsumexp && x.numel() == 0) {  // no maximum
    out.fill_(-std::numeric_limits<double>::infinity());
  } else {
    reduce(kind, input_of(x), over, output_of(out), correction, kIntraOpThreads);
  }
  results.add(out);
  return true;
}

template <Reduction kKind>
bool over_all(Arguments a, Results& results) {  // self, dtype
  return reduction(kKind, a[0].toTensor(), {}, false, type_argument(a[1]), results);
}
template <Reduction kKind>
bool over_axes(Arguments a, Results& results) {  // self, dim, keepdim, dtype
  return reduction(kKind, a[0].toTensor(), a[1], a[2].toBool(), type_argument(a[3]), results);
}
template <Reduction kKind>
bool over_axes_plain(Arguments a, Results& results) {  // self, dim, keepdim
  return reduction(kKind, a[0].toTensor(), a[1], a[2].toBool(), std::nullopt, results);
}
template <Reduction kKind>
bool extreme_of_all(Arguments a, Results& results) {  // self
  return reduction(kKind, a[0].toTensor(), {}, false, std::nullopt, results);
}

double correction_of(const c10::IValue& value) {
  return value.isNone() ? 1 : value.toScalar().toDouble();
}

template <Reduction kKind>
bool spread(Arguments a, Results& results) {  // self, dim, correction, keepdim
  return reduction(kKind, a[0].toTensor(), a[1], a[3].toBool(), std::nullopt, results,
                   correction_of(a[2]));
}
template <Reduction kKind>
bool spread_and_mean(Arguments a, Results& results) {
  return spread<kKind>(a, results) &&
         reduction(Reduction::mean, a[0].toTensor(), a[1], a[3].toBool(), std::nullopt, results);
}

Reduction norm_of(double order) {
  if (order == 2) return Reduction::norm_2;
  if (order == 1) return Reduction::norm_1;
  if (order == std::numeric_limits<double>::infinity()) return Reduction::norm_infinity;
  refuse("a norm of this order is not part of exact/1", "1, 2 or infinity", std::to_string(order),
         "write it as operators of docs/exact-profile.md");
}

bool vector_norm(Arguments a, Results& results) {  // self, ord, dim, keepdim, dtype
  return reduction(norm_of(a[1].toScalar().toDouble()), a[0].toTensor(), a[2], a[3].toBool(),
                   type_argument(a[4]), results);
}
bool norm_over_axes(Arguments a, Results& results) {  // self, p, dim, keepdim
  return reduction(norm_of(a[1].isNone() ? 2 : a[1].toScalar().toDouble()), a[0].toTensor(), a[2],
                   a[3].toBool(), std::nullopt, results);
}
bool norm_of_all(Arguments a, Results& results) {  // self, p
  return reduction(norm_of(a[1].toScalar().toDouble()), a[0].toTensor(), {}, false, std::nullopt,
                   results);
}

template <auto kKernel>
bool cumulative(Arguments a, Results& results) {  // self, dim, dtype
  const at::Tensor& self = a[0].toTensor();
  const at::ScalarType type = type_argument(a[2]).value_or(self.scalar_type());
  if (!is_float(type)) return false;
  const at::Tensor x = is_float(self.scalar_type()) ? self : converted(self, type);
  const std::int64_t axis = axis_of(a[1].toInt(), x.dim());
  const at::Tensor out = results.fresh(x.sizes(), type);
  const at::Tensor in = x.dim() == 0 ? x.unsqueeze(0) : x;
  const at::Tensor to = x.dim() == 0 ? out.unsqueeze(0) : out;
  kKernel(input_of(in), output_of(to), static_cast<std::size_t>(axis), kIntraOpThreads);
  results.add(out);
  return true;
}

using AlongAxis = void (*)(const Input&, const Output&, std::size_t, ParallelFor);

bool along_axis(AlongAxis kernel, const at::Tensor& self, std::int64_t axis, at::ScalarType type,
                Results& results) {
  if (!is_float(type)) return false;
  const at::Tensor x = is_float(self.scalar_type()) ? self : converted(self, type);
  const at::Tensor out = results.fresh(x.sizes(), type);
  kernel(input_of(x), output_of(out), static_cast<std::size_t>(axis_of(axis, x.dim())),
         kIntraOpThreads);
  results.add(out);
  return true;
}

template <AlongAxis kKernel>
bool softmax_of_type(Arguments a, Results& results) {  // self, dim, dtype
  const at::Tensor& self = a[0].toTensor();
  return along_axis(kKernel, self, a[1].toInt(), type_argument(a[2]).value_or(self.scalar_type()),
                    results);
}
template <AlongAxis kKernel>
bool softmax_widened(Arguments a, Results& results) {  // self, dim, half_to_float
  const at::Tensor& self = a[0].toTensor();
  return along_axis(kKernel, self, a[1].toInt(), a[2].toBool() ? at::kFloat : self.scalar_type(),
                    results);
}

// A parameter that stays alive for the call, contiguous.
class HeldParameter {
 public:
  explicit HeldParameter(const c10::IValue& value) : tensor_(optional_tensor(value)) {
    if (tensor_.defined()) tensor_ = tensor_.contiguous();
  }
  Parameter parameter() const {
    if (!tensor_.defined()) return {};
    storage_of(tensor_.scalar_type());
    return {tensor_.const_data_ptr(), element_of(tensor_.scalar_type())};
  }
  std::int64_t count() const { return tensor_.defined() ? tensor_.numel() : -1; }

 private:
  at::Tensor tensor_;
};

void require_count(const char* op, const HeldParameter& parameter, std::int64_t count) {
  TORCH_CHECK(parameter.count() < 0 || parameter.count() == count, op, ": a parameter of ",
              parameter.count(), " elements where ", count, " are needed");
}

std::int64_t require_normalized(const char* op, const at::Tensor& x, at::IntArrayRef shape) {
  const auto axes = static_cast<std::int64_t>(shape.size());
  TORCH_CHECK(axes > 0 && axes <= x.dim() && x.sizes().slice(x.dim() - axes) == shape, op,
              ": an input of ", x.sizes(), " does not end in ", shape);
  return c10::multiply_integers(shape);
}

float eps_of(const c10::IValue& value) {
  return value.isNone() ? 0x1p-23f : static_cast<float>(value.toDouble());
}

bool layer_norm_kernel(Arguments a, Results& results) {  // input, shape, weight, bias, eps
  const at::Tensor& x = a[0].toTensor();
  if (!is_float(x.scalar_type())) return false;
  const auto shape = a[1].toIntVector();
  const std::int64_t count = require_normalized("layer_norm", x, shape);
  const HeldParameter weight(a[2]), bias(a[3]);
  require_count("layer_norm", weight, count);
  require_count("layer_norm", bias, count);
  const at::Tensor out = results.fresh(x.sizes(), x.scalar_type());
  layer_norm(input_of(x), output_of(out), shape.size(), weight.parameter(), bias.parameter(),
             eps_of(a[4]), kIntraOpThreads);
  results.add(out);
  return true;
}

bool rms_norm_kernel(Arguments a, Results& results) {  // input, shape, weight, eps
  const at::Tensor& x = a[0].toTensor();
  if (!is_float(x.scalar_type())) return false;
  const auto shape = a[1].toIntVector();
  const std::int64_t count = require_normalized("rms_norm", x, shape);
  const HeldParameter weight(a[2]);
  require_count("rms_norm", weight, count);
  const at::Tensor out = results.fresh(x.sizes(), x.scalar_type());
  rms_norm(input_of(x), output_of(out), shape.size(), weight.parameter(), eps_of(a[3]),
           kIntraOpThreads);
  results.add(out);
  return true;
}

bool normalize_channels(const at::Tensor& x, const c10::IValue& weight, const c10::IValue& bias,
                        const c10::IValue& mean, const c10::IValue& variance, float eps,
                        Results& results) {
  TORCH_CHECK(x.dim() >= 2, "batch_norm: an input of ", x.sizes(), " has no channels");
  const HeldParameter w(weight), b(bias), m(mean), v(variance);
  for (const HeldParameter* each : {&w, &b, &m, &v}) require_count("batch_norm", *each, x.size(1));
  TORCH_CHECK(m.count() >= 0 && v.count() >= 0, "batch_norm: no statistics to evaluate with");
  const at::Tensor out = empty_like_in_arena(x, x.scalar_type());
  batch_norm(input_of(x), output_of(out), m.parameter(), v.parameter(), w.parameter(),
             b.parameter(), eps, kIntraOpThreads);
  results.add(out);
  return true;
}

bool normalize_groups(const at::Tensor& x, std::int64_t groups, const c10::IValue& weight,
                      const c10::IValue& bias, float eps, Results& results) {
  TORCH_CHECK(x.dim() >= 2 && groups > 0 && x.size(1) % groups == 0, "group_norm: an input of ",
              x.sizes(), " has no ", groups, " groups");
  const HeldParameter w(weight), b(bias);
  require_count("group_norm", w, x.size(1));
  require_count("group_norm", b, x.size(1));
  const at::Tensor out = results.fresh(x.sizes(), x.scalar_type());
  group_norm(input_of(x), output_of(out), static_cast<std::size_t>(groups), w.parameter(),
             b.parameter(), eps, kIntraOpThreads);
  results.add(out);
  return true;
}

// input, weight, bias, mean, variance, training, momentum, eps
bool batch_norm_kernel(Arguments a, Results& results) {
  if (!is_float(a[0].toTensor().scalar_type())) return false;
  if (a[5].toBool()) {
    refuse("batch_norm over the batch's own statistics is not part of exact/1", "evaluation",
           "training", "call model.eval()");
  }
  return normalize_channels(a[0].toTensor(), a[1], a[2], a[3], a[4], eps_of(a[7]), results);
}

bool instance_norm_kernel(Arguments a, Results& results) {  // as above; contiguous, as torch's
  const at::Tensor x = a[0].toTensor().contiguous();
  if (!is_float(x.scalar_type())) return false;
  if (!a[5].toBool()) return normalize_channels(x, a[1], a[2], a[3], a[4], eps_of(a[7]), results);
  if (!a[3].isNone() || !a[4].isNone()) {
    refuse("instance_norm that updates statistics is not part of exact/1", "evaluation", "training",
           "call model.eval()");
  }
  return normalize_groups(x, x.size(1), a[1], a[2], eps_of(a[7]), results);
}

bool group_norm_kernel(Arguments a, Results& results) {  // input, groups, weight, bias, eps
  if (!is_float(a[0].toTensor().scalar_type())) return false;
  return normalize_groups(a[0].toTensor(), a[1].toInt(), a[2], a[3], eps_of(a[4]), results);
}

// Orders. A scalar is a tensor of one element along its one axis.
at::Tensor with_axis(const at::Tensor& tensor) {
  return tensor.dim() == 0 ? tensor.unsqueeze(0) : tensor;
}

bool has_order(const at::Tensor& tensor) { return find_element(tensor.scalar_type()).has_value(); }

// The greatest or least along an axis: values and indices, or indices alone.
bool first_along(bool greatest, const at::Tensor& self, std::int64_t axis, bool keep,
                 bool with_values, Results& results) {
  const at::Tensor x = with_axis(self);
  const auto at = static_cast<std::size_t>(axis_of(axis, x.dim()));
  at::DimVector sizes(x.sizes());
  sizes[at] = 1;
  const at::Tensor indices = results.fresh(sizes, at::kLong);
  Output values{};
  at::Tensor found;
  if (with_values) {
    found = results.fresh(sizes, x.scalar_type());
    values = output_of(found);
  }
  extreme(greatest, input_of(x), at, values, output_of(indices), kIntraOpThreads);
  const auto shaped = [&](const at::Tensor& made) {
    if (self.dim() == 0) return made.squeeze(0);
    return keep ? made : made.squeeze(static_cast<std::int64_t>(at));
  };
  if (with_values) results.add(shaped(found));
  results.add(shaped(indices));
  return true;
}

template <bool kGreatest>
bool extreme_along(Arguments a, Results& results) {  // self, dim, keepdim
  if (!has_order(a[0].toTensor())) return false;
  return first_along(kGreatest, a[0].toTensor(), a[1].toInt(), a[2].toBool(), true, results);
}

template <bool kGreatest>
bool index_of_extreme(Arguments a, Results& results) {  // self, dim, keepdim
  const at::Tensor& self = a[0].toTensor();
  if (!has_order(self)) return false;
  if (!a[1].isNone()) {
    return first_along(kGreatest, self, a[1].toInt(), a[2].toBool(), false, results);
  }
  first_along(kGreatest, self.reshape({-1}), 0, false, false, results);
  if (a[2].toBool()) {
    at::Tensor& made = results.tensors()[0];
    made = made.reshape(std::vector<std::int64_t>(static_cast<std::size_t>(self.dim()), 1));
  }
  return true;
}

bool ordered(bool descending, const at::Tensor& self, std::int64_t axis,
             std::optional<std::int64_t> count, Results& results) {
  if (!has_order(self)) return false;
  const at::Tensor x = with_axis(self);
  const auto at = static_cast<std::size_t>(axis_of(axis, x.dim()));
  at::DimVector sizes(x.sizes());
  if (count) {
    TORCH_CHECK(*count >= 0 && *count <= sizes[at], "topk: ", *count, " of ", sizes[at],
                " elements");
    sizes[at] = *count;
  }
  const auto fresh = [&](at::ScalarType type) {
    return count ? results.fresh(sizes, type) : empty_like_in_arena(x, type);
  };
  const at::Tensor values = fresh(x.scalar_type()), indices = fresh(at::kLong);
  sort(descending, input_of(x), at, output_of(values), output_of(indices), kIntraOpThreads);
  const bool scalar = self.dim() == 0 && sizes[0] == 1;
  results.add(scalar ? values.squeeze(0) : values);
  results.add(scalar ? indices.squeeze(0) : indices);
  return true;
}

// The elements of given ranks, a tensor with 1 along the axis, as sorted.
bool ranked(const at::Tensor& self, std::int64_t axis, bool keep, Results& results,
            FunctionRef<at::Tensor(const at::Tensor&)> ranks_of) {
  const at::Tensor x = with_axis(self);
  const std::int64_t at = axis_of(axis, x.dim());
  TORCH_CHECK_INDEX(x.size(at) > 0, "axis ", axis, " of ", self.sizes(), " has no elements");
  Results sorted{at::Tensor()};
  ordered(false, x, at, std::nullopt, sorted);
  const at::Tensor ranks = ranks_of(sorted.tensors()[0]);
  for (const at::Tensor& each : sorted.tensors()) {
    const at::Tensor made = each.gather(at, ranks);
    results.add(self.dim() == 0 || !keep ? made.squeeze(at) : made);
  }
  return true;
}

// The lower median; of elements among which is a NaN the first NaN, or the median of the others.
bool median_along(bool skips_nans, const at::Tensor& self, std::int64_t axis, bool keep,
                  Results& results) {
  const std::int64_t at = axis_of(axis, std::max<std::int64_t>(self.dim(), 1));
  return ranked(self, axis, keep, results, [&](const at::Tensor& sorted) {
    const std::int64_t n = sorted.size(at);
    const at::Tensor numbers = sorted.isnan().logical_not().sum(at, /*keepdim=*/true);
    if (skips_nans) return numbers.sub(1).clamp_min(0).floor_divide(2);
    return at::where(numbers.eq(n), at::scalar_tensor((n - 1) / 2, numbers.options()), numbers);
  });
}

template <bool kSkipsNans>
bool median(Arguments a, Results& results) {  // self
  const at::Tensor& self = a[0].toTensor();
  if (!is_float(self.scalar_type()) || !has_order(self)) return false;
  if (self.numel() == 0) {
    results.add(results.fresh({}, self.scalar_type()).fill_(std::nan("")));
    return true;
  }
  Results both{at::Tensor()};
  median_along(kSkipsNans, self.reshape({-1}), 0, false, both);
  results.add(both.tensors()[0]);
  return true;
}
template <bool kSkipsNans>
bool median_of_axis(Arguments a, Results& results) {  // self, dim, keepdim
  if (!has_order(a[0].toTensor())) return false;
  return median_along(kSkipsNans, a[0].toTensor(), a[1].toInt(), a[2].toBool(), results);
}

bool kth_value(Arguments a, Results& results) {  // self, k, dim, keepdim
  if (!has_order(a[0].toTensor())) return false;
  const std::int64_t axis = a[2].toInt(), k = a[1].toInt();
  return ranked(a[0].toTensor(), axis, a[3].toBool(), results, [&](const at::Tensor& sorted) {
    const std::int64_t at = axis_of(axis, sorted.dim());
    TORCH_CHECK(k >= 1 && k <= sorted.size(at), "kthvalue: no element ", k, " of ",
                sorted.size(at));
    at::DimVector sizes(sorted.sizes());
    sizes[static_cast<std::size_t>(at)] = 1;
    return at::full(sizes, k - 1, sorted.options().dtype(at::kLong));
  });
}

bool least_and_greatest(Arguments a, Results& results) {  // self, dim, keepdim
  const at::Tensor& self = a[0].toTensor();
  return reduction(Reduction::least, self, a[1], a[2].toBool(), std::nullopt, results) &&
         reduction(Reduction::greatest, self, a[1], a[2].toBool(), std::nullopt, results);
}

bool topk(Arguments a, Results& results) {  // self, k, dim, largest, sorted
  return ordered(a[3].toBool(), a[0].toTensor(), a[2].toInt(), a[1].toInt(), results);
}
bool sort_kernel(Arguments a, Results& results) {  // self, dim, descending
  return ordered(a[2].toBool(), a[0].toTensor(), a[1].toInt(), std::nullopt, results);
}
bool stable_sort(Arguments a, Results& results) {  // self, stable, dim, descending
  return ordered(a[3].toBool(), a[0].toTensor(), a[2].toInt(), std::nullopt, results);
}

constexpr NamedKernel kKernels[] = {
    {"aten::sum", &over_all<Reduction::sum>},
    {"aten::sum.dim_IntList", &over_axes<Reduction::sum>},
    {"aten::nansum", &over_axes<Reduction::nansum>},
    {"aten::mean", &over_all<Reduction::mean>},
    {"aten::mean.dim", &over_axes<Reduction::mean>},
    {"aten::prod", &over_all<Reduction::product>},
    {"aten::prod.dim_int", &over_axes<Reduction::product>},
    {"aten::amax", &over_axes_plain<Reduction::greatest>},
    {"aten::amin", &over_axes_plain<Reduction::least>},
    {"aten::max", &extreme_of_all<Reduction::greatest>},
    {"aten::min", &extreme_of_all<Reduction::least>},
    {"aten::logsumexp", &over_axes_plain<Reduction::logsumexp>},
    {"aten::var.correction", &spread<Reduction::variance>},
    {"aten::std.correction", &spread<Reduction::standard_deviation>},
    {"aten::var_mean.correction", &spread_and_mean<Reduction::variance>},
    {"aten::std_mean.correction", &spread_and_mean<Reduction::standard_deviation>},
    {"aten::linalg_vector_norm", &vector_norm},
    {"aten::norm.ScalarOpt_dim", &norm_over_axes},
    {"aten::norm.Scalar", &norm_of_all},
    {"aten::cumsum", &cumulative<&cumsum>},
    {"aten::cumprod", &cumulative<&cumprod>},
    {"aten::softmax.int", &softmax_of_type<&softmax>},
    {"aten::log_softmax.int", &softmax_of_type<&log_softmax>},
    {"aten::_softmax", &softmax_widened<&softmax>},
    {"aten::_log_softmax", &softmax_widened<&log_softmax>},
    {"aten::layer_norm", &layer_norm_kernel},
    {"aten::rms_norm", &rms_norm_kernel},
    {"aten::batch_norm", &batch_norm_kernel},
    {"aten::instance_norm", &instance_norm_kernel},
    {"aten::group_norm", &group_norm_kernel},
    {"aten::max.dim", &extreme_along<true>},
    {"aten::min.dim", &extreme_along<false>},
    {"aten::argmax", &index_of_extreme<true>},
    {"aten::argmin", &index_of_extreme<false>},
    {"aten::aminmax", &least_and_greatest},
    {"aten::median", &median<false>},
    {"aten::median.dim", &median_of_axis<false>},
    {"aten::nanmedian", &median<true>},
    {"aten::nanmedian.dim", &median_of_axis<true>},
    {"aten::kthvalue", &kth_value},
    {"aten::topk", &topk},
    {"aten::sort", &sort_kernel},
    {"aten::sort.stable", &stable_sort},
};

}  // namespace

std::span<const NamedKernel> reduction_kernels() { return kKernels; }

}  // namespace torchnotary::exact
