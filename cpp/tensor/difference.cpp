// Elements as doubles, dtype by dtype, and the largest distance between two of them.
#include "tensor/difference.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <complex>
#include <cstring>
#include <limits>
#include <string>

#include "hashing/errors.h"

namespace torchnotary {
namespace {

// The value of a small float: sign, `exponent` and `mantissa` bits, bias 2^(exponent - 1) - 1.
// `ieee` formats have infinities; float8_e4m3fn has one NaN in each half instead.
double small_float(std::uint32_t bits, int exponent, int mantissa, bool ieee) {
  const std::uint32_t fraction = bits & ((1u << mantissa) - 1);
  const int top = (1 << exponent) - 1;
  const int scale = static_cast<int>(bits >> mantissa) & top;
  const double sign = (bits >> (exponent + mantissa)) & 1 ? -1.0 : 1.0;
  const int bias = (1 << (exponent - 1)) - 1;
  if (ieee && scale == top) {
    return fraction != 0 ? std::numeric_limits<double>::quiet_NaN()
                         : sign * std::numeric_limits<double>::infinity();
  }
  if (!ieee && scale == top && fraction == (1u << mantissa) - 1) {
    return std::numeric_limits<double>::quiet_NaN();
  }
  if (scale == 0) return sign * std::ldexp(fraction, 1 - bias - mantissa);
  return sign * std::ldexp(fraction + (1u << mantissa), scale - bias - mantissa);
}

double as_double(float value) { return value; }
double as_double(double value) { return value; }

template <class Number>
double distance_of(const std::byte* a, const std::byte* b) {
  return std::abs(as_double(load_le<Number>(b)) - as_double(load_le<Number>(a)));
}
// Exactly, before it is rounded: neighbours beyond 2^53 differ by 1.
template <class Integer>
double integer_distance(const std::byte* a, const std::byte* b) {
  const auto x = load_le<Integer>(a), y = load_le<Integer>(b);
  const auto wide = [](Integer value) { return static_cast<std::uint64_t>(value); };
  return static_cast<double>(x < y ? wide(y) - wide(x) : wide(x) - wide(y));
}
template <int exponent, int mantissa, bool ieee, class Word>
double small_distance(const std::byte* a, const std::byte* b) {
  return std::abs(small_float(load_le<Word>(b), exponent, mantissa, ieee) -
                  small_float(load_le<Word>(a), exponent, mantissa, ieee));
}
template <int half, double (*part)(const std::byte*, const std::byte*)>
double complex_distance(const std::byte* a, const std::byte* b) {
  return std::abs(std::complex<double>(part(a, b), part(a + half, b + half)));
}

// The bits of a float without its sign count the values from zero to it.
template <class Word>
std::uint64_t ulps_of(const std::byte* a, const std::byte* b) {
  constexpr Word kSign = static_cast<Word>(Word{1} << (8 * sizeof(Word) - 1));
  const auto x = load_le<Word>(a), y = load_le<Word>(b);
  const std::uint64_t from = x & static_cast<Word>(~kSign), to = y & static_cast<Word>(~kSign);
  if ((x & kSign) != (y & kSign)) return from + to;
  return from < to ? to - from : from - to;
}
template <class Word>
std::uint64_t complex_ulps(const std::byte* a, const std::byte* b) {
  return std::max(ulps_of<Word>(a, b), ulps_of<Word>(a + sizeof(Word), b + sizeof(Word)));
}

using Distance = double (*)(const std::byte*, const std::byte*);
using Ulps = std::uint64_t (*)(const std::byte*, const std::byte*);

struct Entry {
  std::string_view dtype;
  Distance distance;
  Ulps ulps = nullptr;
};
constexpr Distance kHalf = small_distance<5, 10, true, std::uint16_t>;
constexpr Entry kDistances[] = {
    {"float32", distance_of<float>, ulps_of<std::uint32_t>},
    {"float64", distance_of<double>, ulps_of<std::uint64_t>},
    {"float16", kHalf, ulps_of<std::uint16_t>},
    {"bfloat16", small_distance<8, 7, true, std::uint16_t>, ulps_of<std::uint16_t>},
    {"float8_e4m3fn", small_distance<4, 3, false, std::uint8_t>, ulps_of<std::uint8_t>},
    {"float8_e5m2", small_distance<5, 2, true, std::uint8_t>, ulps_of<std::uint8_t>},
    {"int64", integer_distance<std::int64_t>},
    {"int32", integer_distance<std::int32_t>},
    {"int16", integer_distance<std::int16_t>},
    {"int8", integer_distance<std::int8_t>},
    {"uint64", integer_distance<std::uint64_t>},
    {"uint32", integer_distance<std::uint32_t>},
    {"uint16", integer_distance<std::uint16_t>},
    {"uint8", integer_distance<std::uint8_t>},
    {"bool", integer_distance<std::uint8_t>},
    {"complex32", complex_distance<2, kHalf>, complex_ulps<std::uint16_t>},
    {"complex64", complex_distance<4, distance_of<float>>, complex_ulps<std::uint32_t>},
    {"complex128", complex_distance<8, distance_of<double>>, complex_ulps<std::uint64_t>},
};

Entry entry_for(const DType& dtype) {
  for (const Entry& entry : kDistances) {
    if (entry.dtype == dtype.name) return entry;
  }
  return {dtype.name, nullptr};
}

}  // namespace

void Difference::add(Bytes before, Bytes after) {
  const std::size_t size = dtype_->itemsize;
  if (before.size() != after.size() || before.size() % size != 0) {
    throw NotaryError("these are not the same number of elements",
                      std::to_string(before.size()) + " bytes",
                      std::to_string(after.size()) + " bytes", "compare tensors of one shape");
  }
  const Entry entry = entry_for(*dtype_);
  // As commitments do: any byte but 0 is true.
  const bool boolean = dtype_->kind == Kind::boolean;
  constexpr std::byte kZero[16] = {};
  for (std::size_t i = 0; i < before.size(); i += size) {
    const std::byte *a = &before[i], *b = &after[i];
    if (entry.ulps != nullptr) {
      const double value = entry.distance(kZero, a);
      if (std::isfinite(value)) scale_ = std::max(scale_, value);
    }
    const bool same =
        boolean ? (*a != std::byte{0}) == (*b != std::byte{0}) : std::memcmp(a, b, size) == 0;
    if (same) {
      ++histogram_[0];
      continue;
    }
    ++differing_;
    if (entry.distance == nullptr) continue;
    const double found = boolean ? 1.0 : entry.distance(a, b);
    if (std::isnan(found)) {
      ++undefined_;
    } else {
      largest_ = std::max(largest_.value_or(0.0), found);
    }
    if (entry.ulps != nullptr && std::isfinite(found)) {
      const std::uint64_t ulps = entry.ulps(a, b);
      ulps_ = std::max(ulps_, ulps);
      ++histogram_[static_cast<std::size_t>(std::bit_width(ulps))];
    }
  }
}

}  // namespace torchnotary
