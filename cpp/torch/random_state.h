// Whether torch's CPU generator was drawn from, noticed without copying its state out each time.
#pragma once

#include <ATen/core/MT19937RNGEngine.h>

#include <optional>
#include <string>

namespace torchnotary {

// Follows the default CPU generator. Not thread-safe: the caller serialises.
class CpuRandomWatch {
 public:
  // The bytes of torch.get_rng_state() where they are not those of the last call, which the first
  // call has none of.
  std::optional<std::string> moved();

 private:
  struct State {
    at::mt19937_data_pod engine;
    std::optional<float> next_float;
    std::optional<double> next_double;
  };
  static bool same(const State& a, const State& b);

  std::optional<State> last_;
};

}  // namespace torchnotary
