#include "torch/random_state.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/core/Tensor.h>
#include <c10/core/TensorImpl.h>

#include <cstring>
#include <mutex>
#include <utility>

namespace torchnotary {
namespace {

// Bit for bit: a NaN kept as the next sample is the same one.
template <class T>
bool same_bits(const std::optional<T>& a, const std::optional<T>& b) {
  if (a.has_value() != b.has_value()) return false;
  return !a || std::memcmp(&*a, &*b, sizeof(T)) == 0;
}

}  // namespace

bool CpuRandomWatch::same(const State& a, const State& b) {
  return a.engine.left_ == b.engine.left_ && a.engine.next_ == b.engine.next_ &&
         a.engine.seed_ == b.engine.seed_ && a.engine.seeded_ == b.engine.seeded_ &&
         a.engine.state_ == b.engine.state_ && same_bits(a.next_float, b.next_float) &&
         same_bits(a.next_double, b.next_double);
}

std::optional<std::string> CpuRandomWatch::moved() {
  at::Generator generator = at::detail::getDefaultCPUGenerator();
  auto* cpu = at::check_generator<at::CPUGeneratorImpl>(generator);
  const std::lock_guard lock(generator.mutex());
  State now{cpu->engine().data(), cpu->next_float_normal_sample(),
            cpu->next_double_normal_sample()};
  if (last_ && same(*last_, now)) return std::nullopt;
  last_ = std::move(now);
  const auto state = cpu->get_state();
  return std::string(static_cast<const char*>(state->data()), state->numel());
}

}  // namespace torchnotary
