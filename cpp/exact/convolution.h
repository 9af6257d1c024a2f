// Convolutions over one or two axes, plain and transposed, in groups (docs/exact-profile.md,
// section 4).
#pragma once

#include <array>
#include <cstddef>

#include "exact/element.h"
#include "hashing/parallel.h"

namespace torchnotary::exact {

// A convolution of (batch, in_channels, rows, columns). Over one axis: one row, and a kernel of one
// row. Kernels, strides, dilations and groups are at least 1, and channels are multiples of groups.
struct Convolution {
  std::size_t batch, in_channels, out_channels, groups = 1;
  std::array<std::size_t, 2> in, kernel;  // rows, columns
  std::array<std::size_t, 2> stride{1, 1}, padding{0, 0}, dilation{1, 1};
  bool transposed = false;
  std::array<std::size_t, 2> output_padding{0, 0};  // of a transposed one

  // Rows and columns of the result; 0 where the kernel does not fit.
  std::array<std::size_t, 2> out() const;
  // Elements of a dot product.
  std::size_t taps() const { return kernel[0] * kernel[1]; }
  std::size_t length() const { return in_channels / groups * taps(); }
};

// How many floats the packed weights have: as many as the weights.
std::size_t packed_weights_size(const Convolution& convolution);

// Brings weights into the order in which convolve() reads them, as binary32. The weights are
// (out_channels, in_channels / groups, rows, columns) or, transposed, (in_channels, out_channels /
// groups, rows, columns), with any strides.
void pack_weights(const Convolution& convolution, const Input& weights, float* packed);

// The input is (batch, in_channels, rows, columns) and the output (batch, out_channels, rows,
// columns), with any strides; bias has out_channels numbers, or is null.
void convolve(const Convolution& convolution, const Input& input, const float* packed,
              const float* bias, const Output& output, ParallelFor parallel);

}  // namespace torchnotary::exact
