// Salts derived from a record's secret, many slots at a time.
#include "tensor/salt.h"

#include <algorithm>
#include <array>

#include "hashing/blake3.h"

namespace torchnotary {
namespace {

constexpr std::string_view kSaltContext = "torchnotary 2026-11 salt v1";
constexpr std::string_view kValueContext = "torchnotary 2026-11 value v1";

constexpr std::size_t kMessage = 32 + 1 + 8 + 8;
constexpr std::size_t kBatch = 64;

}  // namespace

void salts(Secret secret, std::uint8_t tree, std::uint64_t line, std::span<Digest> out) {
  static const Blake3Mode mode = Blake3Mode::derive_key(kSaltContext);
  std::array<std::byte, kBatch * kMessage> messages;
  for (std::size_t done = 0; done < out.size();) {
    const std::size_t count = std::min(kBatch, out.size() - done);
    for (std::size_t i = 0; i < count; ++i) {
      std::byte* at = messages.data() + i * kMessage;
      std::copy(secret.begin(), secret.end(), at);
      at[32] = static_cast<std::byte>(tree);
      store_le(at + 33, line);
      store_le<std::uint64_t>(at + 41, done + i);
    }
    blake3_many(mode, messages.data(), kMessage, count, kMessage, out.data() + done);
    done += count;
  }
}

void salted(Secret secret, std::uint8_t tree, std::uint64_t line, std::span<const Digest> digests,
            std::span<Digest> out) {
  salts(secret, tree, line, out);
  for (std::size_t i = 0; i < out.size(); ++i) {
    out[i] = blake3(Blake3Mode::keyed(out[i]), digests[i]);
  }
}

Digest value_digest(Bytes encoded) {
  static const Blake3Mode mode = Blake3Mode::derive_key(kValueContext);
  return blake3(mode, encoded);
}

}  // namespace torchnotary
