// Strided operands of any element type, read and written as blocks of adjacent elements of the type
// in which an operator takes them.
#pragma once

#include <algorithm>
#include <cstddef>

#include "exact/axes.h"
#include "exact/element.h"
#include "exact/environment.h"
#include "hashing/parallel.h"

namespace torchnotary::exact {

// Elements that pass through buffers at once: those of all operands stay in the first-level cache.
inline constexpr std::size_t kBlock = 512;

// Reads operand `operand` of the axes as elements of type `wanted`. A NaN that is only widened may
// keep a payload, unless `canonical` is asked for.
class BlockReader {
 public:
  BlockReader(const Axes& axes, std::size_t operand, const Input& input, Element wanted,
              bool canonical = false)
      : axes_(&axes),
        operand_(operand),
        data_(static_cast<const std::byte*>(input.data)),
        stored_(input.element),
        wanted_(wanted),
        canonical_(canonical) {}
  BlockReader(const BlockReader&) = delete;
  BlockReader& operator=(const BlockReader&) = delete;

  // The `count` elements from `at` on, valid until the next call: at most kBlock, unless they are
  // adjacent in memory and of the wanted type.
  const void* read(const Position& at, std::size_t count);

 private:
  const std::byte* gathered(const Position& at, std::size_t count);
  const void* converted(const std::byte* raw, std::size_t count);
  void repeat(const std::byte* raw);
  const std::byte* first(const Position& at) const {
    return data_ + at.offset(operand_) * static_cast<std::ptrdiff_t>(element_size(stored_));
  }

  const Axes* axes_;
  std::size_t operand_;
  const std::byte* data_;
  Element stored_, wanted_;
  bool canonical_;
  // The element that values_ repeats.
  const std::byte* repeated_ = nullptr;
  // The last block, for operands that every row has in common.
  const void* last_ = nullptr;
  std::size_t last_begin_ = 0, last_count_ = 0;
  alignas(64) std::byte raw_[kBlock * 8];
  alignas(64) float wide_[kBlock];
  alignas(64) std::byte values_[kBlock * 8];
};

// Where blocks end: `longest` elements from a place on at most, whole rows where these are short.
inline std::size_t block_size(const Axes& axes, const Position& at, std::size_t longest) {
  const std::size_t row = axes.inner_size();
  if (row >= kBlock) return std::min(longest, at.left_in_row());
  return kBlock / row * row - at.behind_in_row();
}

// Writes operand 0 of the axes, given elements of type `given`.
class BlockWriter {
 public:
  BlockWriter(const Axes& axes, const Output& output, Element given)
      : axes_(&axes),
        data_(static_cast<std::byte*>(output.data)),
        stored_(output.element),
        given_(given) {}
  BlockWriter(const BlockWriter&) = delete;
  BlockWriter& operator=(const BlockWriter&) = delete;

  // Where `count` elements from `at` on are to be put; then write() brings them to their place.
  void* place(const Position& at, std::size_t count);
  void write(const Position& at, std::size_t count);

 private:
  // Whether the elements lie side by side where they belong.
  bool adjacent(const Position& at, std::size_t count) const {
    return axes_->flat[0] || (axes_->inner_stride(0) == 1 && count <= at.left_in_row());
  }
  std::byte* first(const Position& at) const {
    return data_ + at.offset(0) * static_cast<std::ptrdiff_t>(element_size(stored_));
  }

  const Axes* axes_;
  std::byte* data_;
  Element stored_, given_;
  alignas(64) std::byte values_[kBlock * 8];
  alignas(64) std::byte raw_[kBlock * 8];
};

// Elements worth more threads than one, and those of a task of theirs: so few that no thread waits
// long for another.
inline constexpr std::size_t kWorthThreads = 32768;
inline constexpr std::size_t kTask = 16384;

// range(begin, end) for parts of 0 … elements − 1, each a task.
template <class Range>
void for_each_range(ParallelFor parallel, std::size_t elements, Range range) {
  const std::size_t tasks = (elements + kTask - 1) / kTask;
  for_each_task(
      elements > kWorthThreads ? parallel : ParallelFor(kSerial), tasks,
      [&](std::size_t task) { range(task * kTask, std::min(elements, (task + 1) * kTask)); });
}

// block(position, element, n) for runs of at most kBlock elements of begin … end − 1.
template <class Block>
void for_each_block(const Axes& axes, std::size_t begin, std::size_t end, Block block) {
  Position at(axes, begin);
  while (begin < end) {
    const std::size_t n = std::min(end - begin, kBlock);
    block(at, begin, n);
    at.advance(n);
    begin += n;
  }
}

}  // namespace torchnotary::exact
