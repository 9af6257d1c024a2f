// Products of matrices against section 3 of the profile, sentence by sentence, in scalars.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstring>
#include <functional>
#include <random>
#include <vector>

#include "exact/gemm.h"
#include "support.h"

namespace torchnotary::exact {
namespace {

using Get = std::function<float(std::size_t, std::size_t)>;

// dot(a, b) of length k, as the page says it.
float dot(std::size_t k, const std::function<float(std::size_t)>& a,
          const std::function<float(std::size_t)>& b) {
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

TORCHNOTARY_ON_EVERY_CPU_PATH(ExactGemm);

}  // namespace
}  // namespace torchnotary::exact
