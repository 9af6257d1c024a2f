// How far apart two tensors are, element by element.
#pragma once

#include <cstdint>
#include <optional>

#include "hashing/bytes.h"
#include "tensor/dtype.h"

namespace torchnotary {

class Difference {
 public:
  explicit Difference(const DType& dtype) : dtype_(&dtype) {}

  // Compares elements in row-major order, little-endian; both spans hold the same whole number of
  // them. Raises NotaryError otherwise. May be called again for the elements that follow.
  void add(Bytes before, Bytes after);

  // Elements whose bytes differ.
  std::uint64_t differing() const { return differing_; }
  // Those of them of which at least one is NaN.
  std::uint64_t undefined() const { return undefined_; }
  // The largest |after - before| over the others, in double precision (the modulus where complex,
  // exact for integers below 2^53); none for dtypes that are bits without numbers to us, and where
  // no such element differs.
  std::optional<double> largest() const { return largest_; }

 private:
  const DType* dtype_;
  std::uint64_t differing_ = 0;
  std::uint64_t undefined_ = 0;
  std::optional<double> largest_;
};

}  // namespace torchnotary
