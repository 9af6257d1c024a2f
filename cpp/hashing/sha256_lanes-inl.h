// SHA-256 with one message per vector lane, for each Highway target that includes this file.
//
// Trees hash thousands of messages of 33 or 65 bytes, where no message is long but many are equal
// in length. Every lane does what sha256_blocks_portable does.
#if defined(TORCHNOTARY_SHA256_LANES_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TORCHNOTARY_SHA256_LANES_INL_H_
#undef TORCHNOTARY_SHA256_LANES_INL_H_
#else
#define TORCHNOTARY_SHA256_LANES_INL_H_
#endif

#include "hashing/sha256_kernels.h"
#include "hwy/highway.h"

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

HWY_BEFORE_NAMESPACE();
namespace torchnotary {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

template <class V>
HWY_INLINE V Xor3(V a, V b, V c) {
  return hn::Xor(a, hn::Xor(b, c));
}

// FIPS 180-4, §6.2.2, of `blocks` blocks a lane; word t of block b of lane l stands, as the
// message has it (big-endian), in words[(16 * b + t) * lanes + l], and state word i of lane l in
// state[i * lanes + l].
void Sha256Lanes(const uint32_t* words, size_t blocks, uint32_t* state) {
  const hn::ScalableTag<uint32_t> d;
  using V = hn::Vec<decltype(d)>;
  constexpr size_t kLanes = hn::MaxLanes(hn::ScalableTag<uint32_t>());
  V s[8];
  for (size_t i = 0; i < 8; ++i) s[i] = hn::LoadU(d, state + i * kLanes);
  for (; blocks > 0; --blocks, words += 16 * kLanes) {
    V w[16];
    for (size_t t = 0; t < 16; ++t) w[t] = hn::LoadU(d, words + t * kLanes);
    V a = s[0], b = s[1], c = s[2], e = s[4], f = s[5], g = s[6], h = s[7], m = s[3];
    for (size_t t = 0; t < 64; ++t) {
      if (t >= 16) {
        const V x = w[(t + 1) % 16], y = w[(t + 14) % 16];
        const V s0 = Xor3(hn::RotateRight<7>(x), hn::RotateRight<18>(x), hn::ShiftRight<3>(x));
        const V s1 = Xor3(hn::RotateRight<17>(y), hn::RotateRight<19>(y), hn::ShiftRight<10>(y));
        w[t % 16] = hn::Add(hn::Add(w[t % 16], w[(t + 9) % 16]), hn::Add(s0, s1));
      }
      const V sum1 = Xor3(hn::RotateRight<6>(e), hn::RotateRight<11>(e), hn::RotateRight<25>(e));
      const V choice = hn::Xor(g, hn::And(e, hn::Xor(f, g)));
      const V constant = hn::Add(w[t % 16], hn::Set(d, kSha256Constants[t]));
      const V t1 = hn::Add(hn::Add(h, sum1), hn::Add(choice, constant));
      const V sum0 = Xor3(hn::RotateRight<2>(a), hn::RotateRight<13>(a), hn::RotateRight<22>(a));
      const V majority = hn::Or(hn::And(a, b), hn::And(c, hn::Or(a, b)));
      h = g;
      g = f;
      f = e;
      e = hn::Add(m, t1);
      m = c;
      c = b;
      b = a;
      a = hn::Add(t1, hn::Add(sum0, majority));
    }
    const V out[8] = {a, b, c, m, e, f, g, h};
    for (size_t i = 0; i < 8; ++i) s[i] = hn::Add(s[i], out[i]);
  }
  for (size_t i = 0; i < 8; ++i) hn::StoreU(s[i], d, state + i * kLanes);
}

constexpr Sha256LanesKernel kSha256Lanes = {.lanes = hn::MaxLanes(hn::ScalableTag<uint32_t>()),
                                            .compress = Sha256Lanes};

}  // namespace HWY_NAMESPACE
}  // namespace torchnotary
HWY_AFTER_NAMESPACE();

#endif  // HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128
#endif  // TORCHNOTARY_SHA256_LANES_INL_H_
