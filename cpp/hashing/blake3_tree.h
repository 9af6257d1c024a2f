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

// The bytes of the left child over `size` bytes, more than one chunk: the largest power of two of
// chunks that leaves at least one byte to the right (BLAKE3 paper, §2.1).
std::uint64_t left_size(std::uint64_t size);

// The two children of the top node over `input` (more than one chunk), whose first chunk has
// number `counter`.
std::array<Digest, 2> subtree_children(const Blake3Mode& mode, Bytes input, std::uint64_t counter,
                                       ParallelFor parallel);

// The chaining value of the node over `input`, whose first chunk has number `counter`.
Digest subtree_value(const Blake3Mode& mode, Bytes input, std::uint64_t counter,
                     ParallelFor parallel);

// The same over the bytes from `offset` to `offset + size`, which read(offset, out) delivers as
// for blake3_read.
Digest subtree_read(const Blake3Mode& mode, std::uint64_t offset, std::uint64_t size,
                    FunctionRef<void(std::uint64_t offset, MutableBytes out)> read,
                    ParallelFor parallel);

}  // namespace torchnotary
