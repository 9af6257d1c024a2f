// SHA-256 compression with the ARMv8 SHA2 instructions.
//
// Source: Arm, "Arm Architecture Reference Manual for A-profile", SHA256H, SHA256H2, SHA256SU0 and
// SHA256SU1.
#include "hashing/sha256_kernels.h"

#if HWY_ARCH_ARM_A64

#include <arm_neon.h>

namespace torchnotary {

#if defined(__clang__)
#define TORCHNOTARY_SHA2 __attribute__((target("sha2")))
#else
#define TORCHNOTARY_SHA2 __attribute__((target("+crypto")))
#endif

// sha256h and sha256h2 do four rounds on the state as (A, B, C, D) and (E, F, G, H), for which
// they take one vector of message words. Of the sixteen vectors the last twelve are computed from
// the four before them.
TORCHNOTARY_SHA2 void sha256_blocks_arm(std::uint32_t state[8], const std::byte* data,
                                        std::size_t blocks) {
  uint32x4_t abcd = vld1q_u32(state);
  uint32x4_t efgh = vld1q_u32(state + 4);

  for (; blocks > 0; --blocks, data += 64) {
    const uint32x4_t abcd_before = abcd;
    const uint32x4_t efgh_before = efgh;
    uint32x4_t w[4];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      uint32x4_t& current = w[i % 4];
      if (i < 4) {
        const uint8x16_t words = vld1q_u8(reinterpret_cast<const std::uint8_t*>(data) + 16 * i);
        current = vreinterpretq_u32_u8(vrev32q_u8(words));  // the message is big-endian
      } else {
        current = vsha256su0q_u32(current, w[(i + 1) % 4]);
        current = vsha256su1q_u32(current, w[(i + 2) % 4], w[(i + 3) % 4]);
      }
      const uint32x4_t sum = vaddq_u32(current, vld1q_u32(kSha256Constants.data() + 4 * i));
      const uint32x4_t abcd_rounds_ago = abcd;
      abcd = vsha256hq_u32(abcd, efgh, sum);
      efgh = vsha256h2q_u32(efgh, abcd_rounds_ago, sum);
    }
    abcd = vaddq_u32(abcd, abcd_before);
    efgh = vaddq_u32(efgh, efgh_before);
  }
  vst1q_u32(state, abcd);
  vst1q_u32(state + 4, efgh);
}

}  // namespace torchnotary

#endif  // HWY_ARCH_ARM_A64
