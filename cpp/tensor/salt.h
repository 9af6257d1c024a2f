// Salted digests: what a record shows of private values, and the salts that open it.
//
// Source: design "Private values". One 32-byte secret a record;
//   salt_j   = BLAKE3 derive-key("torchnotary 2026-11 salt v1",
//                secret ‖ u8 tree ‖ u64le line ‖ u64le j)
//   salted_j = BLAKE3 keyed(salt_j, digest_j)
#pragma once

#include <cstdint>
#include <span>

#include "hashing/bytes.h"

namespace torchnotary {

using Secret = std::span<const std::byte, 32>;

// Where a salted digest stands in its tree.
struct Slot {
  std::uint64_t line;
  std::uint64_t index;  // of the slot (or row) in that line
};

// The salts of slots of any lines; `out` has as many.
void salts(Secret secret, std::uint8_t tree, std::span<const Slot> slots, std::span<Digest> out);

// The salts of slots (or rows) 0 … out.size() - 1 of one line of one tree.
void salts(Secret secret, std::uint8_t tree, std::uint64_t line, std::span<Digest> out);

// The salted forms of the digests of any slots; `digests` and `out` have as many.
void salted(Secret secret, std::uint8_t tree, std::span<const Slot> slots,
            std::span<const Digest> digests, std::span<Digest> out);

// The salted forms of the digests of slots 0 … digests.size() - 1; `out` has as many.
void salted(Secret secret, std::uint8_t tree, std::uint64_t line, std::span<const Digest> digests,
            std::span<Digest> out);

// The RFC 9162 root over the salted forms: what a line commits to where rows have digests.
Digest salted_root(Secret secret, std::uint8_t tree, std::uint64_t line,
                   std::span<const Digest> digests);

// BLAKE3 derive-key("torchnotary 2026-11 value v1") over the typed encoding of a plain value.
Digest value_digest(Bytes encoded);

}  // namespace torchnotary
