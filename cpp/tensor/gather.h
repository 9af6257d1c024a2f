// A tensor's data bytes as a stream: row-major, conj and neg resolved, bool as 00/01.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "hashing/bytes.h"
#include "tensor/view.h"

namespace torchnotary {

// Reads a view's data bytes in order, into buffers of the caller's. The view's memory must
// outlive the gatherer; its shape and strides need not.
class Gatherer {
 public:
  explicit Gatherer(const TensorView& view);

  // Goes on at element `element`, in row-major order.
  void seek(std::uint64_t element);

  // Fills `out` with the bytes from `offset` on, which begins an element. Any thread may ask.
  void read_at(std::uint64_t offset, MutableBytes out) const;

  // Fills `buffer` (a multiple of 16 bytes) and returns what it filled: all of it, less at the
  // end, nothing after it.
  Bytes next(MutableBytes buffer);

 private:
  struct Dim {
    std::int64_t size;
    std::int64_t stride;  // bytes
    std::int64_t index;
  };

  void copy_run(std::byte* to, std::int64_t elements) const;
  std::int64_t rows_at_once(std::size_t room) const;
  void copy_rows(std::byte* to, std::int64_t rows);
  void advance(std::int64_t elements);
  void carry();

  const std::byte* begin_;
  const std::byte* at_;
  std::size_t itemsize_;
  std::size_t elements_;
  std::size_t remaining_;  // elements
  bool conj_, neg_;
  Kind kind_;
  std::vector<Dim> dims_;  // outermost first, adjacent ones coalesced, never empty
  // The dimension, if any, along which neighbours in memory lie although it is not the innermost,
  // and how many elements the dimensions inside it have.
  std::size_t row_dim_;
  std::size_t row_elements_;
};

}  // namespace torchnotary
