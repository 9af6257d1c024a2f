// Moves the memory of tensors into sealed memory and back; the tensors stay the same objects.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <utility>
#include <vector>

namespace torchnotary {

using NamedTensors = std::vector<std::pair<std::string, at::Tensor>>;

// Copies the storages of the tensors into sealed memory, each whole and once, and puts the tensors
// on the copies: the same objects with the same sizes, strides, offsets and version counters, and
// those that shared memory share it again. Whatever else shared the old memory keeps it. Tensors
// that are sealed already or hold no bytes stay as they are. Throws UnsupportedTensor, before
// anything is moved, for a tensor that is not plain memory on the host (another layout or device,
// quantised, nested, a subclass with its own dispatch), and NotaryError where the system gives no
// memory: what was dealt with before stays sealed.
void seal(const NamedTensors& tensors);

// Puts those tensors that are sealed on ordinary copies of their memory, in the same way.
void unseal(const NamedTensors& tensors);

// Whether the memory of the tensor is sealed, whichever way the tensor was made.
bool is_sealed(const at::Tensor& tensor);

// The names, joined by ", ", of all tensors that were sealed on this one's memory. Requires
// is_sealed().
const std::string& sealed_names(const at::Tensor& tensor);

}  // namespace torchnotary
