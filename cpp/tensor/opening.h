// Openings: some elements of a committed tensor, with the proof that they are its elements.
//
// Grammar (docs/formats.md, "opening"; every integer little-endian):
//
//   opening = "torchnotary opening/1" 0A ‖ header ‖ data root ‖ u16 number of items ‖ item* ‖ proof
//   header  = as in a commitment, its number of data bytes being what shape and dtype give
//   item    = 00 ‖ u64 index | 01 ‖ u64 start ‖ u64 count ‖ u64 step | 02
//   proof   = the slice proof of merkle/slice.h over the selected bytes; nothing where they are
//   none
//
// Items are canonical (tensor/selection.h), so equal openings are equal bytes.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "hashing/bytes.h"
#include "hashing/parallel.h"
#include "tensor/selection.h"
#include "tensor/view.h"

namespace torchnotary {

// What an opening claims. Nothing of it is proven until digest_of() is the digest that one trusts
// and root_of() equals data_root.
struct Opening {
  const DType* dtype;
  std::vector<std::int64_t> shape;  // of the whole tensor
  Digest data_root;
  std::vector<IndexItem> items;
  std::vector<std::byte> proof;
};

// Raises MalformedProof, naming the byte, for everything that encode_opening never writes. The time
// is linear in the bytes given, and nothing larger than they is allocated.
Opening decode_opening(Bytes encoded);

// `head` are the first kMaxOpeningHead bytes of an opening, or all of it; `most` bounds the answer.
// The number of bytes the opening has, or one above `most`. Raises as decode_opening.
std::uint64_t opening_size(Bytes head, std::uint64_t most);
inline constexpr std::size_t kMaxOpeningHead = 16 * 1024;

std::vector<std::byte> encode_opening(const Opening& opening);

// Opens what `items` select of a view that check() accepts: hashes all of it once. Raises
// MalformedProof for items that do not fit the view.
Opening make_opening(const TensorView& view, std::span<const IndexItem> items,
                     ParallelFor parallel = kSerial);

// The same of a tensor whose data bytes read(offset, out) delivers, on the threads of `parallel`.
// Sizes are not negative and their bytes counted in 63 bits.
Opening make_opening(const DType& dtype, std::span<const std::int64_t> shape,
                     std::span<const IndexItem> items,
                     FunctionRef<void(std::uint64_t offset, MutableBytes out)> read,
                     ParallelFor parallel = kSerial);

// The digest of the tensor that an opening claims to be of.
Digest digest_of(const Opening& opening);

// The data root that the proof implies; the claimed one where nothing is selected.
Digest root_of(const Opening& opening, ParallelFor parallel = kSerial);

// The bytes of what is selected, and their copy into as many of `out`, row-major. Raises
// MalformedProof for a bool that is neither 00 nor 01.
std::uint64_t selected_nbytes(const Opening& opening);
void copy_selected(const Opening& opening, MutableBytes out);

}  // namespace torchnotary
