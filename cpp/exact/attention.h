// Scaled dot-product attention (docs/exact-profile.md, section 8).
#pragma once

#include <cstddef>
#include <cstdint>

#include "exact/storage.h"
#include "hashing/parallel.h"

namespace torchnotary::exact {

// Queries, keys or values: rows of adjacent elements. Strides count elements; 0 repeats.
struct AttentionInput {
  const void* data = nullptr;
  std::int64_t batch_stride = 0;
  std::int64_t head_stride = 0;
  std::int64_t row_stride = 0;
};

struct AttentionOutput {
  void* data = nullptr;
  std::int64_t batch_stride = 0;
  std::int64_t head_stride = 0;
  std::int64_t row_stride = 0;
};

// What is added to each score, or bytes of which 0 makes a key absent. Strides as above.
struct AttentionMask {
  enum class Kind : std::uint8_t { none, boolean, additive };
  Kind kind = Kind::none;
  Storage storage = Storage::float32;  // of an additive one
  const void* data = nullptr;
  std::int64_t batch_stride = 0;
  std::int64_t head_stride = 0;
  std::int64_t query_stride = 0;
  std::int64_t key_stride = 0;
};

struct Attention {
  Storage storage = Storage::float32;  // of queries, keys, values and output
  std::size_t batch = 0;
  std::size_t heads = 0;
  std::size_t key_heads = 0;  // divides heads; also the number of heads of the values
  std::size_t queries = 0;
  std::size_t keys = 0;
  std::size_t width = 0;        // elements of a query and of a key
  std::size_t value_width = 0;  // elements of a value and of a row of the output
  AttentionInput q, k, v;
  AttentionOutput output;
  AttentionMask mask;
  bool causal = false;
  float scale = 1;  // rounded to binary32: section 8, step 2
};

// Memory beside the operands: at most about 2 MiB a thread, whatever the sizes up to 32,768 keys,
// and 32 bytes a key beyond.
void attention(const Attention& a, ParallelFor parallel = kSerial);

}  // namespace torchnotary::exact
