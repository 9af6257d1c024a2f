#include "exact/sampling.h"

#include <array>

#include "exact/convert.h"
#include "exact/environment.h"

namespace torchnotary::exact {
namespace {

std::uint32_t high(std::uint64_t product) { return static_cast<std::uint32_t>(product >> 32); }
std::uint32_t low(std::uint64_t product) { return static_cast<std::uint32_t>(product); }

}  // namespace

std::uint32_t philox(std::uint64_t seed, std::uint64_t position, std::uint64_t sequence) {
  constexpr std::uint64_t kMultiplier0 = 0xD2511F53, kMultiplier1 = 0xCD9E8D57;
  constexpr std::uint32_t kWeyl0 = 0x9E3779B9, kWeyl1 = 0xBB67AE85;
  std::array<std::uint32_t, 4> c = {low(position), high(position), low(sequence), high(sequence)};
  std::uint32_t k0 = low(seed), k1 = high(seed);
  for (int round = 0; round < 10; ++round, k0 += kWeyl0, k1 += kWeyl1) {
    const std::uint64_t p0 = kMultiplier0 * c[0], p1 = kMultiplier1 * c[2];
    c = {high(p1) ^ c[1] ^ k0, low(p1), high(p0) ^ c[3] ^ k1, low(p0)};
  }
  return c[0];
}

std::int64_t sample(const void* probabilities, Element element, std::ptrdiff_t stride,
                    std::size_t n, std::uint64_t seed, std::uint64_t position,
                    std::uint64_t sequence) {
  const FloatEnvironment environment;
  const auto* bytes = static_cast<const std::byte*>(probabilities);
  const auto probability = [&](std::size_t i) {
    float p;
    widen(bytes + static_cast<std::ptrdiff_t>(i) * stride *
                      static_cast<std::ptrdiff_t>(element_size(element)),
          element, &p, 1);
    return static_cast<double>(p);
  };
  double last = 0;
  for (std::size_t i = 0; i < n; ++i) last = last + probability(i);
  const double u = (static_cast<double>(philox(seed, position, sequence)) + 0.5) * 0x1p-32;
  const double drawn = u * last;
  double sum = 0;
  for (std::size_t i = 0; i < n; ++i) {
    sum = sum + probability(i);
    if (sum > drawn) return static_cast<std::int64_t>(i);
  }
  return -1;
}

}  // namespace torchnotary::exact
