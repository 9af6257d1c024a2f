// The elementary functions against MPFR's values, on every path.
#include <gtest/gtest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <fstream>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "exact/elementary.h"
#include "exact/elementary_pow.h"
#include "exact/storage.h"
#include "support.h"

namespace torchnotary::exact {
namespace {

class Elementary : public EveryCpuPath {};

ElementaryFunction function_named(const std::string& wanted) {
#define TORCHNOTARY_NAMED(name, Name) \
  if (wanted == #name) return elementary_kernels().name;
  TORCHNOTARY_ELEMENTARY(TORCHNOTARY_NAMED)
#undef TORCHNOTARY_NAMED
  return nullptr;
}

struct Cases {
  std::vector<float> arguments;
  std::vector<std::uint32_t> results;
};

// By the function's name. The file is written by `make exhaustive`.
std::map<std::string, Cases> read_cases() {
  std::map<std::string, Cases> cases;
  std::ifstream in("tests/cpp/elementary_cases.txt");
  std::string name;
  std::uint32_t argument, result;
  while (in >> name >> std::hex >> argument >> result) {
    cases[name].arguments.push_back(std::bit_cast<float>(argument));
    cases[name].results.push_back(result);
  }
  return cases;
}

TEST_P(Elementary, SpecialHardAndRandomArgumentsGiveTheRoundedExactValue) {
  const std::map<std::string, Cases> cases = read_cases();
  EXPECT_EQ(cases.size(), sizeof(ElementaryKernels) / sizeof(ElementaryFunction));
  for (const auto& [name, each] : cases) {
    std::vector<float> results(each.arguments.size());
    function_named(name)(each.arguments.data(), results.data(), results.size());
    for (std::size_t i = 0; i < results.size(); ++i) {
      EXPECT_EQ(std::bit_cast<std::uint32_t>(results[i]), each.results[i])
          << name << " of " << std::hex << std::bit_cast<std::uint32_t>(each.arguments[i]);
    }
  }
}

TEST_P(Elementary, TheResultDependsOnNeitherPlaceNorNumberOfArguments) {
  std::mt19937 random(1);
  std::vector<float> x(67), apart(67);
  for (float& each : x) each = std::bit_cast<float>(static_cast<std::uint32_t>(random()));
#define TORCHNOTARY_CHECK(name, Name)                                                        \
  for (std::size_t i = 0; i < x.size(); ++i) elementary_kernels().name(&x[i], &apart[i], 1); \
  for (std::size_t n = 0; n < x.size(); ++n) {                                               \
    std::vector<float> together = x;                                                         \
    elementary_kernels().name(together.data(), together.data(), n);                          \
    ASSERT_EQ(std::memcmp(together.data(), apart.data(), n * sizeof(float)), 0) << #name;    \
    ASSERT_EQ(std::memcmp(&together[n], &x[n], (x.size() - n) * sizeof(float)), 0) << #name; \
  }
  TORCHNOTARY_ELEMENTARY(TORCHNOTARY_CHECK)
#undef TORCHNOTARY_CHECK
}

// The table of docs/exact-profile.md, section 5.
TEST_P(Elementary, SpecialValuesAreThoseOfTheSpecification) {
  constexpr float kInf = HUGE_VALF;
  const float nan = std::bit_cast<float>(kNan);
  struct Special {
    ElementaryFunction ElementaryKernels::*function;
    float argument, result;
  };
  using K = ElementaryKernels;
  std::vector<Special> specials = {
      {&K::exp, kInf, kInf},     {&K::exp, -kInf, 0.0f},    {&K::exp, -0.0f, 1.0f},
      {&K::exp2, kInf, kInf},    {&K::exp2, -kInf, 0.0f},   {&K::exp2, -0.0f, 1.0f},
      {&K::exp2, -150.0f, 0.0f}, {&K::exp2, 128.0f, kInf},  {&K::exp2, -149.0f, 0x1p-149f},
      {&K::expm1, kInf, kInf},   {&K::expm1, -kInf, -1.0f}, {&K::expm1, -0.0f, -0.0f},
      {&K::log, kInf, kInf},     {&K::log, -0.0f, -kInf},   {&K::log, -1e-45f, nan},
      {&K::log, 1.0f, 0.0f},     {&K::log2, kInf, kInf},    {&K::log2, -0.0f, -kInf},
      {&K::log2, -kInf, nan},    {&K::log2, 1.0f, 0.0f},    {&K::log10, kInf, kInf},
      {&K::log10, 0.0f, -kInf},  {&K::log10, -1.0f, nan},   {&K::log10, 1.0f, 0.0f},
      {&K::log1p, kInf, kInf},   {&K::log1p, -1.0f, -kInf}, {&K::log1p, -kInf, nan},
      {&K::log1p, -0.0f, -0.0f}, {&K::log1p, -1.5f, nan},   {&K::sin, kInf, nan},
      {&K::sin, -0.0f, -0.0f},   {&K::cos, -kInf, nan},     {&K::cos, -0.0f, 1.0f},
      {&K::tan, kInf, nan},      {&K::tan, -0.0f, -0.0f},   {&K::tanh, kInf, 1.0f},
      {&K::tanh, -kInf, -1.0f},  {&K::tanh, -0.0f, -0.0f},  {&K::sinh, -kInf, -kInf},
      {&K::sinh, -0.0f, -0.0f},  {&K::cosh, -kInf, kInf},   {&K::cosh, -0.0f, 1.0f},
      {&K::erf, kInf, 1.0f},     {&K::erf, -kInf, -1.0f},   {&K::erf, -0.0f, -0.0f},
      {&K::erfc, kInf, 0.0f},    {&K::erfc, -kInf, 2.0f},   {&K::erfc, -0.0f, 1.0f}};
#define TORCHNOTARY_NANS(name, Name)                                         \
  for (const std::uint32_t bits : {0x7f800001u, 0xffc00123u, 0x7fffffffu}) { \
    specials.push_back({&K::name, std::bit_cast<float>(bits), nan});         \
  }
  TORCHNOTARY_ELEMENTARY(TORCHNOTARY_NANS)
#undef TORCHNOTARY_NANS
  for (const Special& special : specials) {
    float result;
    (elementary_kernels().*special.function)(&special.argument, &result, 1);
    EXPECT_EQ(std::bit_cast<std::uint32_t>(result), std::bit_cast<std::uint32_t>(special.result))
        << &special - specials.data() << ": " << special.argument;
  }
}

TEST_P(Elementary, PowersOfSpecialShortAndRandomArgumentsAreTheRoundedExactValue) {
  std::ifstream in("tests/cpp/pow_cases.txt");  // written by tests/exhaustive/powers.cpp
  std::uint32_t base, exponent, result;
  std::vector<float> x, y;
  std::vector<std::uint32_t> results;
  while (in >> std::hex >> base >> exponent >> result) {
    x.push_back(std::bit_cast<float>(base));
    y.push_back(std::bit_cast<float>(exponent));
    results.push_back(result);
  }
  ASSERT_GT(results.size(), 1000u);
  std::vector<float> z(x.size());
  pow_kernel(GetParam())({x.data(), 1, y.data(), 1, z.data(), z.size()});
  for (std::size_t i = 0; i < z.size(); ++i) {
    EXPECT_EQ(std::bit_cast<std::uint32_t>(z[i]), results[i]) << x[i] << " to the " << y[i];
    float alone;
    pow_kernel(GetParam())({&x[i], 0, &y[i], 0, &alone, 1});
    EXPECT_EQ(std::bit_cast<std::uint32_t>(alone), results[i]) << x[i] << " to the " << y[i];
  }
}

TEST_P(Elementary, OneExponentServesManyBases) {
  const float x[] = {4, 9, 16}, y = 1.5f;
  float z[3];
  pow_kernel(GetParam())({x, 1, &y, 0, z, 3});
  EXPECT_EQ(z[0], 8);
  EXPECT_EQ(z[1], 27);
  EXPECT_EQ(z[2], 64);
}

TORCHNOTARY_ON_EVERY_CPU_PATH(Elementary);

}  // namespace
}  // namespace torchnotary::exact
