// Checks powers of pairs of arguments on every CPU path against MPFR: random ones, and ones made to
// be exact, in the middle of two binary32 numbers, or just beside it.
//
//   powers check COUNT      so many pairs of each kind; and what PowLanes() says of the logarithm
//   powers sample           prints the lines of tests/cpp/pow_cases.txt
//
// As in elementary.cpp, the C library's binary64 function decides where it can, and MPFR elsewhere.
#include <mpfr.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <random>
#include <string_view>
#include <vector>

#include "exact/elementary_portable.h"
#include "exact/elementary_pow.h"
#include "exact/environment.h"
#include "exact/storage.h"

namespace torchnotary::exact {
namespace {

struct Pair {
  float x, y;
};

float exact_power(Pair pair) {
  mpfr_set_emin(-148);
  mpfr_set_emax(128);
  mpfr_t x, y, result;
  mpfr_inits2(24, x, y, result, nullptr);
  // Denormal arguments have exponents below the results' least one.
  mpfr_set_emin(mpfr_get_emin_min());
  mpfr_set_flt(x, pair.x, MPFR_RNDN);
  mpfr_set_flt(y, pair.y, MPFR_RNDN);
  mpfr_set_emin(-148);
  const int ternary = mpfr_pow(result, x, y, MPFR_RNDN);
  mpfr_subnormalize(result, ternary, MPFR_RNDN);
  const float value = mpfr_get_flt(result, MPFR_RNDN);
  mpfr_clears(x, y, result, nullptr);
  return canonical(value);
}

float expected(Pair pair) {
  const double estimate = std::pow(static_cast<double>(pair.x), static_cast<double>(pair.y));
  const auto low = static_cast<float>(estimate * (1 - 0x1p-36));
  if (low == static_cast<float>(estimate * (1 + 0x1p-36))) return low;
  return exact_power(pair);
}

using Random = std::mt19937_64;

float any_float(Random& random) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(random()));
}

// Any bits at all.
Pair any_pair(Random& random) { return {any_float(random), any_float(random)}; }

// A power that is neither 0 nor ∞.
Pair finite_pair(Random& random) {
  const float x = std::fabs(any_float(random));
  const double wanted = std::uniform_real_distribution<double>(-151, 129)(random);
  return {x, static_cast<float>(wanted / std::log2(static_cast<double>(x)))};
}

// An exponent n / 2^f, and a base that is the 2^f-th power of a short number.
Pair short_pair(Random& random) {
  const int halvings = static_cast<int>(random() % 5);
  double x = static_cast<double>(1 + random() % (4096 >> std::min(2 * halvings, 11)));
  for (int i = 0; i < halvings; ++i) x *= x;
  const int scale = static_cast<int>(random() % 33) - 16;
  const double y = static_cast<double>(random() % 49) - 24;
  return {static_cast<float>(std::ldexp(x, scale << halvings)),
          static_cast<float>(std::ldexp(y, -halvings))};
}

// The same, one step beside it.
Pair near_short_pair(Random& random) {
  Pair pair = short_pair(random);
  float& moved = random() % 2 != 0 ? pair.x : pair.y;
  moved = std::nextafter(moved, random() % 2 != 0 ? HUGE_VALF : -HUGE_VALF);
  return pair;
}

// The square or cube of a number is a midpoint or near it.
Pair integer_pair(Random& random) {
  return {any_float(random), static_cast<float>(random() % 9) - 4};
}

constexpr Pair (*kKinds[])(Random&) = {any_pair, finite_pair, short_pair, near_short_pair,
                                       integer_pair};

std::vector<Pair> special_pairs() {
  std::vector<Pair> pairs;
  const float values[] = {0.0f,       1e-45f,         1e-38f,    0.5f,   0.99999994f, 1.0f,
                          1.0000001f, 2.0f,           3.0f,      150.0f, -2.5f,       1e38f,
                          0x1p24f,    0x1.fffffep23f, HUGE_VALF, NAN};
  for (const float x : values) {
    for (const float y : values) {
      for (int signs = 0; signs < 4; ++signs) {
        pairs.push_back({signs % 2 != 0 ? -x : x, signs / 2 != 0 ? -y : y});
      }
    }
  }
  return pairs;
}

std::uint64_t count_wrong(const std::vector<Pair>& pairs, CpuPath path) {
  std::uint64_t wrong = 0;
  for (const Pair& pair : pairs) {
    float result;
    pow_kernel(path)({&pair.x, 0, &pair.y, 0, &result, 1});
    const float wanted = expected(pair);
    if (std::bit_cast<std::uint32_t>(result) == std::bit_cast<std::uint32_t>(canonical(wanted))) {
      continue;
    }
    if (++wrong <= 10)
      std::printf("  pow(%a, %a): got %a, exact %a\n", pair.x, pair.y, result, wanted);
  }
  return wrong;
}

// How far Log2Lanes() is from the logarithm, at most, for all x > 0: relative.
double worst_logarithm() {
  long double worst = 0;
  for (std::uint32_t bits = 1; bits < 0x7f800000; ++bits) {
    const double x = std::bit_cast<float>(bits);
    if (x == 1) continue;
    const long double exact = std::log2(static_cast<long double>(x));
    const double computed = portable::Log2Lanes(portable::hn::Lane<double>(), x);
    worst = std::max(worst, std::fabs((computed - exact) / exact));
  }
  return static_cast<double>(worst);
}

int check(std::size_t count) {
  const FloatEnvironment environment;
  Random random(1);
  std::uint64_t wrong = 0;
  for (const CpuPath path : supported_cpu_paths()) wrong += count_wrong(special_pairs(), path);
  for (const auto kind : kKinds) {
    for (std::size_t done = 0; done < count; done += 1 << 16) {
      std::vector<Pair> pairs(1 << 16);
      for (Pair& pair : pairs) pair = kind(random);
      const CpuPath path = supported_cpu_paths()[(done >> 16) % supported_cpu_paths().size()];
      wrong += count_wrong(pairs, path);
    }
  }
  const double worst = worst_logarithm();
  wrong += worst > 0x1p-49;
  std::printf("pow: %llu wrong; log2 within 2^%.2f\n", static_cast<unsigned long long>(wrong),
              std::log2(worst));
  return wrong != 0;
}

int print_sample() {
  Random random(1);
  std::vector<Pair> pairs = special_pairs();
  for (const auto kind : kKinds) {
    for (int i = 0; i < 60; ++i) pairs.push_back(kind(random));
  }
  for (const Pair& pair : pairs) {
    std::printf("%08x %08x %08x\n", std::bit_cast<std::uint32_t>(pair.x),
                std::bit_cast<std::uint32_t>(pair.y),
                std::bit_cast<std::uint32_t>(exact_power(pair)));
  }
  return 0;
}

}  // namespace
}  // namespace torchnotary::exact

int main(int count, char** words) {
  using namespace torchnotary::exact;
  if (count == 3 && std::string_view(words[1]) == "check")
    return check(std::strtoull(words[2], nullptr, 10));
  if (count == 2 && std::string_view(words[1]) == "sample") return print_sample();
  std::fprintf(stderr, "usage: powers check COUNT | powers sample\n");
  return 2;
}
