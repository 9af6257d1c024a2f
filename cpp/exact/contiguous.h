// Operands as contiguous binary32, for operators that are written for nothing else.
#pragma once

#include <memory>
#include <vector>

#include "exact/element.h"
#include "hashing/parallel.h"

namespace torchnotary::exact {

// The elements of an input in row-major order: where they lie already, or copied and widened.
class ContiguousInput {
 public:
  ContiguousInput(const Input& input, ParallelFor parallel);
  const float* data() const { return data_; }

 private:
  std::unique_ptr<float[]> copy_;
  const float* data_;
};

// Memory for the elements of an output in row-major order: its own, or other memory from which
// write() brings them there, rounded to its storage.
class ContiguousOutput {
 public:
  explicit ContiguousOutput(const Output& output);
  float* data() const { return data_; }
  void write(ParallelFor parallel);

 private:
  const Output output_;
  std::unique_ptr<float[]> copy_;
  float* data_;
};

}  // namespace torchnotary::exact
