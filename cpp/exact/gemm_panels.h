// Copying a part of a right operand into panels: the layout that the kernels read.
#pragma once

#include <cstddef>

#include "exact/gemm.h"
#include "exact/gemm_kernels.h"

namespace torchnotary::exact {

// Rows [k, k + k_count) of the panels [first, first + count) of b, n columns wide: each panel row
// after row, panel i from to[i] on. Columns beyond n are zero.
void copy_panels(const Matrix& b, std::size_t n, std::size_t k, std::size_t k_count,
                 const Panels& panels, std::size_t first, std::size_t count, std::byte* const* to);

}  // namespace torchnotary::exact
