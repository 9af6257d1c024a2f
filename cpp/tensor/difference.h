// How far apart two tensors are, element by element.
#pragma once

#include <array>
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
  // For floating dtypes: the largest finite |before|, to see a difference beside.
  double scale() const { return scale_; }
  // For floating dtypes, over the elements whose difference is finite: how many representable
  // values lie between them at most (of complex ones the part with more), and how many elements
  // have how many: [0] none, [i] at least 2^(i-1) and less than 2^i.
  std::uint64_t ulps() const { return ulps_; }
  const std::array<std::uint64_t, 65>& histogram() const { return histogram_; }

 private:
  const DType* dtype_;
  std::uint64_t differing_ = 0;
  std::uint64_t undefined_ = 0;
  std::optional<double> largest_;
  double scale_ = 0;
  std::uint64_t ulps_ = 0;
  std::array<std::uint64_t, 65> histogram_{};
};

}  // namespace torchnotary
