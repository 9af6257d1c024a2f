// The product that other kernels of torch's operators need too.
#pragma once

#include <ATen/core/Tensor.h>

#include "torch/packs.h"

namespace torchnotary::exact {

// out (rows, n) = x (rows, k) times weights (n, k), then `+ bias` where it is defined. The rows of
// out are contiguous; each tensor has a storage type of its own.
void multiply_by_weights(const at::Tensor& x, const at::Tensor& weights, const at::Tensor& bias,
                         const at::Tensor& out);
// The same with weights that are packed already.
void multiply_by_weights(const at::Tensor& x, const MatrixPack& weights, const at::Tensor& bias,
                         const at::Tensor& out);

}  // namespace torchnotary::exact
