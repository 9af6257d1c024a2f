// Many sums side by side in the order of docs/exact-profile.md, section 7: one for each column.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>

namespace torchnotary::exact {

// More elements than these are summed in binary64.
inline constexpr std::size_t kNarrowSum = 4096;

template <class Number, std::size_t kColumns>
class LaneSums {
 public:
  explicit LaneSums(std::size_t columns) : columns_(columns) {
    for (auto& lane : lanes_) std::fill_n(lane, columns, Number{0});
  }

  // Adds x[c × step] to the sum of column c, of which it is element `index`.
  void add(std::size_t index, const float* x, std::ptrdiff_t step = 1) {
    Number* lane = lanes_[index % 16];
    for (std::size_t c = 0; c < columns_; ++c) {
      lane[c] = lane[c] + static_cast<Number>(x[static_cast<std::ptrdiff_t>(c) * step]);
    }
  }

  // The same for a sum of products.
  void add_product(std::size_t index, const float* x, float weight) {
    Number* lane = lanes_[index % 16];
    for (std::size_t c = 0; c < columns_; ++c) {
      lane[c] = std::fma(static_cast<Number>(x[c]), static_cast<Number>(weight), lane[c]);
    }
  }

  void finish(float* sums) {
    for (std::size_t half = 8; half > 0; half /= 2) {
      for (std::size_t l = 0; l < half; ++l) {
        for (std::size_t c = 0; c < columns_; ++c) {
          lanes_[l][c] = lanes_[l][c] + lanes_[l + half][c];
        }
      }
    }
    for (std::size_t c = 0; c < columns_; ++c) sums[c] = static_cast<float>(lanes_[0][c]);
  }

 private:
  std::size_t columns_;
  Number lanes_[16][kColumns];
};

// Calls sum(lanes) with lanes for `columns` sums of `n` elements each.
template <std::size_t kColumns, class Sum>
void with_lanes(std::size_t n, std::size_t columns, Sum sum) {
  if (n > kNarrowSum) {
    LaneSums<double, kColumns> lanes(columns);
    sum(lanes);
  } else {
    LaneSums<float, kColumns> lanes(columns);
    sum(lanes);
  }
}

}  // namespace torchnotary::exact
