// Losses, as evaluation computes them (docs/exact-profile.md, section 7). What lies between
// operands and result is binary32.
#include <ATen/ExpandUtils.h>
#include <ATen/core/Reduction.h>
#include <ATen/ops/full.h>
#include <ATen/ops/ones.h>

#include <initializer_list>
#include <vector>

#include "exact/elementwise.h"
#include "exact/sums.h"
#include "torch/exact_conversions.h"
#include "torch/exact_dispatch.h"
#include "torch/exact_tensors.h"
#include "torch/intra_op.h"

namespace torchnotary::exact {
namespace {

at::Tensor computed(const Results& results, ElementOp op, at::IntArrayRef sizes,
                    std::initializer_list<at::Tensor> operands) {
  const at::Tensor out = results.fresh(sizes, at::kFloat);
  std::vector<Input> inputs;
  for (const at::Tensor& each : operands) inputs.push_back(input_of(each));
  elementwise(op, inputs, /*alpha=*/{1}, output_of(out), kIntraOpThreads);
  return out;
}

at::Tensor over_all(Reduction kind, const at::Tensor& x, at::ScalarType type,
                    const Results& results) {
  std::vector<std::size_t> axes(static_cast<std::size_t>(x.dim()));
  for (std::size_t axis = 0; axis < axes.size(); ++axis) axes[axis] = axis;
  const at::Tensor out = results.fresh({}, type);
  reduce(kind, input_of(x), axes, output_of(out), 0, kIntraOpThreads);
  return out;
}

// The elements, their sum or their mean, stored as `type`.
bool reduced(const at::Tensor& elements, std::int64_t reduction, at::ScalarType type,
             Results& results) {
  if (reduction == at::Reduction::None) {
    results.add(converted(elements, type));
  } else {
    const bool is_mean = reduction == at::Reduction::Mean;
    results.add(over_all(is_mean ? Reduction::mean : Reduction::sum, elements, type, results));
  }
  return true;
}

at::DimVector broadcast_sizes(const at::Tensor& x, const at::Tensor& y) {
  return at::infer_size_dimvector(x.sizes(), y.sizes());
}

bool mse_loss(Arguments a, Results& results) {  // self, target, reduction
  const at::Tensor &x = a[0].toTensor(), &y = a[1].toTensor();
  const at::ScalarType type = at::promote_types(x.scalar_type(), y.scalar_type());
  if (!is_float(type)) return false;
  const at::DimVector sizes = broadcast_sizes(x, y);
  const at::Tensor d = computed(results, ElementOp::sub, sizes, {x, y});
  return reduced(computed(results, ElementOp::square, sizes, {d}), a[2].toInt(), type, results);
}

// self, target, weight, pos_weight, reduction
bool binary_cross_entropy_with_logits(Arguments a, Results& results) {
  const at::Tensor &x = a[0].toTensor(), &y = a[1].toTensor();
  if (!is_float(x.scalar_type())) return false;
  TORCH_CHECK(x.sizes() == y.sizes(), "binary_cross_entropy_with_logits: a target of ", y.sizes(),
              " for an input of ", x.sizes());
  const at::Tensor weight = optional_tensor(a[2]), positive = optional_tensor(a[3]);
  const at::IntArrayRef sizes = x.sizes();
  const at::Tensor one = at::ones({}, x.options().dtype(at::kFloat));
  at::Tensor log = computed(results, ElementOp::log_sigmoid, sizes, {x});
  if (positive.defined()) {
    at::Tensor by = computed(results, ElementOp::sub, positive.sizes(), {positive, one});
    by = computed(results, ElementOp::mul, sizes, {by, y});
    by = computed(results, ElementOp::add, sizes, {by, one});
    log = computed(results, ElementOp::mul, sizes, {by, log});
  }
  at::Tensor loss = computed(results, ElementOp::sub, sizes, {one, y});
  loss = computed(results, ElementOp::mul, sizes, {loss, x});
  loss = computed(results, ElementOp::sub, sizes, {loss, log});
  if (weight.defined()) loss = computed(results, ElementOp::mul, sizes, {loss, weight});
  return reduced(loss, a[4].toInt(), x.scalar_type(), results);
}

// self (batch, classes, …) or (classes), target, weight, reduction, ignore_index
bool nll_loss(Arguments a, Results& results) {
  const at::Tensor& self = a[0].toTensor();
  const at::ScalarType type = self.scalar_type();
  if (!is_float(type)) return false;
  const bool is_single = self.dim() == 1;
  const at::Tensor x = is_single ? self.unsqueeze(0) : self;
  const at::Tensor target = a[1].toTensor().to(at::kLong).reshape(
      is_single ? at::IntArrayRef({1}) : a[1].toTensor().sizes());
  at::DimVector sizes(x.sizes());
  sizes.erase(sizes.begin() + 1);
  TORCH_CHECK(target.sizes() == sizes, "nll_loss: a target of ", target.sizes(),
              " for an input of ", self.sizes());
  const std::int64_t ignored = a[4].toInt(), reduction = a[3].toInt();
  const at::Tensor is_ignored = target.eq(ignored), taken = target.masked_fill(is_ignored, 0);
  if (taken.numel() > 0) {
    TORCH_CHECK_INDEX(
        taken.min().item<std::int64_t>() >= 0 && taken.max().item<std::int64_t>() < x.size(1),
        "nll_loss: a target is out of bounds for ", x.size(1), " classes");
  }
  const at::Tensor weight = optional_tensor(a[2]);
  const at::Tensor minus_one = at::full({}, -1, x.options().dtype(at::kFloat));
  const at::Tensor chosen = x.gather(1, taken.unsqueeze(1)).squeeze(1);
  at::Tensor loss = computed(results, ElementOp::mul, sizes, {chosen, minus_one});
  at::Tensor total = converted(is_ignored.logical_not().sum(), at::kFloat);
  if (weight.defined()) {
    const at::Tensor each = weight.index_select(0, taken.reshape({-1})).view(sizes);
    loss = computed(results, ElementOp::mul, sizes, {loss, each});
    total = over_all(Reduction::sum, converted(each, at::kFloat).masked_fill(is_ignored, 0),
                     at::kFloat, results);
  }
  loss = loss.masked_fill(is_ignored, 0);
  if (reduction == at::Reduction::Mean) {
    const at::Tensor sum = over_all(Reduction::sum, loss, at::kFloat, results);
    results.add(converted(computed(results, ElementOp::div, {}, {sum, total}), type));
  } else {
    reduced(is_single ? loss.squeeze(0) : loss, reduction, type, results);
  }
  results.add(converted(total, type));
  return true;
}

constexpr NamedKernel kKernels[] = {
    {"aten::mse_loss", &mse_loss},
    {"aten::binary_cross_entropy_with_logits", &binary_cross_entropy_with_logits},
    {"aten::nll_loss_forward", &nll_loss},
    {"aten::nll_loss2d_forward", &nll_loss},
};

}  // namespace

std::span<const NamedKernel> loss_kernels() { return kKernels; }

}  // namespace torchnotary::exact
