// linear: a product with weights that were packed once.
#include "exact/gemm.h"

#include <algorithm>

#include "exact/environment.h"
#include "exact/gemm_blocks.h"
#include "tensor/transpose.h"

namespace torchnotary::exact {
namespace {

// Of one task at most.
constexpr std::size_t kLinearRows = 1024;

using Left = decltype(Product::left);

void run_linear(Left left, std::size_t m, const PackedMatrix& weights, const Epilogue& epilogue,
                const MatrixOut& out, ParallelFor parallel) {
  if (m == 0 || weights.n() == 0) return;
  const GemmKernels& kernels = gemm_kernels(weights.path());
  const std::size_t k_all = weights.k();
  const Panels panels(weights.n(), kernels.units);
  const std::size_t item = element_size(weights.storage());
  const auto right = [&](std::size_t first, std::size_t count, std::size_t k, std::size_t,
                         PanelView* views) {
    for (std::size_t i = 0; i < count; ++i) {
      const std::size_t width = panels.width(first + i) * kUnit;
      const std::size_t at = panels.begin(first + i) * kUnit * k_all + k * width;
      views[i] = {static_cast<const char*>(weights.memory()) + at * item,
                  static_cast<std::ptrdiff_t>(width)};
    }
  };
  const Product product = {kernels,           m,   weights.n(), k_all, panels,
                           weights.storage(), out, epilogue,    left,  right};
  const Parts parts(kernels, m, panels, k_all, kLinearRows, 1);
  for_each_task(parallel, parts.count(),
                [&](std::size_t part) { compute(product, parts.rows(part), parts.panels(part)); });
}

}  // namespace

RowsView view_rows(const GemmKernels& kernels, const Matrix& a, std::size_t row, std::size_t rows,
                   std::size_t k, std::size_t k_count, float* tile) {
  const std::size_t item = element_size(a.storage);
  const auto at = [&](std::size_t i) {
    return static_cast<const char*>(a.data) + (static_cast<std::ptrdiff_t>(row + i) * a.row_stride +
                                               static_cast<std::ptrdiff_t>(k) * a.column_stride) *
                                                  static_cast<std::ptrdiff_t>(item);
  };
  if (a.storage == Storage::float32 && a.column_stride == 1) {
    return {reinterpret_cast<const float*>(at(0)), a.row_stride};
  }
  if (a.storage == Storage::float32 && a.row_stride == 1) {
    transpose(reinterpret_cast<const std::byte*>(at(0)),
              a.column_stride * static_cast<std::ptrdiff_t>(item),
              reinterpret_cast<std::byte*>(tile), kDotBlock * sizeof(float), rows, k_count, item);
    return {tile, static_cast<std::ptrdiff_t>(kDotBlock)};
  }
  for (std::size_t i = 0; i < rows; ++i) {
    float* to = tile + i * kDotBlock;
    if (a.column_stride == 1) {
      kernels.widen(at(i), a.storage, k_count, to);
    } else {
      for (std::size_t j = 0; j < k_count; ++j) {
        to[j] = widen_element(at(i), a.storage, static_cast<std::ptrdiff_t>(j) * a.column_stride);
      }
    }
  }
  return {tile, static_cast<std::ptrdiff_t>(kDotBlock)};
}

void linear(const Matrix& a, std::size_t m, const PackedMatrix& weights, const Epilogue& epilogue,
            const MatrixOut& out, ParallelFor parallel) {
  const GemmKernels& kernels = gemm_kernels(weights.path());
  const auto left = [&](std::size_t row, std::size_t rows, std::size_t k, std::size_t k_count,
                        float* tile) { return view_rows(kernels, a, row, rows, k, k_count, tile); };
  run_linear(left, m, weights, epilogue, out, parallel);
}

}  // namespace torchnotary::exact
