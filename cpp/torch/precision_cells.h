// The float32 precision settings of torch, each as the independent cell that torch stores.
#pragma once

#include <string>
#include <vector>

#include "torch/settings.h"

namespace torchnotary {

// One row for every (backend, operator) of the 2.9+ `fp32_precision` interface, all wanting
// "ieee", and the two flags of the older interface. Reading gives what is in force after
// inheritance; a flag that torch refuses to read, because both interfaces were mixed, reads as
// "mixed".
std::vector<Setting> precision_settings();

// Appends every cell as it is stored, a byte each: equal bytes, equal precisions in force.
void add_precision_cells(std::string& bytes);

// Throws std::runtime_error if the running LibTorch does not keep its precisions where the headers
// of the build say: asked once, when the extension is loaded.
void check_precision_cells();

}  // namespace torchnotary
