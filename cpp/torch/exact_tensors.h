// Tensors and numbers of torch as the kernels of cpp/exact/ take them.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/ivalue.h>
#include <c10/core/Scalar.h>

#include <optional>
#include <span>

#include "exact/element.h"
#include "exact/storage.h"

namespace torchnotary::exact {

// A number of Python's, rounded once to binary32; integers not by way of binary64.
inline float rounded(const at::Scalar& number) {
  return number.isIntegral(/*includeBool=*/true) ? static_cast<float>(number.toLong())
                                                 : static_cast<float>(number.toDouble());
}

// None for types that no kernel reads or writes (float64, complex, float8 …).
std::optional<Element> find_element(at::ScalarType type);
// The same, refusing those.
Element element_of(at::ScalarType type);
// Of a floating type that kernels store; refuses every other one.
Storage storage_of(at::ScalarType type);

inline std::span<const std::int64_t> span_of(at::IntArrayRef values) {
  return {values.data(), values.size()};
}

// The tensor outlives what is returned.
inline Input input_of(const at::Tensor& tensor) {
  return {tensor.const_data_ptr(), element_of(tensor.scalar_type()), span_of(tensor.sizes()),
          span_of(tensor.strides())};
}
inline Output output_of(const at::Tensor& tensor) {
  return {tensor.mutable_data_ptr(), element_of(tensor.scalar_type()), span_of(tensor.sizes()),
          span_of(tensor.strides())};
}

inline bool is_float(at::ScalarType type) { return at::isFloatingType(type); }

// The axis, counted from the first.
std::int64_t axis_of(std::int64_t axis, std::int64_t rank);

// The tensor argument, or an undefined one for None.
inline at::Tensor optional_tensor(const c10::IValue& value) {
  return value.isNone() ? at::Tensor() : value.toTensor();
}

// A contiguous binary32 copy of a floating tensor; the tensor itself where it is one.
at::Tensor as_float32(const at::Tensor& tensor);

}  // namespace torchnotary::exact
