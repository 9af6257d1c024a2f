// Checks an elementary function for all 2^32 arguments on one CPU path.
//
//   elementary exp avx512 [HARD_CASES]    against the correctly rounded value
//   elementary exp avx2 against avx512    against another path, bit by bit
//
// The C library's binary64 function decides where all values within 2^-36 of its own round to the
// same binary32 value: that is 2^17 times its documented error. Where they do not, MPFR decides.
// Into the file HARD_CASES go the arguments, with the results, whose exact values are within 2^-46
// of a rounding boundary.
#include <mpfr.h>

#include <atomic>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <mutex>
#include <string_view>
#include <vector>

#include "exact/elementary.h"
#include "exact/environment.h"
#include "exact/storage.h"
#include "hashing/cpu.h"
#include "hashing/parallel.h"

namespace torchnotary::exact {
namespace {

struct Function {
  std::string_view name;
  double (*estimate)(double);
  int (*exact)(mpfr_t, const mpfr_t, mpfr_rnd_t);
  ElementaryFunction ElementaryKernels::*kernel;
};

#define FUNCTION(name, Name) {#name, std::name, mpfr_##name, &ElementaryKernels::name},
const Function kFunctions[] = {TORCHNOTARY_ELEMENTARY(FUNCTION)};
#undef FUNCTION

constexpr std::size_t kBlock = std::size_t{1} << 16;

struct Case {
  std::uint32_t argument, result;
};

// What all threads have found.
struct Findings {
  std::mutex mutex;
  std::vector<Case> hard;
  std::atomic<std::uint64_t> wrong = 0, by_mpfr = 0;
};

// Round to nearest even with the precision, the exponents and the denormals of binary32.
float exact_value(const Function& function, float x) {
  mpfr_set_emin(-148);
  mpfr_set_emax(128);
  mpfr_t argument, result;
  mpfr_inits2(24, argument, result, nullptr);
  mpfr_set_flt(argument, x, MPFR_RNDN);
  const int ternary = function.exact(result, argument, MPFR_RNDN);
  mpfr_subnormalize(result, ternary, MPFR_RNDN);
  const float value = mpfr_get_flt(result, MPFR_RNDN);
  mpfr_clears(argument, result, nullptr);
  return value;
}

bool decided(double estimate, double slack, float& value) {
  value = static_cast<float>(estimate * (1 - slack));
  const float high = static_cast<float>(estimate * (1 + slack));
  return std::bit_cast<std::uint32_t>(value) == std::bit_cast<std::uint32_t>(high);
}

std::uint32_t expected(const Function& function, float x, Findings& findings) {
  const double estimate = function.estimate(x);
  if (std::isnan(estimate)) return kNan;
  float value;
  if (decided(estimate, 0x1p-36, value)) return std::bit_cast<std::uint32_t>(value);
  ++findings.by_mpfr;
  value = exact_value(function, x);
  const std::uint32_t result = std::bit_cast<std::uint32_t>(value);
  if (!decided(estimate, 0x1p-46, value)) {
    const std::lock_guard lock(findings.mutex);
    findings.hard.push_back({std::bit_cast<std::uint32_t>(x), result});
  }
  return result;
}

void compare(std::uint32_t argument, std::uint32_t got, std::uint32_t wanted, Findings& findings) {
  if (got == wanted) return;
  if (++findings.wrong > 40) return;
  const std::lock_guard lock(findings.mutex);
  std::printf("  %08x: got %08x, exact %08x\n", argument, got, wanted);
}

void check_block(const Function& function, CpuPath path, const CpuPath* against, std::size_t block,
                 Findings& findings) {
  thread_local float x[kBlock], y[kBlock], other[kBlock];
  for (std::size_t i = 0; i < kBlock; ++i) {
    x[i] = std::bit_cast<float>(static_cast<std::uint32_t>(block * kBlock + i));
  }
  (elementary_kernels(path).*function.kernel)(x, y, kBlock);
  if (against != nullptr) {
    (elementary_kernels(*against).*function.kernel)(x, other, kBlock);
    if (std::memcmp(y, other, sizeof(y)) == 0) return;
  }
  for (std::size_t i = 0; i < kBlock; ++i) {
    const std::uint32_t wanted = against != nullptr ? std::bit_cast<std::uint32_t>(other[i])
                                                    : expected(function, x[i], findings);
    compare(static_cast<std::uint32_t>(block * kBlock + i), std::bit_cast<std::uint32_t>(y[i]),
            wanted, findings);
  }
}

void write_hard_cases(const Findings& findings, const char* file) {
  std::FILE* out = std::fopen(file, "w");
  for (const Case& hard : findings.hard)
    std::fprintf(out, "%08x %08x\n", hard.argument, hard.result);
  std::fclose(out);
}

int run(int count, char** words) {
  const Function* function = nullptr;
  for (const Function& each : kFunctions) {
    if (count > 2 && each.name == words[1]) function = &each;
  }
  if (function == nullptr) {
    std::fprintf(stderr, "usage: elementary FUNCTION PATH [HARD_CASES | against PATH]\n");
    return 2;
  }
  const CpuPath path = choose_cpu_path(words[2]);
  CpuPath other;
  const bool compares = count == 5;
  if (compares) other = choose_cpu_path(words[4]);
  Findings findings;
  const auto begin = std::chrono::steady_clock::now();
  for_each_task(Threads(2), (std::size_t{1} << 32) / kBlock, [&](std::size_t block) {
    check_block(*function, path, compares ? &other : nullptr, block, findings);
  });
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  std::printf("%s %s%s%s: %llu wrong, %llu by MPFR, %zu within 2^-46, %.0f s\n", words[1], words[2],
              compares ? " against " : "", compares ? words[4] : "",
              static_cast<unsigned long long>(findings.wrong),
              static_cast<unsigned long long>(findings.by_mpfr), findings.hard.size(),
              seconds.count());
  if (count == 4) write_hard_cases(findings, words[3]);
  return findings.wrong != 0;
}

}  // namespace
}  // namespace torchnotary::exact

int main(int count, char** words) { return torchnotary::exact::run(count, words); }
