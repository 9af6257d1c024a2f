// Memory for the results of exact kernels, used again once it is free.
//
// What malloc gives back to the system and fetches anew costs a page fault for every 4 KiB: 25 ms
// of a forward of MiniLM. Tensors made here are ordinary ones; their memory comes back when the
// last of them is gone, on whatever thread.
#pragma once

#include <ATen/core/Tensor.h>

namespace torchnotary::exact {

// A contiguous tensor of the CPU whose elements nobody has written.
at::Tensor empty_in_arena(at::IntArrayRef sizes, at::ScalarType type);
// The same with the sizes of `tensor`, and its strides where it is dense, so that what is a view of
// the one is a view of the other.
at::Tensor empty_like_in_arena(const at::Tensor& tensor, at::ScalarType type);

// Bytes that are free and kept for the next tensors.
std::size_t arena_kept();
// Gives them back to the system.
void trim_arena();

}  // namespace torchnotary::exact
