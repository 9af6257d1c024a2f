#include "exact/sums.h"

#include <cmath>
#include <functional>

#include "exact/elementary.h"
#include "exact/row_kernels.h"
#include "exact/strided_rows.h"
#include "hashing/errors.h"

namespace torchnotary::exact {
namespace {

// What is done to the elements of a row before they are reduced: nothing, or f(x, y, n) to y.
class Prepared {
 public:
  enum Kind { kAsIs, kWithoutNans, kAbsolute, kExponential };

  Prepared(Kind kind, const RowKernels& kernels) : kind_(kind), kernels_(kernels) {}

  const float* operator()(const float* x, float m, float* y, std::size_t n) const {
    switch (kind_) {
      case kAsIs:
        return x;
      case kWithoutNans:
        for (std::size_t i = 0; i < n; ++i) y[i] = x[i] == x[i] ? x[i] : 0.0f;
        return y;
      case kAbsolute:
        for (std::size_t i = 0; i < n; ++i) y[i] = std::fabs(x[i]);
        return y;
      case kExponential:
        kernels_.exponentials(x, m, y, n);
        return y;
    }
    return x;
  }

 private:
  const Kind kind_;
  const RowKernels& kernels_;
};

// A block of rows, each read in parts that fit into the first-level cache.
class Block {
 public:
  Block(const StridedRows& x, std::size_t first, std::size_t count)
      : x_(x), first_(first), count_(count), n_(x.length()) {}

  std::size_t count() const { return count_; }
  std::size_t length() const { return n_; }

  // out[r] = the sum, S(x - means[r], x - means[r]) or product of row r. Without means they are 0.
  void reduce(LaneOp op, Prepared::Kind kind, const float* means, float* out) const {
    const Prepared prepared(kind, kernels_);
    if (n_ <= kMostInBinary32) {
      const float* x = read(first_, count_, 0, n_, prepared, means);
      return kernels_.sums(op, x, stride_, count_, n_,
                           kind == Prepared::kExponential ? nullptr : means, out);
    }
    double lanes[kMostRowsTogether][kSumLanes];
    std::fill_n(lanes[0], count_ * kSumLanes, op == LaneOp::product ? 1.0 : 0.0);
    for_each_part([&](std::size_t begin, std::size_t n) {
      const float* x = read(first_, count_, begin, n, prepared, means);
      for (std::size_t r = 0; r < count_; ++r, x += stride_) {
        kernels_.wide_lanes(op, x, n, means != nullptr ? means[r] : 0, lanes[r]);
      }
    });
    for (std::size_t r = 0; r < count_; ++r) {
      out[r] = static_cast<float>(op == LaneOp::product ? product_of_lanes(lanes[r])
                                                        : sum_of_lanes(lanes[r]));
    }
  }

  // The maximum or minimum of each row.
  void furthest(bool greatest, Prepared::Kind kind, float* out) const {
    const Prepared prepared(kind, kernels_);
    const auto furthest = greatest ? kernels_.greatest : kernels_.least;
    for_each_part([&](std::size_t begin, std::size_t n) {
      const float* x = read(first_, count_, begin, n, prepared, nullptr);
      for (std::size_t r = 0; r < count_; ++r, x += stride_) {
        const float most = furthest(x, n);
        const float both[2] = {begin == 0 ? most : out[r], most};
        out[r] = n == n_ ? most : furthest(both, 2);
      }
    });
  }

 private:
  static constexpr std::size_t kPart = kMostInBinary32;
  static_assert(kPart % kSumLanes == 0);

  template <class Part>
  void for_each_part(Part part) const {
    for (std::size_t begin = 0; begin < n_; begin += kPart) {
      part(begin, std::min(kPart, n_ - begin));
    }
  }

  const float* read(std::size_t first, std::size_t count, std::size_t begin, std::size_t n,
                    const Prepared& prepared, const float* means) const {
    RowScratch& scratch = RowScratch::of_thread(count * n);
    const float* x = x_.read(first, count, begin, n, scratch.x.data(), stride_);
    const float* all = x;
    for (std::size_t r = 0; r < count; ++r) {
      const float* row = x + static_cast<std::ptrdiff_t>(r) * stride_;
      float* to = scratch.y.data() + r * n;
      const float* is = prepared(row, means != nullptr ? means[r] : 0, to, n);
      if (r == 0) all = is;
    }
    if (all != x) stride_ = static_cast<std::ptrdiff_t>(n);
    return all;
  }

