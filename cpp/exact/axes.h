// The index space of an operator on broadcast, strided tensors, brought to as few axes as possible.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "exact/element.h"

namespace torchnotary::exact {

inline constexpr std::size_t kMaxAxes = 64;  // torch's own limit
inline constexpr std::size_t kMaxOperands = 4;

// Axes of a result and of what it is computed from. Operand 0 is the result: the last axis is the
// one along which its elements are nearest, and neighbouring axes that all operands step through
// alike are one. Which axis is which does not matter to an operator that treats all elements alike.
struct Axes {
  std::size_t count = 0;  // at least 1
  std::size_t operands = 0;
  std::array<std::size_t, kMaxAxes> sizes;
  std::array<std::array<std::ptrdiff_t, kMaxAxes>, kMaxOperands> strides;  // [operand][axis]

  // Whether an operand's elements lie side by side in the order of the axes; whether every row of
  // the last axis has the same elements; and whether all elements are one.
  std::array<bool, kMaxOperands> flat, periodic, constant;

  // The product of all sizes.
  std::size_t elements() const;
  std::size_t inner_size() const { return sizes[count - 1]; }
  std::ptrdiff_t inner_stride(std::size_t operand) const { return strides[operand][count - 1]; }
};

// Inputs are broadcast to the output's sizes. Raises NotaryError for more than kMaxAxes axes and
// for sizes that do not broadcast.
Axes collapsed_axes(const Output& output, std::span<const Input> inputs);

// A place in an index space: the elements before it in row-major order of the axes are behind.
class Position {
 public:
  Position(const Axes& axes, std::size_t element);
  Position(const Position& other) { *this = other; }
  Position& operator=(const Position& other) {  // no more of the indices than there are
    axes_ = other.axes_;
    inner_ = other.inner_;
    offsets_ = other.offsets_;
    std::copy_n(other.outer_.begin(), axes_->count - 1, outer_.begin());
    return *this;
  }

  // How many elements are behind and left in this row of the last axis.
  std::size_t behind_in_row() const { return inner_; }
  std::size_t left_in_row() const { return axes_->inner_size() - inner_; }
  // Where an operand's element lies, counted in elements from its first.
  std::ptrdiff_t offset(std::size_t operand) const {
    return offsets_[operand] + static_cast<std::ptrdiff_t>(inner_) * axes_->inner_stride(operand);
  }
  void advance(std::size_t elements);

 private:
  void next_row();

  const Axes* axes_;
  std::size_t inner_;
  std::array<std::size_t, kMaxAxes> outer_;
  std::array<std::ptrdiff_t, kMaxOperands> offsets_{};
};

}  // namespace torchnotary::exact
