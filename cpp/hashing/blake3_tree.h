// The shape of a BLAKE3 tree: nodes not yet known to be the root, and subtrees in parallel.
#pragma once

#include <array>
#include <cstdint>

#include "hashing/blake3.h"
#include "hashing/blake3_kernels.h"

namespace torchnotary {

// The last compression of a chunk or of a parent, kept back until it is known whether it is
// the root: the root is compressed with another flag and gives output of any length.
struct Blake3Node {
  std::array<std::uint32_t, 8> cv;
  std::array<std::byte, kBlockSize> block;
  std::uint64_t counter;
  std::uint8_t block_length;
  std::uint8_t flags;

  Digest chaining_value() const;
  void root(MutableBytes output, std::uint64_t seek) const;
};

// The node of one chunk: at most kChunkSize bytes.
Blake3Node chunk_node(const Blake3Mode& mode, Bytes chunk, std::uint64_t counter);

Blake3Node parent_node(const Blake3Mode& mode, const Digest& left, const Digest& right);

// The two children of the top node over `input` (more than one chunk), whose first chunk has
// number `counter`.
std::array<Digest, 2> subtree_children(const Blake3Mode& mode, Bytes input, std::uint64_t counter,
                                       ParallelFor parallel);

}  // namespace torchnotary
