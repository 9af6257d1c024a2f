// matmul: products of activations, whose right operand is copied into panels as it is read.
#include <algorithm>
#include <cstring>

#include "exact/environment.h"
#include "exact/gemm.h"
#include "exact/gemm_blocks.h"
#include "exact/gemm_panels.h"

namespace torchnotary::exact {
namespace {

// Up to so many rows of tiles read b faster where it lies than from a copy.
constexpr std::size_t kDirectTiles = 4;

struct Item {
  std::size_t index;            // row-major
  std::ptrdiff_t a, b, c, out;  // elements from the data of each
};

Item item_of(const Batch& batch, std::size_t index) {
  const auto i = static_cast<std::ptrdiff_t>(index / batch.sizes[1]);
  const auto j = static_cast<std::ptrdiff_t>(index % batch.sizes[1]);
  const auto at = [&](const BatchStrides& strides) { return i * strides[0] + j * strides[1]; };
  return {index, at(batch.a), at(batch.b), at(batch.c), at(batch.out)};
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
  const Parts parts(kernels, m, panels, k);
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

void add_to_row(const void* context, std::size_t row, std::size_t, std::size_t count,
                float* values) {
  const float bias = static_cast<const float*>(context)[row];
  for (std::size_t i = 0; i < count; ++i) values[i] = canonical(values[i] + bias);
}

// Room for the panels [first, first + count) of one block of k; panel i begins at bytes(i).
class PanelBuffer {
 public:
  PanelBuffer(const Panels& panels, std::size_t first, std::size_t count, std::size_t item)
      : panels_(panels),
        first_(first),
        item_(item),
        bytes_(static_cast<std::byte*>(scratch(Slot::panels, offset(count)))) {}

  std::byte* at(std::size_t i) const { return bytes_ + offset(i); }

 private:
  std::size_t offset(std::size_t i) const {
    return (panels_.begin(first_ + i) - panels_.begin(first_)) * kUnit * kBlock * item_;
  }

  const Panels& panels_;
  const std::size_t first_, item_;
  std::byte* const bytes_;
};

}  // namespace

void matmul(const Matrix& a, const Matrix& b, std::size_t m, std::size_t n, std::size_t k,
            const Batch& batch, const Scaling& scaling, const MatrixOut& out,
            ParallelFor parallel) {
  if (m == 0 || n == 0 || batch.sizes[0] == 0 || batch.sizes[1] == 0) return;
  const GemmKernels& kernels = gemm_kernels(cpu_path());
  const Panels panels(n, kernels.units);
  const std::size_t item_size = element_size(b.storage);
  const bool direct = b.column_stride == 1 && m <= kDirectTiles * kernels.rows;
  for_each_part(
      kernels, m, panels, k, batch, parallel, [&](const Item& item, Range rows, Range part) {
        const Matrix left_matrix = moved(a, item.a), right_matrix = moved(b, item.b);
        const auto left = [&](std::size_t row, std::size_t count, std::size_t at,
                              std::size_t k_count, float* tile) {
          return view_rows(kernels, left_matrix, row, count, at, k_count, tile);
        };
        const auto right = [&](std::size_t first, std::size_t count, std::size_t at,
                               std::size_t k_count, PanelView* views) {
          const PanelBuffer buffer(panels, first, count, item_size);
          for (std::size_t i = 0; i < count; ++i) {
            const std::size_t column = panels.begin(first + i) * kUnit;
            const std::size_t width = panels.width(first + i) * kUnit;
            if (direct && column + width <= n) {
              views[i] = {moved(right_matrix.data, b.storage,
                                static_cast<std::ptrdiff_t>(at) * b.row_stride +
                                    static_cast<std::ptrdiff_t>(column)),
                          b.row_stride};
              continue;
            }
            copy_panel(right_matrix, at, k_count, column, std::min(width, n - column), width,
                       buffer.at(i));
            views[i] = {buffer.at(i), static_cast<std::ptrdiff_t>(width)};
          }
        };
        const ScalingOfItem scaling_of_item = {scaling, moved(scaling.c, item.c)};
        MatrixOut item_out = out;
        item_out.data = const_cast<void*>(moved(out.data, out.storage, item.out));
        compute(
            {kernels, m, n, k, panels, b.storage, item_out, scaled(scaling_of_item), left, right},
            rows, part);
      });
}

void matmul_filled(const Matrix& a, FillColumns fill, std::size_t m, std::size_t n, std::size_t k,
                   const Batch& batch, const float* row_bias, const MatrixOut& out,
                   ParallelFor parallel) {
  if (m == 0 || n == 0 || batch.sizes[0] == 0 || batch.sizes[1] == 0) return;
  const GemmKernels& kernels = gemm_kernels(cpu_path());
  const Panels panels(n, kernels.units);
  for_each_part(
      kernels, m, panels, k, batch, parallel, [&](const Item& item, Range rows, Range part) {
        const Matrix left_matrix = moved(a, item.a);
        const auto left = [&](std::size_t row, std::size_t count, std::size_t at,
                              std::size_t k_count, float* tile) {
          return view_rows(kernels, left_matrix, row, count, at, k_count, tile);
        };
        const auto right = [&](std::size_t first, std::size_t count, std::size_t at,
                               std::size_t k_count, PanelView* views) {
          const PanelBuffer buffer(panels, first, count, sizeof(float));
          for (std::size_t i = 0; i < count; ++i) {
            const std::size_t column = panels.begin(first + i) * kUnit;
            const std::size_t width = panels.width(first + i) * kUnit;
            const std::size_t used = std::min(width, n - column);
            float* tile = reinterpret_cast<float*>(buffer.at(i));
            fill(item.index, at, k_count, column, used, tile, width);
            for (std::size_t j = 0; used < width && j < k_count; ++j) {
              std::fill(tile + j * width + used, tile + (j + 1) * width, 0.0f);
            }
            views[i] = {tile, static_cast<std::ptrdiff_t>(width)};
          }
        };
        Epilogue epilogue;
        if (row_bias != nullptr) {
          epilogue = {.function = add_to_row, .context = row_bias, .of_stored = false};
        }
        MatrixOut item_out = out;
        item_out.data = const_cast<void*>(moved(out.data, out.storage, item.out));
        compute({kernels, m, n, k, panels, Storage::float32, item_out, epilogue, left, right}, rows,
                part);
      });
}

}  // namespace torchnotary::exact
