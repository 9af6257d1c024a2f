// Whether this thread flushes denormals: the two bits of its floating-point control register.
#pragma once

#include <cstdint>

#if defined(__x86_64__)
#include <xmmintrin.h>
#elif !defined(__aarch64__)
#error "torchnotary knows the floating-point control register of x86-64 and aarch64 only"
#endif

namespace torchnotary {

#if defined(__x86_64__)
// MXCSR: flush-to-zero (results) and denormals-are-zero (operands), Intel SDM vol. 1 §10.2.3.
inline constexpr std::uint64_t kDenormalBits = (1u << 15) | (1u << 6);
inline std::uint64_t control_register() { return _mm_getcsr(); }
inline void set_control_register(std::uint64_t word) {
  _mm_setcsr(static_cast<unsigned int>(word));
}
#else
// FPCR: FZ and, for half precision, FZ16 (Arm ARM, FPCR).
inline constexpr std::uint64_t kDenormalBits = (1u << 24) | (1u << 19);
inline std::uint64_t control_register() {
  std::uint64_t word;
  asm volatile("mrs %0, fpcr" : "=r"(word));
  return word;
}
inline void set_control_register(std::uint64_t word) { asm volatile("msr fpcr, %0" : : "r"(word)); }
#endif

// The denormal bits of the calling thread; 0 means that denormals are kept, as IEEE-754 has it.
// Bits rather than torch's on/off switch: a library may have set only one of the two.
inline std::uint64_t denormal_bits() { return control_register() & kDenormalBits; }

inline void set_denormal_bits(std::uint64_t bits) {
  set_control_register((control_register() & ~kDenormalBits) | bits);
}

}  // namespace torchnotary
