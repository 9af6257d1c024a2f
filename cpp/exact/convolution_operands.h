// The inputs of a run of a convolution's results, laid out as its kernels read them: one row for
// each element of the dot products, in their order, with +0 for positions outside the input.
#pragma once

#include <cstddef>
#include <vector>

#include "exact/convolution.h"
#include "exact/convolution_kernels.h"

namespace torchnotary::exact {

// Strides of (batch, channels, rows, columns), counted in elements.
struct PlaneStrides {
  std::ptrdiff_t batch, channel, row, column;
};

// A run of results in the order (batch, rows, columns), of one image row at most.
struct OutputRow {
  std::size_t image, row, column, count;
  std::size_t at;  // how many results of the run come before it
};

// Calls visit(OutputRow) for the image rows in which results first … first + count − 1 lie.
template <class Visit>
void for_each_output_row(const std::array<std::size_t, 2>& out, std::size_t first,
                         std::size_t count, Visit visit) {
  const std::size_t plane = out[0] * out[1];
  for (std::size_t at = 0; at < count;) {
    const std::size_t in_plane = (first + at) % plane, column = in_plane % out[1];
    const std::size_t n = std::min(count - at, out[1] - column);
    visit(OutputRow{(first + at) / plane, in_plane / out[1], column, n, at});
    at += n;
  }
}

// Panels have a tile's columns side by side, [k][tile_columns], and one tile after another,
// kDotBlock rows apart.
class ConvolutionOperands {
 public:
  // For results first … first + count − 1 of every channel.
  void plan(const Convolution& convolution, const PlaneStrides& strides, std::size_t first,
            std::size_t count, std::size_t lanes);

  // Rows begin … end − 1 of the dot products, of the channels from `channels` on.
  void fill(const ConvolutionKernels& kernels, const float* channels, std::size_t begin,
            std::size_t end, float* panels) const;

 private:
  struct Tap {
    std::size_t first, count;  // copies
    bool covers;               // whether they write every column
  };
  void plan_tap(const Convolution& convolution, const PlaneStrides& strides, std::size_t row,
                std::size_t column, std::size_t first, std::size_t count);
  void add_copy(std::size_t column, ConvolutionCopy copy);

  std::vector<ConvolutionCopy> copies_;
  std::vector<Tap> taps_;
  std::ptrdiff_t channel_stride_ = 0;
  std::size_t tile_columns_ = 0, columns_ = 0;
};

}  // namespace torchnotary::exact
