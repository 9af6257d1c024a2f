#include "exact/blocks.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "exact/convert.h"

namespace torchnotary::exact {
namespace {

// Calls piece(offset, done, n) for each row in which some of the `count` elements from `at` lie.
template <class Piece>
void for_each_piece(Position at, std::size_t operand, std::size_t count, Piece piece) {
  for (std::size_t done = 0; done < count;) {
    const std::size_t n = std::min(count - done, at.left_in_row());
    piece(at.offset(operand), done, n);
    at.advance(n);
    done += n;
  }
}

template <class Word>
void gather(const Axes& axes, std::size_t operand, const Position& at, std::size_t count,
            const std::byte* data, std::byte* buffer) {
  const auto* from = reinterpret_cast<const Word*>(data);
  auto* to = reinterpret_cast<Word*>(buffer);
  const std::ptrdiff_t stride = axes.inner_stride(operand);
  for_each_piece(at, operand, count, [=](std::ptrdiff_t offset, std::size_t done, std::size_t n) {
    const Word* row = from + offset;
    if (stride == 1) {
      std::copy_n(row, n, to + done);
    } else {
      for (std::size_t i = 0; i < n; ++i)
        to[done + i] = row[static_cast<std::ptrdiff_t>(i) * stride];
    }
  });
}

template <class Word>
void scatter(const Axes& axes, const Position& at, std::size_t count, const std::byte* buffer,
             std::byte* data) {
  const auto* from = reinterpret_cast<const Word*>(buffer);
  auto* to = reinterpret_cast<Word*>(data);
  const std::ptrdiff_t stride = axes.inner_stride(0);
  for_each_piece(at, 0, count, [=](std::ptrdiff_t offset, std::size_t done, std::size_t n) {
    Word* row = to + offset;
    for (std::size_t i = 0; i < n; ++i)
      row[static_cast<std::ptrdiff_t>(i) * stride] = from[done + i];
  });
}

// Calls function(Word{}) for the unsigned word of that many bytes.
template <class Function>
void with_word(std::size_t size, Function function) {
  switch (size) {
    case 1:
      return function(std::uint8_t{});
    case 2:
      return function(std::uint16_t{});
    case 4:
      return function(std::uint32_t{});
    default:
      return function(std::uint64_t{});
  }
}

}  // namespace

const void* BlockReader::read(const Position& at, std::size_t count) {
  const bool one_row = axes_->flat[operand_] || count <= at.left_in_row();
  const std::ptrdiff_t stride = axes_->inner_stride(operand_);
  if (axes_->constant[operand_] || (one_row && stride == 0)) {
    repeat(first(at));
    return values_;
  }
  const bool adjacent = one_row && stride == 1;
  if (adjacent && stored_ == wanted_) return first(at);
  if (last_ != nullptr && last_begin_ == at.behind_in_row() && last_count_ >= count) return last_;
  const std::byte* raw = adjacent ? first(at) : gathered(at, count);
  const void* values = stored_ == wanted_ ? raw : converted(raw, count);
  if (axes_->periodic[operand_]) {
    last_ = values;
    last_begin_ = at.behind_in_row();
    last_count_ = count;
  }
  return values;
}

const std::byte* BlockReader::gathered(const Position& at, std::size_t count) {
  with_word(element_size(stored_),
            [&](auto word) { gather<decltype(word)>(*axes_, operand_, at, count, data_, raw_); });
  return raw_;
}

const void* BlockReader::converted(const std::byte* raw, std::size_t count) {
  widen(raw, stored_, wide_, count);
  if (wanted_ == Element::float32 && !canonical_) return wide_;
  narrow(wide_, wanted_, values_, count);
  return values_;
}

void BlockReader::repeat(const std::byte* raw) {
  if (repeated_ == raw) return;
  const void* one = stored_ == wanted_ ? raw : converted(raw, 1);
  with_word(element_size(wanted_), [&](auto word) {
    std::memcpy(&word, one, sizeof word);
    std::fill_n(reinterpret_cast<decltype(word)*>(values_), kBlock, word);
  });
  repeated_ = raw;
}

void* BlockWriter::place(const Position& at, std::size_t count) {
  return stored_ == given_ && adjacent(at, count) ? first(at) : values_;
}

void BlockWriter::write(const Position& at, std::size_t count) {
  const bool is_adjacent = adjacent(at, count);
  const std::byte* raw = values_;
  if (stored_ != given_) {
    std::byte* to = is_adjacent ? first(at) : raw_;
    narrow(reinterpret_cast<const float*>(values_), stored_, to, count);
    raw = to;
  }
  if (is_adjacent) return;
  with_word(element_size(stored_),
            [&](auto word) { scatter<decltype(word)>(*axes_, at, count, raw, data_); });
}

}  // namespace torchnotary::exact
