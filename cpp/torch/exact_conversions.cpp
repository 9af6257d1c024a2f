#include "torch/exact_conversions.h"

#include <ATen/WrapDimUtils.h>
#include <c10/core/ScalarType.h>

#include <array>

#include "exact/convert.h"
#include "exact/elementwise.h"
#include "torch/arena.h"
#include "torch/exact_dispatch.h"
#include "torch/exact_tensors.h"
#include "torch/intra_op.h"

namespace torchnotary::exact {
namespace {

// Whether torch converts between the two without a rounding of floating values.
bool moves_only(at::ScalarType from, at::ScalarType to) {
  return from == to || (!is_float(from) && !is_float(to));
}

bool to_copy(Arguments arguments, Results& results) {
  const at::Tensor& self = arguments[0].toTensor();
  const at::ScalarType type =
      arguments[1].isNone() ? self.scalar_type() : arguments[1].toScalarType();
  const bool stays = (arguments[2].isNone() || arguments[2].toLayout() == at::kStrided) &&
                     (arguments[3].isNone() || arguments[3].toDevice().is_cpu());
  if (moves_only(self.scalar_type(), type)) return results.only_moves();
  TORCH_CHECK(stays, "exact/1 computes on the CPU");
  const auto format =
      arguments[6].isNone() ? at::MemoryFormat::Preserve : arguments[6].toMemoryFormat();
  const at::Tensor made = converted(self, type);
  results.add(format == at::MemoryFormat::Preserve ? made : made.contiguous(format));
  return true;
}

bool copy(Arguments arguments, Results& results) {
  const at::Tensor& self = arguments[0].toTensor();
  const at::Tensor& source = arguments[1].toTensor();
  if (moves_only(source.scalar_type(), self.scalar_type())) return results.only_moves();
  results.add(converted(source, self.scalar_type()).expand_as(self));
  return true;
}

// arange(start, end, step, dtype, …) of floating type.
bool range(const at::Scalar& start, const at::Scalar& end, const at::Scalar& step,
           const c10::IValue& dtype, Results& results) {
  const bool integers = start.isIntegral(true) && end.isIntegral(true) && step.isIntegral(true);
  if (dtype.isNone() ? integers : !is_float(dtype.toScalarType())) return false;
  const at::ScalarType type =
      dtype.isNone() ? at::typeMetaToScalarType(at::get_default_dtype()) : dtype.toScalarType();
  const double first = start.toDouble(), last = end.toDouble(), by = step.toDouble();
  TORCH_CHECK(by != 0, "step must be nonzero");
  TORCH_CHECK(std::isfinite(first) && std::isfinite(last), "unsupported range: ", first, " -> ",
              last);
  TORCH_CHECK((by > 0) == (last >= first) || first == last,
              "upper bound and lower bound inconsistent with step sign");
  const auto count = static_cast<std::int64_t>(std::ceil((last - first) / by));
  const at::Tensor out = results.fresh({count}, type);
  arange(first, by, output_of(out), kIntraOpThreads);
  results.add(out);
  return true;
}

bool arange_to(Arguments a, Results& results) {
  return range(0, a[0].toScalar(), 1, a[1], results);
}
bool arange_from(Arguments a, Results& results) {
  return range(a[0].toScalar(), a[1].toScalar(), 1, a[2], results);
}
bool arange_by(Arguments a, Results& results) {
  return range(a[0].toScalar(), a[1].toScalar(), a[2].toScalar(), a[3], results);
}

constexpr NamedKernel kKernels[] = {
    {"aten::_to_copy", &to_copy},
    {"aten::copy", &copy},
    {"aten::arange", &arange_to},
    {"aten::arange.start", &arange_from},
    {"aten::arange.start_step", &arange_by},
};

}  // namespace

std::optional<Element> find_element(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return Element::float32;
    case at::kBFloat16:
      return Element::bfloat16;
    case at::kHalf:
      return Element::float16;
    case at::kBool:
      return Element::boolean;
    case at::kByte:
      return Element::uint8;
    case at::kChar:
      return Element::int8;
    case at::kShort:
      return Element::int16;
    case at::kInt:
      return Element::int32;
    case at::kLong:
      return Element::int64;
    default:
      return std::nullopt;
  }
}

Element element_of(at::ScalarType type) {
  const std::optional<Element> element = find_element(type);
  if (!element) {
    refuse("exact/1 does not specify this type", "float32, bfloat16, float16 or integers",
           toString(type), "convert the tensors before the call");
  }
  return *element;
}

Storage storage_of(at::ScalarType type) {
  const Element element = element_of(type);
  if (!is_floating(element)) {
    refuse("a floating tensor is needed", "float32, bfloat16 or float16", toString(type),
           "convert it before the call");
  }
  return static_cast<Storage>(element);
}

std::int64_t axis_of(std::int64_t axis, std::int64_t rank) {
  return at::maybe_wrap_dim(axis, rank);
}

at::Tensor as_float32(const at::Tensor& tensor) {
  return tensor.scalar_type() == at::kFloat ? tensor.contiguous()
                                            : converted(tensor, at::kFloat).contiguous();
}

at::Tensor converted(const at::Tensor& tensor, at::ScalarType type) {
  if (moves_only(tensor.scalar_type(), type)) return tensor.to(type);
  const at::Tensor out = empty_like_in_arena(tensor, type);
  if (tensor.scalar_type() == at::kDouble && tensor.dim() == 0 && is_float(type)) {
    const float number = rounded(tensor.item());
    elementwise(ElementOp::identity, std::array{Input{.data = &number}}, {}, output_of(out),
                kIntraOpThreads);
    return out;
  }
  const Input in = input_of(tensor);
  if (is_float(type) || type == at::kBool) {
    elementwise(ElementOp::identity, std::array{in}, {}, output_of(out), kIntraOpThreads);
  } else {
    truncate(in, output_of(out), kIntraOpThreads);
  }
  return out;
}

void copy_converted(const at::Tensor& target, const at::Tensor& source) {
  target.copy_(converted(source, target.scalar_type()));
}

std::span<const NamedKernel> conversion_kernels() { return kKernels; }

}  // namespace torchnotary::exact
