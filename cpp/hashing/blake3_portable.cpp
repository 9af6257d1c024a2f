// BLAKE3 compression in plain C++: the path that always exists.
#include <algorithm>
#include <utility>

#include "hashing/blake3_kernels.h"

namespace torchnotary {
namespace {

inline void mix(std::uint32_t& a, std::uint32_t& b, std::uint32_t& c, std::uint32_t& d,
                std::uint32_t x, std::uint32_t y) {
  a += b + x;
  d = std::rotr(d ^ a, 16);
  c += d;
  b = std::rotr(b ^ c, 12);
  a += b + y;
  d = std::rotr(d ^ a, 8);
  c += d;
  b = std::rotr(b ^ c, 7);
}

// A template, so that the schedule's indices are constants and the state stays in registers.
template <std::size_t kRound>
inline void mix_round(std::uint32_t v[16], const std::uint32_t m[16]) {
  constexpr const auto& s = kSchedule[kRound];
  mix(v[0], v[4], v[8], v[12], m[s[0]], m[s[1]]);
  mix(v[1], v[5], v[9], v[13], m[s[2]], m[s[3]]);
  mix(v[2], v[6], v[10], v[14], m[s[4]], m[s[5]]);
  mix(v[3], v[7], v[11], v[15], m[s[6]], m[s[7]]);
  mix(v[0], v[5], v[10], v[15], m[s[8]], m[s[9]]);
  mix(v[1], v[6], v[11], v[12], m[s[10]], m[s[11]]);
  mix(v[2], v[7], v[8], v[13], m[s[12]], m[s[13]]);
  mix(v[3], v[4], v[9], v[14], m[s[14]], m[s[15]]);
}

void compress(const std::uint32_t cv[8], const std::byte block[kBlockSize],
              std::uint8_t block_length, std::uint64_t counter, std::uint8_t flags,
              std::uint32_t out[16]) {
  std::uint32_t m[16];
  std::memcpy(m, block, kBlockSize);
  std::uint32_t key[8];  // `out` may be `cv`
  std::copy_n(cv, 8, key);
  std::uint32_t v[16] = {key[0],
                         key[1],
                         key[2],
                         key[3],
                         key[4],
                         key[5],
                         key[6],
                         key[7],
                         kBlake3Iv[0],
                         kBlake3Iv[1],
                         kBlake3Iv[2],
                         kBlake3Iv[3],
                         static_cast<std::uint32_t>(counter),
                         static_cast<std::uint32_t>(counter >> 32),
                         block_length,
                         flags};
  [&]<std::size_t... kRound>(std::index_sequence<kRound...>) { (mix_round<kRound>(v, m), ...); }
  (std::make_index_sequence<7>{});
  for (std::size_t i = 0; i < 8; ++i) {
    out[i] = v[i] ^ v[i + 8];
    out[i + 8] = v[i + 8] ^ key[i];
  }
}

void hash_one(const Blake3Batch& batch, std::size_t index) {
  const std::byte* message = batch.message(index);
  const std::uint64_t counter = batch.counter + (batch.counting ? index : 0);
  std::uint32_t state[16];
  if (batch.keys != nullptr) {
    std::memcpy(state, batch.keys[index].data(), kDigestSize);
  } else {
    std::copy_n(batch.key, 8, state);
  }
  std::uint8_t flags = batch.flags | batch.start_flags;
  for (std::size_t at = 0; at < batch.length; at += kBlockSize) {
    const std::size_t length = std::min(kBlockSize, batch.length - at);
    std::array<std::byte, kBlockSize> padded;
    const std::byte* block = message + at;
    if (length < kBlockSize) {
      padded.fill(std::byte{0});
      std::copy_n(block, length, padded.data());
      block = padded.data();
    }
    if (at + length == batch.length) flags |= batch.end_flags;
    compress(state, block, static_cast<std::uint8_t>(length), counter, flags, state);
    flags = batch.flags;
  }
  std::memcpy(batch.output + index * batch.output_stride, state, kDigestSize);
}

void hash_batch(const Blake3Batch& batch) {
  for (std::size_t i = 0; i < batch.count; ++i) hash_one(batch, i);
}

void hash_pairs(const Blake3Batch& batch) {
  std::array<Digest, 4> chunks;
  Blake3Batch each = batch;
  each.output = chunks[0].data();
  each.output_stride = kDigestSize;
  hash_batch(each);
  hash_batch({.input = chunks[0].data(),
              .stride = kBlockSize,
              .count = 2,
              .length = kBlockSize,
              .key = batch.key,
              .flags = static_cast<std::uint8_t>(batch.flags | kParent),
              .output = batch.output,
              .output_stride = batch.output_stride});
}

}  // namespace

// Two lanes in name only: the tree code asks for at least two messages at a time.
const Blake3Kernels kBlake3Portable = {
    .lanes = 2, .hash_batch = hash_batch, .hash_pairs = hash_pairs, .compress = compress};

}  // namespace torchnotary
