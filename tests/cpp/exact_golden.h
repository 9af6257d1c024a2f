// The cases of exact/1's golden digests (tests/golden/exact_kernels.txt): one line each, `name
// digest`, that every implementation of docs/exact-profile.md prints, on whatever machine or
// device, path and number of threads.
//
// A name is `group/case`; what the case computes stands in exact_golden_*.cpp. The digest is the
// BLAKE3 of the results' bytes: elements row-major and little-endian, one result after the other.
//
// Inputs come from a rule on 32-bit words, all modulo 2^32. Element i (row-major) of operand s is
// made of
//
//     x = i + s * 9e3779b9;  w = mix(x)
//     mix(x): x ^= x >> 16; x *= 7feb352d; x ^= x >> 15; x *= 846ca68b; x ^= x >> 16
//
//     plain number   w % 16 = 0: the bits kSmall[w / 16 % 8];
//                    else: w as a signed integer, rounded to binary32, times 2^-29: −4 to 4
//     hard number    w % 16 = 8: the bits kLarge[w / 16 % 8]; w % 16 = 4: the bits mix(w);
//                    else the plain number of w
//     boolean        w % 2
//     integer        the low bytes of w; of 64 bits: w + mix(w) * 2^32
//
// and a floating number is rounded to its storage as any result is (section 1 of the profile).
#pragma once

#include <bit>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "exact/element.h"
#include "exact/storage.h"
#include "exact_support.h"
#include "hashing/blake3.h"
#include "hashing/parallel.h"

namespace torchnotary::exact {

inline constexpr std::uint32_t kSmall[] = {0x00000000, 0x80000000, 0x00000001, 0x80000001,
                                           0x007fffff, 0x80400000, 0x00800000, 0x8d800000};
inline constexpr std::uint32_t kLarge[] = {0x7f800000, 0xff800000, 0x7fc00000, 0xffa12345,
                                           0x7f7fffff, 0xff7fffff, 0x3f800000, 0xbf800000};

enum class Numbers { plain, hard };

inline std::uint32_t mix(std::uint32_t x) {
  x ^= x >> 16;
  x *= 0x7feb352d;
  x ^= x >> 15;
  x *= 0x846ca68b;
  return x ^ (x >> 16);
}

inline std::uint32_t word(std::uint32_t operand, std::size_t i) {
  return mix(static_cast<std::uint32_t>(i) + operand * 0x9e3779b9);
}

inline float number(std::uint32_t w, Numbers numbers) {
  if (numbers == Numbers::hard) {
    if (w % 16 == 8) return std::bit_cast<float>(kLarge[w / 16 % 8]);
    if (w % 16 == 4) return std::bit_cast<float>(mix(w));
  }
  if (w % 16 == 0) return std::bit_cast<float>(kSmall[w / 16 % 8]);
  return static_cast<float>(static_cast<std::int32_t>(w)) * 0x1p-29f;
}

// Operand s of a case.
inline TestTensor operand(std::uint32_t s, Element element, const Shape& sizes,
                          Numbers numbers = Numbers::plain) {
  TestTensor tensor(element, sizes);
  const std::size_t size = element_size(element);
  for (std::size_t i = 0; i < tensor.bytes.size() / size; ++i) {
    const std::uint32_t w = word(s, i);
    switch (element) {
      case Element::float32:
        tensor.put(4 * i, number(w, numbers));
        break;
      case Element::bfloat16:
        tensor.put(2 * i, narrow_bfloat16(number(w, numbers)));
        break;
      case Element::float16:
        tensor.put(2 * i, narrow_float16(number(w, numbers)));
        break;
      case Element::boolean:
        tensor.put(i, static_cast<std::uint8_t>(w % 2));
        break;
      default: {
        const std::uint64_t wide = w | static_cast<std::uint64_t>(mix(w)) << 32;
        std::memcpy(tensor.bytes.data() + size * i, &wide, size);
      }
    }
  }
  return tensor;
}

// Numbers of binary32 as an operand that is always stored so: biases, weights of bags.
inline std::vector<float> floats(std::uint32_t s, std::size_t count,
                                 Numbers numbers = Numbers::plain) {
  std::vector<float> values(count);
  for (std::size_t i = 0; i < count; ++i) values[i] = number(word(s, i), numbers);
  return values;
}

// The lines of one run with so many threads.
class GoldenLines {
 public:
  explicit GoldenLines(std::size_t threads) : threads_(threads) {}

  const Threads& threads() const { return threads_; }
  const std::vector<std::string>& lines() const { return lines_; }

  void add(const std::string& name, std::initializer_list<Bytes> results) {
    Blake3 hasher(Blake3Mode::hash());
    for (const Bytes result : results) hasher.update(result);
    std::string line = name;
    line += ' ';
    for (const std::byte byte : hasher.finalize()) {
      line += "0123456789abcdef"[std::to_integer<int>(byte) >> 4];
      line += "0123456789abcdef"[std::to_integer<int>(byte) & 15];
    }
    lines_.push_back(line);
  }
  void add(const std::string& name, const TestTensor& result) { add(name, {result.bytes}); }

 private:
  const Threads threads_;
  std::vector<std::string> lines_;
};

inline constexpr Element kFloating[] = {Element::float32, Element::bfloat16, Element::float16};

inline std::string name_of(Element element) {
  static constexpr const char* kNames[] = {"float32", "bfloat16", "float16", "bool", "uint8",
                                           "int8",    "int16",    "int32",   "int64"};
  return kNames[static_cast<std::size_t>(element)];
}

// "5x48x257"
inline std::string name_of(const Shape& sizes) {
  std::string name;
  for (const std::int64_t size : sizes) {
    if (!name.empty()) name += 'x';
    name += std::to_string(size);
  }
  return name;
}

// The part of a name that says which numbers; nothing for plain ones.
inline const char* name_of(Numbers numbers) { return numbers == Numbers::hard ? "hard" : ""; }

// The parts that are not empty: "softmax/float32/130x37".
inline std::string case_name(std::initializer_list<std::string_view> parts) {
  std::string name;
  for (const std::string_view part : parts) {
    if (!name.empty() && !part.empty()) name += '/';
    name += part;
  }
  return name;
}

void golden_products(GoldenLines& lines);
void golden_attention(GoldenLines& lines);
void golden_elements(GoldenLines& lines);
void golden_rows(GoldenLines& lines);
void golden_windows(GoldenLines& lines);
void golden_sequences(GoldenLines& lines);

inline std::vector<std::string> golden_lines(std::size_t threads) {
  GoldenLines lines(threads);
  for (const auto group : {golden_products, golden_attention, golden_elements, golden_rows,
                           golden_windows, golden_sequences}) {
    group(lines);
  }
  return lines.lines();
}

}  // namespace torchnotary::exact
