// BLAKE3 trees: the chaining values of subtrees, many chunks and many threads at a time.
#include "hashing/blake3_tree.h"

#include <algorithm>
#include <bit>

namespace torchnotary {
namespace {

// Inputs are cut for threads into pieces of a power of two, no smaller than this …
constexpr std::size_t kMinPiece = 1024 * kChunkSize;
// … and no more than this many, so that their chaining values fit on the stack.
constexpr std::size_t kMaxPieces = 64;
// Shorter inputs are, more often than not, in the caches already.
constexpr std::size_t kFetchFrom = 2048 * kChunkSize;

// Halves `count` chaining values to ⌈count / 2⌉. A last one without a partner moves up as it
// is, which is how BLAKE3's left-full trees treat it as long as only the last subtree is
// smaller than the others. `cvs` and `out` do not overlap.
std::size_t compress_parents(const Blake3Kernels& kernels, const Blake3Mode& mode,
                             const Digest* cvs, std::size_t count, Digest* out) {
  const std::size_t pairs = count / 2;
  kernels.hash_batch({.input = cvs->data(),
                      .stride = kBlockSize,
                      .count = pairs,
                      .length = kBlockSize,
                      .key = mode.key.data(),
                      .counter = 0,
                      .counting = false,
                      .flags = static_cast<std::uint8_t>(mode.flags | kParent),
                      .start_flags = 0,
                      .end_flags = 0,
                      .output = out->data()});
  if (count % 2 != 0) out[pairs] = cvs[count - 1];
  return pairs + count % 2;
}

// Halves `count` chaining values in place until no more than `most` are left.
std::size_t reduce(const Blake3Kernels& kernels, const Blake3Mode& mode, Digest* cvs,
                   std::size_t count, std::size_t most) {
  std::array<Digest, kMaxPieces / 2> half;
  while (count > most) {
    count = compress_parents(kernels, mode, cvs, count, half.data());
    std::copy_n(half.data(), count, cvs);
  }
  return count;
}

// The whole chunks of the input as a batch. `ahead` is where the memory ends that will be hashed
// next.
Blake3Batch chunks_of(const Blake3Mode& mode, Bytes input, std::uint64_t counter,
                      const std::byte* ahead, Digest* out) {
  return {.input = input.data(),
          .stride = kChunkSize,
          .count = input.size() / kChunkSize,
          .length = kChunkSize,
          .key = mode.key.data(),
          .counter = counter,
          .counting = true,
          .flags = mode.flags,
          .start_flags = kChunkStart,
          .end_flags = kChunkEnd,
          .ahead = ahead,
          .output = out->data()};
}

// The chaining values of at most `lanes` chunks, the last of which may be short.
std::size_t compress_chunks(const Blake3Kernels& kernels, const Blake3Mode& mode, Bytes input,
                            std::uint64_t counter, const std::byte* ahead, Digest* out) {
  Blake3Batch batch = chunks_of(mode, input, counter, ahead, out);
  kernels.hash_batch(batch);
  const std::size_t whole = batch.count;
  const Bytes rest = input.subspan(whole * kChunkSize);
  if (rest.empty()) return whole;
  batch.input = rest.data();
  batch.count = 1;
  batch.length = rest.size();
  batch.counter += whole;
  batch.output = out[whole].data();
  kernels.hash_batch(batch);
  return whole + 1;
}

// Between 1 and `lanes` chaining values, at one level of the subtree over `input`; at least 2
// where the input has more than one chunk. A whole level at a time keeps the lanes full. `ahead`
// as for chunks_of.
std::size_t compress_wide(const Blake3Kernels& kernels, const Blake3Mode& mode, Bytes input,
                          std::uint64_t counter, const std::byte* ahead, Digest* out) {
  if (input.size() <= kernels.lanes * kChunkSize) {
    return compress_chunks(kernels, mode, input, counter, ahead, out);
  }
  if (input.size() == 2 * kernels.lanes * kChunkSize) {
    kernels.hash_pairs(chunks_of(mode, input, counter, ahead, out));
    return kernels.lanes;
  }
  const std::size_t left = left_size(input.size());
  std::array<Digest, 2 * kMaxLanes> cvs;
  const std::size_t count =
      compress_wide(kernels, mode, input.first(left), counter, ahead, cvs.data());
  const std::size_t more = compress_wide(kernels, mode, input.subspan(left),
                                         counter + left / kChunkSize, ahead, cvs.data() + count);
  return compress_parents(kernels, mode, cvs.data(), count + more, out);
}

}  // namespace

Digest Blake3Node::chaining_value() const {
  std::array<std::uint32_t, 16> words;
  blake3_kernels().compress(cv.data(), block.data(), block_length, counter, flags, words.data());
  Digest value;
  std::memcpy(value.data(), words.data(), kDigestSize);
  return value;
}

void Blake3Node::root(MutableBytes output, std::uint64_t seek) const {
  std::uint64_t number = seek / kBlockSize;
  std::size_t skip = seek % kBlockSize;
  while (!output.empty()) {
    std::array<std::uint32_t, 16> words;
    blake3_kernels().compress(cv.data(), block.data(), block_length, number, flags | kRoot,
                              words.data());
    const std::size_t take = std::min(output.size(), kBlockSize - skip);
    std::copy_n(std::as_bytes(std::span(words)).data() + skip, take, output.data());
    output = output.subspan(take);
    ++number;
    skip = 0;
  }
}

Blake3Node chunk_node(const Blake3Mode& mode, Bytes chunk, std::uint64_t counter) {
  Blake3Node node{.cv = mode.key,
                  .block = {},
                  .counter = counter,
                  .block_length = 0,
                  .flags = static_cast<std::uint8_t>(mode.flags | kChunkStart)};
  while (chunk.size() > kBlockSize) {
    std::array<std::uint32_t, 16> words;
    blake3_kernels().compress(node.cv.data(), chunk.data(), kBlockSize, counter, node.flags,
                              words.data());
    std::copy_n(words.data(), 8, node.cv.data());
    node.flags = mode.flags;
    chunk = chunk.subspan(kBlockSize);
  }
  std::copy(chunk.begin(), chunk.end(), node.block.begin());
  node.block_length = static_cast<std::uint8_t>(chunk.size());
  node.flags |= kChunkEnd;
  return node;
}

Blake3Node parent_node(const Blake3Mode& mode, const Digest& left, const Digest& right) {
  Blake3Node node{.cv = mode.key,
                  .block = {},
                  .counter = 0,
                  .block_length = kBlockSize,
                  .flags = static_cast<std::uint8_t>(mode.flags | kParent)};
  std::copy(left.begin(), left.end(), node.block.begin());
  std::copy(right.begin(), right.end(), node.block.begin() + kDigestSize);
  return node;
}

std::uint64_t left_size(std::uint64_t size) {
  return std::bit_floor((size - 1) / kChunkSize) * kChunkSize;
}

std::array<Digest, 2> subtree_children(const Blake3Mode& mode, Bytes input, std::uint64_t counter,
                                       ParallelFor parallel) {
  const Blake3Kernels& kernels = blake3_kernels();
  const std::byte* ahead = input.size() < kFetchFrom ? nullptr : input.data() + input.size();
  std::array<Digest, kMaxPieces> cvs;
  std::size_t count = 0;
  const std::size_t piece = std::max(kMinPiece, std::bit_ceil(input.size() / kMaxPieces + 1));
  if (input.size() > piece) {
    count = (input.size() + piece - 1) / piece;
    parallel(count, [&](std::size_t i) {
      const Bytes part = input.subspan(i * piece, std::min(piece, input.size() - i * piece));
      std::array<Digest, kMaxPieces> level;
      const std::size_t width =
          compress_wide(kernels, mode, part, counter + i * piece / kChunkSize, ahead, level.data());
      reduce(kernels, mode, level.data(), width, 1);
      cvs[i] = level[0];
    });
  } else {
    count = compress_wide(kernels, mode, input, counter, ahead, cvs.data());
  }
  reduce(kernels, mode, cvs.data(), count, 2);
  return {cvs[0], cvs[1]};
}

Digest subtree_value(const Blake3Mode& mode, Bytes input, std::uint64_t counter,
                     ParallelFor parallel) {
  if (input.size() <= kChunkSize) return chunk_node(mode, input, counter).chaining_value();
  const auto [left, right] = subtree_children(mode, input, counter, parallel);
  return parent_node(mode, left, right).chaining_value();
}

}  // namespace torchnotary
