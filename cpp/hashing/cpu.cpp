// The choice of CPU path: what the machine has, narrowed by TORCHNOTARY_CPU.
#include "hashing/cpu.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <cstdlib>
#include <string>

#include "hashing/errors.h"
#include "hwy/targets.h"

#if HWY_ARCH_X86
#include <cpuid.h>
#elif HWY_ARCH_ARM_A64 && defined(__linux__)
#include <asm/hwcap.h>
#include <sys/auxv.h>
#define TORCHNOTARY_ARM_LINUX 1
#endif

namespace torchnotary {
namespace {

struct NamedPath {
  CpuPath path;
  std::string_view name;
  int64_t target;  // Highway's bit; 0 needs nothing
};

constexpr std::array<NamedPath, 4> kPaths = {{
    {CpuPath::avx512, "avx512", HWY_AVX3},
    {CpuPath::avx2, "avx2", HWY_AVX2},
    {CpuPath::neon, "neon", HWY_NEON},
    {CpuPath::portable, "portable", 0},
}};

// Highway's targets on this machine. On ARM Linux the kernel is asked what Highway would ask it:
// its NEON target is compiled with AES. That leaves nothing of Highway to link, so that its
// headers are enough to cross-compile.
int64_t machine_targets() {
#if TORCHNOTARY_ARM_LINUX
  return (getauxval(AT_HWCAP) & HWCAP_AES) != 0 ? HWY_NEON : 0;
#else
  return hwy::SupportedTargets();
#endif
}

std::vector<CpuPath> detect_paths() {
  const int64_t machine = machine_targets() & HWY_TARGETS;
  std::vector<CpuPath> found;
  for (const NamedPath& entry : kPaths) {
    if (entry.target == 0 || (machine & entry.target) != 0) found.push_back(entry.path);
  }
  return found;
}

std::string supported_names() {
  std::string names;
  for (const CpuPath path : supported_cpu_paths()) {
    if (!names.empty()) names += ", ";
    names += cpu_path_name(path);
  }
  return names;
}

// -1 until the first use. Two threads that race here compute the same value.
std::atomic<int> chosen{-1};

}  // namespace

std::string_view cpu_path_name(CpuPath path) {
  return std::find_if(kPaths.begin(), kPaths.end(),
                      [path](const NamedPath& entry) { return entry.path == path; })
      ->name;
}

const std::vector<CpuPath>& supported_cpu_paths() {
  static const std::vector<CpuPath> paths = detect_paths();
  return paths;
}

CpuPath choose_cpu_path(std::string_view request) {
  const std::vector<CpuPath>& supported = supported_cpu_paths();
  if (request.empty()) return supported.front();
  for (const CpuPath path : supported) {
    if (cpu_path_name(path) == request) return path;
  }
  throw NotaryError("TORCHNOTARY_CPU asks for a path this machine lacks", supported_names(),
                    std::string(request), "unset TORCHNOTARY_CPU or set it to one of the former");
}

CpuPath cpu_path() {
  int path = chosen.load(std::memory_order_relaxed);
  if (path < 0) {
    const char* request = std::getenv("TORCHNOTARY_CPU");
    path = static_cast<int>(choose_cpu_path(request == nullptr ? "" : request));
    chosen.store(path, std::memory_order_relaxed);
  }
  return static_cast<CpuPath>(path);
}

void use_cpu_path(CpuPath path) { chosen.store(static_cast<int>(path), std::memory_order_relaxed); }

bool cpu_has_sha256() {
  // Asked on every machine, so that a wrong TORCHNOTARY_CPU is refused on every machine.
  const bool allowed = cpu_path() != CpuPath::portable;
#if HWY_ARCH_X86
  static const bool machine = [] {
    unsigned eax = 0, ebx = 0, ecx = 0, edx = 0;
    return __get_cpuid_count(7, 0, &eax, &ebx, &ecx, &edx) != 0 && (ebx & (1u << 29)) != 0;
  }();
  return machine && allowed;
#elif TORCHNOTARY_ARM_LINUX
  static const bool machine = (getauxval(AT_HWCAP) & HWCAP_SHA2) != 0;
  return machine && allowed;
#else
  return false && allowed;
#endif
}

}  // namespace torchnotary
