// Packing weights: panels of columns, row of k after row of k.
#include "exact/environment.h"
#include "exact/gemm.h"
#include "exact/gemm_kernels.h"
#include "exact/gemm_panels.h"

namespace torchnotary::exact {

std::size_t PackedMatrix::size(std::size_t n, std::size_t k, Storage storage) {
  return (n + kUnit - 1) / kUnit * kUnit * k * element_size(storage);
}

PackedMatrix PackedMatrix::pack(const Matrix& weights, std::size_t n, std::size_t k, void* memory,
                                ParallelFor parallel) {
  PackedMatrix packed;
  packed.n_ = n;
  packed.k_ = k;
  packed.storage_ = weights.storage;
  packed.path_ = cpu_path();
  packed.memory_ = memory;
  const Matrix transposed = {weights.data, weights.storage, weights.column_stride,
                             weights.row_stride};
  const Panels panels(n, gemm_kernels(packed.path_).units);
  const std::size_t unit_bytes = kUnit * k * element_size(weights.storage);
  for_each_task(parallel, panels.count, [&](std::size_t panel) {
    std::byte* const to = static_cast<std::byte*>(memory) + panels.begin(panel) * unit_bytes;
    copy_panels(transposed, n, 0, k, panels, panel, 1, &to);
  });
  return packed;
}

}  // namespace torchnotary::exact
