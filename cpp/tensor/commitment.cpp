// Tensor commitments: hashing data in place or through a bounded buffer, and the header.
#include "tensor/commitment.h"

#include <algorithm>
#include <array>
#include <string>

#include "hashing/blake3.h"
#include "hashing/errors.h"
#include "tensor/gather.h"

namespace torchnotary {
namespace {

constexpr std::string_view kTensorContext = "torchnotary 2026-11 tensor v1";

// So many rows are hashed side by side, if their data and, by rank, their headers are short.
constexpr std::int64_t kRowBatch = 64;
constexpr std::size_t kMaxLaneRow = 16 * 1024;
constexpr std::size_t kMaxLaneMessage = 1024;
constexpr std::size_t kMaxLaneRank = 64;

constexpr std::size_t header_size(std::size_t rank) { return 1 + 16 + 1 + 8 * rank + 8; }
static_assert(header_size(kMaxLaneRank) + kDigestSize <= kMaxLaneMessage);

const Blake3Mode& tensor_mode() {
  static const Blake3Mode mode = Blake3Mode::derive_key(kTensorContext);
  return mode;
}

// Elements begin … begin + length - 1 of axis 0, which is dropped where `drop_axis` says so.
TensorView slice(const TensorView& view, std::int64_t begin, std::int64_t length, bool drop_axis,
                 std::vector<std::int64_t>& shape) {
  TensorView part = view;
  // The strides of an empty tensor may be any number.
  if (view.nbytes() > 0) part.data += begin * view.strides[0] * view.dtype->itemsize;
  if (drop_axis) {
    part.shape = view.shape.subspan(1);
    part.strides = view.strides.subspan(1);
  } else {
    shape.assign(view.shape.begin(), view.shape.end());
    shape[0] = length;
    part.shape = shape;
  }
  return part;
}

// Whether rows like this one, `stride` bytes apart, can be hashed side by side.
bool fits_lanes(const TensorView& row, std::int64_t stride) {
  return is_plain(row) && stride >= 0 && row.nbytes() > 0 && row.nbytes() <= kMaxLaneRow &&
         row.rank() <= kMaxLaneRank;
}

// Digests of `count` ≤ kRowBatch plain rows of equal shape, of which `first` is the first, at
// `stride` bytes from each other: data roots and digests are each hashed side by side.
void short_row_digests(const TensorView& first, std::int64_t stride, std::size_t count,
                       Digest* out) {
  std::array<Digest, kRowBatch> roots;
  blake3_many(Blake3Mode::hash(), first.data, static_cast<std::size_t>(stride), count,
              first.nbytes(), roots.data());
  std::array<std::byte, kRowBatch * kMaxLaneMessage> messages;
  const std::size_t header = write_header(first, messages.data());
  const std::size_t message = header + kDigestSize;
  for (std::size_t i = 0; i < count; ++i) {
    std::byte* at = messages.data() + i * message;
    if (i > 0) std::copy_n(messages.data(), header, at);
    std::copy(roots[i].begin(), roots[i].end(), at + header);
  }
  blake3_many(tensor_mode(), messages.data(), message, count, message, out);
}

// The digests that commit_many() has data roots for, of so many tensors at a time.
void tensor_digests(std::span<const TensorView> views, Commitment* made, ParallelFor parallel) {
  std::vector<std::byte> messages;
  std::vector<std::size_t> ends;
  for (std::size_t i = 0; i < views.size(); ++i) {
    const std::size_t begin = messages.size();
    messages.resize(begin + header_size(views[i].rank()) + kDigestSize);
    const std::size_t end = begin + write_header(views[i], messages.data() + begin);
    std::copy(made[i].data_root.begin(), made[i].data_root.end(), messages.begin() + end);
    messages.resize(end + kDigestSize);
    ends.push_back(messages.size());
  }
  std::vector<Bytes> parts;
  for (std::size_t i = 0, begin = 0; i < ends.size(); begin = ends[i++]) {
    parts.push_back(Bytes(messages).subspan(begin, ends[i] - begin));
  }
  std::vector<Digest> digests(views.size());
  blake3_many(tensor_mode(), parts, digests.data(), parallel);
  for (std::size_t i = 0; i < digests.size(); ++i) made[i].digest = digests[i];
}

}  // namespace

void commit_many(std::span<const TensorView> views, Commitment* made, ParallelFor parallel) {
  std::vector<Bytes> plain;
  std::vector<std::size_t> places;
  for (std::size_t i = 0; i < views.size(); ++i) {
    if (is_plain(views[i])) {
      plain.push_back({views[i].data, views[i].nbytes()});
      places.push_back(i);
    } else {
      made[i].data_root = data_root(views[i], parallel);
    }
  }
  std::vector<Digest> roots(plain.size());
  blake3_many(Blake3Mode::hash(), plain, roots.data(), parallel);
  for (std::size_t i = 0; i < places.size(); ++i) made[places[i]].data_root = roots[i];
  constexpr std::size_t kBatch = 1024;
  for (std::size_t done = 0; done < views.size(); done += kBatch) {
    tensor_digests(views.subspan(done, std::min(kBatch, views.size() - done)), made + done,
                   parallel);
  }
}

Digest data_root(const TensorView& view, ParallelFor parallel) {
  if (is_plain(view)) return blake3(Blake3Mode::hash(), {view.data, view.nbytes()}, parallel);
  const Gatherer whole(view);
  return blake3_read(
      Blake3Mode::hash(), view.nbytes(),
      [&](std::uint64_t offset, MutableBytes out) { whole.read_at(offset, out); }, parallel);
}

std::size_t write_header(const TensorView& view, std::byte* out) {
  std::byte* at = out;
  *at++ = static_cast<std::byte>(view.dtype->name.size());
  at = std::copy_n(bytes_of(view.dtype->name).data(), view.dtype->name.size(), at);
  *at++ = static_cast<std::byte>(view.rank());
  for (const std::int64_t size : view.shape) {
    store_le(at, static_cast<std::uint64_t>(size));
    at += 8;
  }
  store_le(at, static_cast<std::uint64_t>(view.nbytes()));
  at += 8;
  return static_cast<std::size_t>(at - out);
}

Digest tensor_digest(const TensorView& view, const Digest& data_root) {
  std::array<std::byte, kMaxHeader + kDigestSize> message;
  const std::size_t header = write_header(view, message.data());
  std::copy(data_root.begin(), data_root.end(), message.begin() + header);
  return blake3(tensor_mode(), Bytes(message).first(header + kDigestSize));
}

Commitment commit(const TensorView& view, ParallelFor parallel) {
  const Digest root = data_root(view, parallel);
  return {root, tensor_digest(view, root)};
}

Rows rows_of(std::int64_t n, std::int64_t max_rows) {
  const std::int64_t run = (n - 1) / max_rows + 1;
  return {run, (n - 1) / run + 1};
}

std::vector<Digest> row_digests(const TensorView& view, std::int64_t max_rows,
                                ParallelFor parallel) {
  if (view.rank() < 2 || view.shape[0] < 1 || max_rows < 1) {
    throw UnsupportedTensor("only tensors of rank 2 or more with at least one row have row digests",
                            "rank >= 2, shape[0] >= 1, max_rows >= 1",
                            "rank " + std::to_string(view.rank()), "commit the tensor whole");
  }
  const std::int64_t n = view.shape[0];
  const auto [run, count] = rows_of(n, max_rows);
  // Row j, in the shape that `shape` then holds.
  const auto row = [&, run = run](std::int64_t j, std::vector<std::int64_t>& shape) {
    return slice(view, j * run, std::min(run, n - j * run), run == 1, shape);
  };

  std::vector<Digest> digests(static_cast<std::size_t>(count));
  std::vector<std::int64_t> shape;
  const TensorView first = row(0, shape);
  if (count == 1) {
    digests[0] = commit(first, parallel).digest;
    return digests;
  }
  const std::int64_t stride =
      first.nbytes() == 0 ? 0 : run * view.strides[0] * view.dtype->itemsize;
  const std::int64_t batch = fits_lanes(first, stride) ? kRowBatch : 1;
  // A last run that is shorter than the others goes by itself.
  const std::int64_t equal = n / run;
  const std::int64_t batches = (equal - 1) / batch + 1;
  parallel(static_cast<std::size_t>(batches + (count - equal)), [&](std::size_t task) {
    const std::int64_t j = std::min(static_cast<std::int64_t>(task) * batch, equal);
    const std::int64_t size = std::min(batch, equal - j);
    std::vector<std::int64_t> task_shape;
    const TensorView at = row(j, task_shape);
    if (size > 1) {
      short_row_digests(at, stride, static_cast<std::size_t>(size), &digests[j]);
    } else {
      digests[j] = commit(at).digest;
    }
  });
  return digests;
}

void copy_data(const TensorView& view, MutableBytes out) {
  if (is_plain(view)) {
    if (!out.empty()) std::memcpy(out.data(), view.data, out.size());
    return;
  }
  Gatherer gather(view);
  gather.next(out);
}

}  // namespace torchnotary
