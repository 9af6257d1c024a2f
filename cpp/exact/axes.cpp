#include "exact/axes.h"

#include <algorithm>
#include <string>

#include "hashing/errors.h"

namespace torchnotary::exact {
namespace {

[[noreturn]] void refuse(const std::string& message, std::size_t expected, std::size_t actual) {
  throw NotaryError(message, std::to_string(expected), std::to_string(actual),
                    "give tensors of fitting shapes");
}

// The stride of an input along an axis of the output; 0 where it is broadcast.
std::ptrdiff_t broadcast_stride(const Input& input, std::size_t axis, const Output& output) {
  if (input.sizes.size() > output.sizes.size()) {
    refuse("an operand has more axes than the result", output.sizes.size(), input.sizes.size());
  }
  const std::size_t missing = output.sizes.size() - input.sizes.size();
  if (axis < missing) return 0;
  const std::int64_t size = input.sizes[axis - missing];
  if (size == output.sizes[axis]) return input.strides[axis - missing];
  if (size == 1) return 0;
  refuse("an operand does not broadcast to axis " + std::to_string(axis) + " of the result",
         static_cast<std::size_t>(output.sizes[axis]), static_cast<std::size_t>(size));
}

// Brings the axes along which the output's neighbours are far apart to the front.
void sort_axes(Axes& axes) {
  for (std::size_t i = 1; i < axes.count; ++i) {
    for (std::size_t j = i; j > 0 && axes.strides[0][j - 1] < axes.strides[0][j]; --j) {
      std::swap(axes.sizes[j - 1], axes.sizes[j]);
      for (std::size_t k = 0; k < axes.operands; ++k) {
        std::swap(axes.strides[k][j - 1], axes.strides[k][j]);
      }
    }
  }
}

// Whether a row of `inner` ends where the next one of `outer` begins.
bool follows(const Axes& axes, std::size_t operand, std::size_t outer, std::size_t inner) {
  const auto size = static_cast<std::ptrdiff_t>(axes.sizes[inner]);
  return axes.strides[operand][outer] == axes.strides[operand][inner] * size;
}

bool all_follow(const Axes& axes, std::size_t outer, std::size_t inner) {
  for (std::size_t k = 0; k < axes.operands; ++k) {
    if (!follows(axes, k, outer, inner)) return false;
  }
  return true;
}

void classify(Axes& axes, std::size_t operand) {
  const std::ptrdiff_t inner = axes.inner_stride(operand);
  bool flat = inner == 1, periodic = axes.count > 1;
  for (std::size_t axis = 1; axis < axes.count; ++axis) {
    flat = flat && follows(axes, operand, axis - 1, axis);
    periodic = periodic && axes.strides[operand][axis - 1] == 0;
  }
  axes.flat[operand] = flat;
  axes.periodic[operand] = periodic;
  axes.constant[operand] = inner == 0 && (periodic || axes.count == 1);
}

void merge_axes(Axes& axes) {
  std::size_t last = 0;
  for (std::size_t axis = 1; axis < axes.count; ++axis) {
    const std::size_t merged = all_follow(axes, last, axis) ? axes.sizes[last] : 1;
    if (merged == 1) ++last;
    axes.sizes[last] = merged * axes.sizes[axis];
    for (std::size_t k = 0; k < axes.operands; ++k) axes.strides[k][last] = axes.strides[k][axis];
  }
  axes.count = last + 1;
}

}  // namespace

std::size_t Axes::elements() const {
  std::size_t product = 1;
  for (std::size_t axis = 0; axis < count; ++axis) product *= sizes[axis];
  return product;
}

Axes collapsed_axes(const Output& output, std::span<const Input> inputs) {
  const std::size_t rank = output.sizes.size();
  if (rank > kMaxAxes) refuse("a tensor has too many axes", kMaxAxes, rank);
  Axes axes;
  axes.operands = inputs.size() + 1;
  for (std::size_t axis = 0; axis < rank; ++axis) {
    axes.sizes[axes.count] = static_cast<std::size_t>(output.sizes[axis]);
    axes.strides[0][axes.count] = output.strides[axis];
    for (std::size_t k = 0; k < inputs.size(); ++k) {
      axes.strides[k + 1][axes.count] = broadcast_stride(inputs[k], axis, output);
    }
    if (output.sizes[axis] != 1) ++axes.count;
  }
  if (axes.count == 0) {
    axes.count = axes.sizes[0] = 1;
    for (std::size_t k = 0; k < axes.operands; ++k) axes.strides[k][0] = 1;
  }
  sort_axes(axes);
  merge_axes(axes);
  for (std::size_t k = 0; k < axes.operands; ++k) classify(axes, k);
  return axes;
}

Position::Position(const Axes& axes, std::size_t element) : axes_(&axes) {
  inner_ = element % axes.inner_size();
  element /= axes.inner_size();
  for (std::size_t axis = axes.count - 1; axis-- > 0; element /= axes.sizes[axis]) {
    outer_[axis] = element % axes.sizes[axis];
    for (std::size_t k = 0; k < axes.operands; ++k) {
      offsets_[k] += static_cast<std::ptrdiff_t>(outer_[axis]) * axes.strides[k][axis];
    }
  }
}

void Position::advance(std::size_t elements) {
  for (; elements >= left_in_row(); next_row()) elements -= left_in_row();
  inner_ += elements;
}

void Position::next_row() {
  inner_ = 0;
  for (std::size_t axis = axes_->count - 1; axis-- > 0;) {
    const bool wraps = ++outer_[axis] == axes_->sizes[axis];
    const auto steps = wraps ? 1 - static_cast<std::ptrdiff_t>(axes_->sizes[axis]) : 1;
    for (std::size_t k = 0; k < axes_->operands; ++k) {
      offsets_[k] += steps * axes_->strides[k][axis];
    }
    if (!wraps) return;
    outer_[axis] = 0;
  }
}

}  // namespace torchnotary::exact
