// BLAKE3 of bytes that are delivered piece by piece: bounded memory, any thread, any order.
#include <algorithm>
#include <array>
#include <bit>

#include "hashing/blake3_tree.h"
#include "hashing/buffer_pool.h"

namespace torchnotary {
namespace {

// Large enough that a transposing reader finds neighbours in its caches, small enough to stay
// there itself; a power of two, so that a whole piece is a subtree.
constexpr std::size_t kPiece = 512 * kChunkSize;
// Pieces between two visits to the tree.
constexpr std::size_t kWave = 256;

// Values of subtrees from left to right, equal in size but for the last: a binary counter as in
// Blake3, whose merging waits for the next push.
class SubtreeStack {
 public:
  explicit SubtreeStack(const Blake3Mode& mode) : mode_(mode) {}

  void push(const Digest& cv, std::uint64_t index) {
    while (size_ > static_cast<std::size_t>(std::popcount(index))) merge();
    stack_[size_++] = cv;
  }
  // The node over everything; at least two values were pushed.
  Blake3Node top() {
    while (size_ > 2) merge();
    return parent_node(mode_, stack_[0], stack_[1]);
  }

 private:
  void merge() {
    Digest& left = stack_[size_ - 2];
    left = parent_node(mode_, left, stack_[size_ - 1]).chaining_value();
    --size_;
  }

  const Blake3Mode& mode_;
  std::size_t size_ = 0;
  std::array<Digest, 65> stack_;
};

using Read = FunctionRef<void(std::uint64_t, MutableBytes)>;

// The node over the bytes from `offset` to `offset + size`, more than one piece.
Blake3Node node_over(const Blake3Mode& mode, std::uint64_t offset, std::uint64_t size, Read read,
                     ParallelFor parallel, BufferPool& buffers) {
  const std::uint64_t pieces = (size - 1) / kPiece + 1;
  std::array<Digest, kWave> values{};  // zeros where a ParallelFor gave up
  SubtreeStack stack(mode);
  for (std::uint64_t first = 0; first < pieces; first += kWave) {
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(kWave, pieces - first));
    parallel(count, [&](std::size_t i) {
      const std::uint64_t at = (first + i) * kPiece;
      auto buffer = buffers.borrow();
      const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(kPiece, size - at));
      const MutableBytes bytes(buffer.get(), length);
      read(offset + at, bytes);
      values[i] = subtree_value(mode, bytes, (offset + at) / kChunkSize, kSerial);
      buffers.give_back(std::move(buffer));
    });
    for (std::size_t i = 0; i < count; ++i) stack.push(values[i], first + i);
  }
  return stack.top();
}

}  // namespace

Digest blake3_read(const Blake3Mode& mode, std::uint64_t size, Read read, ParallelFor parallel) {
  BufferPool buffers(kPiece);
  if (size <= kPiece) {
    const auto buffer = buffers.borrow();
    const MutableBytes bytes(buffer.get(), static_cast<std::size_t>(size));
    read(0, bytes);
    return blake3(mode, bytes);
  }
  Digest digest;
  node_over(mode, 0, size, read, parallel, buffers).root(digest, 0);
  return digest;
}

Digest subtree_read(const Blake3Mode& mode, std::uint64_t offset, std::uint64_t size, Read read,
                    ParallelFor parallel) {
  BufferPool buffers(kPiece);
  if (size > kPiece) {
    return node_over(mode, offset, size, read, parallel, buffers).chaining_value();
  }
  const auto buffer = buffers.borrow();
  const MutableBytes bytes(buffer.get(), static_cast<std::size_t>(size));
  read(offset, bytes);
  return subtree_value(mode, bytes, offset / kChunkSize, kSerial);
}

}  // namespace torchnotary
