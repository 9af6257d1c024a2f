// BLAKE3 of bytes that are delivered piece by piece: bounded memory, any thread, any order.
#include <algorithm>
#include <array>
#include <bit>
#include <memory>
#include <mutex>
#include <new>
#include <vector>

#include "hashing/blake3_tree.h"

namespace torchnotary {
namespace {

// Large enough that a transposing reader finds neighbours in its caches, small enough to stay
// there itself; a power of two, so that a whole piece is a subtree.
constexpr std::size_t kPiece = 512 * kChunkSize;
// Pieces between two visits to the tree.
constexpr std::size_t kWave = 64;

struct FreeAligned {
  void operator()(std::byte* buffer) const { ::operator delete[](buffer, kAlignment); }
  // Whole vectors are written to whole lines.
  static constexpr std::align_val_t kAlignment{4096};
};
using Piece = std::unique_ptr<std::byte[], FreeAligned>;

// Buffers of one piece that tasks borrow and give back: as many as run at a time.
class Buffers {
 public:
  Piece borrow() {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) return Piece(new (FreeAligned::kAlignment) std::byte[kPiece]);
    Piece buffer = std::move(idle_.back());
    idle_.pop_back();
    return buffer;
  }
  void give_back(Piece buffer) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(buffer));
  }

 private:
  std::mutex mutex_;
  std::vector<Piece> idle_;
};

Digest piece_value(const Blake3Mode& mode, Bytes piece, std::uint64_t counter) {
  if (piece.size() <= kChunkSize) return chunk_node(mode, piece, counter).chaining_value();
  const auto [left, right] = subtree_children(mode, piece, counter, kSerial);
  return parent_node(mode, left, right).chaining_value();
}

// Values of subtrees from left to right, equal in size but for the last: a binary counter as in
// Blake3, whose merging waits for the next push.
class SubtreeStack {
 public:
  explicit SubtreeStack(const Blake3Mode& mode) : mode_(mode) {}

  void push(const Digest& cv, std::uint64_t index) {
    while (size_ > static_cast<std::size_t>(std::popcount(index))) merge();
    stack_[size_++] = cv;
  }
  // The hash over everything; at least two values were pushed.
  Digest root() {
    while (size_ > 2) merge();
    Digest digest;
    parent_node(mode_, stack_[0], stack_[1]).root(digest, 0);
    return digest;
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

}  // namespace

Digest blake3_read(const Blake3Mode& mode, std::uint64_t size,
                   FunctionRef<void(std::uint64_t, MutableBytes)> read, ParallelFor parallel) {
  Buffers buffers;
  if (size <= kPiece) {
    const auto buffer = buffers.borrow();
    const MutableBytes bytes(buffer.get(), static_cast<std::size_t>(size));
    read(0, bytes);
    return blake3(mode, bytes);
  }
  const std::uint64_t pieces = (size - 1) / kPiece + 1;
  std::array<Digest, kWave> values;
  SubtreeStack stack(mode);
  for (std::uint64_t first = 0; first < pieces; first += kWave) {
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(kWave, pieces - first));
    parallel(count, [&](std::size_t i) {
      const std::uint64_t offset = (first + i) * kPiece;
      auto buffer = buffers.borrow();
      const auto length = static_cast<std::size_t>(std::min<std::uint64_t>(kPiece, size - offset));
      const MutableBytes bytes(buffer.get(), length);
      read(offset, bytes);
      values[i] = piece_value(mode, bytes, offset / kChunkSize);
      buffers.give_back(std::move(buffer));
    });
    for (std::size_t i = 0; i < count; ++i) stack.push(values[i], first + i);
  }
  return stack.root();
}

}  // namespace torchnotary
