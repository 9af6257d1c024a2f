// SHA-256 (FIPS 180-4), in pieces or at once; the hash of trees, statements and files.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>

#include "hashing/bytes.h"

namespace torchnotary {

class Sha256 {
 public:
  Sha256();
  void update(Bytes input);
  // The digest of everything so far; ends the hasher's use.
  Digest finalize();

 private:
  std::array<std::uint32_t, 8> state_;
  std::array<std::byte, 64> block_;
  std::uint64_t length_ = 0;  // bytes
};

Digest sha256(Bytes input);

// The digests of `count` messages of `length` bytes each, the i-th at input + i * stride: side by
// side in vector lanes where they are short, as those of trees are.
void sha256_many(const std::byte* input, std::size_t stride, std::size_t count, std::size_t length,
                 Digest* output);

}  // namespace torchnotary
