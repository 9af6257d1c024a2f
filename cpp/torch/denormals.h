// Whether this thread flushes denormals: the two bits of its floating-point control register.
#pragma once

#include <cstdint>

#include "exact/control_register.h"

namespace torchnotary {

// The denormal bits of the calling thread; 0 means that denormals are kept, as IEEE-754 has it.
// Bits rather than torch's on/off switch: a library may have set only one of the two.
inline std::uint64_t denormal_bits() { return control_register() & kDenormalBits; }

inline void set_denormal_bits(std::uint64_t bits) {
  set_control_register((control_register() & ~kDenormalBits) | bits);
}

}  // namespace torchnotary
