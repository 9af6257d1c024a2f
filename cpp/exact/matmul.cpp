// matmul: products of activations, whose right operand is read where it lies, or copied into panels
// as it is read.
#include <algorithm>
#include <array>

#include "exact/environment.h"
#include "exact/gemm.h"
#include "exact/gemm_blocks.h"
#include "exact/gemm_panels.h"

namespace torchnotary::exact {
namespace {

// Of one task: each copies its panels for itself.
constexpr std::size_t kMatmulRows = 1024, kRowWeight = 4;

struct Item {
  std::ptrdiff_t a, b, c, out;  // elements from the data of each
};

Item item_of(const Batch& batch, std::size_t index) {
  const auto i = static_cast<std::ptrdiff_t>(index / batch.sizes[1]);
  const auto j = static_cast<std::ptrdiff_t>(index % batch.sizes[1]);
  const auto at = [&](const BatchStrides& strides) { return i * strides[0] + j * strides[1]; };
  return {at(batch.a), at(batch.b), at(batch.c), at(batch.out)};
}

const void* moved(const void* data, Storage storage, std::ptrdiff_t elements) {
  if (data == nullptr) return nullptr;
  return static_cast<const char*>(data) +
         elements * static_cast<std::ptrdiff_t>(element_size(storage));
}

Matrix moved(Matrix matrix, std::ptrdiff_t elements) {
  matrix.data = moved(matrix.data, matrix.storage, elements);
  return matrix;
}

// Calls compute(item, rows, panels) for every part of every product of the batch, several to a task
// where they are small.
void for_each_part(const GemmKernels& kernels, std::size_t m, const Panels& panels, std::size_t k,
                   const Batch& batch, ParallelFor parallel,
                   FunctionRef<void(const Item& item, Range rows, Range panels)> compute) {
  const Parts parts(kernels, m, panels, k, kMatmulRows, kRowWeight);
  const std::size_t total = batch.sizes[0] * batch.sizes[1] * parts.count();
  const double part_cost = parts.cost / static_cast<double>(parts.count());
  const double wanted = static_cast<double>(total) * std::min(part_cost, 1.0);
  const std::size_t tasks = std::clamp<std::size_t>(static_cast<std::size_t>(wanted), 1, total);
  for_each_task(parallel, tasks, [&](std::size_t task) {
    const Range range = part_of(total, tasks, task);
    for (std::size_t i = range.begin; i < range.end; ++i) {
      const std::size_t part = i % parts.count();
      compute(item_of(batch, i / parts.count()), parts.rows(part), parts.panels(part));
    }
  });
}

struct ScalingOfItem {
  const Scaling& scaling;
  Matrix c;
};

void scale_row(const void* context, std::size_t row, std::size_t column, std::size_t count,
               float* values) {
  const auto& [scaling, c] = *static_cast<const ScalingOfItem*>(context);
  const float alpha = scaling.alpha, beta = scaling.beta;
  if (alpha != 1) {
    for (std::size_t i = 0; i < count; ++i) values[i] = values[i] * alpha;
  }
  if (c.data != nullptr && beta != 0) {
    const void* from = moved(c.data, c.storage, static_cast<std::ptrdiff_t>(row) * c.row_stride);
    for (std::size_t i = 0; i < count; ++i) {
      const float x =
          widen_element(from, c.storage, static_cast<std::ptrdiff_t>(column + i) * c.column_stride);
      values[i] = values[i] + (beta == 1 ? x : x * beta);
    }
  }
  for (std::size_t i = 0; i < count; ++i) values[i] = canonical(values[i]);
}

// The epilogue of one item; `of_item` outlives it.
Epilogue scaled(const ScalingOfItem& of_item) {
  const auto& [scaling, c] = of_item;
  const bool reads_c = c.data != nullptr && scaling.beta != 0;
  if (scaling.alpha == 1 && !reads_c) return {};
  if (scaling.alpha == 1 && scaling.beta == 1 && c.row_stride == 0 && c.column_stride == 1) {
    return {.bias = c.data, .bias_storage = c.storage};
  }
  return {.function = scale_row, .context = &of_item, .of_stored = false};
}

// Views of the panels [first, first + count) of b at one block of k: of b itself where a row's
// elements are neighbours, which no copy was measured to beat, but for a ragged last panel; of
// copies otherwise.
void view_panels(const Matrix& b, std::size_t n, std::size_t k, std::size_t k_count,
                 const Panels& panels, std::size_t first, std::size_t count, PanelView* views) {
  const bool ragged = first + count == panels.count && n % kUnit != 0;
  const std::size_t whole = b.column_stride != 1 ? 0 : count - (ragged ? 1 : 0);
  for (std::size_t i = 0; i < whole; ++i) {
    const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(k) * b.row_stride +
                              static_cast<std::ptrdiff_t>(panels.begin(first + i) * kUnit);
    views[i] = {moved(b.data, b.storage, at), b.row_stride};
  }
  if (whole == count) return;
  std::array<std::byte*, kBlockPanels> to;
  place_panels(panels, first + whole, count - whole, element_size(b.storage), to.data());
  copy_panels(b, n, k, k_count, panels, first + whole, count - whole, to.data());
  for (std::size_t i = whole; i < count; ++i) {
    views[i] = {to[i - whole], static_cast<std::ptrdiff_t>(panels.width(first + i) * kUnit)};
  }
}

}  // namespace

void matmul(const Matrix& a, const Matrix& b, std::size_t m, std::size_t n, std::size_t k,
            const Batch& batch, const Scaling& scaling, const MatrixOut& out,
            ParallelFor parallel) {
  if (m == 0 || n == 0 || batch.sizes[0] == 0 || batch.sizes[1] == 0) return;
  const GemmKernels& kernels = gemm_kernels(cpu_path());
  const Panels panels(n, kernels.units);
  const auto compute_part = [&](const Item& item, Range rows, Range part) {
    const Matrix a_item = moved(a, item.a), b_item = moved(b, item.b);
    const auto left = [&](std::size_t row, std::size_t count, std::size_t at, std::size_t k_count,
                          float* tile) {
      return view_rows(kernels, a_item, row, count, at, k_count, tile);
    };
    const auto right = [&](std::size_t first, std::size_t count, std::size_t at,
                           std::size_t k_count, PanelView* views) {
      view_panels(b_item, n, at, k_count, panels, first, count, views);
    };
    const ScalingOfItem scaling_of_item = {scaling, moved(scaling.c, item.c)};
    MatrixOut item_out = out;
    item_out.data = const_cast<void*>(moved(out.data, out.storage, item.out));
    compute({kernels, m, n, k, panels, b.storage, item_out, scaled(scaling_of_item), left, right},
            rows, part);
  };
  for_each_part(kernels, m, panels, k, batch, parallel, compute_part);
}

}  // namespace torchnotary::exact
