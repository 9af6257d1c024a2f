// What a tensor is to us: the data root over its bytes and the digest over header and root.
//
// Grammar (design "Tensor"; every integer little-endian):
//   data bytes = elements in row-major order, little-endian, conj and neg resolved, bool 00/01
//   data root  = BLAKE3(data bytes)
//   digest     = BLAKE3 derive-key("torchnotary 2026-11 tensor v1",
//                  u8 name length ‖ dtype name ‖ u8 rank ‖ rank × u64 size ‖ u64 nbytes ‖ data
//                  root)
// Any non-zero byte of a bool tensor's memory is true, and counts as 01.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "hashing/bytes.h"
#include "hashing/parallel.h"
#include "tensor/view.h"

namespace torchnotary {

struct Commitment {
  Digest data_root;
  Digest digest;
};

// Each of these takes a view that check() accepts.

Commitment commit(const TensorView& view, ParallelFor parallel = kSerial);

// The commitments of many tensors, small ones hashed side by side; made[i] is of views[i].
void commit_many(std::span<const TensorView> views, Commitment* made,
                 ParallelFor parallel = kSerial);

Digest data_root(const TensorView& view, ParallelFor parallel = kSerial);

// The longest header: a name of 16 letters, 255 sizes.
inline constexpr std::size_t kMaxHeader = 1 + 16 + 1 + 8 * 255 + 8;

// Writes the header, everything before the data root, and returns its length. Neither this nor
// tensor_digest reads the view's memory or strides.
std::size_t write_header(const TensorView& view, std::byte* out);

// The digest of a tensor whose data root is known.
Digest tensor_digest(const TensorView& view, const Digest& data_root);

// How axis 0 of n > 0 rows is cut into runs: at most `max_rows` of them, all of one length but
// the last.
struct Rows {
  std::int64_t run;    // ⌈n / max_rows⌉
  std::int64_t count;  // ⌈n / run⌉
};
Rows rows_of(std::int64_t n, std::int64_t max_rows);

// The digests of the runs of axis 0, each as a tensor of its own: elements [j * run, (j + 1) * run)
// in a shape that keeps axis 0 unless runs have length 1. Requires rank ≥ 2 and shape[0] > 0;
// raises UnsupportedTensor otherwise.
std::vector<Digest> row_digests(const TensorView& view, std::int64_t max_rows,
                                ParallelFor parallel = kSerial);

// The data bytes themselves; `out` has view.nbytes() bytes.
void copy_data(const TensorView& view, MutableBytes out);

}  // namespace torchnotary
