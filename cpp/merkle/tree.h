// RFC 9162 §2.1 over SHA-256: tree hashes, and inclusion and consistency proofs made and used.
//
// Using a proof computes the root it implies; comparing that with the root one trusts is the
// caller's next line. Sizes are numbers of leaves, up to 2^64 - 1.
#pragma once

#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "hashing/bytes.h"

namespace torchnotary::merkle {

// SHA-256(00 ‖ entry)
Digest leaf_hash(Bytes entry);

// The leaf hashes of entries that are digests themselves.
std::vector<Digest> leaf_hashes(std::span<const Digest> entries);

// SHA-256(01 ‖ left ‖ right)
Digest node_hash(const Digest& left, const Digest& right);

// The root over leaf hashes (§2.1.1); that of no leaves is SHA-256 of the empty string.
Digest root(std::span<const Digest> leaves);

// The siblings from leaf `index` upwards (§2.1.3.1). Requires index < leaves.size(); raises
// MalformedProof otherwise.
std::vector<Digest> inclusion_proof(std::span<const Digest> leaves, std::uint64_t index);

// Proof that the first `size1` leaves are a prefix (§2.1.4.1). Requires 0 < size1 ≤
// leaves.size(); raises MalformedProof otherwise.
std::vector<Digest> consistency_proof(std::span<const Digest> leaves, std::uint64_t size1);

// The root of a tree of `size` leaves that holds `leaf` at `index`, as `proof` implies it
// (§2.1.3.2). Raises MalformedProof unless index < size and the proof has the one length that
// these two allow.
Digest inclusion_root(std::uint64_t index, std::uint64_t size, const Digest& leaf,
                      std::span<const Digest> proof);

// The roots of the trees of `size1` and `size2` leaves, as `proof` implies them (§2.1.4.2).
// `root1` takes part where the proof leaves it out: size1 is a power of two. Raises
// MalformedProof unless 0 < size1 ≤ size2 and the proof has the one length that these allow.
std::pair<Digest, Digest> consistency_roots(std::uint64_t size1, std::uint64_t size2,
                                            std::span<const Digest> proof, const Digest& root1);

}  // namespace torchnotary::merkle
