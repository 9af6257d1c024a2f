// Products of matrices against section 3 of the profile, sentence by sentence, in scalars.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "exact/gemm.h"
#include "support.h"

namespace torchnotary::exact {
namespace {

// dot(a, b) of length k, as the page says it.
template <class Left, class Right>
float dot(std::size_t k, const Left& a, const Right& b) {
  float result = 0;
  for (std::size_t j = 0; j * 256 < k; ++j) {
    float p = 0;
    for (std::size_t i = 256 * j; i < std::min(256 * j + 256, k); ++i) p = std::fma(a(i), b(i), p);
    result = j == 0 ? p : result + p;
  }
  return result;
}

// Values whose sums round, with everything that is special among them now and then.
float some_value(std::mt19937& random, bool special) {
  static const float kSpecial[] = {0.0f,
                                   -0.0f,
                                   INFINITY,
                                   -INFINITY,
                                   NAN,
                                   1e-40f,
                                   -1e-45f,
                                   3e38f,
                                   -3e38f,
                                   1e-30f,
                                   std::bit_cast<float>(0xffc12345u),
                                   0x1p-126f,
                                   65504.0f,
                                   1e-8f};
  if (special && random() % 61 == 0) return kSpecial[random() % std::size(kSpecial)];
  return static_cast<float>(static_cast<std::int32_t>(random())) * 0x1p-31f;
}

// Elements in one of the storages, with strides that a test chooses.
class Elements {
 public:
  Elements(std::size_t count, Storage storage, unsigned seed, bool special)
      : bytes_(count * element_size(storage)), storage_(storage) {
    std::mt19937 random(seed);
    for (std::size_t i = 0; i < count; ++i) set(i, some_value(random, special));
  }

  void* data() { return bytes_.data(); }
  Storage storage() const { return storage_; }

  float get(std::size_t i) const {
    if (storage_ == Storage::float32) {
      float value;
      std::memcpy(&value, bytes_.data() + 4 * i, 4);
      return value;
    }
    const std::uint16_t bits = bits16(i);
    return storage_ == Storage::bfloat16 ? widen_bfloat16(bits) : widen_float16(bits);
  }
  std::uint32_t bits(std::size_t i) const {
    return storage_ == Storage::float32 ? std::bit_cast<std::uint32_t>(get(i)) : bits16(i);
  }
  void set(std::size_t i, float value) {
    if (storage_ == Storage::float32) {
      std::memcpy(bytes_.data() + 4 * i, &value, 4);
      return;
    }
    const std::uint16_t bits =
        storage_ == Storage::bfloat16 ? narrow_bfloat16(value) : narrow_float16(value);
    std::memcpy(bytes_.data() + 2 * i, &bits, 2);
  }

 private:
  std::uint16_t bits16(std::size_t i) const {
    std::uint16_t bits;
    std::memcpy(&bits, bytes_.data() + 2 * i, 2);
    return bits;
  }

  std::vector<std::byte> bytes_;
  const Storage storage_;
};

// The bits that `value` is stored as.
std::uint32_t stored(float value, Storage storage) {
  if (storage == Storage::bfloat16) return narrow_bfloat16(value);
  if (storage == Storage::float16) return narrow_float16(value);
  return std::bit_cast<std::uint32_t>(canonical(value));
}

struct Packed {
  Packed(const Matrix& weights, std::size_t n, std::size_t k)
      : memory(PackedMatrix::size(n, k, weights.storage) / 64 + 1),
        matrix(PackedMatrix::pack(weights, n, k, memory.data(), Threads(2))) {}

