// Tiles of strided elements, transposed: what gathers where neighbours in memory lie in different
// rows of the result.
#pragma once

#include <cstddef>
#include <cstdint>

namespace torchnotary {

// For i < rows and j < columns, copies the element at from + j * stride + i * itemsize to
// to + i * pitch + j * itemsize. All of stride, pitch and itemsize (1, 2, 4, 8 or 16) are bytes.
void transpose(const std::byte* from, std::int64_t stride, std::byte* to, std::size_t pitch,
               std::size_t rows, std::size_t columns, std::size_t itemsize);

}  // namespace torchnotary
