// Python's face of openings: indices as Python writes them, and what an opening claims.
#pragma once

#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "bindings/tensor.h"
#include "tensor/files.h"
#include "tensor/opening.h"

namespace torchnotary {

// An item as Python passes it: None, (index,) or (start, count, step).
using PyItem = std::optional<std::vector<std::uint64_t>>;

inline IndexItem to_item(const PyItem& item) {
  if (!item) return {IndexItem::Kind::new_axis};
  if (item->size() == 1) return {IndexItem::Kind::integer, item->at(0)};
  if (item->size() != 3) throw py::value_error("an item is None, (index,) or (start, count, step)");
  return {IndexItem::Kind::slice, item->at(0), item->at(1), item->at(2)};
}

inline PyItem from_item(const IndexItem& item) {
  if (item.kind == IndexItem::Kind::new_axis) return std::nullopt;
  if (item.kind == IndexItem::Kind::integer) return {{item.start}};
  return {{item.start, item.count, item.step}};
}

class PyOpening {
 public:
  PyOpening(const PyView& view, const std::vector<PyItem>& index, std::size_t threads) {
    std::vector<IndexItem> items;
    for (const PyItem& item : index) items.push_back(to_item(item));
    opening_ = without_gil(view.nbytes(),
                           [&] { return make_opening(view.view(), items, Threads(threads)); });
  }
  PyOpening(const std::string& path, const FileState& state, const StoredTensor& tensor,
            const std::vector<PyItem>& index, std::size_t threads) {
    std::vector<IndexItem> items;
    for (const PyItem& item : index) items.push_back(to_item(item));
    const Threads parallel(std::min(threads, kMaxFileThreads));
    const py::gil_scoped_release release;
    opening_ = open_in_file(path, state, tensor, items, parallel);
  }
  explicit PyOpening(const py::buffer& encoded) {
    const Buffer buffer(encoded);
    opening_ = without_gil(buffer.bytes().size(), [&] { return decode_opening(buffer.bytes()); });
  }

  py::bytes encode() const { return to_bytes(encode_opening(opening_)); }
  std::string_view dtype() const { return opening_.dtype->name; }
  py::typing::Tuple<std::int64_t, py::ellipsis> shape() const { return to_tuple(opening_.shape); }
  py::typing::Tuple<std::int64_t, py::ellipsis> selected_shape() const {
    return to_tuple(torchnotary::selected_shape(opening_.items));
  }
  std::vector<PyItem> items() const {
    std::vector<PyItem> items;
    for (const IndexItem& item : opening_.items) items.push_back(from_item(item));
    return items;
  }
  std::size_t proof_nbytes() const { return opening_.proof.size(); }
  py::bytes data_root() const { return to_bytes(opening_.data_root); }
  py::bytes digest() const { return to_bytes(digest_of(opening_)); }
  py::bytes implied_root(std::size_t threads) const {
    return to_bytes(
        without_gil(opening_.proof.size(), [&] { return root_of(opening_, Threads(threads)); }));
  }
  py::bytes tobytes() const {
    const auto [result, output] = new_bytes(selected_nbytes(opening_));
    without_gil(output.size(), [&, output = output] { copy_selected(opening_, output); });
    return result;
  }

 private:
  static py::tuple to_tuple(const std::vector<std::int64_t>& sizes) {
    py::tuple tuple(sizes.size());
    for (std::size_t i = 0; i < sizes.size(); ++i) tuple[i] = sizes[i];
    return tuple;
  }

  Opening opening_;
};

inline std::uint64_t py_opening_size(const py::buffer& head, std::uint64_t most) {
  const Buffer buffer(head);
  return without_gil(most, [&] { return opening_size(buffer.bytes(), most); });
}

}  // namespace torchnotary
