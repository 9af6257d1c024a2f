// BLAKE3's public functions over its trees: modes, one-shot and incremental hashing.
#include "hashing/blake3.h"

#include <algorithm>
#include <bit>

#include "hashing/blake3_tree.h"

namespace torchnotary {

Blake3Mode Blake3Mode::hash() { return {kBlake3Iv, 0}; }

Blake3Mode Blake3Mode::keyed(std::span<const std::byte, kDigestSize> key) {
  Blake3Mode mode{{}, kKeyedHash};
  std::memcpy(mode.key.data(), key.data(), kDigestSize);
  return mode;
}

Blake3Mode Blake3Mode::derive_key(std::string_view context) {
  const Digest key = blake3(Blake3Mode{kBlake3Iv, kDeriveKeyContext}, bytes_of(context));
  Blake3Mode mode{{}, kDeriveKeyMaterial};
  std::memcpy(mode.key.data(), key.data(), kDigestSize);
  return mode;
}

void blake3(const Blake3Mode& mode, Bytes input, MutableBytes output, ParallelFor parallel) {
  if (input.size() <= kChunkSize) {
    chunk_node(mode, input, 0).root(output, 0);
  } else {
    const auto [left, right] = subtree_children(mode, input, 0, parallel);
    parent_node(mode, left, right).root(output, 0);
  }
}

Digest blake3(const Blake3Mode& mode, Bytes input, ParallelFor parallel) {
  Digest digest;
  if (!input.empty() && input.size() <= kChunkSize) {
    blake3_many(mode, input.data(), 0, 1, input.size(), &digest);
    return digest;
  }
  blake3(mode, input, digest, parallel);
  return digest;
}

Blake3::Blake3(const Blake3Mode& mode) : mode_(mode), stack_size_(0) { start_chunk(0); }

void Blake3::start_chunk(std::uint64_t counter) {
  cv_ = mode_.key;
  block_ = {};
  counter_ = counter;
  blocks_ = 0;
  block_fill_ = 0;
}

void Blake3::update_chunk(Bytes input) {
  while (!input.empty()) {
    if (block_fill_ == kBlockSize) {
      std::array<std::uint32_t, 16> words;
      const std::uint8_t flags = mode_.flags | (blocks_ == 0 ? kChunkStart : 0);
      blake3_kernels().compress(cv_.data(), block_.data(), kBlockSize, counter_, flags,
                                words.data());
      std::copy_n(words.data(), 8, cv_.data());
      block_ = {};
      ++blocks_;
      block_fill_ = 0;
    }
    const std::size_t take = std::min(input.size(), kBlockSize - block_fill_);
    std::copy_n(input.data(), take, block_.data() + block_fill_);
    block_fill_ += static_cast<std::uint8_t>(take);
    input = input.subspan(take);
  }
}

Blake3Node Blake3::open_chunk() const {
  return {.cv = cv_,
          .block = block_,
          .counter = counter_,
          .block_length = block_fill_,
          .flags = static_cast<std::uint8_t>(mode_.flags | kChunkEnd |
                                             (blocks_ == 0 ? kChunkStart : 0))};
}

// A binary counter: after n chunks the stack holds one subtree for each set bit of n. Merging
// is put off until more input is certain, because the topmost merge may be the root.
void Blake3::merge_stack(std::uint64_t chunks) {
  const auto size = static_cast<std::size_t>(std::popcount(chunks));
  while (stack_size_ > size) {
    Digest& left = stack_[stack_size_ - 2];
    left = parent_node(mode_, left, stack_[stack_size_ - 1]).chaining_value();
    --stack_size_;
  }
}

void Blake3::push_subtree(const Digest& cv, std::uint64_t first_chunk) {
  merge_stack(first_chunk);
  stack_[stack_size_++] = cv;
}

void Blake3::update(Bytes input, ParallelFor parallel) {
  if (chunk_fill() > 0) {
    const std::size_t take = std::min(input.size(), kChunkSize - chunk_fill());
    update_chunk(input.first(take));
    input = input.subspan(take);
    if (input.empty()) return;
    push_subtree(open_chunk().chaining_value(), counter_);
    start_chunk(counter_ + 1);
  }
  // Whole subtrees straight from the input: the largest that starts where we stand in the tree,
  // and always leaving something for the chunk that may turn out to be the last.
  while (input.size() > kChunkSize) {
    std::uint64_t size = std::bit_floor(input.size());
    while (((size - 1) & (counter_ * kChunkSize)) != 0) size /= 2;
    const std::uint64_t chunks = size / kChunkSize;
    const Bytes subtree = input.first(size);
    if (chunks == 1) {
      push_subtree(chunk_node(mode_, subtree, counter_).chaining_value(), counter_);
    } else {
      const auto [left, right] = subtree_children(mode_, subtree, counter_, parallel);
      push_subtree(left, counter_);
      push_subtree(right, counter_ + chunks / 2);
    }
    counter_ += chunks;
    input = input.subspan(size);
  }
  if (!input.empty()) {
    update_chunk(input);
    merge_stack(counter_);
  }
}

void Blake3::finalize(MutableBytes output, std::uint64_t seek) const {
  std::size_t left = stack_size_;
  if (left == 0) {
    open_chunk().root(output, seek);
    return;
  }
  Blake3Node node;
  if (chunk_fill() > 0) {
    node = open_chunk();
  } else {
    node = parent_node(mode_, stack_[left - 2], stack_[left - 1]);
    left -= 2;
  }
  while (left > 0) node = parent_node(mode_, stack_[--left], node.chaining_value());
  node.root(output, seek);
}

Digest Blake3::finalize() const {
  Digest digest;
  finalize(digest);
  return digest;
}

}  // namespace torchnotary
