// Operators that add to elements which indices name (docs/exact-profile.md, section 7).
#include <ATen/ops/arange.h>
#include <ATen/ops/full.h>
#include <c10/util/SmallVector.h>

#include <array>
#include <string>
#include <vector>

#include "exact/elementwise.h"
#include "exact/scatter.h"
#include "torch/exact_conversions.h"
#include "torch/exact_dispatch.h"
#include "torch/exact_tensors.h"
#include "torch/intra_op.h"

namespace torchnotary::exact {
namespace {

// A scalar is a tensor of one element along its one axis.
at::Tensor with_axis(const at::Tensor& tensor) {
  return tensor.dim() == 0 ? tensor.unsqueeze(0) : tensor;
}

void require_indices(const char* op, const at::Tensor& index, std::int64_t size) {
  TORCH_CHECK(index.scalar_type() == at::kLong || index.scalar_type() == at::kInt, op,
              ": indices are to be int64 or int32, not ", index.scalar_type());
  if (index.numel() == 0) return;
  const auto low = index.min().item<std::int64_t>(), high = index.max().item<std::int64_t>();
  TORCH_CHECK_INDEX(low >= 0 && high < size, op, ": index ", low < 0 ? low : high,
                    " is out of bounds for an axis of ", size, " elements");
}

// self joined with a float32 source, which has the index's sizes.
bool join(ScatterOp op, const at::Tensor& self, std::int64_t axis, const at::Tensor& index,
          const at::Tensor& source, bool include_self, Results& results) {
  const at::Tensor x = with_axis(self), places = with_axis(index).to(at::kLong);
  const at::Tensor sources = with_axis(source);
  const at::Tensor out = results.fresh(x.sizes(), at::kFloat);
  elementwise(ElementOp::identity, std::array{input_of(x)}, {}, output_of(out), kIntraOpThreads);
  if (places.numel() > 0) {
    scatter(op, input_of(places), input_of(sources), output_of(out),
            static_cast<std::size_t>(axis_of(axis, x.dim())), include_self, kIntraOpThreads);
  }
  results.add(converted(out, self.scalar_type()).view(self.sizes()));
  return true;
}

// As scatter's arguments must be: the index within the source, and within self but along the axis.
at::Tensor source_of(const char* op, const at::Tensor& self, std::int64_t axis,
                     const at::Tensor& index, const at::Tensor& source) {
  TORCH_CHECK(self.scalar_type() == source.scalar_type(), op,
              ": self and source are to have the same type, not ", self.scalar_type(), " and ",
              source.scalar_type());
  require_indices(op, index, with_axis(self).size(axis_of(axis, self.dim())));
  at::Tensor from = with_axis(source), places = with_axis(index), x = with_axis(self);
  if (index.numel() == 0) return as_float32(from);
  TORCH_CHECK(places.dim() == x.dim() && places.dim() == from.dim(), op,
              ": index, source and self are to have the same number of axes");
  const std::int64_t along = axis_of(axis, x.dim());
  for (std::int64_t i = 0; i < x.dim(); ++i) {
    TORCH_CHECK(places.size(i) <= from.size(i) && (i == along || places.size(i) <= x.size(i)), op,
                ": an index of ", index.sizes(), " does not fit a source of ", source.sizes(),
                " and ", self.sizes());
    from = from.narrow(i, 0, places.size(i));
  }
  return as_float32(from);
}

bool scatter_add(Arguments a, Results& results) {  // self, dim, index, src
  const at::Tensor &self = a[0].toTensor(), &index = a[2].toTensor();
  if (!is_float(self.scalar_type())) return false;
  const std::int64_t axis = a[1].toInt();
  const at::Tensor source = source_of("scatter_add", self, axis, index, a[3].toTensor());
  return join(ScatterOp::add, self, axis, index, source, true, results);
}

ScatterOp op_of(const std::string& name) {
  if (name == "add" || name == "sum") return ScatterOp::add;
  if (name == "multiply" || name == "prod") return ScatterOp::multiply;
  if (name == "mean") return ScatterOp::mean;
  if (name == "amax") return ScatterOp::greatest;
  TORCH_CHECK(name == "amin", "scatter: no reduction is named ", name);
  return ScatterOp::least;
}

// self, dim, index, src, reduce, and include_self where there is one
bool scatter_by(Arguments a, Results& results) {
  const at::Tensor &self = a[0].toTensor(), &index = a[2].toTensor();
  if (!is_float(self.scalar_type())) return false;
  const std::int64_t axis = a[1].toInt();
  const at::Tensor source = source_of("scatter", self, axis, index, a[3].toTensor());
  return join(op_of(a[4].toStringRef()), self, axis, index, source, a.size() < 6 || a[5].toBool(),
              results);
}

bool scatter_number(Arguments a, Results& results) {  // self, dim, index, value, reduce
  const at::Tensor &self = a[0].toTensor(), &index = a[2].toTensor();
  if (!is_float(self.scalar_type())) return false;
  const std::int64_t axis = a[1].toInt();
  const at::Tensor number =
      at::full(index.sizes(), rounded(a[3].toScalar()), self.options().dtype(at::kFloat));
  source_of("scatter", self, axis, index, number.to(self.scalar_type()));
  return join(op_of(a[4].toStringRef()), self, axis, index, number, true, results);
}

bool index_add(Arguments a, Results& results) {  // self, dim, index, source, alpha
  const at::Tensor &self = a[0].toTensor(), &index = a[2].toTensor();
  if (!is_float(self.scalar_type())) return false;
  const at::Tensor x = with_axis(self), source = with_axis(a[3].toTensor());
  const std::int64_t axis = axis_of(a[1].toInt(), x.dim());
  TORCH_CHECK(index.dim() <= 1 && self.scalar_type() == source.scalar_type(),
              "index_add: one axis of indices and operands of one type are needed");
  at::DimVector sizes(x.sizes()), shape(static_cast<std::size_t>(x.dim()), 1);
  sizes[static_cast<std::size_t>(axis)] = shape[static_cast<std::size_t>(axis)] = index.numel();
  TORCH_CHECK_INDEX(source.sizes() == sizes, "index_add: a source of ", source.sizes(), " where ",
                    at::IntArrayRef(sizes), " is needed");
  require_indices("index_add", index, x.size(axis));
  const float alpha = rounded(a[4].toScalar());
  const at::Tensor scaled = results.fresh(sizes, at::kFloat);
  elementwise(ElementOp::mul, std::array{input_of(source), Input{.data = &alpha}}, {},
              output_of(scaled), kIntraOpThreads);
  return join(ScatterOp::add, self, axis, index.reshape(shape).expand(sizes), scaled, true,
              results);
}

bool index_put(Arguments a, Results& results) {  // self, indices, values, accumulate
  const at::Tensor &self = a[0].toTensor(), &values = a[2].toTensor();
  if (!is_float(self.scalar_type())) return false;
  if (!a[3].toBool()) return results.only_moves();
  TORCH_CHECK(self.scalar_type() == values.scalar_type(), "index_put: values of ",
              values.scalar_type(), " for ", self.scalar_type());
  c10::List<std::optional<at::Tensor>> indices;
  for (const c10::IValue& each : a[1].toListRef())
    indices.push_back(each.isNone() ? std::nullopt : std::optional(each.toTensor()));
  // Which elements of self the indices name, in which order.
  const at::Tensor places =
      at::arange(self.numel(), self.options().dtype(at::kLong)).view(self.sizes()).index(indices);
  const at::Tensor source = as_float32(values.expand(places.sizes())).reshape({-1});
  Results flat{at::Tensor()};
  join(ScatterOp::add, self.reshape({-1}), 0, places.reshape({-1}), source, true, flat);
  results.add(flat.tensors()[0].view(self.sizes()));
  return true;
}

constexpr NamedKernel kKernels[] = {
    {"aten::scatter_add", &scatter_add},
    {"aten::scatter.reduce", &scatter_by},
    {"aten::scatter.value_reduce", &scatter_number},
    {"aten::scatter_reduce.two", &scatter_by},
    {"aten::index_add", &index_add},
    {"aten::index_put", &index_put},
};

}  // namespace

std::span<const NamedKernel> scatter_kernels() { return kKernels; }

}  // namespace torchnotary::exact
