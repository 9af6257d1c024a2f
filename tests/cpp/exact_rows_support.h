// Section 7 of docs/exact-profile.md said slowly: sums in lanes, maxima, and tensors seen as rows.
#pragma once

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>
#include <vector>

#include "exact_support.h"

namespace torchnotary::exact::spec {

template <class T, class Take, class Combine>
T lanes(const std::vector<float>& x, T neutral, Take take, Combine combine) {
  std::array<T, 16> lane;
  lane.fill(neutral);
  for (std::size_t i = 0; i < x.size(); ++i)
    lane[i % 16] = take(lane[i % 16], static_cast<T>(x[i]));
  for (const std::size_t half : {8, 4, 2, 1}) {
    for (std::size_t l = 0; l < half; ++l) lane[l] = combine(lane[l], lane[l + half]);
  }
  return lane[0];
}

// The lanes in binary64 for more than 4,096 elements.
template <class Take, class Combine>
float reduced(const std::vector<float>& x, int neutral, Take take, Combine combine) {
  if (x.size() <= 4096) return lanes<float>(x, static_cast<float>(neutral), take, combine);
  return static_cast<float>(lanes<double>(x, neutral, take, combine));
}

inline constexpr auto kAdd = [](auto a, auto b) { return a + b; };
inline constexpr auto kMultiply = [](auto a, auto b) { return a * b; };

inline float sum(const std::vector<float>& x) { return reduced(x, 0, kAdd, kAdd); }
inline float product(const std::vector<float>& x) { return reduced(x, 1, kMultiply, kMultiply); }
// S(x, x)
inline float squares(const std::vector<float>& x) {
  return reduced(
      x, 0, [](auto lane, auto d) { return std::fma(d, d, lane); }, kAdd);
}

inline float maximum(const std::vector<float>& x) {
  float m = x.at(0);
  for (const float v : x) {
    if (v != v) return NAN;
    if (v > m || (v == 0 && m == 0 && !std::signbit(v))) m = v;
  }
  return m;
}

inline std::vector<float> minus(std::vector<float> x, float m) {
  for (float& v : x) v = v - m;
  return x;
}

// Rounded correctly but for arguments that no test is likely to find.
inline float exp(float x) { return static_cast<float>(std::exp(static_cast<long double>(x))); }
inline float log(float x) { return static_cast<float>(std::log(static_cast<long double>(x))); }

// The places in memory of each row of a tensor along some axes: rows and elements row-major.
inline std::vector<std::vector<std::size_t>> rows(const TestTensor& t,
                                                  const std::vector<bool>& along) {
  std::vector<std::vector<std::size_t>> places;
  const std::size_t rank = t.sizes.size(), count = elements_of(t.sizes);
  Shape index(rank, 0);
  std::size_t length = 1;
  for (std::size_t axis = 0; axis < rank; ++axis) {
    if (along[axis]) length *= static_cast<std::size_t>(t.sizes[axis]);
  }
  if (length > 0) places.resize(count / length);
  for (std::size_t i = 0; i < count; ++i) {
    std::size_t rest = i, row = 0;
    for (std::size_t axis = rank; axis-- > 0;) {
      const auto size = static_cast<std::size_t>(t.sizes[axis]);
      index[axis] = static_cast<std::int64_t>(rest % size);
      rest /= size;
    }
    for (std::size_t axis = 0; axis < rank; ++axis) {
      if (along[axis]) continue;
      row = row * static_cast<std::size_t>(t.sizes[axis]) + static_cast<std::size_t>(index[axis]);
    }
    places[row].push_back(t.place(t.sizes, i));
  }
  return places;
}

inline std::vector<float> values(const TestTensor& t, const std::vector<std::size_t>& places) {
  std::vector<float> x;
  for (const std::size_t place : places) x.push_back(t.value(place));
  return x;
}

}  // namespace torchnotary::exact::spec
