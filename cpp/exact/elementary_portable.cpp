// The portable path of the elementary functions, and the arguments too large for vectors.
#include "exact/elementary_portable.h"

#include "exact/elementary.h"

namespace torchnotary::exact {
namespace {

#define TORCHNOTARY_ARRAY(name, Name)                                   \
  void name##_array(const float* x, float* y, std::size_t n) {          \
    const portable::hn::Lane<float> d;                                  \
    for (std::size_t i = 0; i < n; ++i) y[i] = portable::Name(d, x[i]); \
  }
TORCHNOTARY_ELEMENTARY(TORCHNOTARY_ARRAY)
#undef TORCHNOTARY_ARRAY

// 1/π = 0.(the 256 bits of these words).
constexpr std::uint64_t kInvPiBits[4] = {0x517cc1b727220a94, 0xfe13abe8fa9a6ee0, 0x6db14acc9e21c820,
                                         0xff28b1d5ef5de2b0};

struct Reduced {
  double r;        // |r| ≤ π/2
  double shifted;  // the lowest bit: that of k
};

// |x| = (k - ½ halves) π + r, k known modulo 2. x is finite, |x| ≥ 2^24.
Reduced reduce_large(float x, unsigned halves) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(x);
  const std::uint64_t mantissa = (bits & 0x7fffff) | 0x800000;
  // |x| = mantissa 2^(skipped + 1): the first `skipped` bits of 1/π give multiples of 2.
  const unsigned skipped = ((bits >> 23) & 0xff) - 151;
  const unsigned word = skipped / 64, shift = skipped % 64;
  std::uint64_t window[2];
  for (unsigned i = 0; i < 2; ++i) {
    const std::uint64_t* from = kInvPiBits + word + i;
    window[i] = shift == 0 ? from[0] : from[0] << shift | from[1] >> (64 - shift);
  }
  using Wide = unsigned __int128;
  // |x| / π modulo 2, in units of 2^-127; then k, and what is left in units of 2^-128.
  const Wide turns = (Wide{window[0]} << 64 | window[1]) * mantissa + (Wide{halves} << 126);
  const std::uint64_t k = static_cast<std::uint64_t>((turns + (Wide{1} << 126)) >> 127);
  const __int128 left = static_cast<__int128>(turns << 1);
  return {static_cast<double>(left) * (kPiHigh * 0x1p-128), std::bit_cast<double>(k)};
}

double large_lane(float x, unsigned halves) {
  const Reduced reduced = reduce_large(x, halves);
  return portable::SinOfReduced(portable::hn::Lane<double>(), reduced.r, reduced.shifted);
}

}  // namespace

#define TORCHNOTARY_ENTRY(name, Name) name##_array,
const ElementaryKernels kElementaryPortable = {TORCHNOTARY_ELEMENTARY(TORCHNOTARY_ENTRY)};
#undef TORCHNOTARY_ENTRY

float large_sin(float x) {
  if (!std::isfinite(x)) return std::bit_cast<float>(kNan);
  return std::copysign(1.0f, x) * static_cast<float>(large_lane(x, 0));
}

float large_cos(float x) {
  if (!std::isfinite(x)) return std::bit_cast<float>(kNan);
  const float y = static_cast<float>(large_lane(x, 1));
  return portable::Except(portable::hn::Lane<float>(), std::fabs(x), y, kCosExceptions);
}

float large_tan(float x) {
  if (!std::isfinite(x)) return std::bit_cast<float>(kNan);
  const float y = static_cast<float>(large_lane(x, 0) / large_lane(x, 1));
  return std::copysign(1.0f, x) *
         portable::Except(portable::hn::Lane<float>(), std::fabs(x), y, kTanExceptions);
}

}  // namespace torchnotary::exact