  const StridedRows& x_;
  const std::size_t first_, count_, n_;
  const RowKernels& kernels_ = row_kernels();
  mutable std::ptrdiff_t stride_ = 0;
};

void mean(const Block& x, float* out) {
  x.reduce(LaneOp::sum, Prepared::kAsIs, nullptr, out);
  for (std::size_t r = 0; r < x.count(); ++r) out[r] = out[r] / static_cast<float>(x.length());
}

void variance(const Block& x, double correction, float* out) {
  float means[kMostRowsTogether];
  mean(x, means);
  x.reduce(LaneOp::squares, Prepared::kAsIs, means, out);
  const double left = static_cast<double>(static_cast<float>(x.length())) - correction;
  const auto divisor = static_cast<float>(left > 0 ? left : 0.0);
  for (std::size_t r = 0; r < x.count(); ++r) out[r] = out[r] / divisor;
}

void logsumexp(const Block& x, float* out) {
  float most[kMostRowsTogether];
  x.furthest(true, Prepared::kAsIs, most);
  for (std::size_t r = 0; r < x.count(); ++r) {
    if (std::isinf(most[r])) most[r] = 0;
  }
  x.reduce(LaneOp::sum, Prepared::kExponential, most, out);
  elementary_kernels().log(out, out, x.count());
  for (std::size_t r = 0; r < x.count(); ++r) out[r] = out[r] + most[r];
}

void square_roots(float* x, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) x[i] = std::sqrt(x[i]);
}

void reduce_block(Reduction reduction, const Block& x, double correction, float* out) {
  switch (reduction) {
    case Reduction::sum:
      return x.reduce(LaneOp::sum, Prepared::kAsIs, nullptr, out);
    case Reduction::nansum:
      return x.reduce(LaneOp::sum, Prepared::kWithoutNans, nullptr, out);
    case Reduction::mean:
      return mean(x, out);
    case Reduction::variance:
      return variance(x, correction, out);
    case Reduction::standard_deviation:
      variance(x, correction, out);
      return square_roots(out, x.count());
    case Reduction::product:
      return x.reduce(LaneOp::product, Prepared::kAsIs, nullptr, out);
    case Reduction::greatest:
      return x.furthest(true, Prepared::kAsIs, out);
    case Reduction::least:
      return x.furthest(false, Prepared::kAsIs, out);
    case Reduction::norm_1:
      return x.reduce(LaneOp::sum, Prepared::kAbsolute, nullptr, out);
    case Reduction::norm_2:
      x.reduce(LaneOp::squares, Prepared::kAsIs, nullptr, out);
      return square_roots(out, x.count());
    case Reduction::norm_infinity:
      return x.furthest(true, Prepared::kAbsolute, out);
    case Reduction::logsumexp:
      return logsumexp(x, out);
  }
}

bool needs_an_element(Reduction reduction) {
  return reduction == Reduction::greatest || reduction == Reduction::least ||
         reduction == Reduction::norm_infinity || reduction == Reduction::logsumexp;
}

}  // namespace

void reduce(Reduction reduction, const Input& x, std::span<const std::size_t> axes, const Output& y,
            double correction, ParallelFor parallel) {
  const StridedRows rows(x.data, x.element, x.sizes, x.strides, axes);
  std::vector<std::size_t> all(y.sizes.size());
  for (std::size_t axis = 0; axis < all.size(); ++axis) all[axis] = axis;
  const StridedRows results(y.data, y.element, y.sizes, y.strides, all);
  if (rows.rows() == 0) return;
  if (rows.length() == 0 && needs_an_element(reduction)) {
    throw NotaryError("a maximum or minimum of no elements is asked for", "1 or more", "0",
                      "reduce over axes that have elements");
  }
  // Rows are read in parts, so that even long ones can be neighbours that are read together.
  const std::size_t part = std::min(rows.length(), kMostInBinary32);
  for_each_rows(parallel, rows.rows(), part, [&](std::size_t first, std::size_t count) {
    float out[kMostRowsTogether];
    reduce_block(reduction, Block(rows, first, count), correction, out);
    results.write(0, 1, first, count, out, 0);
  });
}

namespace {

template <class Join>
void cumulate(const Input& x, const Output& y, std::size_t axis, ParallelFor parallel, Join join) {
  const std::size_t along[] = {axis};
  const StridedRows from(x.data, x.element, x.sizes, x.strides, along);
  const StridedRows to(y.data, y.element, y.sizes, y.strides, along);
  const std::size_t n = from.length();
  if (n == 0) return;
  map_rows(parallel, from, to,
           [&](const float* rows, std::ptrdiff_t stride, float* out, std::ptrdiff_t out_stride,
               std::size_t, std::size_t count) {
             for (std::size_t r = 0; r < count; ++r, rows += stride, out += out_stride) {
               float value = rows[0];
               out[0] = canonical(value);
               for (std::size_t i = 1; i < n; ++i) {
                 value = join(value, rows[i]);
                 out[i] = canonical(value);
               }
             }
           });
}

}  // namespace

void cumsum(const Input& x, const Output& y, std::size_t axis, ParallelFor parallel) {
  cumulate(x, y, axis, parallel, std::plus<float>());
}

void cumprod(const Input& x, const Output& y, std::size_t axis, ParallelFor parallel) {
  cumulate(x, y, axis, parallel, std::multiplies<float>());
}

}  // namespace torchnotary::exact
