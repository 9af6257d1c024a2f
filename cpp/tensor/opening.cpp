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

void append_proof(const TensorView& view, const Selection& selection, ParallelFor parallel,
                  std::vector<std::byte>& proof) {
  const Selection cover = selection.covering();
  const auto runs = [&](std::uint64_t from) { return cover.next(from); };
  const Blake3Mode mode = Blake3Mode::hash();
  if (is_plain(view)) {
    const Bytes data(view.data, view.nbytes());
    const auto read = [&](std::uint64_t offset, MutableBytes out) {
      std::copy_n(data.data() + offset, out.size(), out.data());
    };
    const auto value = [&](std::uint64_t offset, std::uint64_t size) {
      return subtree_value(mode, data.subspan(offset, size), offset / kChunkSize, parallel);
    };
    merkle::append_slice(view.nbytes(), runs, read, value, proof);
    return;
  }
  const Gatherer whole(view);
  const auto read = [&](std::uint64_t offset, MutableBytes out) {
    Gatherer gather = whole;
    gather.seek(offset / view.dtype->itemsize);
    gather.next(out);
  };
  const auto value = [&](std::uint64_t offset, std::uint64_t size) {
    return subtree_read(mode, offset, size, read, parallel);
  };
  merkle::append_slice(view.nbytes(), runs, read, value, proof);
}

void require_canonical(std::span<const IndexItem> items, std::span<const std::int64_t> shape) {
  IndexCheck check(shape);
  const char* fault = nullptr;
  for (std::size_t i = 0; i < items.size() && fault == nullptr; ++i) fault = check.add(items[i]);
  if (fault == nullptr) fault = check.end();
  if (fault == nullptr) return;
  throw MalformedProof(std::string("the index does not fit the tensor: ") + fault, "", "",
                       "give one canonical item for every axis");
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
  require_canonical(items, view.shape);
  Opening opening{.dtype = view.dtype,
                  .shape = {view.shape.begin(), view.shape.end()},
                  .data_root = {},
                  .items = {items.begin(), items.end()},
                  .proof = {}};
  const Selection selection = selection_of(opening);
  if (selection.empty()) {
    opening.data_root = data_root(view, parallel);
    return opening;
  }
  append_proof(view, selection, parallel, opening.proof);
  opening.data_root = root_of(opening, parallel);
  return opening;
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
