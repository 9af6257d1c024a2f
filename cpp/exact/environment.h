// The floating-point environment of exact/1 (docs/exact-profile.md, section 12).
#pragma once

#include <cstddef>
#include <cstdint>

#include "exact/control_register.h"
#include "hashing/parallel.h"

namespace torchnotary::exact {

// Rounds to nearest even and flushes nothing, on this thread and for as long as it lives; then
// what was in force before is back, without the status flags raised meanwhile.
class FloatEnvironment {
 public:
  FloatEnvironment() : before_(control_register()) { set_control_register(kExact); }
  ~FloatEnvironment() { set_control_register(before_); }
  FloatEnvironment(const FloatEnvironment&) = delete;
  FloatEnvironment& operator=(const FloatEnvironment&) = delete;

 private:
#if defined(__x86_64__)
  static constexpr std::uint64_t kExact = 0x1F80;  // all exceptions masked
#else
  static constexpr std::uint64_t kExact = 0;
#endif
  const std::uint64_t before_;
};

// parallel(count, task), each task in the environment.
inline void for_each_task(ParallelFor parallel, std::size_t count,
                          FunctionRef<void(std::size_t)> task) {
  parallel(count, [task](std::size_t i) {
    const FloatEnvironment environment;
    task(i);
  });
}

}  // namespace torchnotary::exact
