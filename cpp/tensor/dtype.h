// The element types a tensor may have: torch's name, size, and what neg and conj mean.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace torchnotary {

enum class Kind : std::uint8_t { boolean, integer, floating, complex, opaque };

struct DType {
  std::string_view name;  // as torch spells it, without "torch."
  std::uint8_t itemsize;  // bytes
  Kind kind;              // opaque: bits with no rule for neg
};

// The entry for a torch name. Raises UnsupportedTensor where there is none.
const DType& dtype_of(std::string_view name);

}  // namespace torchnotary
