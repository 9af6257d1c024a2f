// The operators that move bits (neg, abs, copysign, where), on words of an element's size.
#pragma once

#include <cstddef>
#include <cstdint>

#include "exact/elementwise.h"

namespace torchnotary::exact {

template <class Word>
inline constexpr Word kSign = static_cast<Word>(Word{1} << (8 * sizeof(Word) - 1));

// out[i] = op(inputs[0][i], …); the condition of `where`, inputs[0], is one byte an element.
template <class Word>
void move_elements(ElementOp op, const void* const* inputs, Word* out, std::size_t n) {
  const auto* x = static_cast<const Word*>(inputs[0]);
  const auto* y = static_cast<const Word*>(inputs[1]);
  switch (op) {
    case ElementOp::neg:
      for (std::size_t i = 0; i < n; ++i) out[i] = x[i] ^ kSign<Word>;
      return;
    case ElementOp::abs:
      for (std::size_t i = 0; i < n; ++i) out[i] = x[i] & ~kSign<Word>;
      return;
    case ElementOp::copysign:
      for (std::size_t i = 0; i < n; ++i) {
        out[i] = (x[i] & ~kSign<Word>) | (y[i] & kSign<Word>);
      }
      return;
    default: {  // where
      const auto* condition = static_cast<const std::uint8_t*>(inputs[0]);
      const auto* z = static_cast<const Word*>(inputs[2]);
      for (std::size_t i = 0; i < n; ++i) out[i] = condition[i] != 0 ? y[i] : z[i];
    }
  }
}

inline void move_elements(ElementOp op, std::size_t word, const void* const* inputs, void* out,
                          std::size_t n) {
  switch (word) {
    case 1:
      return move_elements(op, inputs, static_cast<std::uint8_t*>(out), n);
    case 2:
      return move_elements(op, inputs, static_cast<std::uint16_t*>(out), n);
    case 4:
      return move_elements(op, inputs, static_cast<std::uint32_t*>(out), n);
    default:
      return move_elements(op, inputs, static_cast<std::uint64_t*>(out), n);
  }
}

}  // namespace torchnotary::exact
