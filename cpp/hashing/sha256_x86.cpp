// SHA-256 compression with the x86 SHA instructions.
//
// Source: Intel, "New Instructions Supporting the Secure Hash Algorithm" (2013).
#include "hashing/sha256_kernels.h"

#if HWY_ARCH_X86

#include <immintrin.h>

namespace torchnotary {

// sha256rnds2 keeps the state as (A, B, E, F) and (C, D, G, H), highest word first, and does two
// rounds; four rounds take one vector of message words. Of the sixteen vectors the last twelve
// are computed from the four before them, three of which are still at hand.
__attribute__((target("sha,sse4.1,ssse3"))) void sha256_blocks_x86(std::uint32_t state[8],
                                                                   const std::byte* data,
                                                                   std::size_t blocks) {
  const __m128i big_endian = _mm_set_epi64x(0x0c0d0e0f08090a0bULL, 0x0405060700010203ULL);
  const __m128i abcd = _mm_loadu_si128(reinterpret_cast<const __m128i*>(state));
  const __m128i efgh = _mm_loadu_si128(reinterpret_cast<const __m128i*>(state + 4));
  const __m128i cdab = _mm_shuffle_epi32(abcd, 0xB1);
  const __m128i hgfe = _mm_shuffle_epi32(efgh, 0x1B);
  __m128i abef = _mm_alignr_epi8(cdab, hgfe, 8);
  __m128i cdgh = _mm_blend_epi16(hgfe, cdab, 0xF0);

  for (; blocks > 0; --blocks, data += 64) {
    const __m128i abef_before = abef;
    const __m128i cdgh_before = cdgh;
    __m128i w[4];
#pragma GCC unroll 16
    for (int i = 0; i < 16; ++i) {
      __m128i& current = w[i % 4];
      if (i < 4) {
        current = _mm_shuffle_epi8(_mm_loadu_si128(reinterpret_cast<const __m128i*>(data) + i),
                                   big_endian);
      } else {
        const __m128i previous = w[(i + 3) % 4];
        const __m128i minus7 = _mm_alignr_epi8(previous, w[(i + 2) % 4], 4);
        current = _mm_sha256msg1_epu32(current, w[(i + 1) % 4]);
        current = _mm_sha256msg2_epu32(_mm_add_epi32(current, minus7), previous);
      }
      const __m128i constants =
          _mm_load_si128(reinterpret_cast<const __m128i*>(kSha256Constants.data()) + i);
      const __m128i sum = _mm_add_epi32(current, constants);
      cdgh = _mm_sha256rnds2_epu32(cdgh, abef, sum);
      abef = _mm_sha256rnds2_epu32(abef, cdgh, _mm_shuffle_epi32(sum, 0x0E));
    }
    abef = _mm_add_epi32(abef, abef_before);
    cdgh = _mm_add_epi32(cdgh, cdgh_before);
  }

  const __m128i feba = _mm_shuffle_epi32(abef, 0x1B);
  const __m128i dchg = _mm_shuffle_epi32(cdgh, 0xB1);
  _mm_storeu_si128(reinterpret_cast<__m128i*>(state), _mm_blend_epi16(feba, dchg, 0xF0));
  _mm_storeu_si128(reinterpret_cast<__m128i*>(state + 4), _mm_alignr_epi8(dchg, feba, 8));
}

}  // namespace torchnotary

#endif  // HWY_ARCH_X86
