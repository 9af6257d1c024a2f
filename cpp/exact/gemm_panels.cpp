// Copying panels, by the strides that their operand has.
#include "exact/gemm_panels.h"

#include <cstring>

#include "tensor/transpose.h"

namespace torchnotary::exact {

void copy_panel(const Matrix& b, std::size_t k, std::size_t k_count, std::size_t column,
                std::size_t columns, std::size_t width, std::byte* to) {
  const auto item = static_cast<std::ptrdiff_t>(element_size(b.storage));
  const std::ptrdiff_t row_bytes = b.row_stride * item, column_bytes = b.column_stride * item;
  const std::byte* from = static_cast<const std::byte*>(b.data) +
                          static_cast<std::ptrdiff_t>(k) * row_bytes +
                          static_cast<std::ptrdiff_t>(column) * column_bytes;
  const std::size_t pitch = width * static_cast<std::size_t>(item);
  const std::size_t used = columns * static_cast<std::size_t>(item);
  if (b.row_stride == 1 && b.column_stride != 1) {
    transpose(from, column_bytes, to, pitch, k_count, columns, static_cast<std::size_t>(item));
  }
  for (std::size_t i = 0; i < k_count; ++i) {
    std::byte* row = to + i * pitch;
    const std::byte* source = from + static_cast<std::ptrdiff_t>(i) * row_bytes;
    if (b.column_stride == 1) {
      std::memcpy(row, source, used);
    } else if (b.row_stride != 1) {
      for (std::size_t j = 0; j < columns; ++j) {
        std::memcpy(row + j * static_cast<std::size_t>(item),
                    source + static_cast<std::ptrdiff_t>(j) * column_bytes,
                    static_cast<std::size_t>(item));
      }
    }
    std::memset(row + used, 0, pitch - used);
  }
}

}  // namespace torchnotary::exact
