// RFC 9162 trees: every proof of small trees, refusals, and sizes up to the last one.
#include "merkle/tree.h"

#include <gtest/gtest.h>

#include <string>

#include "hashing/errors.h"
#include "hashing/sha256.h"
#include "merkle/frontier.h"

namespace torchnotary::merkle {
namespace {

std::vector<Digest> leaves(std::size_t size) {
  std::vector<Digest> hashes;
  for (std::size_t i = 0; i < size; ++i) hashes.push_back(leaf_hash(bytes_of(std::to_string(i))));
  return hashes;
}

// §2.1.1 from the other end: levels of pairs, an odd last node moving up unchanged.
Digest root_by_levels(std::vector<Digest> level) {
  while (level.size() > 1) {
    std::vector<Digest> above;
    for (std::size_t i = 0; i + 1 < level.size(); i += 2) {
      above.push_back(node_hash(level[i], level[i + 1]));
    }
    if (level.size() % 2 != 0) above.push_back(level.back());
    level = above;
  }
  return level.front();
}

TEST(MerkleTree, TheRootOfNothingIsTheHashOfNothing) { EXPECT_EQ(root({}), sha256({})); }

TEST(MerkleTree, AFrontierHasTheRootOfTheLeavesSoFar) {
  Frontier frontier;
  EXPECT_EQ(frontier.root(), root({}));
  const auto all = leaves(130);
  for (std::size_t size = 1; size <= all.size(); ++size) {
    frontier.push(all[size - 1]);
    EXPECT_EQ(frontier.size(), size);
    EXPECT_EQ(frontier.root(), root(std::span(all).first(size))) << size;
  }
}

TEST(MerkleTree, RootsAreThoseOfTheTreeBuiltByLevels) {
  for (std::size_t size = 1; size <= 130; ++size) {
    EXPECT_EQ(root(leaves(size)), root_by_levels(leaves(size))) << size;
  }
}

TEST(MerkleProof, EveryInclusionProofLeadsToTheRoot) {
  for (std::size_t size = 1; size <= 70; ++size) {
    const std::vector<Digest> tree = leaves(size);
    for (std::size_t i = 0; i < size; ++i) {
      EXPECT_EQ(inclusion_root(i, size, tree[i], inclusion_proof(tree, i)), root(tree));
    }
  }
}

TEST(MerkleProof, EveryConsistencyProofLeadsToBothRoots) {
  for (std::size_t size2 = 1; size2 <= 70; ++size2) {
    const std::vector<Digest> tree = leaves(size2);
    for (std::size_t size1 = 1; size1 <= size2; ++size1) {
      const Digest root1 = root(std::span(tree).first(size1));
      const auto roots = consistency_roots(size1, size2, consistency_proof(tree, size1), root1);
      EXPECT_EQ(roots, std::pair(root1, root(tree))) << size1 << " " << size2;
    }
  }
}

TEST(MerkleProof, SizesIndicesAndLengthsThatCannotBeAreMalformed) {
  const std::vector<Digest> tree = leaves(5);
  const Digest& hash = tree[0];
  EXPECT_THROW(inclusion_proof(tree, 5), MalformedProof);
  EXPECT_THROW(inclusion_proof({}, 0), MalformedProof);
  EXPECT_THROW(consistency_proof(tree, 0), MalformedProof);
  EXPECT_THROW(consistency_proof(tree, 6), MalformedProof);
  EXPECT_THROW(inclusion_root(1, 5, hash, std::span(tree).first(2)), MalformedProof);
  EXPECT_THROW(inclusion_root(1, 5, hash, std::span(tree).first(4)), MalformedProof);
  EXPECT_THROW(consistency_roots(3, 5, {}, hash), MalformedProof);
  EXPECT_THROW(consistency_roots(5, 5, std::span(tree).first(1), hash), MalformedProof);
  // Out of range there is no right length.
  const std::vector<Digest> proof = leaves(66);
  for (std::size_t length = 0; length <= proof.size(); ++length) {
    const auto hashes = std::span(proof).first(length);
    EXPECT_THROW(inclusion_root(0, 0, hash, hashes), MalformedProof) << length;
    EXPECT_THROW(inclusion_root(5, 5, hash, hashes), MalformedProof) << length;
    EXPECT_THROW(inclusion_root(8, 8, hash, hashes), MalformedProof) << length;
    EXPECT_THROW(consistency_roots(0, 5, hashes, hash), MalformedProof) << length;
    EXPECT_THROW(consistency_roots(0, 0, hashes, hash), MalformedProof) << length;
    EXPECT_THROW(consistency_roots(6, 5, hashes, hash), MalformedProof) << length;
  }
}

// In a tree of 2^64 - 1 leaves nothing may be computed as size + 1 or shifted by 64.
TEST(MerkleProof, TheLargestSizesHaveProofsOfTheirOneLength) {
  const std::vector<Digest> hashes = leaves(66);
  const auto first = [&](std::size_t count) { return std::span(hashes).first(count); };
  constexpr std::uint64_t kLast = ~std::uint64_t{0};
  const auto length_of_inclusion = [&](std::uint64_t index) {
    std::size_t length = 0;
    for (; length < 66; ++length) {
      try {
        inclusion_root(index, kLast, hashes[0], first(length));
        break;
      } catch (const MalformedProof&) {
      }
    }
    return length;
  };
  EXPECT_EQ(length_of_inclusion(0), 64u);
  EXPECT_EQ(length_of_inclusion(kLast / 2), 64u);
  EXPECT_EQ(length_of_inclusion(kLast - 1), 63u);  // 2^64 - 2 has 63 bits set, all to the left
  EXPECT_NO_THROW(consistency_roots(std::uint64_t{1} << 63, kLast, first(1), hashes[0]));
  EXPECT_NO_THROW(consistency_roots(1, kLast, first(64), hashes[0]));
  EXPECT_NO_THROW(consistency_roots(kLast - 1, kLast, first(64), hashes[0]));
  EXPECT_NO_THROW(consistency_roots(kLast, kLast, {}, hashes[0]));
}

}  // namespace
}  // namespace torchnotary::merkle
