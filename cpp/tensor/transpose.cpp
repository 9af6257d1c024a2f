// Transposing elements of every size, those of 32 bits in vector registers.
#include "tensor/transpose.h"

#include <algorithm>
#include <cstring>

namespace torchnotary {
namespace {

// Square tiles of 32-bit elements, `side` by `side`.
struct TileKernel {
  std::size_t side;
  void (*transpose)(const std::byte* from, std::int64_t stride, std::byte* to, std::size_t pitch);
};

}  // namespace
}  // namespace torchnotary

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tensor/transpose-inl.h"
#include "hwy/foreach_target.h"
//
#include "hashing/cpu.h"
#include "tensor/transpose-inl.h"

namespace torchnotary {
namespace {

// The kernel for the path in use; null where there are no vectors.
const TileKernel* tile_kernel() {
  switch (cpu_path()) {
#if HWY_TARGETS & HWY_AVX3
    case CpuPath::avx512:
      return &N_AVX3::kTile;
#endif
#if HWY_TARGETS & HWY_AVX2
    case CpuPath::avx2:
      return &N_AVX2::kTile;
#endif
#if HWY_TARGETS & HWY_NEON
    case CpuPath::neon:
      return &N_NEON::kTile;
#endif
    default:
      return nullptr;
  }
}

template <std::size_t kItemSize>
void transpose_items(const std::byte* from, std::int64_t stride, std::byte* to, std::size_t pitch,
                     std::size_t rows, std::size_t columns) {
  // So many columns that what is written stays in the first-level cache, even where the rows'
  // lines all fall into the same few sets.
  constexpr std::size_t kColumns = 64 / kItemSize;
  constexpr std::size_t kRows = 8;
  for (std::size_t i = 0; i < rows; i += kRows) {
    const std::size_t last_row = std::min(rows, i + kRows);
    for (std::size_t j = 0; j < columns; j += kColumns) {
      const std::size_t last_column = std::min(columns, j + kColumns);
      for (std::size_t c = j; c < last_column; ++c) {
        const std::byte* column = from + static_cast<std::int64_t>(c) * stride;
        for (std::size_t r = i; r < last_row; ++r) {
          std::memcpy(to + r * pitch + c * kItemSize, column + r * kItemSize, kItemSize);
        }
      }
    }
  }
}

void transpose_words(const std::byte* from, std::int64_t stride, std::byte* to, std::size_t pitch,
                     std::size_t rows, std::size_t columns) {
  constexpr std::size_t kWord = 4;
  constexpr std::size_t kAhead = 24;
  const TileKernel* kernel = tile_kernel();
  if (kernel == nullptr) return transpose_items<kWord>(from, stride, to, pitch, rows, columns);
  const std::size_t side = kernel->side;
  const std::size_t tiled_rows = rows / side * side, tiled_columns = columns / side * side;
  for (std::size_t j = 0; j < tiled_columns; j += side) {
    const std::byte* column = from + static_cast<std::int64_t>(j) * stride;
    for (std::size_t c = kAhead; c < kAhead + side && j + c < columns; ++c) {
      const std::byte* next = column + static_cast<std::int64_t>(c) * stride;
      for (std::size_t i = 0; i < rows * kWord; i += 64) __builtin_prefetch(next + i, 0, 2);
    }
    for (std::size_t i = 0; i < tiled_rows; i += side) {
      kernel->transpose(column + i * kWord, stride, to + i * pitch + j * kWord, pitch);
    }
  }
  transpose_items<kWord>(from + tiled_rows * kWord, stride, to + tiled_rows * pitch, pitch,
                         rows - tiled_rows, columns);
  transpose_items<kWord>(from + static_cast<std::int64_t>(tiled_columns) * stride, stride,
                         to + tiled_columns * kWord, pitch, tiled_rows, columns - tiled_columns);
}

}  // namespace

void transpose(const std::byte* from, std::int64_t stride, std::byte* to, std::size_t pitch,
               std::size_t rows, std::size_t columns, std::size_t itemsize) {
  switch (itemsize) {
    case 1:
      return transpose_items<1>(from, stride, to, pitch, rows, columns);
    case 2:
      return transpose_items<2>(from, stride, to, pitch, rows, columns);
    case 4:
      return transpose_words(from, stride, to, pitch, rows, columns);
    case 8:
      return transpose_items<8>(from, stride, to, pitch, rows, columns);
    default:
      return transpose_items<16>(from, stride, to, pitch, rows, columns);
  }
}

}  // namespace torchnotary
