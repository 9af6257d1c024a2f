// RFC 9162's definitions of proofs, read backwards: the roots that a proof implies, by recursion
// on the tree, which is slow and obvious. Nothing where the proof has a wrong number of hashes.
#pragma once

#include <optional>
#include <span>
#include <utility>

#include "merkle/tree.h"

namespace torchnotary::reference {

using Hashes = std::span<const Digest>;

// The largest power of two below `size` ≥ 2.
inline std::uint64_t split(std::uint64_t size) {
  std::uint64_t left = 1;
  while (left < size - left) left *= 2;  // 2 * left < size, without overflow
  return left;
}

// PATH, §2.1.3.1; index < size.
inline std::optional<Digest> inclusion(std::uint64_t index, std::uint64_t size, const Digest& leaf,
                                       Hashes proof) {
  if (size == 1) return proof.empty() ? std::optional(leaf) : std::nullopt;
  if (proof.empty()) return std::nullopt;
  const std::uint64_t left = split(size);
  const Digest& top = proof.back();
  const Hashes below = proof.first(proof.size() - 1);
  if (index < left) {
    const auto hash = inclusion(index, left, leaf, below);
    return hash ? std::optional(merkle::node_hash(*hash, top)) : std::nullopt;
  }
  const auto hash = inclusion(index - left, size - left, leaf, below);
  return hash ? std::optional(merkle::node_hash(top, *hash)) : std::nullopt;
}

// SUBPROOF, §2.1.4.1; 0 < size1 ≤ size2. `whole`: what is left of the earlier tree is all of it.
inline std::optional<std::pair<Digest, Digest>> consistency(std::uint64_t size1,
                                                            std::uint64_t size2, bool whole,
                                                            const Digest& root1, Hashes proof) {
  if (size1 == size2) {
    if (proof.size() != (whole ? 0 : 1)) return std::nullopt;
    const Digest& hash = whole ? root1 : proof[0];
    return std::pair(hash, hash);
  }
  if (proof.empty()) return std::nullopt;
  const std::uint64_t left = split(size2);
  const Digest& top = proof.back();
  const Hashes below = proof.first(proof.size() - 1);
  if (size1 <= left) {
    const auto roots = consistency(size1, left, whole, root1, below);
    if (!roots) return std::nullopt;
    return std::pair(roots->first, merkle::node_hash(roots->second, top));
  }
  const auto roots = consistency(size1 - left, size2 - left, false, root1, below);
  if (!roots) return std::nullopt;
  return std::pair(merkle::node_hash(top, roots->first), merkle::node_hash(top, roots->second));
}

}  // namespace torchnotary::reference
