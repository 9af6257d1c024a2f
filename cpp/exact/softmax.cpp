#include "exact/softmax.h"

#include "exact/elementary.h"
#include "exact/row_kernels.h"
#include "exact/strided_rows.h"

namespace torchnotary::exact {
namespace {

template <class Body>
void map_axis(const Input& x, const Output& y, std::size_t axis, ParallelFor parallel, Body body) {
  const std::size_t reduced[] = {axis};
  const StridedRows from(x.data, x.element, x.sizes, x.strides, reduced);
  const StridedRows to(y.data, y.element, y.sizes, y.strides, reduced);
  const std::size_t n = from.length();
  if (n == 0) return;
  map_rows(parallel, from, to,
           [&](const float* rows, std::ptrdiff_t stride, float* out, std::ptrdiff_t out_stride,
               std::size_t, std::size_t count) {
             for (std::size_t r = 0; r < count; ++r, rows += stride, out += out_stride) {
               body(rows, out, n);
             }
           });
}

float sum(const RowKernels& kernels, const float* x, std::size_t n) {
  float total;
  sums_of_rows(kernels, LaneOp::sum, x, 0, 1, n, nullptr, &total);
  return total;
}

}  // namespace

void softmax(const Input& x, const Output& y, std::size_t axis, ParallelFor parallel) {
  const RowKernels& kernels = row_kernels();
  map_axis(x, y, axis, parallel, [&](const float* row, float* out, std::size_t n) {
    kernels.exponentials(row, kernels.greatest(row, n), out, n);
    kernels.divide(out, sum(kernels, out, n), n);
  });
}

void log_softmax(const Input& x, const Output& y, std::size_t axis, ParallelFor parallel) {
  const RowKernels& kernels = row_kernels();
  const auto log = elementary_kernels().log;
  map_axis(x, y, axis, parallel, [&](const float* row, float* out, std::size_t n) {
    static thread_local std::vector<float> exponentials;
    if (exponentials.size() < n) exponentials.resize(n);
    const float m = kernels.greatest(row, n);
    kernels.exponentials(row, m, exponentials.data(), n);
    float l = sum(kernels, exponentials.data(), n);
    log(&l, &l, 1);
    kernels.subtract(row, m, l, out, n);
  });
}

}  // namespace torchnotary::exact
