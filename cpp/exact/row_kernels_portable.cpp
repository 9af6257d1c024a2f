// Sums, norms and softmax over rows in plain C++.
#include <algorithm>
#include <cmath>
#include <limits>

#include "exact/elementary_portable.h"
#include "exact/row_kernels.h"
#include "exact/storage.h"

namespace torchnotary::exact {
namespace {

template <class T>
void take(LaneOp op, const float* x, std::size_t n, float mean, T (&lanes)[kSumLanes]) {
  for (std::size_t i = 0; i < n; ++i) {
    T& lane = lanes[i % kSumLanes];
    if (op == LaneOp::sum) {
      lane = lane + static_cast<T>(x[i]);
    } else if (op == LaneOp::product) {
      lane = lane * static_cast<T>(x[i]);
    } else {
      const T d = static_cast<T>(x[i] - mean);
      lane = std::fma(d, d, lane);
    }
  }
}

void sums(LaneOp op, const float* x, std::ptrdiff_t stride, std::size_t rows, std::size_t n,
          const float* means, float* out) {
  for (std::size_t r = 0; r < rows; ++r) {
    float lanes[kSumLanes];
    std::fill(lanes, lanes + kSumLanes, op == LaneOp::product ? 1.0f : 0.0f);
    take(op, x + static_cast<std::ptrdiff_t>(r) * stride, n, means != nullptr ? means[r] : 0.0f,
         lanes);
    out[r] = op == LaneOp::product ? product_of_lanes(lanes) : sum_of_lanes(lanes);
  }
}

void wide_lanes(LaneOp op, const float* x, std::size_t n, float mean, double (&lanes)[kSumLanes]) {
  take(op, x, n, mean, lanes);
}

float greatest(const float* x, std::size_t n) {
  float most = x[0];
  for (std::size_t i = 0; i < n; ++i) {
    if (x[i] != x[i]) return std::numeric_limits<float>::quiet_NaN();
    if (x[i] > most || (x[i] == most && !std::signbit(x[i]))) most = x[i];
  }
  return most;
}

float least(const float* x, std::size_t n) {
  float most = x[0];
  for (std::size_t i = 0; i < n; ++i) {
    if (x[i] != x[i]) return std::numeric_limits<float>::quiet_NaN();
    if (x[i] < most || (x[i] == most && std::signbit(x[i]))) most = x[i];
  }
  return most;
}

void exponentials(const float* x, float m, float* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] = portable::Exp(portable::hn::Lane<float>(), x[i] - m);
}

void divide(float* y, float divisor, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] = canonical(y[i] / divisor);
}

void subtract(const float* x, float m, float l, float* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) y[i] = canonical((x[i] - m) - l);
}

void normalise(const float* x, const Normalisation& how, float* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    const std::size_t p = how.one_parameter ? 0 : i;
    const float v = (x[i] - how.mean) * how.factor;
    if (how.weight != nullptr && how.bias != nullptr) {
      y[i] = canonical(std::fma(v, how.weight[p], how.bias[p]));
    } else if (how.weight != nullptr) {
      y[i] = canonical(v * how.weight[p]);
    } else {
      y[i] = canonical(how.bias != nullptr ? v + how.bias[p] : v);
    }
  }
}

void normalise_each(const float* x, const float* means, const float* weights, const float* biases,
                    float* y, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) {
    const float d = x[i] - means[i];
    y[i] = canonical(biases != nullptr ? std::fma(d, weights[i], biases[i]) : d * weights[i]);
  }
}

}  // namespace

constexpr RowKernels kRowPortable = {sums,   wide_lanes, greatest,  least,         exponentials,
                                     divide, subtract,   normalise, normalise_each};

}  // namespace torchnotary::exact
