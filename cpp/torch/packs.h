// Weights as the exact kernels read them: packed once, and kept as long as the sealed memory that
// they were packed from.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <memory>

#include "exact/convolution.h"
#include "exact/gemm.h"

namespace torchnotary::exact {

// Holds the memory of a pack.
using PackMemory = std::shared_ptr<const void>;

struct MatrixPack {
  PackedMatrix matrix;
  PackMemory memory;
};
struct ConvolutionPack {
  const float* weights;
  PackMemory memory;
};

// Of weights (n, k) with any strides. Those in sealed memory are packed once, into sealed memory,
// by storage, offset, sizes, strides and type; others anew at every call.
MatrixPack pack_matrix(const at::Tensor& weights);
ConvolutionPack pack_convolution(const Convolution& convolution, const at::Tensor& weights);

// Bytes of all packs that are kept; of sealed storages that are gone, none.
std::size_t packed_bytes();

}  // namespace torchnotary::exact
