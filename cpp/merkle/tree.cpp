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

// So many hashes are computed side by side.
constexpr std::size_t kBatch = 64;

// The parents of 2 * `pairs` nodes, written over the first of them.
void parents(Digest* nodes, std::size_t pairs) {
  constexpr std::size_t kNode = 1 + 2 * kDigestSize;
  std::array<std::byte, kBatch * kNode> messages;
  for (std::size_t done = 0; done < pairs; done += kBatch) {
    const std::size_t count = std::min(kBatch, pairs - done);
    for (std::size_t i = 0; i < count; ++i) {
      messages[i * kNode] = std::byte{0x01};
      std::memcpy(&messages[i * kNode + 1], nodes[2 * (done + i)].data(), 2 * kDigestSize);
    }
    sha256_many(messages.data(), kNode, count, kNode, nodes + done);
  }
}

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
  // Level by level; a last node without a partner moves up, which is where §2.1.1 puts it.
  std::vector<Digest> level(leaves.begin(), leaves.end());
  for (std::size_t size = level.size(); size > 1; size = size / 2 + size % 2) {
    parents(level.data(), size / 2);
    if (size % 2 != 0) level[size / 2] = level[size - 1];
  }
  return level[0];
}

std::vector<Digest> leaf_hashes(std::span<const Digest> entries) {
  constexpr std::size_t kLeaf = 1 + kDigestSize;
  std::vector<Digest> leaves(entries.size());
  std::array<std::byte, kBatch * kLeaf> messages;
  for (std::size_t done = 0; done < entries.size(); done += kBatch) {
    const std::size_t count = std::min(kBatch, entries.size() - done);
    for (std::size_t i = 0; i < count; ++i) {
      messages[i * kLeaf] = std::byte{0x00};
      std::copy_n(entries[done + i].data(), kDigestSize, &messages[i * kLeaf + 1]);
    }
    sha256_many(messages.data(), kLeaf, count, kLeaf, &leaves[done]);
  }
  return leaves;
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
