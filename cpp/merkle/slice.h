// BLAKE3 slice proofs: the parts of a hash tree that show some of the hashed bytes, and the root
// that they imply.
//
// A proof over runs of bytes is the tree in pre-order:
//
//   node = chaining value (32 bytes)     no byte of a run lies below this node
//        | chunk (at most 1,024 bytes)   a leaf with at least one byte of a run
//        | node ‖ node                   the left child, then the right
//
// Size and runs fix its form, so there is one proof for them and no other. Parents are computed,
// never shown. Source: BLAKE3 paper, §2.1 (tree) and §6.4 (verified streaming).
#pragma once

#include <cstdint>
#include <vector>

#include "hashing/bytes.h"
#include "hashing/parallel.h"

namespace torchnotary::merkle {

// Bytes begin … end - 1 of the data.
struct ByteRun {
  std::uint64_t begin;
  std::uint64_t end;
};

// Runs, ascending and apart, by question: the first one that ends beyond byte `from`, or one that
// begins at the size of the data where there is none. Its answer may begin at `from` where the run
// begins earlier.
using Runs = FunctionRef<ByteRun(std::uint64_t from)>;

// Each of the following needs at least one run.

// The bytes of the proof over `size` bytes of data; where they are more than `most`, some number
// above it, after a time that `most` bounds.
std::uint64_t slice_size(std::uint64_t size, Runs runs, std::uint64_t most);

// Appends the proof to `proof`. read(offset, out) fills `out` with data, and value(offset, size) is
// the chaining value of the node over `size` bytes from `offset` on.
void append_slice(std::uint64_t size, Runs runs,
                  FunctionRef<void(std::uint64_t offset, MutableBytes out)> read,
                  FunctionRef<Digest(std::uint64_t offset, std::uint64_t size)> value,
                  std::vector<std::byte>& proof);

// The hash of the data as a proof of exactly slice_size() bytes implies it; comparing it with the
// hash that one trusts is the caller's.
Digest slice_root(std::uint64_t size, Runs runs, Bytes proof, ParallelFor parallel = kSerial);

// Hands the data in such a proof to take(offset, data), piece by piece, ascending.
void slice_data(std::uint64_t size, Runs runs, Bytes proof,
                FunctionRef<void(std::uint64_t offset, Bytes data)> take);

}  // namespace torchnotary::merkle
