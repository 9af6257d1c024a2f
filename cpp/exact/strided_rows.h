// A floating tensor as rows along some of its axes: what reductions, norms and softmax read and
// write.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "exact/element.h"
#include "exact/environment.h"
#include "hashing/parallel.h"

namespace torchnotary::exact {

// Axes of a tensor in row-major order, merged where they can be.
struct WalkedAxes {
  std::vector<std::int64_t> sizes, strides;  // none of size 1

  void add(std::int64_t size, std::int64_t stride);
  std::size_t count() const;
  // Where the element with a row-major index lies.
  std::ptrdiff_t offset(std::size_t index) const;
  // Whether elements are adjacent.
  bool is_plain() const { return sizes.empty() || (sizes.size() == 1 && strides[0] == 1); }
};

class StridedRows {
 public:
  // Row-major over `reduced`, the axes along which rows go; rows themselves row-major over the
  // others. The data of a tensor that is only read is not written to.
  StridedRows(const void* data, Element element, std::span<const std::int64_t> sizes,
              std::span<const std::int64_t> strides, std::span<const std::size_t> reduced);

  std::size_t rows() const { return rows_; }
  std::size_t length() const { return length_; }

  // Elements `begin` to `begin + n` of `count` rows from `first` on, as binary32. They lie `stride`
  // floats apart: in place, or in `scratch`, which has room for count × n.
  const float* read(std::size_t first, std::size_t count, std::size_t begin, std::size_t n,
                    float* scratch, std::ptrdiff_t& stride) const;

  // Where read() would find the rows in place, so that results can be put there; else null.
  float* in_place(std::size_t first, std::size_t count, std::ptrdiff_t& stride) const;

  // Puts elements `begin` to `begin + n` of rows, `stride` floats apart, to their places, rounded
  // to the tensor's type; those that in_place() gave are there already, with NaNs that are
  // canonical.
  void write(std::size_t first, std::size_t count, std::size_t begin, std::size_t n,
             const float* from, std::ptrdiff_t stride) const;

 private:
  std::byte* at(std::ptrdiff_t offset) const {
    return data_ + offset * static_cast<std::ptrdiff_t>(element_size(element_));
  }
  // Whether the rows from `first` on are neighbours in memory, element by element.
  bool side_by_side(std::size_t first, std::size_t count) const;

  std::byte* data_;
  Element element_;
  WalkedAxes across_, along_;
  std::size_t rows_, length_;
};

// Rows that are worked on together: enough for kernels and transposition to do them side by side.
inline constexpr std::size_t kMostRowsTogether = 16;
inline std::size_t rows_together(std::size_t length) {
  return std::clamp<std::size_t>((1 << 18) / std::max<std::size_t>(length, 1), 1,
                                 kMostRowsTogether);
}

// body(first, count) for blocks of rows, each task a part of them.
template <class Body>
void for_each_rows(ParallelFor parallel, std::size_t rows, std::size_t length, Body body) {
  constexpr std::size_t kTaskElements = 1 << 15;
  const std::size_t block = rows_together(length);
  const std::size_t blocks = (rows + block - 1) / block;
  const std::size_t each =
      std::max<std::size_t>(kTaskElements / (block * std::max<std::size_t>(length, 1)), 1);
  const std::size_t tasks = (blocks + each - 1) / each;
  for_each_task(tasks > 1 ? parallel : ParallelFor(kSerial), tasks, [&](std::size_t task) {
    const std::size_t end = std::min(rows, (task + 1) * each * block);
    for (std::size_t first = task * each * block; first < end; first += block) {
      body(first, std::min(block, end - first));
    }
  });
}

// What a thread keeps for its next block of rows.
struct RowScratch {
  std::vector<float> x, y;

  static RowScratch& of_thread(std::size_t elements) {
    static thread_local RowScratch scratch;
    if (scratch.x.size() < elements) {
      scratch.x.resize(elements);
      scratch.y.resize(elements);
    }
    return scratch;
  }
};

// body(x, x_stride, y, y_stride, first, count) computes rows of y from those of x. x is not read
// after the rows of y are written if they share memory.
template <class Body>
void map_rows(ParallelFor parallel, const StridedRows& x, const StridedRows& y, Body body) {
  const std::size_t n = x.length();
  for_each_rows(parallel, x.rows(), n, [&](std::size_t first, std::size_t count) {
    RowScratch& scratch = RowScratch::of_thread(n * count);
    std::ptrdiff_t x_stride = 0, y_stride = 0;
    const float* from = x.read(first, count, 0, n, scratch.x.data(), x_stride);
    float* to = y.in_place(first, count, y_stride);
    if (to == nullptr) {
      to = scratch.y.data();
      y_stride = static_cast<std::ptrdiff_t>(n);
    }
    body(from, x_stride, to, y_stride, first, count);
    y.write(first, count, 0, n, to, y_stride);
  });
}

}  // namespace torchnotary::exact
