// Merkle proofs: whatever the verifier makes of one, the definitions of RFC 9162 make of it too,
// and no proof of a tree but the genuine one leads to its root.
//
// An input is a header and hashes of 32 bytes, whose meaning the first byte chooses:
//   even: any proof         u8 what ‖ u64 first ‖ u64 size ‖ leaf or earlier root ‖ proof
//   odd:  a genuine proof of a small tree, changed as the rest of the input says
//                           u8 what ‖ u64 first ‖ u64 size ‖ up to 8 × (u8 what ‖ u16 where)
// Bit 1 of the first byte: consistency, else inclusion; `first` is the leaf's index or the earlier
// tree's size.
#include <array>
#include <bit>
#include <optional>
#include <string>
#include <vector>

#include "fuzz/input.h"
#include "fuzz/proof_reference.h"
#include "hashing/errors.h"
#include "merkle/tree.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

namespace torchnotary {
namespace {

constexpr std::size_t kHeader = 1 + 8 + 8;
constexpr std::uint64_t kMostLeaves = 40;

using Proof = std::vector<Digest>;
using Roots = std::pair<Digest, Digest>;

std::optional<Digest> inclusion(std::uint64_t index, std::uint64_t size, const Digest& leaf,
                                const Proof& proof) {
  try {
    return merkle::inclusion_root(index, size, leaf, proof);
  } catch (const MalformedProof& error) {
    require(!error.expected.empty() && !error.next_step.empty(), "a refusal says what next");
    return std::nullopt;
  }
}

std::optional<Roots> consistency(std::uint64_t size1, std::uint64_t size2, const Proof& proof,
                                 const Digest& root1) {
  try {
    return merkle::consistency_roots(size1, size2, proof, root1);
  } catch (const MalformedProof& error) {
    require(!error.expected.empty() && !error.next_step.empty(), "a refusal says what next");
    return std::nullopt;
  }
}

void any_inclusion(std::uint64_t index, std::uint64_t size, const Digest& leaf,
                   const Proof& proof) {
  const auto expected =
      index < size ? reference::inclusion(index, size, leaf, proof) : std::nullopt;
  require(inclusion(index, size, leaf, proof) == expected, "inclusion is as defined");
}

void any_consistency(std::uint64_t size1, std::uint64_t size2, const Digest& root1,
                     const Proof& proof) {
  const auto expected = size1 > 0 && size1 <= size2
                            ? reference::consistency(size1, size2, true, root1, proof)
                            : std::nullopt;
  require(consistency(size1, size2, proof, root1) == expected, "consistency is as defined");
}

void any_proof(bool two_trees, std::uint64_t first, std::uint64_t size, Input input) {
  const auto hash = input.value<Digest>();
  Proof proof;
  while (input.rest().size() >= kDigestSize) proof.push_back(input.value<Digest>());
  if (two_trees) {
    any_consistency(first, size, hash, proof);
  } else {
    any_inclusion(first, size, hash, proof);
  }
}

// Leaves of which some are equal, as the entries of real logs may be.
const std::vector<Digest>& leaves() {
  static const std::vector<Digest> leaves = [] {
    std::vector<Digest> made;
    for (std::uint64_t i = 0; i < kMostLeaves; ++i) {
      made.push_back(merkle::leaf_hash(bytes_of(i % 7 == 6 ? "same" : std::to_string(i))));
    }
    return made;
  }();
  return leaves;
}

// One change to a proof: a bit, or hashes removed, doubled, swapped, added, replaced.
void change(Proof& proof, Digest& hash, std::uint8_t what, std::uint16_t where) {
  const std::size_t bit = where % 256;
  const auto flip = [bit](Digest& digest) { digest[bit / 8] ^= std::byte{1} << bit % 8; };
  if (what % 8 == 0) return flip(hash);
  if (what % 8 == 1) return proof.push_back(leaves()[where % kMostLeaves]);
  if (proof.empty()) return;
  const std::size_t at = (where >> 8) % proof.size();
  const auto place = proof.begin() + static_cast<std::ptrdiff_t>(at);
  switch (what % 8) {
    case 2:
      return flip(proof[at]);
    case 3:
      proof.erase(place);
      return;
    case 4:
      proof.insert(place, Digest(proof[at]));
      return;
    case 5:
      return std::swap(proof[at], proof[where % proof.size()]);
    case 6:
      return std::swap(proof[at], hash);
    default:
      proof[at] = leaves()[where % kMostLeaves];
  }
}

void apply_changes(Proof& proof, Digest& hash, Input input) {
  for (int changes = 0; changes < 8 && !input.rest().empty(); ++changes) {
    const auto what = input.value<std::uint8_t>();
    change(proof, hash, what, input.value<std::uint16_t>());
  }
}

// The trees of the first leaves, with every proof, made once.
struct Tree {
  Digest root;
  std::vector<Proof> inclusion;    // by index
  std::vector<Proof> consistency;  // by earlier size, from 1 on
};

const Tree& tree_of(std::uint64_t size) {
  static const std::vector<Tree> trees = [] {
    std::vector<Tree> made(1);
    for (std::uint64_t n = 1; n <= kMostLeaves; ++n) {
      const std::span tree = std::span(leaves()).first(n);
      made.push_back({merkle::root(tree), {}, {Proof()}});
      for (std::uint64_t i = 0; i < n; ++i) {
        made[n].inclusion.push_back(merkle::inclusion_proof(tree, i));
        made[n].consistency.push_back(merkle::consistency_proof(tree, i + 1));
      }
    }
    return made;
  }();
  return trees[size];
}

// A proof made for one leaf, changed, and taken for a proof of another.
void changed_inclusion(std::uint64_t first, std::uint64_t size, Input input) {
  const Tree& tree = tree_of(size);
  const std::uint64_t index = first % size, claimed = (first >> 8) % size;
  Digest leaf = leaves()[index];
  Proof proof = tree.inclusion[index];
  apply_changes(proof, leaf, input);
  const bool genuine = leaf == leaves()[claimed] && proof == tree.inclusion[claimed];
  const bool verifies = inclusion(claimed, size, leaf, proof) == tree.root;
  require(verifies == genuine, "the genuine inclusion proof alone verifies");
}

void changed_consistency(std::uint64_t first, std::uint64_t size2, Input input) {
  const Tree& tree = tree_of(size2);
  const std::uint64_t size1 = first % size2 + 1, claimed = (first >> 8) % size2 + 1;
  Digest root1 = tree_of(size1).root;
  Proof proof = tree.consistency[size1];
  apply_changes(proof, root1, input);
  const bool genuine = root1 == tree_of(claimed).root && proof == tree.consistency[claimed];
  const bool verifies = consistency(claimed, size2, proof, root1) == Roots(root1, tree.root);
  require(verifies == genuine, "the genuine consistency proof alone verifies");
}

// The number of hashes that a proof of any kind for these sizes has.
std::size_t proof_length(bool two_trees, std::uint64_t first, std::uint64_t size) {
  std::size_t length = 0;
  for (bool whole = true;; ++length) {
    if (two_trees && first == size) return length + (whole ? 0 : 1);
    if (size == 1) return length;
    const std::uint64_t left = reference::split(size);
    const bool leftwards = two_trees ? first <= left : first < left;
    if (!leftwards) {
      first -= left;
      whole = false;
    }
    size = leftwards ? left : size - left;
  }
}

}  // namespace
}  // namespace torchnotary

