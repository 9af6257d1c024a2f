// Checks an elementary function for all 2^32 arguments: the best CPU path against the correctly
// rounded value, and every other path of this machine against the best, bit by bit.
//
//   elementary check FUNCTION HARD_CASES
//   elementary sample FUNCTION HARD_CASES    prints lines of tests/cpp/elementary_cases.txt
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
#include <random>
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
  return canonical(value);
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

// Zeros, infinities, NaNs, the ends of the range, and numbers at which some function changes its
// way, with their neighbours.
std::vector<std::uint32_t> special_arguments() {
  std::vector<std::uint32_t> bits = {0,          1,          0x7fffff,   0x800000,  0x7f7fffff,
                                     0x7f800000, 0x7f800001, 0x7fc00000, 0x7fffffff};
  for (const float near :
       {0x1p-26f, 0x1p-12f, 0.5f,   1.0f,      2.0f,       3.92f,     4.0f,       9.02f,
        10.0f,    10.06f,   17.33f, 87.33655f, 88.722839f, 89.41599f, 103.97208f, 126.0f,
        128.0f,   149.0f,   150.0f, 151.0f,    1000.0f,    0x1p24f,   0x1p64f,    1e38f}) {
    const auto middle = std::bit_cast<std::uint32_t>(near);
    for (std::uint32_t each = middle - 1; each <= middle + 1; ++each) bits.push_back(each);
  }
  for (std::size_t i = bits.size(); i-- > 0;) bits.push_back(bits[i] | 0x80000000);
  return bits;
}

// All special ones, 100 random ones, and the hard ones within 2^-50.
int print_sample(const Function& function, const char* hard_cases) {
  std::vector<std::uint32_t> arguments = special_arguments();
  std::mt19937 random(1);
  for (int i = 0; i < 50; ++i) arguments.push_back(random());
  std::uniform_real_distribution<float> usual(-8, 8);
  for (int i = 0; i < 50; ++i) arguments.push_back(std::bit_cast<std::uint32_t>(usual(random)));
  std::FILE* in = std::fopen(hard_cases, "r");
  if (in == nullptr) {
    std::perror(hard_cases);
    return 2;
  }
  std::uint32_t argument;
  float ignored;
  while (std::fscanf(in, "%x %*x", &argument) == 1) {
    const double estimate = function.estimate(std::bit_cast<float>(argument));
    if (!decided(estimate, 0x1p-50, ignored)) arguments.push_back(argument);
  }
  std::fclose(in);
  for (const std::uint32_t each : arguments) {
    const float value = exact_value(function, std::bit_cast<float>(each));
    std::printf("%s %08x %08x\n", function.name.data(), each, std::bit_cast<std::uint32_t>(value));
  }
  return 0;
}

bool check(const Function& function, CpuPath path, const CpuPath* against, Findings& findings) {
  const auto begin = std::chrono::steady_clock::now();
  for_each_task(Threads(2), (std::size_t{1} << 32) / kBlock,
                [&](std::size_t block) { check_block(function, path, against, block, findings); });
  const std::chrono::duration<double> seconds = std::chrono::steady_clock::now() - begin;
  std::printf("%-5s %-8s against %s: %llu wrong, %llu decided by MPFR, %.0f s\n",
              function.name.data(), cpu_path_name(path).data(),
              against != nullptr ? cpu_path_name(*against).data() : "the exact value",
              static_cast<unsigned long long>(findings.wrong),
              static_cast<unsigned long long>(findings.by_mpfr), seconds.count());
  std::fflush(stdout);
  return findings.wrong == 0;
}

int check_all_paths(const Function& function, const char* hard_cases) {
  const std::vector<CpuPath>& paths = supported_cpu_paths();
  Findings exact;
  bool right = check(function, paths[0], nullptr, exact);
  write_hard_cases(exact, hard_cases);
  for (std::size_t i = 1; i < paths.size(); ++i) {
    Findings same;
    right = check(function, paths[i], &paths[0], same) && right;
  }
  return right ? 0 : 1;
}

int run(int count, char** words) {
  for (const Function& function : kFunctions) {
    if (count != 4 || function.name != words[2]) continue;
    if (std::string_view(words[1]) == "check") return check_all_paths(function, words[3]);
    if (std::string_view(words[1]) == "sample") return print_sample(function, words[3]);
  }
  std::fprintf(stderr, "usage: elementary check|sample FUNCTION HARD_CASES\n");
  return 2;
}

}  // namespace
}  // namespace torchnotary::exact

int main(int count, char** words) { return torchnotary::exact::run(count, words); }
