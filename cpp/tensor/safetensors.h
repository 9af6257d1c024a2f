// The header of a safetensors file, strictly: every byte of the data belongs to one tensor.
//
//   file   = u64le n ‖ header (n bytes of JSON, padded with spaces) ‖ data
//   header = {"__metadata__": {text: text}?, name: {"dtype", "shape", "data_offsets": [b, e]}, …}
//
// Offsets count from the start of the data; tensors cover it without overlap, gap or rest, in
// row-major order, little-endian. Source: the format's description in huggingface/safetensors.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "hashing/bytes.h"
#include "hashing/parallel.h"
#include "tensor/dtype.h"

namespace torchnotary {

inline constexpr std::uint64_t kMaxHeaderBytes = 100'000'000;  // the reference's own limit
inline constexpr std::size_t kMaxStoredRank = 64;

// A tensor in a file, row-major and little-endian.
struct StoredTensor {
  std::string name;
  const DType* dtype;
  std::vector<std::int64_t> shape;
  std::uint64_t begin;     // its first byte, counted from the start of the file
  std::uint64_t nbytes;    // the product of the sizes and the itemsize
  std::uint64_t declared;  // the byte of the file at which its entry stands
};

// The format's names of element types, each with torch's.
struct StoredDType {
  std::string_view stored;
  std::string_view torch;
};
extern const std::array<StoredDType, 19> kStoredDTypes;

// Fills `out` with the bytes of a file from `offset` on.
using ReadAt = FunctionRef<void(std::uint64_t offset, MutableBytes out)>;

// The tensors of a safetensors file of `file_size` bytes, in the order of their bytes. Reads the
// header through a small window, in one pass without recursion. Raises MalformedRecord, which
// names the byte, where the file breaks the format, and UnsupportedTensor for a dtype that has no
// commitment rule.
std::deque<StoredTensor> read_safetensors_header(std::uint64_t file_size, ReadAt read);

// The same where the header (the JSON alone) is in memory.
std::deque<StoredTensor> parse_safetensors_header(Bytes header, std::uint64_t file_size);

}  // namespace torchnotary
