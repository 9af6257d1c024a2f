// RFC 9162 trees from leaf hashes: roots and the proofs taken from them.
#include "merkle/tree.h"

#include <algorithm>
#include <bit>
#include <string>

#include "hashing/errors.h"
#include "hashing/sha256.h"

namespace torchnotary::merkle {
namespace {

// The largest power of two smaller than `size` ≥ 2: where §2.1.1 splits a tree.
std::uint64_t split(std::uint64_t size) { return std::bit_floor(size - 1); }

}  // namespace

Digest leaf_hash(Bytes entry) {
  static constexpr std::array kPrefix = {std::byte{0x00}};
  Sha256 hasher;
  hasher.update(kPrefix);
  hasher.update(entry);
  return hasher.finalize();
}

Digest node_hash(const Digest& left, const Digest& right) {
  std::array<std::byte, 1 + 2 * kDigestSize> input;
  input[0] = std::byte{0x01};
  std::copy(left.begin(), left.end(), input.begin() + 1);
  std::copy(right.begin(), right.end(), input.begin() + 1 + kDigestSize);
  return sha256(input);
}

Digest root(std::span<const Digest> leaves) {
  if (leaves.empty()) return sha256({});
  if (leaves.size() == 1) return leaves[0];
  const std::uint64_t left = split(leaves.size());
  return node_hash(root(leaves.first(left)), root(leaves.subspan(left)));
}

std::vector<Digest> inclusion_proof(std::span<const Digest> leaves, std::uint64_t index) {
  if (index >= leaves.size()) {
    throw MalformedProof("the index lies outside the tree",
                         "an index below " + std::to_string(leaves.size()), std::to_string(index),
                         "ask for a leaf that the tree has");
  }
  std::vector<Digest> proof;  // topmost sibling first, until the end
  while (leaves.size() > 1) {
    const std::uint64_t left = split(leaves.size());
    if (index < left) {
      proof.push_back(root(leaves.subspan(left)));
      leaves = leaves.first(left);
    } else {
      proof.push_back(root(leaves.first(left)));
      leaves = leaves.subspan(left);
      index -= left;
    }
  }
  return {proof.rbegin(), proof.rend()};
}

std::vector<Digest> consistency_proof(std::span<const Digest> leaves, std::uint64_t size1) {
  if (size1 == 0 || size1 > leaves.size()) {
    throw MalformedProof("the earlier size lies outside the tree",
                         "a size from 1 to " + std::to_string(leaves.size()), std::to_string(size1),
                         "ask for a size that the tree has had");
  }
  std::vector<Digest> proof;  // topmost first, until the end
  // Whether what is left of the earlier tree is all of it: its root, known to the verifier, is
  // then left out (§2.1.4.1, the flag b).
  bool whole = true;
  while (size1 < leaves.size()) {
    const std::uint64_t left = split(leaves.size());
    if (size1 <= left) {
      proof.push_back(root(leaves.subspan(left)));
      leaves = leaves.first(left);
    } else {
      proof.push_back(root(leaves.first(left)));
      leaves = leaves.subspan(left);
      size1 -= left;
      whole = false;
    }
  }
  if (!whole) proof.push_back(root(leaves));
  return {proof.rbegin(), proof.rend()};
}

}  // namespace torchnotary::merkle