using namespace torchnotary;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(std::as_bytes(std::span(data, size)));
  const auto what = input.value<std::uint8_t>();
  const bool two_trees = (what & 2) != 0;
  const auto first = input.value<std::uint64_t>();
  const auto leaves = input.value<std::uint64_t>();
  if ((what & 1) == 0) {
    any_proof(two_trees, first, leaves, input);
  } else if (two_trees) {
    changed_consistency(first, leaves % kMostLeaves + 1, input);
  } else {
    changed_inclusion(first, leaves % kMostLeaves + 1, input);
  }
  return 0;
}

// Half of the time an arbitrary proof gets sizes that can be and the number of hashes that these
// ask for: chance finds few of either.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned seed) {
  size = LLVMFuzzerMutate(data, size, most);
  if (size < kHeader || (data[0] & 1) != 0 || seed % 2 == 0) return size;
  std::uint64_t first, leaves;
  std::memcpy(&first, data + 1, 8);
  std::memcpy(&leaves, data + 9, 8);
  leaves = std::max<std::uint64_t>(leaves >> (seed / 2 % 64), 1);
  const bool two_trees = (data[0] & 2) != 0;
  first = two_trees ? (first - 1) % leaves + 1 : first % leaves;
  std::memcpy(data + 1, &first, 8);
  std::memcpy(data + 9, &leaves, 8);
  const std::size_t length = kHeader + kDigestSize * (1 + proof_length(two_trees, first, leaves));
  if (length > most) return size;
  if (length > size) std::memset(data + size, static_cast<int>(seed), length - size);
  return length;
}
