// The calling thread's floating-point control register: rounding, flushing of denormals,
// exceptions.
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

}  // namespace torchnotary
