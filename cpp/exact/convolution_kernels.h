// The one interface that every CPU path of convolutions implements.
#pragma once

#include <cstddef>

#include "exact/dot_block.h"
#include "hashing/cpu.h"

namespace torchnotary::exact {

// Rows of weights that lie side by side in the pack, and the most that a kernel takes at once.
inline constexpr std::size_t kWeightRows = 8;
// Vectors of positions that a kernel takes at once.
inline constexpr std::size_t kTileVectors = 3;
// No path has wider vectors.
inline constexpr std::size_t kMostLanes = 16;

// One block of the dot products of `rows` output channels at `vectors` × lanes positions.
struct ConvolutionTile {
  const float* weights;   // [k][rows]
  std::size_t rows;       // 1 … kWeightRows
  const float* operands;  // [k][operand_step]
  std::size_t operand_step;
  std::size_t vectors;  // 1 … kTileVectors
  std::size_t k;        // 1 … kDotBlock
  float* sums;          // [rows][sum_step]
  std::size_t sum_step;
  bool first;  // whether the block is the first one: sums are written, and otherwise added to
};

// Floats to another place: to[i × to_step] = from[i × from_step].
struct ConvolutionCopy {
  std::size_t to, to_step;
  std::ptrdiff_t from, from_step;
  std::size_t count;
};

struct ConvolutionKernels {
  std::size_t lanes;
  // `to` and `from` of the copies count from the pointers.
  void (*copy)(const ConvolutionCopy* copies, std::size_t n, const float* from, float* to);
  // The same for steps of 1, in the order given: each may read and write up to kMostLanes − 1
  // floats more than it should.
  void (*copy_pieces)(const ConvolutionCopy* pieces, std::size_t n, const float* from, float* to);
  void (*tile)(const ConvolutionTile& tile);
  // out[i] = sums[i] + bias (if there is one), with the NaN of results; out may be sums.
  void (*finish)(const float* sums, const float* bias, float* out, std::size_t n);
};

// The implementation for a path that this machine supports.
const ConvolutionKernels& convolution_kernels(CpuPath path);

// The plain C++ one, which stands beside every vector path.
extern const ConvolutionKernels kConvolutionPortable;

// The implementation for the path in use.
inline const ConvolutionKernels& convolution_kernels() { return convolution_kernels(cpu_path()); }

}  // namespace torchnotary::exact
