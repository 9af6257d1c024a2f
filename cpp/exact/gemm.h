// Products of matrices under exact/1 (docs/exact-profile.md, section 3): with weights that are
// packed once (`linear`), and of activations by activations (`matmul`).
//
// Every element of a result is the same whatever the shapes, the tasks and the CPU path: one chain
// of fma over each 256 values of k, these sums added in order.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "exact/storage.h"
#include "hashing/cpu.h"
#include "hashing/parallel.h"

namespace torchnotary::exact {

// Element (i, j) lies at data + (i * row_stride + j * column_stride) elements. Strides of 0 repeat.
struct Matrix {
  const void* data = nullptr;
  Storage storage = Storage::float32;
  std::ptrdiff_t row_stride = 0;
  std::ptrdiff_t column_stride = 1;
};

// Where a result goes; the elements of a row are neighbours.
struct MatrixOut {
  void* data = nullptr;
  Storage storage = Storage::float32;
  std::ptrdiff_t row_stride = 0;
};

// `count` values of the result's row `row`, from `column` on, to be replaced. They are binary32;
// what is left must be canonical in its NaNs (storage.h) where it is stored as float32.
using RowFunction = void (*)(const void* context, std::size_t row, std::size_t column,
                             std::size_t count, float* values);

// What follows the dot products, while their values are still in the cache.
struct Epilogue {
  // A vector of one value a column, added; null for none. Its elements are neighbours.
  const void* bias = nullptr;
  Storage bias_storage = Storage::float32;

  // Runs after the bias; null for none. With `of_stored` it sees the values as the result's storage
  // would hold them, as a second operator after this one would; without, the unrounded ones.
  RowFunction function = nullptr;
  const void* context = nullptr;
  bool of_stored = true;
};

// The weights W (n rows of k) of linear(x, W) = x Wᵀ, laid out for the kernels of one CPU path in
// memory of the caller's. A small value to be copied; it owns nothing.
class PackedMatrix {
 public:
  // The bytes that pack() fills: the weights', with n rounded up to 16 rows.
  static std::size_t size(std::size_t n, std::size_t k, Storage storage);

  // Packs for cpu_path(). `memory` begins at a multiple of 64. Each of W's elements is kept as it
  // is, in its storage.
  static PackedMatrix pack(const Matrix& weights, std::size_t n, std::size_t k, void* memory,
                           ParallelFor parallel);

  // The same pack, found at another address: that of a sealed copy.
  PackedMatrix at(const void* memory) const {
    PackedMatrix moved = *this;
    moved.memory_ = memory;
    return moved;
  }

  std::size_t n() const { return n_; }
  std::size_t k() const { return k_; }
  Storage storage() const { return storage_; }
  CpuPath path() const { return path_; }
  const void* memory() const { return memory_; }

 private:
  std::size_t n_ = 0, k_ = 0;
  Storage storage_ = Storage::float32;
  CpuPath path_ = CpuPath::portable;
  const void* memory_ = nullptr;
};

// out (m by W.n()) = a (m by W.k()) Wᵀ, then the epilogue.
void linear(const Matrix& a, std::size_t m, const PackedMatrix& weights, const Epilogue& epilogue,
            const MatrixOut& out, ParallelFor parallel);

// Two axes of independent products. Item (i, j) of an operand begins at i * strides[0] + j *
// strides[1] elements after its data; strides of 0 broadcast.
using BatchStrides = std::array<std::ptrdiff_t, 2>;
struct Batch {
  std::array<std::size_t, 2> sizes = {1, 1};
  BatchStrides a = {0, 0}, b = {0, 0}, c = {0, 0}, out = {0, 0};
};

// What addmm and baddbmm do to d, the dot product: d × alpha, left out where alpha is 1; then
// + c × beta, c alone where beta is 1, nothing where beta is 0. `c` is (m, n); null is beta = 0.
struct Scaling {
  float alpha = 1, beta = 0;
  Matrix c = {};
};

// out (m by n) = a (m by k) b (k by n), scaled, for each item of the batch. The operands have any
// strides and storages.
void matmul(const Matrix& a, const Matrix& b, std::size_t m, std::size_t n, std::size_t k,
            const Batch& batch, const Scaling& scaling, const MatrixOut& out, ParallelFor parallel);

// int8, with the strides of Matrix.
struct Int8Matrix {
  const std::int8_t* data;
  std::ptrdiff_t row_stride, column_stride;
};

// Sums of so many products of int8 fit an int32.
inline constexpr std::size_t kMaxInt8Products = 131072;

// out (m by n, its rows out_stride apart) = a (m by k) b (k by n), exact. k is less than
// kMaxInt8Products.
void int8_matmul(const Int8Matrix& a, const Int8Matrix& b, std::size_t m, std::size_t n,
                 std::size_t k, std::int32_t* out, std::ptrdiff_t out_stride, ParallelFor parallel);

}  // namespace torchnotary::exact
