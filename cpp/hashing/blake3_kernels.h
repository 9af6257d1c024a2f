// The compression of BLAKE3 and the one interface that every CPU path implements.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "hashing/bytes.h"
#include "hashing/cpu.h"

namespace torchnotary {

// Constants of the BLAKE3 paper, §2.1–2.3.
inline constexpr std::size_t kBlockSize = 64;
inline constexpr std::size_t kChunkSize = 1024;

inline constexpr std::array<std::uint32_t, 8> kBlake3Iv = {
    0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19};

enum Blake3Flag : std::uint8_t {
  kChunkStart = 1 << 0,
  kChunkEnd = 1 << 1,
  kParent = 1 << 2,
  kRoot = 1 << 3,
  kKeyedHash = 1 << 4,
  kDeriveKeyContext = 1 << 5,
  kDeriveKeyMaterial = 1 << 6,
};

// kSchedule[r][i] is the message word that round r uses in place i: the paper's permutation,
// applied r times.
inline constexpr std::array<std::array<std::uint8_t, 16>, 7> kSchedule = [] {
  constexpr std::array<std::uint8_t, 16> kPermutation = {2, 6,  3,  10, 7, 0,  4,  13,
                                                         1, 11, 12, 5,  9, 14, 15, 8};
  std::array<std::array<std::uint8_t, 16>, 7> schedule{};
  for (std::uint8_t i = 0; i < 16; ++i) schedule[0][i] = i;
  for (std::size_t r = 1; r < 7; ++r) {
    for (std::size_t i = 0; i < 16; ++i) schedule[r][i] = schedule[r - 1][kPermutation[i]];
  }
  return schedule;
}();

// `count` messages of `length` bytes each (1 … kChunkSize), compressed block by block. Message i
// lies at inputs[i] + offset, or without `inputs` at input + i * stride; it begins with the key
// keys[i], or without `keys` with `key`; it carries the counter `counter + (counting ? i : 0)`; its
// first block adds `start_flags`, its last `end_flags`. A parent node is a message of one block; a
// chunk has up to 16.
struct Blake3Batch {
  const std::byte* input = nullptr;
  std::size_t stride = 0;
  const std::byte* const* inputs = nullptr;
  std::size_t offset = 0;
  std::size_t count = 0;
  std::size_t length = 0;
  const std::uint32_t* key = nullptr;
  const Digest* keys = nullptr;
  std::uint64_t counter = 0;
  bool counting = false;
  std::uint8_t flags = 0;
  std::uint8_t start_flags = 0;
  std::uint8_t end_flags = 0;
  // Where the memory ends that will be hashed after this batch, adjacent to it; null: none will.
  const std::byte* ahead = nullptr;
  // Digest i goes to output + i * output_stride (bytes); does not overlap the input.
  std::byte* output = nullptr;
  std::size_t output_stride = kDigestSize;

  const std::byte* message(std::size_t i) const {
    return inputs != nullptr ? inputs[i] + offset : input + i * stride;
  }
};

struct Blake3Kernels {
  std::size_t lanes;  // messages compressed side by side; a power of two, at least 2
  void (*hash_batch)(const Blake3Batch& batch);
  // For a batch of 2 * lanes whole, adjacent chunks: the chaining values of their parents.
  void (*hash_pairs)(const Blake3Batch& batch);
  // One compression: the 16 output words, of which the first 8 are the chaining value.
  void (*compress)(const std::uint32_t cv[8], const std::byte block[kBlockSize],
                   std::uint8_t block_length, std::uint64_t counter, std::uint8_t flags,
                   std::uint32_t out[16]);
};

inline constexpr std::size_t kMaxLanes = 16;

// The implementation for a path that this machine supports.
const Blake3Kernels& blake3_kernels(CpuPath path);

// The plain C++ one, which stands beside every vector path.
extern const Blake3Kernels kBlake3Portable;

// The implementation for the path in use.
inline const Blake3Kernels& blake3_kernels() { return blake3_kernels(cpu_path()); }

}  // namespace torchnotary
