#include "exact/convolution_operands.h"

namespace torchnotary::exact {
namespace {

// Along one axis: which of some places hold an element of the input, and which. Places first,
// first + every, …, `count` of them, hold elements source, source + step, ….
struct Elements {
  std::size_t first = 0, count = 0, every = 1;
  std::ptrdiff_t source = 0, step = 0;
};

// One axis. A transposed convolution is one of stride 1 over an input between whose elements zeros
// lie: `spread` − 1 between two.
struct Axis {
  std::size_t stride, spread, dilation, kernel;
  std::ptrdiff_t in, padding;

  Axis(const Convolution& c, std::size_t axis)
      : stride(c.transposed ? 1 : c.stride[axis]),
        spread(c.transposed ? c.stride[axis] : 1),
        dilation(c.dilation[axis]),
        kernel(c.kernel[axis]),
        in(static_cast<std::ptrdiff_t>(c.in[axis])),
        padding(static_cast<std::ptrdiff_t>(c.padding[axis])) {
    if (c.transposed) padding = static_cast<std::ptrdiff_t>(dilation * (kernel - 1)) - padding;
  }

  // Tap k of result r reads place remainder(k) of result r + shift(k).
  std::size_t remainder(std::size_t tap) const { return tap * dilation % stride; }
  std::size_t shift(std::size_t tap) const { return tap * dilation / stride; }
  std::size_t reach() const { return shift(kernel - 1); }

