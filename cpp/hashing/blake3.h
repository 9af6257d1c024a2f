// BLAKE3: hash, keyed hash and derive-key, at once or in pieces, with output of any length.
//
// Source: "BLAKE3: one function, fast everywhere" (O'Connor, Aumasson, Neves, Wilcox-O'Hearn).
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "hashing/bytes.h"
#include "hashing/parallel.h"

namespace torchnotary {

struct Blake3Node;

// Which of BLAKE3's three functions, with its key.
struct Blake3Mode {
  std::array<std::uint32_t, 8> key;
  std::uint8_t flags;

  static Blake3Mode hash();
  static Blake3Mode keyed(std::span<const std::byte, kDigestSize> key);
  static Blake3Mode derive_key(std::string_view context);
};

// The hash of `input`, as many bytes as `output` holds.
void blake3(const Blake3Mode& mode, Bytes input, MutableBytes output,
            ParallelFor parallel = kSerial);

// The 32-byte hash of `input`.
Digest blake3(const Blake3Mode& mode, Bytes input, ParallelFor parallel = kSerial);

// The hashes of `count` messages of `length` bytes each, the i-th at input + i * stride: side by
// side in vector lanes as long as one message alone does not fill them.
void blake3_many(const Blake3Mode& mode, const std::byte* input, std::size_t stride,
                 std::size_t count, std::size_t length, Digest* output);

// The hashes of messages of any lengths anywhere in memory, those of equal length side by side.
void blake3_many(const Blake3Mode& mode, std::span<const Bytes> messages, Digest* output,
                 ParallelFor parallel = kSerial);

// The keyed hashes of messages of at most 1,024 bytes, `length` bytes each and adjacent, the i-th
// under keys[i].
void blake3_keyed_many(std::span<const Digest> keys, const std::byte* input, std::size_t length,
                       Digest* output);

// The hash of `size` bytes that read(offset, out) delivers: it fills `out`, at most 512 KiB, with
// the bytes from `offset` on. Pieces are asked for on the threads of `parallel`, in any order.
Digest blake3_read(const Blake3Mode& mode, std::uint64_t size,
                   FunctionRef<void(std::uint64_t offset, MutableBytes out)> read,
                   ParallelFor parallel = kSerial);

// Hashing in pieces: the digest depends on the bytes, not on how update() cut them.
class Blake3 {
 public:
  explicit Blake3(const Blake3Mode& mode);

  void update(Bytes input, ParallelFor parallel = kSerial);

  // The output's bytes from position `seek` on; the hasher may be updated further afterwards.
  void finalize(MutableBytes output, std::uint64_t seek = 0) const;
  Digest finalize() const;

 private:
  void push_subtree(const Digest& cv, std::uint64_t first_chunk);
  void merge_stack(std::uint64_t chunks);
  std::size_t chunk_fill() const { return blocks_ * 64 + block_fill_; }
  void start_chunk(std::uint64_t counter);
  void update_chunk(Bytes input);
  Blake3Node open_chunk() const;

  Blake3Mode mode_;
  // The chunk being filled. Its last block waits in block_ until more input shows that it is
  // not the last.
  std::array<std::uint32_t, 8> cv_;
  std::array<std::byte, 64> block_;
  std::uint64_t counter_;
  std::uint8_t blocks_;
  std::uint8_t block_fill_;
  // Chaining values of finished subtrees, largest first; one more than bits in 2^54 chunks,
  // since merging waits for the next push.
  std::uint8_t stack_size_;
  std::array<Digest, 55> stack_;
};

}  // namespace torchnotary
