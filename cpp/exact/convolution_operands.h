// The inputs of a run of a convolution's results, laid out as its kernels read them: one row for
// each element of the dot products, in their order.
#pragma once

#include <algorithm>
#include <array>
#include <cstddef>
#include <vector>

#include "exact/convolution.h"
#include "exact/convolution_kernels.h"

namespace torchnotary::exact {

// Strides of (batch, channels, rows, columns), counted in elements.
struct PlaneStrides {
  std::ptrdiff_t batch, channel, row, column;
};

// Results of one row of one image.
struct OutputRow {
  std::size_t image, row, column, count;
  std::size_t at;  // how many results of the run come before them
};

// Calls visit(OutputRow) for the rows in which results first … first + count − 1 lie, in the order
// (image, row, column).
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

// A channel's elements first go to planes in which zeros lie where the padding is, and in which the
// elements that neighbouring results read at one tap of the kernel are neighbours: one plane for
// each remainder of a row and a column divided by the strides. From there each tap's row is copied,
// without another look at borders. A kernel of one tap needs no planes.
class ConvolutionOperands {
 public:
  // For results first … first + count − 1 of every channel.
  void plan(const Convolution& convolution, const PlaneStrides& strides, std::size_t first,
            std::size_t count, std::size_t lanes);

  // Floats of one row, and of rows up to kDotBlock of them.
  std::size_t columns() const { return columns_; }
  std::size_t size() const { return columns_ * kDotBlock + kMostLanes; }

  // Rows begin … end − 1 of the dot products, end ≤ begin + kDotBlock, of the channels from
  // `channels` on.
  void fill(const ConvolutionKernels& kernels, const float* channels, std::size_t begin,
            std::size_t end, float* rows);

 private:
  // Rows of an image, or part of one row, whose inputs lie in planes of their own.
  struct Band {
    std::size_t image, row, rows, column, columns;
  };
  void plan_direct(const Convolution& convolution, const PlaneStrides& strides, std::size_t first,
                   std::size_t count);
  void plan_bands(const Convolution& convolution, std::size_t first, std::size_t count);
  void plan_planes(const Convolution& convolution, const PlaneStrides& strides);
  void plan_band(const Convolution& convolution, const PlaneStrides& strides, std::size_t band);

  std::vector<ConvolutionCopy> copies_;  // from a channel to its planes, or to its row
  std::vector<ConvolutionCopy> pieces_;  // from a channel's planes to a row
  std::vector<std::size_t> taps_;        // where, from there on, a tap's elements begin
  std::vector<Band> bands_;
  std::vector<float> planes_;
  std::size_t height_ = 0, width_ = 0;  // of a plane
  std::size_t channel_planes_ = 0;      // floats
  std::size_t columns_ = 0;
  std::ptrdiff_t channel_stride_ = 0;
};

}  // namespace torchnotary::exact
