// The roots that RFC 9162 proofs imply: computing, apart from comparing.
//
// A proof has exactly one length for its sizes. It is known before anything is hashed, so a
// proof that is too short or too long is refused as such, and the loops need no bounds of their
// own. `inner` counts the levels in which a path is among full subtrees; above them, at the
// tree's ragged right edge, only set bits of the path have a sibling, always to the left.
#include <bit>
#include <string>

#include "hashing/errors.h"
#include "merkle/tree.h"

namespace torchnotary::merkle {
namespace {

void require_length(std::size_t actual, int expected) {
  if (actual == static_cast<std::size_t>(expected)) return;
  throw MalformedProof("the proof has a wrong number of hashes", std::to_string(expected),
                       std::to_string(actual), "ask for the proof again");
}

// Levels below the point where the paths to leaf `index` and to the last leaf part.
int inner_levels(std::uint64_t index, std::uint64_t size) {
  return std::bit_width(index ^ (size - 1));
}

}  // namespace

Digest inclusion_root(std::uint64_t index, std::uint64_t size, const Digest& leaf,
                      std::span<const Digest> proof) {
  if (index >= size) {
    throw MalformedProof("the index lies outside the tree",
                         "an index below " + std::to_string(size), std::to_string(index),
                         "check the index and the tree size of the proof");
  }
  const int inner = inner_levels(index, size);
  const std::uint64_t edge = inner == 64 ? 0 : index >> inner;
  require_length(proof.size(), inner + std::popcount(edge));
  Digest hash = leaf;
  for (int level = 0; level < inner; ++level) {
    const bool right = ((index >> level) & 1) != 0;
    hash = right ? node_hash(proof[level], hash) : node_hash(hash, proof[level]);
  }
  for (const Digest& sibling : proof.subspan(inner)) hash = node_hash(sibling, hash);
  return hash;
}

std::pair<Digest, Digest> consistency_roots(std::uint64_t size1, std::uint64_t size2,
                                            std::span<const Digest> proof, const Digest& root1) {
  if (size1 == 0 || size1 > size2) {
    throw MalformedProof("the earlier size lies outside the later tree",
                         "a size from 1 to " + std::to_string(size2), std::to_string(size1),
                         "check the two sizes of the proof");
  }
  if (size1 == size2) {
    require_length(proof.size(), 0);
    return {root1, root1};
  }
  // The path of the earlier tree's last leaf; full subtrees that end with it are one node of
  // both trees, where the proof starts.
  const std::uint64_t last = size1 - 1;
  const int shared = std::countr_zero(size1);
  const int inner = inner_levels(last, size2) - shared;
  const std::uint64_t path = last >> shared;  // shared < 64, since size1 > 0
  const std::uint64_t edge = inner + shared == 64 ? 0 : path >> inner;
  const bool whole = std::has_single_bit(size1);
  require_length(proof.size(), (whole ? 0 : 1) + inner + std::popcount(edge));

  Digest hash1 = whole ? root1 : proof[0];
  if (!whole) proof = proof.subspan(1);
  Digest hash2 = hash1;
  for (int level = 0; level < inner; ++level) {
    const Digest& sibling = proof[level];
    if (((path >> level) & 1) != 0) {
      hash1 = node_hash(sibling, hash1);
      hash2 = node_hash(sibling, hash2);
    } else {
      hash2 = node_hash(hash2, sibling);
    }
  }
  for (const Digest& sibling : proof.subspan(inner)) {
    hash1 = node_hash(sibling, hash1);
    hash2 = node_hash(sibling, hash2);
  }
  return {hash1, hash2};
}

}  // namespace torchnotary::merkle
