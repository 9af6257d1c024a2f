#include "exact/convolution_operands.h"

#include <algorithm>

namespace torchnotary::exact {
namespace {

// Along one axis: which results of a run read an element of the input at one tap of the kernel, and
// which element. Results first, first + every, …, `count` of them, read source, source + step, ….
struct Reads {
  std::size_t first, count, every;
  std::ptrdiff_t source, step;
};

// A transposed convolution is one of stride 1 over an input between whose elements zeros lie.
struct AxisRule {
  std::ptrdiff_t in, stride, spread, padding, dilation;

  AxisRule(const Convolution& c, std::size_t axis)
      : in(static_cast<std::ptrdiff_t>(c.in[axis])),
        stride(c.transposed ? 1 : static_cast<std::ptrdiff_t>(c.stride[axis])),
        spread(c.transposed ? static_cast<std::ptrdiff_t>(c.stride[axis]) : 1),
        padding(static_cast<std::ptrdiff_t>(c.padding[axis])),
        dilation(static_cast<std::ptrdiff_t>(c.dilation[axis])) {
    if (c.transposed)
      padding = dilation * static_cast<std::ptrdiff_t>(c.kernel[axis] - 1) - padding;
  }

  Reads reads(std::size_t tap, std::size_t result, std::size_t count) const {
    // Places among elements and inserted zeros.
    const auto n = static_cast<std::ptrdiff_t>(count);
    const std::ptrdiff_t place = static_cast<std::ptrdiff_t>(result) * stride +
                                 static_cast<std::ptrdiff_t>(tap) * dilation - padding;
    const std::ptrdiff_t end = (in - 1) * spread + 1;
    std::ptrdiff_t first = place < 0 ? (-place + stride - 1) / stride : 0;
    const std::ptrdiff_t last = end > place ? std::min(n, (end - place + stride - 1) / stride) : 0;
    const std::ptrdiff_t every = spread;  // one of stride and spread is 1
    while (first < last && (place + first * stride) % spread != 0) ++first;
    if (first >= last) return {0, 0, 1, 0, 0};
    return {static_cast<std::size_t>(first),
            static_cast<std::size_t>((last - first + every - 1) / every),
            static_cast<std::size_t>(every), (place + first * stride) / spread, stride};
  }
};

}  // namespace

void ConvolutionOperands::plan(const Convolution& convolution, const PlaneStrides& strides,
                               std::size_t first, std::size_t count, std::size_t lanes) {
  copies_.clear();
  taps_.clear();
  channel_stride_ = strides.channel;
  tile_columns_ = kTileVectors * lanes;
  columns_ = (count + lanes - 1) / lanes * lanes;
  for (std::size_t row = 0; row < convolution.kernel[0]; ++row) {
    for (std::size_t column = 0; column < convolution.kernel[1]; ++column) {
      plan_tap(convolution, strides, row, column, first, count);
    }
  }
}

void ConvolutionOperands::plan_tap(const Convolution& convolution, const PlaneStrides& strides,
                                   std::size_t row, std::size_t column, std::size_t first,
                                   std::size_t count) {
  const AxisRule rows(convolution, 0), columns(convolution, 1);
  const std::size_t before = copies_.size();
  std::size_t covered = 0;
  for_each_output_row(convolution.out(), first, count, [&](const OutputRow& out) {
    const Reads down = rows.reads(row, out.row, 1);
    const Reads along = columns.reads(column, out.column, out.count);
    if (down.count == 0 || along.count == 0) return;
    ConvolutionCopy copy;
    copy.count = along.count;
    copy.to_step = along.every;
    copy.from = static_cast<std::ptrdiff_t>(out.image) * strides.batch + down.source * strides.row +
                along.source * strides.column;
    copy.from_step = along.step * strides.column;
    covered += copy.count;
    add_copy(out.at + along.first, copy);
  });
  taps_.push_back({before, copies_.size() - before, covered == columns_});
}

// Splits it where one tile ends and the next begins.
void ConvolutionOperands::add_copy(std::size_t column, ConvolutionCopy copy) {
  std::size_t left = copy.count;
  while (left > 0) {
    const std::size_t tile = column / tile_columns_, within = column % tile_columns_;
    copy.to = tile * tile_columns_ * kDotBlock + within;
    copy.count = std::min(left, (tile_columns_ - within + copy.to_step - 1) / copy.to_step);
    copies_.push_back(copy);
    left -= copy.count;
    column += copy.count * copy.to_step;
    copy.from += static_cast<std::ptrdiff_t>(copy.count) * copy.from_step;
  }
}

void ConvolutionOperands::fill(const ConvolutionKernels& kernels, const float* channels,
                               std::size_t begin, std::size_t end, float* panels) const {
  std::size_t tap = begin % taps_.size();
  const float* channel =
      channels + static_cast<std::ptrdiff_t>(begin / taps_.size()) * channel_stride_;
  for (std::size_t k = begin; k < end; ++k, panels += tile_columns_) {
    if (!taps_[tap].covers) {
      for (std::size_t c = 0; c < columns_; c += tile_columns_) {
        std::fill_n(panels + c * kDotBlock, tile_columns_, 0.0f);
      }
    }
    kernels.copy(copies_.data() + taps_[tap].first, taps_[tap].count, channel, panels);
    if (++tap == taps_.size()) {
      tap = 0;
      channel += channel_stride_;
    }
  }
}

}  // namespace torchnotary::exact
