// A tensor as the rooms below torch see it: borrowed memory, element type, sizes and strides.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "hashing/bytes.h"
#include "tensor/dtype.h"

namespace torchnotary {

// Sizes and strides in elements, outermost dimension first. The memory is borrowed.
struct TensorView {
  const std::byte* data;  // the element at index 0, 0, …
  const DType* dtype;
  std::span<const std::int64_t> shape;
  std::span<const std::int64_t> strides;
  bool conj;  // elements are the complex conjugates of what the memory holds
  bool neg;   // elements are the negatives of what the memory holds

  std::size_t rank() const { return shape.size(); }
  // Valid views only: the product of the sizes and the itemsize.
  std::size_t nbytes() const;
};

// Raises UnsupportedTensor where a view has no commitment: sizes below zero, more than 255
// dimensions, bytes beyond 2^63 - 1, strides of another number than sizes, no memory, conj of
// what is not complex, neg of what cannot be negated.
void check(const TensorView& view);

// Whether the data bytes are the memory as it is: row-major without gaps, conj and neg off, and
// not bool, whose true may be any non-zero byte in memory.
bool is_plain(const TensorView& view);

}  // namespace torchnotary