  struct alignas(64) Line {
    std::byte bytes[64];
  };
  std::vector<Line> memory;
  PackedMatrix matrix;
};

constexpr Storage kStorages[] = {Storage::float32, Storage::bfloat16, Storage::float16};

class ExactGemm : public EveryCpuPath {
 protected:
  // linear of these sizes against the reference; the rows of every matrix are `gap` elements apart.
  void expect_linear(std::size_t m, std::size_t n, std::size_t k, Storage a_storage,
                     Storage w_storage, Storage out_storage, bool bias, bool special,
                     std::size_t threads, std::size_t gap = 0) {
    SCOPED_TRACE(testing::Message()
                 << m << " × " << n << " × " << k << ", storages " << int(a_storage)
                 << int(w_storage) << int(out_storage) << ", threads " << threads);
    const std::size_t ld = k + gap, out_ld = n + gap;
    Elements a(m * ld + 1, a_storage, 1, special), w(n * ld + 1, w_storage, 2, special),
        b(n, w_storage, 3, special), out(m * out_ld + 1, out_storage, 4, false);
    const Elements before = out;
    const auto stride = static_cast<std::ptrdiff_t>(ld);
    Packed packed({w.data(), w_storage, stride, 1}, n, k);
    Epilogue epilogue;
    if (bias) epilogue = {.bias = b.data(), .bias_storage = w_storage};
    linear({a.data(), a_storage, stride, 1}, m, packed.matrix, epilogue,
           {out.data(), out_storage, static_cast<std::ptrdiff_t>(out_ld)}, Threads(threads));
    for (std::size_t i = 0; i < m; ++i) {
      for (std::size_t j = 0; j < n; ++j) {
        float value = dot(
            k, [&](std::size_t x) { return a.get(i * ld + x); },
            [&](std::size_t x) { return w.get(j * ld + x); });
        if (bias) value = value + b.get(j);
        ASSERT_EQ(out.bits(i * out_ld + j), stored(value, out_storage)) << i << ", " << j;
      }
      for (std::size_t j = n; j < out_ld; ++j) {
        ASSERT_EQ(out.bits(i * out_ld + j), before.bits(i * out_ld + j)) << "written past the row";
      }
    }
  }
};

TEST_P(ExactGemm, LinearOfEveryHeightAndWidthIsTheReference) {
  for (const std::size_t m : {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 11, 16, 17, 33}) {
    for (const std::size_t n : {0, 1, 15, 16, 17, 47, 48, 49, 64, 96, 200}) {
      expect_linear(m, n, 37, Storage::float32, Storage::float32, Storage::float32, true, false, 1);
    }
  }
}

TEST_P(ExactGemm, BlocksOfTwoHundredAndFiftySixAreSummedInOrder) {
  for (const std::size_t k : {0, 1, 2, 255, 256, 257, 511, 512, 513, 1100}) {
    for (const std::size_t m : {1, 2, 9}) {
      expect_linear(m, 50, k, Storage::float32, Storage::float32, Storage::float32, true, false, 2);
      expect_linear(m, 50, k, Storage::float32, Storage::float32, Storage::float32, false, false,
                    2);
    }
  }
}

TEST_P(ExactGemm, EveryStorageWidensExactlyAndRoundsOnce) {
  for (const Storage a : kStorages) {
    for (const Storage w : kStorages) {
      for (const Storage out : kStorages) {
        expect_linear(1, 70, 300, a, w, out, true, false, 1);
        expect_linear(13, 70, 300, a, w, out, true, true, 3, 5);
      }
    }
  }
}

TEST_P(ExactGemm, SpecialValuesTakePartAndNansAreCanonical) {
  for (const std::size_t m : {1, 2, 8, 20}) {
    expect_linear(m, 100, 30, Storage::float32, Storage::float32, Storage::float32, true, true, 1);
    expect_linear(m, 96, 30, Storage::float32, Storage::float32, Storage::float32, false, true, 1,
                  3);
  }
}

TEST_P(ExactGemm, ThreadsAndTasksChangeNothing) {
  for (const std::size_t threads : {1, 2, 3, 7}) {
    expect_linear(70, 150, 260, Storage::float32, Storage::float32, Storage::float32, true, true,
                  threads, 1);
  }
  // More rows and columns than one task takes, of few k.
  expect_linear(600, 900, 3, Storage::float32, Storage::float32, Storage::float32, true, true, 3);
  expect_linear(1, 3000, 300, Storage::float32, Storage::float32, Storage::float32, true, false, 3);
}

// Rows and columns as the function of an epilogue sees them, and the values that it leaves.
TEST_P(ExactGemm, AFunctionOfStoredValuesIsASecondOperator) {
  constexpr std::size_t kM = 21, kN = 100, kK = 9;
  for (const Storage storage : kStorages) {
    Elements a(kM * kK, storage, 1, true), w(kN * kK, storage, 2, false), b(kN, storage, 3, false),
        plain(kM * kN, storage, 4, false), out(kM * kN, storage, 5, false);
    Packed packed({w.data(), storage, kK, 1}, kN, kK);
    Epilogue epilogue = {.bias = b.data(), .bias_storage = storage};
    linear({a.data(), storage, kK, 1}, kM, packed.matrix, epilogue, {plain.data(), storage, kN},
           kSerial);
    epilogue.function = [](const void*, std::size_t row, std::size_t column, std::size_t count,
                           float* values) {
      for (std::size_t i = 0; i < count; ++i) {
        values[i] = canonical(values[i] * 3 + static_cast<float>(row * kN + column + i));
      }
    };
    linear({a.data(), storage, kK, 1}, kM, packed.matrix, epilogue, {out.data(), storage, kN},
           Threads(2));
    for (std::size_t i = 0; i < kM * kN; ++i) {
      ASSERT_EQ(out.bits(i), stored(plain.get(i) * 3 + static_cast<float>(i), storage)) << i;
    }
  }
}

// How one operand of a batched product lies in memory.
struct Layout {
  Matrix matrix;
  BatchStrides batch;
  float get(const Elements& elements, std::size_t b0, std::size_t b1, std::size_t i,
            std::size_t j) const {
    const std::ptrdiff_t at = static_cast<std::ptrdiff_t>(b0) * batch[0] +
                              static_cast<std::ptrdiff_t>(b1) * batch[1] +
                              static_cast<std::ptrdiff_t>(i) * matrix.row_stride +
                              static_cast<std::ptrdiff_t>(j) * matrix.column_stride;
    return elements.get(static_cast<std::size_t>(at));
  }
};

class ExactMatmul : public EveryCpuPath {
 protected:
  // Every operand in memory for `rows` by `columns`, in one of several layouts.
  static Layout layout(Elements& elements, std::size_t rows, std::size_t columns, int kind) {
    const auto r = static_cast<std::ptrdiff_t>(rows), c = static_cast<std::ptrdiff_t>(columns);
    const Storage storage = elements.storage();
    switch (kind) {
      case 0:  // row after row
        return {{elements.data(), storage, c, 1}, {3 * r * c, r * c}};
      case 1:  // column after column, with a gap
        return {{elements.data(), storage, 1, r + 1}, {3 * (r + 1) * c, (r + 1) * c}};
      case 2:  // every third element, rows interleaved between the items
        return {{elements.data(), storage, 9 * c, 3}, {9 * r * c, 3 * c}};
      default:  // one row and one item for all
        return {{elements.data(), storage, 0, 1}, {0, 0}};
    }
  }

