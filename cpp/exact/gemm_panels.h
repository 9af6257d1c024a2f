// Copying a part of a right operand into a panel: the layout that the kernels read.
#pragma once

#include <cstddef>

#include "exact/gemm.h"

namespace torchnotary::exact {

// Rows [k, k + k_count) × columns [column, column + columns) of b, row after row of `width`
// elements at `to`; what is beyond `columns` is zero.
void copy_panel(const Matrix& b, std::size_t k, std::size_t k_count, std::size_t column,
                std::size_t columns, std::size_t width, std::byte* to);

}  // namespace torchnotary::exact
