// SHA-256: padding, the portable compression, and which compression to use.
#include "hashing/sha256.h"

#include <algorithm>
#include <bit>

#include "hashing/cpu.h"
#include "hashing/sha256_kernels.h"

namespace torchnotary {
namespace {

constexpr std::size_t kBlock = 64;

std::uint32_t big_endian(std::uint32_t word) { return __builtin_bswap32(word); }

void compress(std::uint32_t state[8], const std::byte* data, std::size_t blocks) {
#if HWY_ARCH_X86
  if (cpu_has_sha256()) return sha256_blocks_x86(state, data, blocks);
#elif HWY_ARCH_ARM_A64
  if (cpu_has_sha256()) return sha256_blocks_arm(state, data, blocks);
#endif
  sha256_blocks_portable(state, data, blocks);
}

}  // namespace

// FIPS 180-4, §6.2.2.
void sha256_blocks_portable(std::uint32_t state[8], const std::byte* data, std::size_t blocks) {
  for (; blocks > 0; --blocks, data += kBlock) {
    std::uint32_t w[64];
    for (std::size_t t = 0; t < 16; ++t) w[t] = big_endian(load_le<std::uint32_t>(data + 4 * t));
    for (std::size_t t = 16; t < 64; ++t) {
      const std::uint32_t x = w[t - 15], y = w[t - 2];
      const std::uint32_t s0 = std::rotr(x, 7) ^ std::rotr(x, 18) ^ (x >> 3);
      const std::uint32_t s1 = std::rotr(y, 17) ^ std::rotr(y, 19) ^ (y >> 10);
      w[t] = s1 + w[t - 7] + s0 + w[t - 16];
    }
    std::uint32_t a = state[0], b = state[1], c = state[2], d = state[3];
    std::uint32_t e = state[4], f = state[5], g = state[6], h = state[7];
    for (std::size_t t = 0; t < 64; ++t) {
      const std::uint32_t sum1 = std::rotr(e, 6) ^ std::rotr(e, 11) ^ std::rotr(e, 25);
      const std::uint32_t choice = (e & f) ^ (~e & g);
      const std::uint32_t t1 = h + sum1 + choice + kSha256Constants[t] + w[t];
      const std::uint32_t sum0 = std::rotr(a, 2) ^ std::rotr(a, 13) ^ std::rotr(a, 22);
      const std::uint32_t majority = (a & b) ^ (a & c) ^ (b & c);
      h = g;
      g = f;
      f = e;
      e = d + t1;
      d = c;
      c = b;
      b = a;
      a = t1 + sum0 + majority;
    }
    state[0] += a;
    state[1] += b;
    state[2] += c;
    state[3] += d;
    state[4] += e;
    state[5] += f;
    state[6] += g;
    state[7] += h;
  }
}

Sha256::Sha256()
    : state_{0x6a09e667, 0xbb67ae85, 0x3c6ef372, 0xa54ff53a,
             0x510e527f, 0x9b05688c, 0x1f83d9ab, 0x5be0cd19} {}

void Sha256::update(Bytes input) {
  const std::size_t filled = length_ % kBlock;
  length_ += input.size();
  if (filled > 0) {
    const std::size_t take = std::min(input.size(), kBlock - filled);
    std::copy_n(input.data(), take, block_.data() + filled);
    if (filled + take < kBlock) return;
    compress(state_.data(), block_.data(), 1);
    input = input.subspan(take);
  }
  const std::size_t blocks = input.size() / kBlock;
  if (blocks > 0) compress(state_.data(), input.data(), blocks);
  const Bytes rest = input.subspan(blocks * kBlock);
  std::copy(rest.begin(), rest.end(), block_.begin());
}

Digest Sha256::finalize() {
  const std::uint64_t bits = length_ * 8;
  std::size_t filled = length_ % kBlock;
  block_[filled++] = std::byte{0x80};
  if (filled > kBlock - 8) {
    std::fill(block_.begin() + filled, block_.end(), std::byte{0});
    compress(state_.data(), block_.data(), 1);
    filled = 0;
  }
  std::fill(block_.begin() + filled, block_.end() - 8, std::byte{0});
  store_le<std::uint64_t>(block_.data() + kBlock - 8, __builtin_bswap64(bits));
  compress(state_.data(), block_.data(), 1);
  Digest digest;
  for (std::size_t i = 0; i < 8; ++i) store_le(digest.data() + 4 * i, big_endian(state_[i]));
  return digest;
}

Digest sha256(Bytes input) {
  Sha256 hasher;
  hasher.update(input);
  return hasher.finalize();
}

}  // namespace torchnotary
