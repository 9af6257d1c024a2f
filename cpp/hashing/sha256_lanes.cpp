// Many SHA-256 digests of messages of one short length, side by side where that is faster.
#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "hashing/sha256_lanes-inl.h"
#include "hwy/foreach_target.h"
//
#include "hashing/sha256_lanes-inl.h"

#if HWY_ONCE

#include <algorithm>
#include <vector>

#include "hashing/cpu.h"
#include "hashing/sha256.h"

namespace torchnotary {
namespace {

constexpr std::size_t kBlock = 64;
constexpr std::size_t kMaxLanes = 16;
// The longest messages that share lanes: those of a tree's nodes have 65 bytes.
constexpr std::size_t kMaxBlocks = 2;

// The kernel for the path in use; null where single messages are as fast.
const Sha256LanesKernel* lanes_kernel() {
  switch (cpu_path()) {
#if HWY_TARGETS & HWY_AVX3
    case CpuPath::avx512:
      return &N_AVX3::kSha256Lanes;
#endif
#if HWY_TARGETS & HWY_AVX2
    case CpuPath::avx2:
      return cpu_has_sha256() ? nullptr : &N_AVX2::kSha256Lanes;
#endif
    default:
      return nullptr;
  }
}

// Initial state, FIPS 180-4, §5.3.3.
constexpr std::array<std::uint32_t, 8> kInitial = {0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
                                                   0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19};

// `count` ≤ lanes messages; lanes without one hash zeros.
void hash_lanes(const Sha256LanesKernel& kernel, const std::byte* input, std::size_t stride,
                std::size_t count, std::size_t length, Digest* output) {
  const std::size_t blocks = (length + 9 + kBlock - 1) / kBlock;
  std::array<std::byte, kMaxBlocks * kBlock> padded{};
  padded[length] = std::byte{0x80};
  store_le(padded.data() + blocks * kBlock - 8, __builtin_bswap64(8 * length));
  std::array<std::uint32_t, kMaxBlocks * 16 * kMaxLanes> words{};
  for (std::size_t lane = 0; lane < count; ++lane) {
    std::copy_n(input + lane * stride, length, padded.data());
    for (std::size_t t = 0; t < 16 * blocks; ++t) {
      words[t * kernel.lanes + lane] =
          __builtin_bswap32(load_le<std::uint32_t>(padded.data() + 4 * t));
    }
  }
  std::array<std::uint32_t, 8 * kMaxLanes> state;
  for (std::size_t i = 0; i < 8; ++i)
    std::fill_n(&state[i * kernel.lanes], kernel.lanes, kInitial[i]);
  kernel.compress(words.data(), blocks, state.data());
  for (std::size_t lane = 0; lane < count; ++lane) {
    for (std::size_t i = 0; i < 8; ++i) {
      store_le(output[lane].data() + 4 * i, __builtin_bswap32(state[i * kernel.lanes + lane]));
    }
  }
}

}  // namespace

void sha256_many(const std::byte* input, std::size_t stride, std::size_t count, std::size_t length,
                 Digest* output) {
  const Sha256LanesKernel* kernel = lanes_kernel();
  std::size_t done = 0;
  if (kernel != nullptr && length + 9 <= kMaxBlocks * kBlock) {
    // A few lanes take as long as all, and two messages alone are faster.
    while (count - done > 2) {
      const std::size_t lanes = std::min(kernel->lanes, count - done);
      hash_lanes(*kernel, input + done * stride, stride, lanes, length, output + done);
      done += lanes;
    }
  }
  for (; done < count; ++done) output[done] = sha256({input + done * stride, length});
}

}  // namespace torchnotary

#endif  // HWY_ONCE
