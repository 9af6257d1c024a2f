// The kernels of convolutions in plain C++.
#include <cmath>
#include <span>

#include "exact/convolution_kernels.h"
#include "exact/storage.h"

namespace torchnotary::exact {
namespace {

constexpr std::size_t kLanes = 4;

void copy(const ConvolutionCopy* copies, std::size_t n, const float* from, float* to) {
  for (const ConvolutionCopy& c : std::span(copies, n)) {
    for (std::size_t i = 0; i < c.count; ++i) {
      to[c.to + i * c.to_step] = from[c.from + static_cast<std::ptrdiff_t>(i) * c.from_step];
    }
  }
}

void run_tile(const ConvolutionTile& tile) {
  const std::size_t columns = tile.vectors * kLanes;
  for (std::size_t row = 0; row < tile.rows; ++row) {
    float sums[kTileVectors * kLanes] = {};
    for (std::size_t k = 0; k < tile.k; ++k) {
      const float weight = tile.weights[k * tile.rows + row];
      const float* operands = tile.operands + k * tile.operand_step;
      for (std::size_t c = 0; c < columns; ++c) sums[c] = std::fma(operands[c], weight, sums[c]);
    }
    float* to = tile.sums + row * tile.sum_step;
    for (std::size_t c = 0; c < columns; ++c) to[c] = tile.first ? sums[c] : to[c] + sums[c];
  }
}

void finish(const float* sums, const float* bias, float* out, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    out[i] = canonical(bias != nullptr ? sums[i] + *bias : sums[i]);
  }
}

}  // namespace

const ConvolutionKernels kConvolutionPortable = {kLanes, &copy, &copy, &run_tile, &finish};

}  // namespace torchnotary::exact
