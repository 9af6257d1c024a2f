// A LibTorch tensor as the tensor room sees one: its own memory where it is on the host.
#pragma once

#include <cstddef>

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

// Whether a tensor is, as it stands, memory of the host that it does not reach beyond, of at most
// `max_bytes` bytes: nothing that a layout, a transform or a subclass has a say in.
bool is_ordinary(const at::Tensor& tensor, std::size_t max_bytes);

// The memory of an ordinary tensor; the view borrows sizes and strides from it too. Throws
// UnsupportedTensor for a dtype without a rule.
TensorView view_of(const at::Tensor& tensor);

}  // namespace torchnotary
