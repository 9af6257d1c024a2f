// The byte vocabulary of every room: views of bytes, the 32-byte digest, little-endian words.
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <string_view>

namespace torchnotary {

// Tensor memory is hashed in place, so the host's order has to be the format's.
static_assert(std::endian::native == std::endian::little,
              "torchnotary's formats are little-endian and hashed in place");

inline constexpr std::size_t kDigestSize = 32;

using Bytes = std::span<const std::byte>;
using MutableBytes = std::span<std::byte>;
using Digest = std::array<std::byte, kDigestSize>;

inline Bytes bytes_of(std::string_view text) {
  return std::as_bytes(std::span<const char>(text.data(), text.size()));
}

template <class Word>
Word load_le(const std::byte* from) {
  Word word;
  std::memcpy(&word, from, sizeof(Word));
  return word;
}

template <class Word>
void store_le(std::byte* to, Word word) {
  std::memcpy(to, &word, sizeof(Word));
}

}  // namespace torchnotary
