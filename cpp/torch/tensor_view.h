// A LibTorch tensor as the tensor room sees one: its own memory where it is on the host.
#pragma once

#include "tensor/commitment.h"

namespace at {
class Tensor;
}

namespace torchnotary {

// The commitment of a tensor's values. A tensor on the host is read where it lies, contiguous or
// strided; one on a device is copied to the host on its current stream first. Throws
// UnsupportedTensor, naming the layout or dtype, where there is no rule: sparse, quantised,
// nested, oneDNN and meta tensors, wrappers without memory of their own.
Commitment commit(const at::Tensor& tensor, ParallelFor parallel = kSerial);

// The digest of a contiguous tensor whose data root is known.
Digest reshaped_digest(const at::Tensor& tensor, const Digest& data_root);

// The data bytes of a tensor, as commit() hashes them; `out` has tensor.nbytes() bytes.
void copy_data(const at::Tensor& tensor, MutableBytes out);

}  // namespace torchnotary
