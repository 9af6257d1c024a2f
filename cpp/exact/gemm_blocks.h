// One product of matrices, cut for the caches: what linear and matmul have in common.
#pragma once

#include <cstddef>

#include "exact/gemm.h"
#include "exact/gemm_kernels.h"

namespace torchnotary::exact {

// A panel of the right operand from one block of k on: element (i, column) at b + i * stride +
// column, in elements of its storage.
struct PanelView {
  const void* b;
  std::ptrdiff_t stride;
};

// Rows of the left operand from one block of k on.
struct RowsView {
  const float* a;
  std::ptrdiff_t stride;
};

// Rows of `a`: where they lie if they are float32 and neighbours, a copy in `tile` if not.
RowsView view_rows(const GemmKernels& kernels, const Matrix& a, std::size_t row, std::size_t rows,
                   std::size_t k, std::size_t k_count, float* tile);

struct Product {
  const GemmKernels& kernels;
  std::size_t m, n, k;
  Panels panels;
  Storage b_storage;
  MatrixOut out;
  Epilogue epilogue;

  // Rows [row, row + rows) at k; `tile` has room for kMaxRows by kDotBlock values.
  FunctionRef<RowsView(std::size_t row, std::size_t rows, std::size_t k, std::size_t k_count,
                       float* tile)>
      left;
  // views[i]: panel first + i at k. What they point to lives until the next call on this thread.
  FunctionRef<void(std::size_t first, std::size_t count, std::size_t k, std::size_t k_count,
                   PanelView* views)>
      right;
};

struct Range {
  std::size_t begin, end;
  std::size_t size() const { return end - begin; }
};

// The i-th of `parts` parts of n things, which differ by one at most.
inline Range part_of(std::size_t n, std::size_t parts, std::size_t i) {
  return {n * i / parts, n * (i + 1) / parts};
}

// Computes these rows and panels of the product, on the calling thread.
void compute(const Product& product, Range rows, Range panels);

// Columns that are computed together, at most: 256 rows of b of them stay in the second-level
// cache.
inline constexpr std::size_t kBlockColumns = 768;
inline constexpr std::size_t kBlockPanels = kBlockColumns / kUnit;

// How a product is shared out: rows and panels in parts that differ by one tile and one panel at
// most. Numbered so that neighbours share their panels. The longer side is halved first, so that a
// task reads as little as it can for its work; rows only where they are `row_weight` times longer.
struct Parts {
  Parts(const GemmKernels& kernels, std::size_t m, const Panels& panels, std::size_t k,
        std::size_t most_rows, std::size_t row_weight);

  std::size_t count() const { return row_parts * panel_parts; }
  Range rows(std::size_t part) const;
  Range panels(std::size_t part) const;

  std::size_t m, tiles, panel_count;
  std::size_t row_parts = 1, panel_parts = 1;
  double cost = 0;  // of the whole product, in kTaskCost of a task
};

// Memory of this thread's, 64-byte aligned, reused: what is in it is gone when the same slot is
// asked for again.
enum class Slot { sums, panels };
void* scratch(Slot slot, std::size_t bytes);

// Room in Slot::panels for one block of k of the panels [first, first + count), of elements of
// `item` bytes: panel first + i goes to to[i].
void place_panels(const Panels& panels, std::size_t first, std::size_t count, std::size_t item,
                  std::byte** to);

}  // namespace torchnotary::exact
