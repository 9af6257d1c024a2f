#include "exact/convolution.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <memory>
#include <vector>

#include "exact/convert.h"
#include "exact/convolution_kernels.h"
#include "exact/convolution_operands.h"
#include "exact/elementwise.h"
#include "exact/environment.h"

namespace torchnotary::exact {
namespace {

// Operands of a task, kDotBlock rows of them, stay in the second-level cache while all its weights
// pass by.
constexpr std::size_t kTaskTiles = 4;
// Output channels of a task: many, so that operands are laid out once; fewer where tasks are few.
constexpr std::size_t kManyRows = 512, kFewRows = 128;
// Multiplications that are worth a task.
constexpr std::size_t kTaskWork = 1 << 20;

PlaneStrides plane_strides(std::span<const std::int64_t> strides) {
  return {strides[0], strides[1], strides[2], strides[3]};
}

// How a convolution's results are cut into tasks.
struct Cut {
  std::size_t results, vectors, runs;  // of one channel: all; of all; runs of vectors
  std::size_t rows, row_runs;          // output channels of a group; runs of them
  std::size_t groups, groups_of_task, group_runs;

  Cut(const Convolution& c, std::size_t lanes) {
    results = c.batch * c.out()[0] * c.out()[1];
    vectors = (results + lanes - 1) / lanes;
    runs = (vectors + kTaskTiles * kTileVectors - 1) / (kTaskTiles * kTileVectors);
    rows = c.out_channels / c.groups;
    groups = c.groups;
    const std::size_t most = runs * groups >= 16 ? kManyRows : kFewRows;
    row_runs = (rows + most - 1) / most;
    const std::size_t work = rows * c.length() * kTaskTiles * kTileVectors * lanes / row_runs;
    groups_of_task = std::clamp<std::size_t>(kTaskWork / std::max<std::size_t>(work, 1), 1, groups);
    group_runs = (groups + groups_of_task - 1) / groups_of_task;
  }
  std::size_t tasks() const { return runs * row_runs * group_runs; }
  // Rows that begin run i: whole tiles of weights.
  std::size_t first_row(std::size_t i) const {
    const std::size_t tiles = (rows + kWeightRows - 1) / kWeightRows;
    return std::min(rows, tiles * i / row_runs * kWeightRows);
  }
};

// What a thread needs, kept for its next task.
struct Scratch {
  ConvolutionOperands operands;
  std::vector<float> rows, sums, row;
};

struct Call {
  const Convolution& convolution;
  const Cut cut;
  const float* input;
  const PlaneStrides in;
  const float* packed;
  const float* bias;
  const Output& output;
  const PlaneStrides out = plane_strides(output.strides);
  const ConvolutionKernels& kernels;

