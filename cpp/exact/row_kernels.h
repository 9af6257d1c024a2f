// The one interface that every CPU path of sums, norms and softmax implements, over rows of
// adjacent binary32 elements (docs/exact-profile.md, section 7).
#pragma once

#include <cstddef>

#include "exact/lanes.h"
#include "hashing/cpu.h"

namespace torchnotary::exact {

enum class LaneOp { sum, squares, product };  // what a lane takes in: + x, fma(d, d, ·), × x

// What takes a row to its normalised form: with d = x - mean, fma(d × factor, weight, bias), or
// (d × factor) × weight, or (d × factor) + bias, or d × factor.
struct Normalisation {
  float mean = 0;
  float factor = 1;
  const float* weight = nullptr;
  const float* bias = nullptr;
  bool one_parameter = false;  // weight and bias point to one number for the whole row
};

struct RowKernels {
  // out[r] = the sum of the n ≤ kMostInBinary32 elements of row r, `stride` floats after the one
  // before it; for `squares` S(d, d), d = x - means[r], where means may be null for 0.
  void (*sums)(LaneOp op, const float* x, std::ptrdiff_t stride, std::size_t rows, std::size_t n,
               const float* means, float* out);

  // Goes on with the lanes of a longer row, by n elements: a multiple of kSumLanes, or the last
  // ones.
  void (*wide_lanes)(LaneOp op, const float* x, std::size_t n, float mean,
                     double (&lanes)[kSumLanes]);

  // The maximum or minimum of n ≥ 1 elements, a NaN if there is one.
  float (*greatest)(const float* x, std::size_t n);
  float (*least)(const float* x, std::size_t n);

  // y[i] = exp(x[i] - m); y may be x.
  void (*exponentials)(const float* x, float m, float* y, std::size_t n);

  // y[i] = y[i] ÷ divisor, NaNs canonical.
  void (*divide)(float* y, float divisor, std::size_t n);

  // y[i] = (x[i] - m) - l, NaNs canonical.
  void (*subtract)(const float* x, float m, float l, float* y, std::size_t n);

  // NaNs canonical.
  void (*normalise)(const float* x, const Normalisation& how, float* y, std::size_t n);

  // y[i] = fma(x[i] - means[i], weights[i], biases[i]), or without biases (x[i] - means[i]) ×
  // weights[i], NaNs canonical.
  void (*normalise_each)(const float* x, const float* means, const float* weights,
                         const float* biases, float* y, std::size_t n);
};

const RowKernels& row_kernels(CpuPath path);
extern const RowKernels kRowPortable;

inline const RowKernels& row_kernels() { return row_kernels(cpu_path()); }

// kernels.sums of rows of any length; not for products.
inline void sums_of_rows(const RowKernels& kernels, LaneOp op, const float* x,
                         std::ptrdiff_t stride, std::size_t rows, std::size_t n, const float* means,
                         float* out) {
  if (n <= kMostInBinary32) return kernels.sums(op, x, stride, rows, n, means, out);
  for (std::size_t r = 0; r < rows; ++r) {
    double lanes[kSumLanes] = {};
    kernels.wide_lanes(op, x + static_cast<std::ptrdiff_t>(r) * stride, n,
                       means != nullptr ? means[r] : 0.0f, lanes);
    out[r] = static_cast<float>(sum_of_lanes(lanes));
  }
}

}  // namespace torchnotary::exact
