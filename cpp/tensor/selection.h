// What an index selects of a tensor: its items, the shape they give, and the runs of data bytes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "merkle/slice.h"
#include "tensor/dtype.h"

namespace torchnotary {

// One item of an index in its canonical form: there is one for every axis, in order, and any
// number of new axes between them.
struct IndexItem {
  enum class Kind : std::uint8_t {
    integer = 0,   // element `start` of an axis, which is dropped
    slice = 1,     // elements start, start + step, … of an axis, `count` of them
    new_axis = 2,  // an axis of size 1 (None)
  };
  Kind kind;
  std::uint64_t start = 0;
  std::uint64_t count = 1;
  std::uint64_t step = 1;
};

// Whether items are canonical for a shape: add() is given them in order, then end() is asked. Both
// say what is wrong, and null where nothing is. Canonical are a start of 0 where no element is
// selected, and a step of 1 where fewer than two are.
class IndexCheck {
 public:
  explicit IndexCheck(std::span<const std::int64_t> shape) : shape_(shape) {}

  const char* add(const IndexItem& item);
  const char* end() const;

 private:
  std::span<const std::int64_t> shape_;
  std::size_t axis_ = 0;
  std::size_t rank_ = 0;  // of what is selected
};

// The shape of what is selected.
std::vector<std::int64_t> selected_shape(std::span<const IndexItem> items);

// The selected elements of a tensor, as runs of its data bytes. Items and shape are valid.
class Selection {
 public:
  Selection(const DType& dtype, std::span<const std::int64_t> shape,
            std::span<const IndexItem> items);

  bool empty() const { return elements_ == 0; }
  std::uint64_t nbytes() const { return elements_ * itemsize_; }

  // Neither of the following is asked of an empty selection.

  // The first run that ends beyond byte `from`, as merkle::Runs.
  merkle::ByteRun next(std::uint64_t from) const;

  // The same chunks in the longest runs: gaps that no whole chunk fits into are selected too.
  Selection covering() const;

  // Copies what is selected of `data`, which are the bytes from `offset` on, to `to`; returns where
  // the next byte belongs.
  std::byte* copy(std::uint64_t offset, Bytes data, std::byte* to) const;

 private:
  struct Axis {
    std::uint64_t size, start, count, step;

    bool whole() const { return count == size; }
    std::uint64_t end() const { return start + (count - 1) * step + 1; }
  };
  void push(Axis axis);
  merkle::ByteRun run_at(std::span<const std::uint64_t> index) const;
  std::uint64_t left_in_row(std::uint64_t element) const;

  std::uint64_t itemsize_;
  std::uint64_t total_;     // elements of the tensor
  std::uint64_t elements_;  // selected
  // Outermost first, those of size 1 left out and adjacent ones joined where that is possible, so
  // that the innermost one has the longest runs; at most 63, since no product exceeds 2^63.
  std::vector<Axis> axes_;
};

}  // namespace torchnotary
