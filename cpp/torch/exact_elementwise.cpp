// Operators that compute element by element (docs/exact-profile.md, sections 5 and 6): which types
// they give, how numbers take part, and where the result goes.
#include <ATen/ExpandUtils.h>
#include <ATen/MemoryOverlap.h>
#include <ATen/native/TypeProperties.h>
#include <ATen/ops/zeros.h>
#include <c10/util/SmallVector.h>

#include <algorithm>
#include <initializer_list>
#include <limits>
#include <optional>

#include "exact/elementwise.h"
#include "torch/arena.h"
#include "torch/exact_conversions.h"
#include "torch/exact_dispatch.h"
#include "torch/exact_tensors.h"
#include "torch/intra_op.h"

namespace torchnotary::exact {
namespace {

// A tensor, or a number in its place.
class Operand {
 public:
  Operand(const at::Tensor& tensor) {  // implicit: tensors and numbers are passed alike
    if (tensor.unsafeGetTensorImpl()->is_wrapped_number()) {
      number_ = tensor.item();
      value_ = rounded(number_);
    } else if (tensor.scalar_type() == at::kDouble) {  // without axes, or it was refused
      value_ = rounded(tensor.item());
      typed_ = tensor;
    } else {
      tensor_ = tensor;
    }
  }
  Operand(const at::Scalar& number) : number_(number), value_(rounded(number)) {}
  Operand(const c10::IValue& value)
      : Operand(value.isTensor() ? Operand(value.toTensor()) : Operand(value.toScalar())) {}

  const at::Tensor& tensor() const { return tensor_; }
  bool is_number() const { return !tensor_.defined(); }

  void add_to(at::native::ResultTypeState& state) const {
    const at::Tensor& tensor = typed_.defined() ? typed_ : tensor_;
    state = tensor.defined() ? at::native::update_result_type_state(tensor, state)
                             : at::native::update_result_type_state(number_, state);
  }
  Input input() const { return is_number() ? Input{.data = &value_} : input_of(tensor_); }

