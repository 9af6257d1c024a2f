// The settings of torch that decide whether a computation repeats, and what each has to be.
#pragma once

#include <span>

#include "torch/settings.h"

namespace torchnotary {

// Every process-wide setting of torch 2.13 with a bearing on determinism, in the order in which a
// scope sets them. Thread counts and denormals belong to threads: see DeterminismScope.
std::span<const Setting> process_settings();

}  // namespace torchnotary
