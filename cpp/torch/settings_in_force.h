// Whether the settings of torch that decide a result are as they were: a look at all of them at
// once.
#pragma once

#include <string>

namespace torchnotary {

// Bytes that differ whenever a setting of LibTorch differs that Python's settings_in_force() reads
// (those that live in Python are not among them), or the calling thread's number of intra-op
// threads. Each byte is a value as torch stores it; what it means is Python's to say.
std::string settings_fingerprint();

}  // namespace torchnotary
