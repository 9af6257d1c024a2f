// Openings made and used; cpp/tensor/opening_code.cpp has their bytes.
#include "tensor/opening.h"

#include <algorithm>
#include <string>

#include "hashing/blake3.h"
#include "hashing/blake3_tree.h"
#include "hashing/errors.h"
#include "tensor/commitment.h"
#include "tensor/gather.h"

namespace torchnotary {
namespace {

Selection selection_of(const Opening& opening) {
  return {*opening.dtype, opening.shape, opening.items};
}

// The claimed tensor without its memory: enough for headers and sizes.
TensorView claimed(const Opening& opening) {
  return {.data = nullptr,
          .dtype = opening.dtype,
          .shape = opening.shape,
          .strides = {},
          .conj = false,
          .neg = false};
}

using Read = FunctionRef<void(std::uint64_t, MutableBytes)>;
// The chaining value of the node over so many bytes from an offset on.
using Value = FunctionRef<Digest(std::uint64_t, std::uint64_t)>;

void require_canonical(std::span<const IndexItem> items, std::span<const std::int64_t> shape) {
  IndexCheck check(shape);
  const char* fault = nullptr;
  for (std::size_t i = 0; i < items.size() && fault == nullptr; ++i) fault = check.add(items[i]);
  if (fault == nullptr) fault = check.end();
  if (fault == nullptr) return;
  throw MalformedProof(std::string("the index does not fit the tensor: ") + fault, "", "",
                       "give one canonical item for every axis");
}

Opening opening_of(const DType& dtype, std::span<const std::int64_t> shape,
                   std::span<const IndexItem> items, Read read, Value value,
                   FunctionRef<Digest()> root, ParallelFor parallel) {
  require_canonical(items, shape);
  Opening opening{.dtype = &dtype,
                  .shape = {shape.begin(), shape.end()},
                  .data_root = {},
                  .items = {items.begin(), items.end()},
                  .proof = {}};
  const Selection selection = selection_of(opening);
  if (selection.empty()) {
    opening.data_root = root();
    return opening;
  }
  const Selection cover = selection.covering();
  const auto runs = [&](std::uint64_t from) { return cover.next(from); };
  merkle::append_slice(claimed(opening).nbytes(), runs, read, value, opening.proof);
  opening.data_root = root_of(opening, parallel);
  return opening;
}

void require_bools(Bytes values) {
  const auto odd = [](std::byte value) { return value > std::byte{1}; };
  if (std::none_of(values.begin(), values.end(), odd)) return;
  throw MalformedProof("the tensor was committed with a bool that is neither 0 nor 1", "00 or 01",
                       "another byte", "ask whoever committed to it for a tensor of bools");
}

}  // namespace

Opening make_opening(const TensorView& view, std::span<const IndexItem> items,
                     ParallelFor parallel) {
  if (!is_plain(view)) {
    const Gatherer whole(view);
    const auto read = [&](std::uint64_t offset, MutableBytes out) { whole.read_at(offset, out); };
    return make_opening(*view.dtype, view.shape, items, read, parallel);
  }
  const Bytes data(view.data, view.nbytes());
  const auto read = [&](std::uint64_t offset, MutableBytes out) {
    std::copy_n(data.data() + offset, out.size(), out.data());
  };
  const auto value = [&](std::uint64_t offset, std::uint64_t size) {
    return subtree_value(Blake3Mode::hash(), data.subspan(offset, size), offset / kChunkSize,
                         parallel);
  };
  const auto root = [&] { return blake3(Blake3Mode::hash(), data, parallel); };
  return opening_of(*view.dtype, view.shape, items, read, value, root, parallel);
}

Opening make_opening(const DType& dtype, std::span<const std::int64_t> shape,
                     std::span<const IndexItem> items, Read read, ParallelFor parallel) {
  const TensorView whole{
      .data = nullptr, .dtype = &dtype, .shape = shape, .strides = {}, .conj = false, .neg = false};
  const auto value = [&](std::uint64_t offset, std::uint64_t size) {
    return subtree_read(Blake3Mode::hash(), offset, size, read, parallel);
  };
  const auto root = [&] { return blake3_read(Blake3Mode::hash(), whole.nbytes(), read, parallel); };
  return opening_of(dtype, shape, items, read, value, root, parallel);
}

Digest digest_of(const Opening& opening) {
  return tensor_digest(claimed(opening), opening.data_root);
}

Digest root_of(const Opening& opening, ParallelFor parallel) {
  const Selection selection = selection_of(opening);
  if (selection.empty()) return opening.data_root;
  const Selection cover = selection.covering();
  return merkle::slice_root(
      claimed(opening).nbytes(), [&](std::uint64_t from) { return cover.next(from); },
      opening.proof, parallel);
}

std::uint64_t selected_nbytes(const Opening& opening) { return selection_of(opening).nbytes(); }

void copy_selected(const Opening& opening, MutableBytes out) {
  const Selection selection = selection_of(opening);
  if (selection.empty()) return;
  const Selection cover = selection.covering();
  std::byte* to = out.data();
  merkle::slice_data(
      claimed(opening).nbytes(), [&](std::uint64_t from) { return cover.next(from); },
      opening.proof,
      [&](std::uint64_t offset, Bytes data) { to = selection.copy(offset, data, to); });
  if (opening.dtype->kind == Kind::boolean) require_bools(out);
}

}  // namespace torchnotary
