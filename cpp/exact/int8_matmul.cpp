// Exact products of int8, by the kernels of float32: binary32 holds every integer up to 2^24, which
// 1,024 products cannot exceed.
#include <algorithm>
#include <array>
#include <cstring>
#include <vector>

#include "exact/environment.h"
#include "exact/gemm.h"
#include "exact/gemm_blocks.h"

namespace torchnotary::exact {
namespace {

constexpr std::size_t kExact = 1024;
static_assert(kExact * 128 * 128 <= 1 << 24 && kExact % kDotBlock == 0);

const std::int8_t* at(const Int8Matrix& matrix, std::size_t row, std::size_t column) {
  return matrix.data + static_cast<std::ptrdiff_t>(row) * matrix.row_stride +
         static_cast<std::ptrdiff_t>(column) * matrix.column_stride;
}

void widen(const std::int8_t* from, std::ptrdiff_t stride, std::size_t count, float* to) {
  if (stride == 1) {
    for (std::size_t i = 0; i < count; ++i) to[i] = from[i];
  } else {
    for (std::size_t i = 0; i < count; ++i) to[i] = from[static_cast<std::ptrdiff_t>(i) * stride];
  }
}

struct Sums {
  std::int32_t* out;
  std::ptrdiff_t stride;
};

// Of the first 1,024: the values lie where the integers go.
void to_integers(const void*, std::size_t, std::size_t, std::size_t count, float* values) {
  for (std::size_t i = 0; i < count; ++i) {
    const auto integer = static_cast<std::int32_t>(values[i]);
    std::memcpy(values + i, &integer, sizeof integer);
  }
}

void add_to_sums(const void* context, std::size_t row, std::size_t column, std::size_t count,
                 float* values) {
  const auto& [out, stride] = *static_cast<const Sums*>(context);
  std::int32_t* sums = out + static_cast<std::ptrdiff_t>(row) * stride + column;
  for (std::size_t i = 0; i < count; ++i) sums[i] += static_cast<std::int32_t>(values[i]);
}

// k [from, from + count) of the product.
void multiply(const Int8Matrix& a, const Int8Matrix& b, std::size_t m, std::size_t n,
              std::size_t from, std::size_t count, const MatrixOut& out, const Epilogue& epilogue,
              ParallelFor parallel) {
  const GemmKernels& kernels = gemm_kernels(cpu_path());
  const Panels panels(n, kernels.units);
  const auto left = [&](std::size_t row, std::size_t rows, std::size_t k, std::size_t k_count,
                        float* tile) -> RowsView {
    for (std::size_t i = 0; i < rows; ++i) {
      widen(at(a, row + i, from + k), a.column_stride, k_count, tile + i * kDotBlock);
    }
    return {tile, static_cast<std::ptrdiff_t>(kDotBlock)};
  };
  const auto right = [&](std::size_t first, std::size_t panel_count, std::size_t k,
                         std::size_t k_count, PanelView* views) {
    std::array<std::byte*, kBlockPanels> to;
    place_panels(panels, first, panel_count, sizeof(float), to.data());
    for (std::size_t i = 0; i < panel_count; ++i) {
      const std::size_t column = panels.begin(first + i) * kUnit;
      const std::size_t width = panels.width(first + i) * kUnit;
      const std::size_t used = std::min(width, n - column);
      float* row = reinterpret_cast<float*>(to[i]);
      for (std::size_t j = 0; j < k_count; ++j, row += width) {
        widen(at(b, from + k + j, column), b.column_stride, used, row);
        std::fill(row + used, row + width, 0.0f);
      }
      views[i] = {to[i], static_cast<std::ptrdiff_t>(width)};
    }
  };
  const Product product = {kernels,          m,   n,        count, panels,
                           Storage::float32, out, epilogue, left,  right};
  const Parts parts(kernels, m, panels, count, 1024, 4);
  for_each_task(parallel, parts.count(),
                [&](std::size_t part) { compute(product, parts.rows(part), parts.panels(part)); });
}

}  // namespace

void int8_matmul(const Int8Matrix& a, const Int8Matrix& b, std::size_t m, std::size_t n,
                 std::size_t k, std::int32_t* out, std::ptrdiff_t out_stride,
                 ParallelFor parallel) {
  if (m == 0 || n == 0) return;
  static_assert(sizeof(float) == sizeof(std::int32_t));
  multiply(a, b, m, n, 0, std::min(k, kExact), {out, Storage::float32, out_stride},
           {.function = to_integers}, parallel);
  if (k <= kExact) return;
  std::vector<float> values(m * n);
  const Sums sums = {out, out_stride};
  for (std::size_t from = kExact; from < k; from += kExact) {
    multiply(a, b, m, n, from, std::min(kExact, k - from),
             {values.data(), Storage::float32, static_cast<std::ptrdiff_t>(n)},
             {.function = add_to_sums, .context = &sums}, parallel);
  }
}

}  // namespace torchnotary::exact