  void expect_matmul(std::size_t m, std::size_t n, std::size_t k, int a_kind, int b_kind,
                     int c_kind, Storage storage, float alpha, float beta, std::size_t threads,
                     bool special = true) {
    SCOPED_TRACE(testing::Message()
                 << m << " × " << n << " × " << k << ", layouts " << a_kind << b_kind << c_kind
                 << ", storage " << int(storage) << ", alpha " << alpha << ", beta " << beta);
    const auto size = [](std::size_t rows, std::size_t columns) {
      return 20 * (rows + 2) * (columns + 2);
    };
    Elements a(size(m, k), storage, 1, special), b(size(k, n), storage, 2, special),
        c(size(m, n), storage, 3, special), out(6 * m * n, storage, 4, false);
    const Layout la = layout(a, m, k, a_kind), lb = layout(b, k, n, b_kind),
                 lc = layout(c, m, n, c_kind);
    const auto sm = static_cast<std::ptrdiff_t>(m), sn = static_cast<std::ptrdiff_t>(n);
    const Batch batch = {.sizes = {2, 3},
                         .a = la.batch,
                         .b = lb.batch,
                         .c = lc.batch,
                         .out = {3 * sm * sn, sm * sn}};
    matmul(la.matrix, lb.matrix, m, n, k, batch, {alpha, beta, lc.matrix},
           {out.data(), storage, sn}, Threads(threads));
    for (std::size_t at = 0; at < 6 * m * n; ++at) {
      const std::size_t item = at / (m * n), b0 = item / 3, b1 = item % 3, i = at / n % m,
                        j = at % n;
      float value = dot(
          k, [&](std::size_t x) { return la.get(a, b0, b1, i, x); },
          [&](std::size_t x) { return lb.get(b, b0, b1, x, j); });
      if (alpha != 1) value = value * alpha;
      const float added = lc.get(c, b0, b1, i, j);
      if (beta == 1) value = value + added;
      if (beta != 0 && beta != 1) value = value + added * beta;
      ASSERT_EQ(out.bits(at), stored(value, storage)) << item << ": " << i << ", " << j;
    }
  }
};

TEST_P(ExactMatmul, EveryLayoutOfTheOperandsIsTheReference) {
  for (const int a : {0, 1, 2, 3}) {
    for (const int b : {0, 1, 2, 3}) {
      for (const Storage storage : kStorages) {
        expect_matmul(5, 37, 270, a, b, 0, storage, 1, 0, 2);
        expect_matmul(40, 64, 20, a, b, 0, storage, 1, 0, 2);
      }
    }
  }
}

TEST_P(ExactMatmul, AlphaMultipliesAndBetaAddsAsThePageSays) {
  for (const int c : {0, 1, 2, 3}) {
    for (const float alpha : {1.0f, 0.125f, -0.3f, 0.0f}) {
      for (const float beta : {0.0f, 1.0f, -0.7f}) {
        for (const Storage storage : kStorages) {
          expect_matmul(9, 20, 33, 0, 1, c, storage, alpha, beta, 3);
        }
      }
    }
  }
}

TEST_P(ExactMatmul, SizesOfZeroAndOneHaveTheirResults) {
  for (const std::size_t m : {0, 1, 2}) {
    for (const std::size_t n : {0, 1, 50}) {
      for (const std::size_t k : {0, 1, 256, 257}) {
        expect_matmul(m, n, k, 0, 0, 0, Storage::float32, 1, 0, 2);
        expect_matmul(m, n, k, 1, 1, 0, Storage::float32, 0.5f, 1, 2);
      }
    }
  }
}

TEST_P(ExactMatmul, ManySmallAndFewLargeProductsAreSharedOutAlike) {
  for (const std::size_t threads : {1, 2, 3, 7}) {
    expect_matmul(3, 5, 7, 0, 1, 0, Storage::float32, 1, 0, threads);
    expect_matmul(90, 200, 50, 0, 1, 0, Storage::float32, 1, 0, threads);
  }
  expect_matmul(300, 900, 2, 0, 1, 0, Storage::float32, 1, 0, 3);
}

TEST_P(ExactMatmul, ProductsOfInt8AreExactInInt32) {
  for (const std::size_t k : {0, 1, 255, 1024, 1025, 5000, 131071}) {
    for (const bool transposed : {false, true}) {
      const std::size_t m = k > 5000 ? 2 : 19, n = k > 5000 ? 3 : 67;
      std::vector<std::int8_t> a(m * k), b(k * n);
      std::mt19937 random(7);
      // The greatest sums: all -128, now and then something else.
      for (auto& x : a) x = static_cast<std::int8_t>(random() % 4 == 0 ? random() : -128);
      for (auto& x : b) x = static_cast<std::int8_t>(random() % 4 == 0 ? random() : -128);
      const auto sk = static_cast<std::ptrdiff_t>(k), sn = static_cast<std::ptrdiff_t>(n),
                 sm = static_cast<std::ptrdiff_t>(m);
      const Int8Matrix left =
          transposed ? Int8Matrix{a.data(), 1, sm} : Int8Matrix{a.data(), sk, 1};
      const Int8Matrix right =
          transposed ? Int8Matrix{b.data(), 1, sk} : Int8Matrix{b.data(), sn, 1};
      std::vector<std::int32_t> out(m * (n + 1), 77);
      int8_matmul(left, right, m, n, k, out.data(), sn + 1, Threads(2));
      for (std::size_t i = 0; i < m; ++i) {
        for (std::size_t j = 0; j < n; ++j) {
          std::int64_t sum = 0;
          for (std::size_t x = 0; x < k; ++x) {
            sum += a[transposed ? i + x * m : i * k + x] * b[transposed ? x + j * k : x * n + j];
          }
          ASSERT_EQ(out[i * (n + 1) + j], sum) << i << ", " << j << " of k " << k;
        }
        ASSERT_EQ(out[i * (n + 1) + n], 77) << "written past the row";
      }
    }
  }
}

TORCHNOTARY_ON_EVERY_CPU_PATH(ExactGemm);
TORCHNOTARY_ON_EVERY_CPU_PATH(ExactMatmul);

}  // namespace
}  // namespace torchnotary::exact