 private:
  at::Tensor tensor_;
  at::Tensor typed_;  // whose type counts, though it is taken as a number
  at::Scalar number_;
  float value_ = 0;
};

using Operands = std::initializer_list<Operand>;

at::ScalarType type_of(Operands operands) {
  at::native::ResultTypeState state = {};
  for (const Operand& each : operands) each.add_to(state);
  const at::ScalarType type = at::native::result_type(state);
  if (type == at::kDouble) storage_of(type);  // refuses
  return type;
}

at::ScalarType default_type() { return at::typeMetaToScalarType(at::get_default_dtype()); }

// Whether the target may be written while the operands are read.
bool may_be_written(const at::Tensor& target, Operands operands) {
  return std::all_of(operands.begin(), operands.end(), [&](const Operand& each) {
    if (each.is_number()) return true;
    const auto status = at::get_overlap_status(target, each.tensor());
    // With the same memory in the same order, each element is read before it is written.
    if (status == at::MemOverlapStatus::Full) {
      return target.strides() == each.tensor().strides() &&
             target.scalar_type() == each.tensor().scalar_type();
    }
    return status == at::MemOverlapStatus::No;
  });
}

// The result's memory: the target where that serves, else new memory in the order of the first
// operand that has its sizes.
at::Tensor memory_for(at::IntArrayRef sizes, at::ScalarType type, Operands operands,
                      const Results& results) {
  const at::Tensor& target = results.target();
  if (target.defined() && target.scalar_type() == type && target.sizes() == sizes &&
      may_be_written(target, operands)) {
    at::assert_no_internal_overlap(target);
    return target;
  }
  for (const Operand& each : operands) {
    if (!each.is_number() && each.tensor().sizes() == sizes) {
      return empty_like_in_arena(each.tensor(), type);
    }
  }
  return results.fresh(sizes, type);
}

bool compute(ElementOp op, Operands operands, at::ScalarType type, Results& results,
             const Scalars& scalars = {}) {
  at::DimVector sizes;
  for (const Operand& each : operands) {
    if (!each.is_number() && each.tensor().sizes() != sizes) {
      sizes = at::infer_size_dimvector(sizes, each.tensor().sizes());
    }
  }
  const at::Tensor out = memory_for(sizes, type, operands, results);
  c10::SmallVector<Input, 3> inputs;
  for (const Operand& each : operands) inputs.push_back(each.input());
  elementwise(op, {inputs.data(), inputs.size()}, scalars, output_of(out), kIntraOpThreads);
  results.add(out);
  return true;
}

// An operator whose result has the type of its operands, and that leaves integers to torch.
bool arithmetic(ElementOp op, Operands operands, Results& results, const Scalars& scalars = {}) {
  const at::ScalarType type = type_of(operands);
  if (!is_float(type)) return false;
  return compute(op, operands, type, results, scalars);
}

// An operator that gives floating values of integers, too.
bool real(ElementOp op, Operands operands, Results& results, const Scalars& scalars = {}) {
  const at::ScalarType type = type_of(operands);
  return compute(op, operands, is_float(type) ? type : default_type(), results, scalars);
}

bool comparison(ElementOp op, Operands operands, Results& results) {
  if (!is_float(type_of(operands))) return false;
  return compute(op, operands, at::kBool, results);
}

template <ElementOp kOp>
bool one(Arguments a, Results& results) {
  return arithmetic(kOp, {a[0]}, results);
}
template <ElementOp kOp>
bool one_real(Arguments a, Results& results) {
  return real(kOp, {a[0]}, results);
}
template <ElementOp kOp>
bool one_question(Arguments a, Results& results) {
  return comparison(kOp, {a[0]}, results);
}
template <ElementOp kOp>
bool two(Arguments a, Results& results) {
  return arithmetic(kOp, {a[0], a[1]}, results);
}
template <ElementOp kOp>
bool two_question(Arguments a, Results& results) {
  return comparison(kOp, {a[0], a[1]}, results);
}
// x, y and alpha or value.
template <ElementOp kOp>
bool two_scaled(Arguments a, Results& results) {
  return arithmetic(kOp, {a[0], a[1]}, results, {rounded(a[2].toScalar())});
}
template <ElementOp kOp>
bool two_scaled_exchanged(Arguments a, Results& results) {
  return arithmetic(kOp, {a[1], a[0]}, results, {rounded(a[2].toScalar())});
}
template <ElementOp kOp>
bool three_scaled(Arguments a, Results& results) {
  return arithmetic(kOp, {a[0], a[1], a[2]}, results, {rounded(a[3].toScalar())});
}

bool div(Arguments a, Results& results) { return real(ElementOp::div, {a[0], a[1]}, results); }

bool div_mode(Arguments a, Results& results) {
  if (a[2].isNone()) return div(a, results);
  if (!is_float(type_of({a[0], a[1]}))) return false;
  const bool floors = a[2].toStringRef() == "floor";
  TORCH_CHECK(floors || a[2].toStringRef() == "trunc",
              "div expected rounding_mode to be one of None, 'trunc', or 'floor' but found '",
              a[2].toStringRef(), "'");
  return arithmetic(floors ? ElementOp::floor_divide : ElementOp::trunc_divide, {a[0], a[1]},
                    results);
}

bool nan_to_num(Arguments a, Results& results) {  // self, nan, posinf, neginf
  const at::ScalarType type = a[0].toTensor().scalar_type();
  if (!is_float(type)) return false;
  const float greatest = type == at::kHalf       ? 65504.0f
                         : type == at::kBFloat16 ? 0x1.fep127f
                                                 : std::numeric_limits<float>::max();
  const auto given = [](const c10::IValue& number, float otherwise) {
    return number.isNone() ? otherwise : static_cast<float>(number.toDouble());
  };
  return arithmetic(ElementOp::nan_to_num, {a[0]}, results,
                    {given(a[1], 0), given(a[2], greatest), given(a[3], -greatest)});
}

bool pow_by(Arguments a, Results& results) {
  const at::ScalarType type = type_of({a[0], a[1]});
  if (!is_float(type)) return false;
  const float exponent = rounded(a[1].toScalar());
  const ElementOp op = exponent == 1 ? ElementOp::identity : pow_op(exponent);
  return op == ElementOp::pow ? compute(op, {a[0], a[1]}, type, results)
                              : compute(op, {a[0]}, type, results);
}

bool clamp(Arguments a, Results& results) {
  if (a[1].isNone()) return arithmetic(ElementOp::minimum, {a[0], a[2]}, results);
  if (a[2].isNone()) return arithmetic(ElementOp::maximum, {a[0], a[1]}, results);
  return arithmetic(ElementOp::clamp, {a[0], a[1], a[2]}, results);
}

bool where(Arguments a, Results& results) {
  const at::ScalarType type = type_of({a[1], a[2]});
  if (!is_float(type)) return false;
  TORCH_CHECK(a[0].toTensor().scalar_type() == at::kBool,
              "where expected condition to be a boolean tensor, but got ",
              a[0].toTensor().scalar_type());
  return compute(ElementOp::where, {a[0], a[1], a[2]}, type, results);
}

bool lerp(Arguments a, Results& results) {  // x, y, weight
  const at::ScalarType type = a[0].toTensor().scalar_type();
  TORCH_CHECK(a[1].toTensor().scalar_type() == type &&
                  (!a[2].isTensor() || a[2].toTensor().scalar_type() == type),
              "lerp: expected operands of one type");
  return arithmetic(ElementOp::lerp, {a[0], a[1], a[2]}, results);
}

// x and one number, or two.
template <ElementOp kOp>
bool one_by_numbers(Arguments a, Results& results) {
  return arithmetic(kOp, {a[0]}, results,
                    {rounded(a[1].toScalar()), a.size() > 2 ? rounded(a[2].toScalar()) : 0});
}

bool elu(Arguments a, Results& results) {
  const double alpha = a[1].toScalar().toDouble(), scale = a[2].toScalar().toDouble();
  return arithmetic(
      ElementOp::elu, {a[0]}, results,
      {static_cast<float>(scale), rounded(a[3].toScalar()), static_cast<float>(alpha * scale)});
}

bool celu(Arguments a, Results& results) {
  const double alpha = a[1].toScalar().toDouble();
  return arithmetic(ElementOp::elu, {a[0]}, results,
                    {1, static_cast<float>(1 / alpha), static_cast<float>(alpha)});
}

// What is computed on the way to a result, in binary32.
at::Tensor halfway(ElementOp op, std::initializer_list<at::Tensor> operands, at::ScalarType type) {
  const at::Tensor& first = *operands.begin();
  const at::Tensor out = empty_like_in_arena(first, type);
  c10::SmallVector<Input, 3> inputs;
  for (const at::Tensor& each : operands) inputs.push_back(input_of(each));
  elementwise(op, {inputs.data(), inputs.size()}, {}, output_of(out), kIntraOpThreads);
  return out;
}

bool prelu(Arguments a, Results& results) {  // self, weight that broadcasts
  const at::Tensor& x = a[0].toTensor();
  if (!is_float(x.scalar_type())) return false;
  const at::Tensor zero = at::zeros({}, x.options());
  const at::Tensor is_positive = halfway(ElementOp::gt, {x, zero}, at::kBool);
  const at::Tensor product = halfway(ElementOp::mul, {x, a[1].toTensor()}, at::kFloat);
  return compute(ElementOp::where, {is_positive, x, product}, x.scalar_type(), results);
}

bool glu(Arguments a, Results& results) {  // self, dim
  const at::Tensor& x = a[0].toTensor();
  if (!is_float(x.scalar_type())) return false;
  const std::int64_t axis = axis_of(a[1].toInt(), x.dim()), half = x.size(axis) / 2;
  TORCH_CHECK(x.size(axis) % 2 == 0, "glu: axis ", axis, " of ", x.sizes(), " is not even");
  const at::Tensor gate = halfway(ElementOp::sigmoid, {x.narrow(axis, half, half)}, at::kFloat);
  return compute(ElementOp::mul, {x.narrow(axis, 0, half), gate}, x.scalar_type(), results);
}

bool gelu(Arguments a, Results& results) {
  const bool is_tanh = a[1].toStringRef() == "tanh";
  TORCH_CHECK(is_tanh || a[1].toStringRef() == "none",
              "gelu: approximate argument must be either none or tanh");
  return arithmetic(is_tanh ? ElementOp::gelu_tanh : ElementOp::gelu, {a[0]}, results);
}

// In evaluation they do nothing; the switch is the argument before the last.
bool dropout(Arguments a, Results& results) {
  if (a[2].toBool() && a[1].toDouble() > 0) {
    refuse("dropout draws random numbers, which exact/1 does not specify", "evaluation", "training",
           "call model.eval()");
  }
  results.add(a[0].toTensor());
  return true;
}

#define TENSOR_AND_SCALAR(name, kernel) \
  {"aten::" name ".Tensor", kernel}, { "aten::" name ".Scalar", kernel }

const NamedKernel kKernels[] = {
    TENSOR_AND_SCALAR("add", &two_scaled<ElementOp::add>),
    TENSOR_AND_SCALAR("sub", &two_scaled<ElementOp::sub>),
    TENSOR_AND_SCALAR("rsub", &two_scaled_exchanged<ElementOp::sub>),
    TENSOR_AND_SCALAR("mul", &two<ElementOp::mul>),
    TENSOR_AND_SCALAR("div", &div),
    {"aten::div.Tensor_mode", &div_mode},
    {"aten::div.Scalar_mode", &div_mode},
    {"aten::floor_divide", &two<ElementOp::floor_divide>},
    {"aten::floor_divide.Scalar", &two<ElementOp::floor_divide>},
    TENSOR_AND_SCALAR("fmod", &two<ElementOp::fmod>),
    TENSOR_AND_SCALAR("remainder", &two<ElementOp::remainder>),
    {"aten::remainder.Scalar_Tensor", &two<ElementOp::remainder>},
    {"aten::addcmul", &three_scaled<ElementOp::addcmul>},
    {"aten::addcdiv", &three_scaled<ElementOp::addcdiv>},
    {"aten::maximum", &two<ElementOp::maximum>},
    {"aten::minimum", &two<ElementOp::minimum>},
    {"aten::fmax", &two<ElementOp::fmax>},
    {"aten::fmin", &two<ElementOp::fmin>},
    TENSOR_AND_SCALAR("copysign", &two<ElementOp::copysign>),
    TENSOR_AND_SCALAR("eq", &two_question<ElementOp::eq>),
    TENSOR_AND_SCALAR("ne", &two_question<ElementOp::ne>),
    TENSOR_AND_SCALAR("lt", &two_question<ElementOp::lt>),
    TENSOR_AND_SCALAR("le", &two_question<ElementOp::le>),
    TENSOR_AND_SCALAR("gt", &two_question<ElementOp::gt>),
    TENSOR_AND_SCALAR("ge", &two_question<ElementOp::ge>),
    {"aten::logical_and", &two_question<ElementOp::logical_and>},
    {"aten::logical_or", &two_question<ElementOp::logical_or>},
    {"aten::logical_xor", &two_question<ElementOp::logical_xor>},
    {"aten::logical_not", &one_question<ElementOp::logical_not>},
    {"aten::isnan", &one_question<ElementOp::isnan>},
    {"aten::isinf", &one_question<ElementOp::isinf>},
    {"aten::isfinite", &one_question<ElementOp::isfinite>},
    {"aten::pow.Tensor_Scalar", &pow_by},
    {"aten::pow.Tensor_Tensor", &two<ElementOp::pow>},
    {"aten::pow.Scalar", &two<ElementOp::pow>},
    {"aten::clamp", &clamp},
    {"aten::clamp.Tensor", &clamp},
    {"aten::clamp_min", &two<ElementOp::maximum>},
    {"aten::clamp_min.Tensor", &two<ElementOp::maximum>},
    {"aten::clamp_max", &two<ElementOp::minimum>},
    {"aten::clamp_max.Tensor", &two<ElementOp::minimum>},
    {"aten::where.self", &where},
    {"aten::lerp.Tensor", &lerp},
    {"aten::lerp.Scalar", &lerp},
    {"aten::neg", &one<ElementOp::neg>},
    {"aten::abs", &one<ElementOp::abs>},
    {"aten::sign", &one<ElementOp::sign>},
    {"aten::floor", &one<ElementOp::floor>},
    {"aten::ceil", &one<ElementOp::ceil>},
    {"aten::round", &one<ElementOp::round>},
    {"aten::trunc", &one<ElementOp::trunc>},
    {"aten::frac", &one<ElementOp::frac>},
    {"aten::square", &one<ElementOp::square>},
    {"aten::relu", &one<ElementOp::relu>},
    {"aten::hardtanh", &one_by_numbers<ElementOp::hardtanh>},
    {"aten::leaky_relu", &one_by_numbers<ElementOp::leaky_relu>},
    {"aten::threshold", &one_by_numbers<ElementOp::threshold>},
    {"aten::hardshrink", &one_by_numbers<ElementOp::hardshrink>},
    {"aten::softshrink", &one_by_numbers<ElementOp::softshrink>},
    {"aten::nan_to_num", &nan_to_num},
    {"aten::elu", &elu},
    {"aten::celu", &celu},
    {"aten::_prelu_kernel", &prelu},
    {"aten::glu", &glu},
    {"aten::softplus", &one_by_numbers<ElementOp::softplus>},
    {"aten::gelu", &gelu},
    {"aten::silu", &one<ElementOp::silu>},
    {"aten::mish", &one<ElementOp::mish>},
    {"aten::log_sigmoid", &one<ElementOp::log_sigmoid>},
    {"aten::hardsigmoid", &one<ElementOp::hardsigmoid>},
    {"aten::hardswish", &one<ElementOp::hardswish>},
    {"aten::dropout", &dropout},
    {"aten::feature_dropout", &dropout},
    {"aten::alpha_dropout", &dropout},
    {"aten::feature_alpha_dropout", &dropout},
    {"aten::sqrt", &one_real<ElementOp::sqrt>},
    {"aten::rsqrt", &one_real<ElementOp::rsqrt>},
    {"aten::reciprocal", &one_real<ElementOp::reciprocal>},
    {"aten::sigmoid", &one_real<ElementOp::sigmoid>},
    {"aten::exp", &one_real<ElementOp::exp>},
    {"aten::exp2", &one_real<ElementOp::exp2>},
    {"aten::expm1", &one_real<ElementOp::expm1>},
    {"aten::log", &one_real<ElementOp::log>},
    {"aten::log2", &one_real<ElementOp::log2>},
    {"aten::log10", &one_real<ElementOp::log10>},
    {"aten::log1p", &one_real<ElementOp::log1p>},
    {"aten::sin", &one_real<ElementOp::sin>},
    {"aten::cos", &one_real<ElementOp::cos>},
    {"aten::tan", &one_real<ElementOp::tan>},
    {"aten::tanh", &one_real<ElementOp::tanh>},
    {"aten::sinh", &one_real<ElementOp::sinh>},
    {"aten::cosh", &one_real<ElementOp::cosh>},
    {"aten::erf", &one_real<ElementOp::erf>},
    {"aten::erfc", &one_real<ElementOp::erfc>},
};

#undef TENSOR_AND_SCALAR

}  // namespace

std::span<const NamedKernel> elementwise_kernels() { return kKernels; }

}  // namespace torchnotary::exact
