// Salts derived from a record's secret, many slots at a time.
#include "tensor/salt.h"

#include <algorithm>
#include <array>
#include <vector>

#include "hashing/blake3.h"
#include "merkle/tree.h"

namespace torchnotary {
namespace {

constexpr std::string_view kSaltContext = "torchnotary 2026-11 salt v1";
constexpr std::string_view kValueContext = "torchnotary 2026-11 value v1";

constexpr std::size_t kMessage = 32 + 1 + 8 + 8;
constexpr std::size_t kBatch = 64;

}  // namespace

void salts(Secret secret, std::uint8_t tree, std::span<const Slot> slots, std::span<Digest> out) {
  static const Blake3Mode mode = Blake3Mode::derive_key(kSaltContext);
  std::array<std::byte, kBatch * kMessage> messages;
  for (std::size_t done = 0; done < slots.size();) {
    const std::size_t count = std::min(kBatch, slots.size() - done);
    for (std::size_t i = 0; i < count; ++i) {
      std::byte* at = messages.data() + i * kMessage;
      std::copy(secret.begin(), secret.end(), at);
      at[32] = static_cast<std::byte>(tree);
      store_le(at + 33, slots[done + i].line);
      store_le(at + 41, slots[done + i].index);
    }
    blake3_many(mode, messages.data(), kMessage, count, kMessage, out.data() + done);
    done += count;
  }
}

void salts(Secret secret, std::uint8_t tree, std::uint64_t line, std::span<Digest> out) {
  std::vector<Slot> slots(out.size());
  for (std::size_t i = 0; i < slots.size(); ++i) slots[i] = {line, i};
  salts(secret, tree, slots, out);
}

void salted(Secret secret, std::uint8_t tree, std::span<const Slot> slots,
            std::span<const Digest> digests, std::span<Digest> out) {
  std::vector<Digest> keys(out.size());
  salts(secret, tree, slots, keys);
  blake3_keyed_many(keys, reinterpret_cast<const std::byte*>(digests.data()), kDigestSize,
                    out.data());
}

void salted(Secret secret, std::uint8_t tree, std::uint64_t line, std::span<const Digest> digests,
            std::span<Digest> out) {
  std::vector<Digest> keys(out.size());
  salts(secret, tree, line, keys);
  blake3_keyed_many(keys, reinterpret_cast<const std::byte*>(digests.data()), kDigestSize,
                    out.data());
}

Digest salted_root(Secret secret, std::uint8_t tree, std::uint64_t line,
                   std::span<const Digest> digests) {
  std::vector<Digest> entries(digests.size());
  salted(secret, tree, line, digests, entries);
  return merkle::root(merkle::leaf_hashes(entries));
}

Digest value_digest(Bytes encoded) {
  static const Blake3Mode mode = Blake3Mode::derive_key(kValueContext);
  return blake3(mode, encoded);
}

}  // namespace torchnotary