  std::size_t in_group() const { return convolution.in_channels / convolution.groups; }
  // Weights of a group's rows from `row` on for block begin … end − 1: see pack_weights().
  const float* weights(std::size_t group, std::size_t row, std::size_t begin,
                       std::size_t end) const {
    return packed + group * cut.rows * convolution.length() + begin * cut.rows +
           row * (end - begin);
  }
};

// Adds block `begin` … `end` − 1 of the dot products of rows first_row … last_row − 1.
void add_block(const Call& call, std::size_t group, std::size_t first_row, std::size_t last_row,
               std::size_t begin, std::size_t end, Scratch& scratch) {
  const std::size_t lanes = call.kernels.lanes;
  ConvolutionTile tile;
  tile.operand_step = tile.sum_step = scratch.operands.columns();
  tile.k = end - begin;
  tile.first = begin == 0;
  const std::size_t vectors = tile.operand_step / lanes;
  for (std::size_t row = first_row; row < last_row; row += kWeightRows) {
    tile.rows = std::min(kWeightRows, call.cut.rows - row);
    tile.weights = call.weights(group, row, begin, end);
    for (std::size_t v = 0; v < vectors; v += kTileVectors) {
      tile.vectors = std::min(kTileVectors, vectors - v);
      tile.operands = scratch.rows.data() + v * lanes;
      tile.sums = scratch.sums.data() + (row - first_row) * tile.sum_step + v * lanes;
      call.kernels.tile(tile);
    }
  }
}

// Results of one channel, of which `sums` are the dot products, to where they belong.
void put_row(const Call& call, std::size_t channel, const OutputRow& row, const float* sums,
             float* buffer) {
  const float* bias = call.bias != nullptr ? call.bias + channel : nullptr;
  const auto offset = static_cast<std::ptrdiff_t>(row.image) * call.out.batch +
                      static_cast<std::ptrdiff_t>(channel) * call.out.channel +
                      static_cast<std::ptrdiff_t>(row.row) * call.out.row +
                      static_cast<std::ptrdiff_t>(row.column) * call.out.column;
  const std::size_t size = element_size(call.output.element);
  auto* to = static_cast<std::byte*>(call.output.data) + offset * static_cast<std::ptrdiff_t>(size);
  if (call.out.column == 1 && call.output.element == Element::float32) {
    call.kernels.finish(sums, bias, reinterpret_cast<float*>(to), row.count);
    return;
  }
  call.kernels.finish(sums, bias, buffer, row.count);
  auto* values = reinterpret_cast<std::byte*>(buffer);
  if (call.output.element != Element::float32) {
    narrow(buffer, call.output.element, buffer, row.count);
  }
  const std::ptrdiff_t step = call.out.column * static_cast<std::ptrdiff_t>(size);
  for (std::size_t i = 0; i < row.count; ++i) {
    std::memcpy(to + static_cast<std::ptrdiff_t>(i) * step, values + i * size, size);
  }
}

void put_results(const Call& call, std::size_t channel, std::size_t first, std::size_t count,
                 const float* sums, float* buffer) {
  std::array<std::size_t, 2> out = call.convolution.out();
  const bool one_row = call.out.row == static_cast<std::ptrdiff_t>(out[1]) * call.out.column;
  if (one_row) out = {1, out[0] * out[1]};
  for_each_output_row(out, first, count, [&](const OutputRow& row) {
    put_row(call, channel, row, sums + row.at, buffer);
  });
}

// Run `run` of the results for rows first_row … last_row − 1 of one group.
void run_group(const Call& call, std::size_t group, std::size_t first_row, std::size_t last_row,
               std::size_t first, std::size_t count, Scratch& scratch) {
  const std::size_t length = call.convolution.length(), columns = scratch.operands.columns();
  const float* channels =
      call.input + static_cast<std::ptrdiff_t>(group * call.in_group()) * call.in.channel;
  scratch.sums.resize((last_row - first_row) * columns + kMostLanes);
  if (length == 0) std::fill(scratch.sums.begin(), scratch.sums.end(), 0.0f);
  for (std::size_t begin = 0; begin < length; begin += kDotBlock) {
    const std::size_t end = std::min(length, begin + kDotBlock);
    scratch.operands.fill(call.kernels, channels, begin, end, scratch.rows.data());
    add_block(call, group, first_row, last_row, begin, end, scratch);
  }
  for (std::size_t row = first_row; row < last_row; ++row) {
    put_results(call, group * call.cut.rows + row, first, count,
                scratch.sums.data() + (row - first_row) * columns, scratch.row.data());
  }
}

void run_task(const Call& call, std::size_t task) {
  thread_local Scratch scratch;
  const Cut& cut = call.cut;
  const std::size_t lanes = call.kernels.lanes, run = task % cut.runs;
  const std::size_t row_run = task / cut.runs % cut.row_runs;
  const std::size_t first_group = task / cut.runs / cut.row_runs * cut.groups_of_task;
  const std::size_t first = cut.vectors * run / cut.runs * lanes;
  const std::size_t last = std::min(cut.results, cut.vectors * (run + 1) / cut.runs * lanes);
  scratch.row.resize(kTaskTiles * kTileVectors * lanes);
  scratch.operands.plan(call.convolution, call.in, first, last - first, lanes);
  scratch.rows.resize(scratch.operands.size());
  const std::size_t last_group = std::min(cut.groups, first_group + cut.groups_of_task);
  for (std::size_t group = first_group; group < last_group; ++group) {
    run_group(call, group, cut.first_row(row_run), cut.first_row(row_run + 1), first, last - first,
              scratch);
  }
}

}  // namespace

std::array<std::size_t, 2> Convolution::out() const {
  std::array<std::size_t, 2> out;
  for (std::size_t axis = 0; axis < 2; ++axis) {
    const std::size_t reach = dilation[axis] * (kernel[axis] - 1) + 1;
    if (transposed) {
      const std::size_t full = (in[axis] - 1) * stride[axis] + reach + output_padding[axis];
      out[axis] = full > 2 * padding[axis] ? full - 2 * padding[axis] : 0;
    } else {
      const std::size_t padded = in[axis] + 2 * padding[axis];
      out[axis] = padded < reach ? 0 : (padded - reach) / stride[axis] + 1;
    }
  }
  return out;
}

std::size_t packed_weights_size(const Convolution& convolution) {
  return convolution.out_channels * convolution.length();
}

void pack_weights(const Convolution& c, const Input& weights, float* packed) {
  const std::size_t rows = c.out_channels / c.groups, columns = c.in_channels / c.groups;
  const PlaneStrides strides = plane_strides(weights.strides);
  const auto* data = static_cast<const std::byte*>(weights.data);
  // The weight between an output and an input channel of a group; a transposed kernel is reversed.
  const auto weight = [&](std::size_t group, std::size_t row, std::size_t column, std::size_t tap) {
    std::size_t first = group * rows + row, second = column;
    if (c.transposed) {
      first = group * columns + column, second = row, tap = c.taps() - 1 - tap;
    }
    const auto at = static_cast<std::ptrdiff_t>(first) * strides.batch +
                    static_cast<std::ptrdiff_t>(second) * strides.channel +
                    static_cast<std::ptrdiff_t>(tap / c.kernel[1]) * strides.row +
                    static_cast<std::ptrdiff_t>(tap % c.kernel[1]) * strides.column;
    float value;
    widen(data + at * static_cast<std::ptrdiff_t>(element_size(weights.element)), weights.element,
          &value, 1);
    return value;
  };
  // In the order in which they are read: block by block, in each tile by tile, without gaps.
  for (std::size_t group = 0; group < c.groups; ++group) {
    for (std::size_t begin = 0; begin < c.length(); begin += kDotBlock) {
      const std::size_t end = std::min(c.length(), begin + kDotBlock);
      for (std::size_t tile = 0; tile < rows; tile += kWeightRows) {
        for (std::size_t k = begin; k < end; ++k) {
          for (std::size_t row = tile; row < std::min(rows, tile + kWeightRows); ++row) {
            *packed++ = weight(group, row, k / c.taps(), k % c.taps());
          }
        }
      }
    }
  }
}

void convolve(const Convolution& convolution, const Input& input, const float* packed,
              const float* bias, const Output& output, ParallelFor parallel) {
  const ConvolutionKernels& kernels = convolution_kernels();
  const Cut cut(convolution, kernels.lanes);
  if (cut.results == 0) return;
  PlaneStrides in = plane_strides(input.strides);
  const auto* data = static_cast<const float*>(input.data);
  std::unique_ptr<float[]> wide;
  if (input.element != Element::float32) {
    const std::array<std::size_t, 2>& size = convolution.in;
    const std::size_t plane = size[0] * size[1];
    wide.reset(new float[convolution.batch * convolution.in_channels * plane]);
    const std::int64_t strides[] = {static_cast<std::int64_t>(convolution.in_channels * plane),
                                    static_cast<std::int64_t>(plane),
                                    static_cast<std::int64_t>(size[1]), 1};
    elementwise(ElementOp::identity, {&input, 1}, {},
                {wide.get(), Element::float32, input.sizes, strides}, parallel);
    data = wide.get();
    in = plane_strides(strides);
  }
  const Call call{.convolution = convolution,
                  .cut = cut,
                  .input = data,
                  .in = in,
                  .packed = packed,
                  .bias = bias,
                  .output = output,
                  .kernels = kernels};
  for_each_task(parallel, cut.tasks(), [&](std::size_t task) { run_task(call, task); });
}

}  // namespace torchnotary::exact
