// What the fuzz targets share: reading values off an input, and stopping at a broken property.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "hashing/bytes.h"

namespace torchnotary {

// Ends the run where a property does not hold; libFuzzer keeps the input.
inline void require(bool holds, std::string_view property) {
  if (holds) return;
  std::fprintf(stderr, "does not hold: %.*s\n", static_cast<int>(property.size()), property.data());
  std::abort();
}

// Takes values off the front of an input; past its end everything is zero.
class Input {
 public:
  explicit Input(Bytes rest) : rest_(rest) {}

  Bytes rest() const { return rest_; }

  Bytes take(std::size_t size) {
    const Bytes taken = rest_.first(std::min(size, rest_.size()));
    rest_ = rest_.subspan(taken.size());
    return taken;
  }

  template <class Value>
  Value value() {
    Value value{};
    const Bytes taken = take(sizeof(Value));
    if (!taken.empty()) std::memcpy(&value, taken.data(), taken.size());
    return value;
  }

 private:
  Bytes rest_;
};

}  // namespace torchnotary
