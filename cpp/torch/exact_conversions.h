// Conversions between element types under exact/1 (docs/exact-profile.md, section 1).
#pragma once

#include <ATen/core/Tensor.h>

namespace torchnotary::exact {

// A copy of another type, with the same sizes, and strides that keep the order of the axes.
at::Tensor converted(const at::Tensor& tensor, at::ScalarType type);

// Writes `source`, which broadcasts to it, into `target`, converting where the types differ.
void copy_converted(const at::Tensor& target, const at::Tensor& source);

}  // namespace torchnotary::exact
