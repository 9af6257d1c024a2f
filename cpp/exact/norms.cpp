#include "exact/norms.h"

#include <cmath>
#include <numeric>

#include "exact/convert.h"
#include "exact/row_kernels.h"
#include "exact/strided_rows.h"

namespace torchnotary::exact {
namespace {

// A parameter as binary32; null where there is none.
class Widened {
 public:
  Widened(Parameter parameter, std::size_t n) {
    if (parameter.data == nullptr) return;
    if (parameter.element == Element::float32) {
      data_ = static_cast<const float*>(parameter.data);
      return;
    }
    values_.resize(n);
    widen(parameter.data, parameter.element, values_.data(), n);
    data_ = values_.data();
  }
  const float* data() const { return data_; }
  const float* at(std::size_t i) const { return data_ != nullptr ? data_ + i : nullptr; }

 private:
  std::vector<float> values_;
  const float* data_ = nullptr;
};

// μ and 1 ÷ √(S(x - μ, x - μ) ÷ N + eps) of rows; μ is taken as +0 unless it is `centred`.
void moments(const RowKernels& kernels, bool centred, const float* x, std::ptrdiff_t stride,
             std::size_t rows, std::size_t n, float eps, float* means, float* factors) {
  const auto elements = static_cast<float>(n);
  std::fill(means, means + rows, 0.0f);
  if (centred) {
    sums_of_rows(kernels, LaneOp::sum, x, stride, rows, n, nullptr, means);
    for (std::size_t r = 0; r < rows; ++r) means[r] = means[r] / elements;
  }
  sums_of_rows(kernels, LaneOp::squares, x, stride, rows, n, means, factors);
  for (std::size_t r = 0; r < rows; ++r) {
    factors[r] = 1 / std::sqrt(factors[r] / elements + eps);
  }
}

void normalise_last(const Input& x, const Output& y, std::size_t axes, bool centred,
                    Parameter weight, Parameter bias, float eps, ParallelFor parallel) {
  std::vector<std::size_t> reduced(axes);
  std::iota(reduced.begin(), reduced.end(), x.sizes.size() - axes);
  const StridedRows from(x.data, x.element, x.sizes, x.strides, reduced);
  const StridedRows to(y.data, y.element, y.sizes, y.strides, reduced);
  const std::size_t n = from.length();
  if (n == 0) return;
  const Widened w(weight, n), b(bias, n);
  const RowKernels& kernels = row_kernels();
  map_rows(parallel, from, to,
           [&](const float* rows, std::ptrdiff_t stride, float* out, std::ptrdiff_t out_stride,
               std::size_t, std::size_t count) {
             float means[kMostRowsTogether], factors[kMostRowsTogether];
             moments(kernels, centred, rows, stride, count, n, eps, means, factors);
             for (std::size_t r = 0; r < count; ++r, rows += stride, out += out_stride) {
               kernels.normalise(
                   rows,
                   {.mean = means[r], .factor = factors[r], .weight = w.data(), .bias = b.data()},
                   out, n);
             }
           });
}

// A tensor with the channels of axis 1 cut into groups: (batch, group, channel of it, positions …).
struct Grouped {
  std::vector<std::int64_t> sizes, strides;