  // Places `remainder` of results first … first + count − 1.
  Elements elements(std::size_t remainder, std::size_t first, std::size_t count) const {
    const auto step = static_cast<std::ptrdiff_t>(stride);
    const auto every = static_cast<std::ptrdiff_t>(spread);
    const std::ptrdiff_t begin = static_cast<std::ptrdiff_t>(first * stride + remainder) - padding;
    const std::ptrdiff_t end = (in - 1) * every + 1;
    std::ptrdiff_t low = begin < 0 ? (-begin + step - 1) / step : 0;
    const std::ptrdiff_t high =
        begin < end ? std::min(static_cast<std::ptrdiff_t>(count), (end - begin + step - 1) / step)
                    : 0;
    while (low < high && (begin + low * step) % every != 0) ++low;
    if (low >= high) return {};
    return {static_cast<std::size_t>(low),
            static_cast<std::size_t>((high - low + every - 1) / every),  // step or every is 1
            spread, (begin + low * step) / every, step};
  }
};

}  // namespace

void ConvolutionOperands::plan(const Convolution& convolution, const PlaneStrides& strides,
                               std::size_t first, std::size_t count, std::size_t lanes) {
  copies_.clear();
  pieces_.clear();
  taps_.clear();
  bands_.clear();
  channel_stride_ = strides.channel;
  columns_ = (count + lanes - 1) / lanes * lanes;
  const bool padded = convolution.padding[0] != 0 || convolution.padding[1] != 0;
  if (convolution.taps() == 1 && !padded && !convolution.transposed) {
    plan_direct(convolution, strides, first, count);
    return;
  }
  plan_bands(convolution, first, count);
  plan_planes(convolution, strides);
}

void ConvolutionOperands::plan_direct(const Convolution& convolution, const PlaneStrides& strides,
                                      std::size_t first, std::size_t count) {
  const auto down = static_cast<std::ptrdiff_t>(convolution.stride[0]) * strides.row;
  const auto along = static_cast<std::ptrdiff_t>(convolution.stride[1]) * strides.column;
  std::array<std::size_t, 2> out = convolution.out();
  if (down == static_cast<std::ptrdiff_t>(out[1]) * along) out = {1, out[0] * out[1]};
  for_each_output_row(out, first, count, [&](const OutputRow& row) {
    const auto from = static_cast<std::ptrdiff_t>(row.image) * strides.batch +
                      static_cast<std::ptrdiff_t>(row.row) * down +
                      static_cast<std::ptrdiff_t>(row.column) * along;
    copies_.push_back({row.at, 1, from, along, row.count});
  });
}

// Bands and the pieces of a row that come from them. Rows of an image share a band, which has each
// row of the input once, unless they are so wide that a run has little of them.
void ConvolutionOperands::plan_bands(const Convolution& convolution, std::size_t first,
                                     std::size_t count) {
  const std::array<std::size_t, 2> out = convolution.out();
  const bool wide = 2 * out[1] > count;
  for_each_output_row(out, first, count, [&](const OutputRow& row) {
    if (wide || bands_.empty() || bands_.back().image != row.image) {
      bands_.push_back({row.image, row.row, 0, wide ? row.column : 0, wide ? row.count : out[1]});
    }
    Band& band = bands_.back();
    ++band.rows;
    // The band for now; its place once planes have a size.
    pieces_.push_back({row.at, bands_.size() - 1, static_cast<std::ptrdiff_t>(row.row - band.row),
                       static_cast<std::ptrdiff_t>(row.column - band.column), row.count});
  });
}

void ConvolutionOperands::plan_planes(const Convolution& convolution, const PlaneStrides& strides) {
  const Axis rows(convolution, 0), columns(convolution, 1);
  height_ = width_ = 0;
  for (const Band& band : bands_) {
    height_ = std::max(height_, band.rows + rows.reach());
    width_ = std::max(width_, band.columns + columns.reach());
  }
  const std::size_t plane = height_ * width_, band_planes = rows.stride * columns.stride * plane;
  channel_planes_ = bands_.size() * band_planes;
  for (ConvolutionCopy& piece : pieces_) {
    piece.from = static_cast<std::ptrdiff_t>(piece.to_step * band_planes) +
                 piece.from * static_cast<std::ptrdiff_t>(width_) + piece.from_step;
    piece.to_step = 1;
    piece.from_step = 1;
  }
  for (std::size_t band = 0; band < bands_.size(); ++band) plan_band(convolution, strides, band);
  for (std::size_t row = 0; row < rows.kernel; ++row) {
    for (std::size_t column = 0; column < columns.kernel; ++column) {
      const std::size_t which = rows.remainder(row) * columns.stride + columns.remainder(column);
      taps_.push_back(which * plane + rows.shift(row) * width_ + columns.shift(column));
    }
  }
  const std::size_t channels = (kDotBlock + taps_.size() - 1) / taps_.size() + 1;
  planes_.assign(channels * channel_planes_ + kMostLanes, 0.0f);
}

void ConvolutionOperands::plan_band(const Convolution& convolution, const PlaneStrides& strides,
                                    std::size_t index) {
  const Axis rows(convolution, 0), columns(convolution, 1);
  const Band& band = bands_[index];
  std::size_t plane = index * rows.stride * columns.stride;
  for (std::size_t y = 0; y < rows.stride; ++y) {
    const Elements down = rows.elements(y, band.row, band.rows + rows.reach());
    for (std::size_t x = 0; x < columns.stride; ++x, ++plane) {
      const Elements along = columns.elements(x, band.column, band.columns + columns.reach());
      for (std::size_t i = 0; i < down.count && along.count != 0; ++i) {
        const std::size_t to = (plane * height_ + down.first + i * down.every) * width_;
        const std::ptrdiff_t source = down.source + static_cast<std::ptrdiff_t>(i) * down.step;
        copies_.push_back({to + along.first, along.every,
                           static_cast<std::ptrdiff_t>(band.image) * strides.batch +
                               source * strides.row + along.source * strides.column,
                           along.step * strides.column, along.count});
      }
    }
  }
}

void ConvolutionOperands::fill(const ConvolutionKernels& kernels, const float* channels,
                               std::size_t begin, std::size_t end, float* rows) {
  if (taps_.empty()) {
    for (std::size_t k = begin; k < end; ++k, rows += columns_) {
      kernels.copy(copies_.data(), copies_.size(),
                   channels + static_cast<std::ptrdiff_t>(k) * channel_stride_, rows);
    }
    return;
  }
  const std::size_t first = begin / taps_.size(), last = (end - 1) / taps_.size();
  for (std::size_t channel = first; channel <= last; ++channel) {
    kernels.copy(copies_.data(), copies_.size(),
                 channels + static_cast<std::ptrdiff_t>(channel) * channel_stride_,
                 planes_.data() + (channel - first) * channel_planes_);
  }
  for (std::size_t k = begin; k < end; ++k, rows += columns_) {
    const float* planes = planes_.data() + (k / taps_.size() - first) * channel_planes_;
    kernels.copy_pieces(pieces_.data(), pieces_.size(), planes + taps_[k % taps_.size()], rows);
  }
}

}  // namespace torchnotary::exact
