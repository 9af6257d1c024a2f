// The choice of CPU path, made once, for everything that has more than one.
#pragma once

#include <string_view>
#include <vector>

namespace torchnotary {

enum class CpuPath { portable, avx2, avx512, neon };

// "portable", "avx2", "avx512" or "neon": the values of TORCHNOTARY_CPU.
std::string_view cpu_path_name(CpuPath path);

// What this machine and this build can run, best first; portable is always the last.
const std::vector<CpuPath>& supported_cpu_paths();

// The path named by `request`, or the best one where it is empty. Raises NotaryError for an
// unknown name and for a path that this machine lacks.
CpuPath choose_cpu_path(std::string_view request);

// The path in use: choose_cpu_path of the environment's TORCHNOTARY_CPU, read at the first call.
CpuPath cpu_path();

// Replaces the choice, so that one test body can run over every supported path.
void use_cpu_path(CpuPath path);

// Whether SHA-256 instructions may be used: the machine has them and the path is not portable.
bool cpu_has_sha256();

}  // namespace torchnotary