  Grouped(std::span<const std::int64_t> s, std::span<const std::int64_t> t, std::size_t groups)
      : sizes(s.begin(), s.end()), strides(t.begin(), t.end()) {
    const std::int64_t channels = sizes[1] / static_cast<std::int64_t>(groups);
    sizes[1] = channels;
    sizes.insert(sizes.begin() + 1, static_cast<std::int64_t>(groups));
    strides.insert(strides.begin() + 1, strides[1] * channels);
  }
};

}  // namespace

void layer_norm(const Input& x, const Output& y, std::size_t axes, Parameter weight, Parameter bias,
                float eps, ParallelFor parallel) {
  normalise_last(x, y, axes, true, weight, bias, eps, parallel);
}

void rms_norm(const Input& x, const Output& y, std::size_t axes, Parameter weight, float eps,
              ParallelFor parallel) {
  normalise_last(x, y, axes, false, weight, {}, eps, parallel);
}

void batch_norm(const Input& x, const Output& y, Parameter mean, Parameter variance,
                Parameter weight, Parameter bias, float eps, ParallelFor parallel) {
  const auto channels = static_cast<std::size_t>(x.sizes[1]);
  const Widened means(mean, channels), variances(variance, channels), w(weight, channels),
      b(bias, channels);
  std::vector<float> factors(channels);
  {
    const FloatEnvironment environment;
    for (std::size_t c = 0; c < channels; ++c) {
      factors[c] = 1 / std::sqrt(variances.data()[c] + eps);
      if (w.data() != nullptr) factors[c] = factors[c] * w.data()[c];
    }
  }
  // Rows go along the channels where these are adjacent, and along the positions elsewhere.
  const bool across = x.strides[1] == 1 && y.strides[1] == 1;
  std::vector<std::size_t> reduced = {1};
  if (!across) {
    reduced.resize(x.sizes.size() - 2);
    std::iota(reduced.begin(), reduced.end(), 2);
  }
  const StridedRows from(x.data, x.element, x.sizes, x.strides, reduced);
  const StridedRows to(y.data, y.element, y.sizes, y.strides, reduced);
  const std::size_t n = from.length();
  const RowKernels& kernels = row_kernels();
  map_rows(parallel, from, to,
           [&](const float* rows, std::ptrdiff_t stride, float* out, std::ptrdiff_t out_stride,
               std::size_t first, std::size_t count) {
             for (std::size_t r = 0; r < count; ++r, rows += stride, out += out_stride) {
               const std::size_t c = (first + r) % channels;
               // With a factor of 1, x - mean reaches the fma as it is.
               across ? kernels.normalise_each(rows, means.data(), factors.data(), b.data(), out, n)
                      : kernels.normalise(rows,
                                          {.mean = means.data()[c],
                                           .factor = 1,
                                           .weight = &factors[c],
                                           .bias = b.at(c),
                                           .one_parameter = true},
                                          out, n);
             }
           });
}

void group_norm(const Input& x, const Output& y, std::size_t groups, Parameter weight,
                Parameter bias, float eps, ParallelFor parallel) {
  const Grouped in(x.sizes, x.strides, groups), out(y.sizes, y.strides, groups);
  std::vector<std::size_t> reduced(in.sizes.size() - 2);
  std::iota(reduced.begin(), reduced.end(), 2);
  const StridedRows from(x.data, x.element, in.sizes, in.strides, reduced);
  const StridedRows to(y.data, y.element, out.sizes, out.strides, reduced);
  const std::size_t n = from.length();
  if (n == 0) return;
  const auto channels = static_cast<std::size_t>(in.sizes[2]);
  const std::size_t positions = n / channels;
  const Widened w(weight, groups * channels), b(bias, groups * channels);
  const RowKernels& kernels = row_kernels();
  map_rows(parallel, from, to,
           [&](const float* rows, std::ptrdiff_t stride, float* result, std::ptrdiff_t out_stride,
               std::size_t first, std::size_t count) {
             float means[kMostRowsTogether], factors[kMostRowsTogether];
             moments(kernels, true, rows, stride, count, n, eps, means, factors);
             for (std::size_t r = 0; r < count; ++r) {
               for (std::size_t c = 0; c < channels; ++c) {
                 const std::size_t channel = (first + r) % groups * channels + c;
                 const auto row = static_cast<std::ptrdiff_t>(r);
                 const auto at = static_cast<std::ptrdiff_t>(c * positions);
                 kernels.normalise(rows + row * stride + at,
                                   {.mean = means[r],
                                    .factor = factors[r],
                                    .weight = w.at(channel),
                                    .bias = b.at(channel),
                                    .one_parameter = true},
                                   result + row * out_stride + at, positions);
               }
             }
           });
}

}  // namespace torchnotary::exact
