// Python's face of the tensor room: a view over memory that some Python object owns.
#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <deque>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "bindings/buffers.h"
#include "hashing/errors.h"
#include "tensor/commitment.h"
#include "tensor/salt.h"
#include "tensor/view.h"

namespace torchnotary {

// Sizes and strides, in place where there are few: most tensors are.
class Numbers {
 public:
  Numbers(const py::tuple& sizes, const py::tuple& strides)
      : rank_(sizes.size()), size_(sizes.size() + strides.size()) {
    if (size_ > few_.size()) many_.resize(size_);
    std::int64_t* at = data();
    for (const py::tuple* tuple : {&sizes, &strides}) {
      for (const py::handle item : *tuple) *at++ = number(item);
    }
  }
  Numbers(const Numbers&) = delete;
  Numbers& operator=(const Numbers&) = delete;

  std::span<const std::int64_t> sizes() { return {data(), rank_}; }
  std::span<const std::int64_t> strides() { return {data() + rank_, size_ - rank_}; }

 private:
  std::int64_t* data() { return many_.empty() ? few_.data() : many_.data(); }
  static std::int64_t number(py::handle item) {
    if (PyLong_CheckExact(item.ptr())) {
      const long long value = PyLong_AsLongLong(item.ptr());
      if (value != -1 || PyErr_Occurred() == nullptr) return value;
      PyErr_Clear();
    }
    return item.cast<std::int64_t>();
  }

  std::size_t rank_;
  std::size_t size_;
  std::array<std::int64_t, 16> few_;
  std::vector<std::int64_t> many_;
};

class PyView {
 public:
  PyView(std::uintptr_t pointer, std::string_view dtype, const py::tuple& shape,
         const py::tuple& strides, bool conj, bool neg, py::object owner)
      : numbers_(shape, strides),
        owner_(std::move(owner)),
        view_{.data = reinterpret_cast<const std::byte*>(pointer),
              .dtype = &dtype_of(dtype),
              .shape = numbers_.sizes(),
              .strides = numbers_.strides(),
              .conj = conj,
              .neg = neg} {
    check(view_);
  }
  // A row-major tensor at `offset` bytes into a contiguous buffer, held as long as the view.
  static std::unique_ptr<PyView> from_buffer(const py::buffer& data, std::string_view dtype,
                                             const py::tuple& shape, std::size_t offset) {
    const auto memory = py::reinterpret_steal<py::object>(PyMemoryView_FromObject(data.ptr()));
    if (!memory) throw py::error_already_set();
    const Py_buffer& buffer = *PyMemoryView_GET_BUFFER(memory.ptr());
    if (PyBuffer_IsContiguous(&buffer, 'C') == 0) throw py::value_error("the buffer has gaps");
    const auto start = reinterpret_cast<std::uintptr_t>(buffer.buf);
    auto view = std::make_unique<PyView>(start + offset, dtype, shape, row_major(shape), false,
                                         false, memory);
    const auto length = static_cast<std::size_t>(buffer.len);
    if (offset > length || view->nbytes() > length - offset) {
      throw UnsupportedTensor(
          "the tensor reaches beyond its buffer", "at most " + std::to_string(length) + " bytes",
          std::to_string(view->nbytes()) + " from byte " + std::to_string(offset),
          "check the shape, the dtype and the offset");
    }
    return view;
  }

  PyView(const PyView&) = delete;
  PyView& operator=(const PyView&) = delete;

  const TensorView& view() const { return view_; }
  std::string_view dtype() const { return view_.dtype->name; }
  std::size_t nbytes() const { return view_.nbytes(); }

  py::typing::Tuple<std::int64_t, py::ellipsis> shape() const {
    py::tuple sizes(view_.rank());
    for (std::size_t i = 0; i < view_.rank(); ++i) sizes[i] = view_.shape[i];
    return sizes;
  }

  std::pair<py::bytes, py::bytes> commit(std::size_t threads) const {
    const Commitment result =
        without_gil(nbytes(), [&] { return torchnotary::commit(view_, Threads(threads)); });
    return {to_bytes(result.data_root), to_bytes(result.digest)};
  }

  py::bytes row_digests(std::int64_t max_rows, std::size_t threads) const {
    const std::vector<Digest> digests = without_gil(
        nbytes(), [&] { return torchnotary::row_digests(view_, max_rows, Threads(threads)); });
    return to_bytes(std::as_bytes(std::span(digests)));
  }

  py::bytes tobytes() const {
    const auto [result, output] = new_bytes(nbytes());
    without_gil(nbytes(), [&, output = output] { copy_data(view_, output); });
    return result;
  }

 private:
  // Wraps where the sizes overflow; check() has then refused the view.
  static py::tuple row_major(const py::tuple& shape) {
    py::tuple strides(shape.size());
    std::uint64_t stride = 1;
    for (std::size_t i = shape.size(); i-- > 0;) {
      strides[i] = static_cast<std::int64_t>(stride);
      stride *= static_cast<std::uint64_t>(shape[i].cast<std::int64_t>());
    }
    return strides;
  }

  Numbers numbers_;
  py::object owner_;
  TensorView view_;
};

// What commit() says of a tensor, in the order of the fields of Python's Commitment.
using PyCommitment =
    py::typing::Tuple<py::str, py::str, py::str, py::typing::Tuple<py::int_, py::ellipsis>,
                      py::int_, py::str>;

inline py::str to_hex(const Digest& digest) {
  static constexpr auto kPairs = [] {
    constexpr std::string_view kDigits = "0123456789abcdef";
    std::array<std::array<char, 2>, 256> pairs{};
    for (std::size_t i = 0; i < 256; ++i) pairs[i] = {kDigits[i >> 4], kDigits[i & 15]};
    return pairs;
  }();
  std::array<char, 2 * kDigestSize> text;
  for (std::size_t i = 0; i < kDigestSize; ++i) {
    std::copy_n(kPairs[static_cast<std::uint8_t>(digest[i])].data(), 2, text.data() + 2 * i);
  }
  return {text.data(), text.size()};
}

// Memory that the caller holds, as a view: address, dtype, sizes, strides, conj, neg.
class Memory {
 public:
  explicit Memory(const py::tuple& fields)
      : numbers_(sizes(fields, 2), sizes(fields, 3)),
        view_{.data = reinterpret_cast<const std::byte*>(item<std::uintptr_t>(fields, 0)),
              .dtype = &dtype_of(text(fields, 1)),
              .shape = numbers_.sizes(),
              .strides = numbers_.strides(),
              .conj = item<bool>(fields, 4),
              .neg = item<bool>(fields, 5)} {
    check(view_);
  }

  const TensorView& view() const { return view_; }

 private:
  template <class T>
  static T item(const py::tuple& fields, std::size_t i) {
    return py::reinterpret_borrow<py::object>(fields[i]).cast<T>();
  }
  // As it is: a list would be converted, and only for as long as this call.
  static py::tuple sizes(const py::tuple& fields, std::size_t i) {
    const py::object found = fields[i];
    if (!py::isinstance<py::tuple>(found)) throw py::type_error("sizes and strides are tuples");
    return found;
  }
  // Borrowed from the string itself; pybind11's own conversion would keep a set of such strings.
  static std::string_view text(const py::tuple& fields, std::size_t i) {
    Py_ssize_t size = 0;
    const char* text = PyUnicode_AsUTF8AndSize(py::object(fields[i]).ptr(), &size);
    if (text == nullptr) throw py::error_already_set();
    return {text, static_cast<std::size_t>(size)};
  }

  Numbers numbers_;
  TensorView view_;
};

inline PyCommitment to_python(const Commitment& made, const py::tuple& fields,
                              const TensorView& view) {
  // A plain tuple of the same numbers, where the shape is a torch.Size.
  const auto sizes = py::reinterpret_steal<py::object>(
      PyTuple_GetSlice(PyTuple_GET_ITEM(fields.ptr(), 2), 0, static_cast<Py_ssize_t>(view.rank())));
  return PyCommitment(py::make_tuple(to_hex(made.digest), to_hex(made.data_root), fields[1], sizes,
                                     view.nbytes(), py::str("strided")));
}

// PyView and its commit() in one call.
inline PyCommitment py_commit(const py::tuple& fields, std::size_t threads) {
  const Memory memory(fields);
  const TensorView& view = memory.view();
  const Commitment made =
      without_gil(view.nbytes(), [&] { return commit(view, Threads(threads)); });
  return to_python(made, fields, view);
}

inline std::vector<PyCommitment> py_commit_many(const py::list& memories, std::size_t threads) {
  std::deque<Memory> held;
  std::vector<TensorView> views;
  std::size_t nbytes = 0;
  for (const py::handle fields : memories) {
    views.push_back(held.emplace_back(py::reinterpret_borrow<py::tuple>(fields)).view());
    nbytes += views.back().nbytes();
  }
  std::vector<Commitment> made(views.size());
  without_gil(nbytes, [&] { commit_many(views, made.data(), Threads(threads)); });
  std::vector<PyCommitment> results;
  for (std::size_t i = 0; i < made.size(); ++i) {
    results.push_back(to_python(made[i], memories[i], views[i]));
  }
  return results;
}

inline Secret to_secret(const Buffer& buffer) {
  if (buffer.bytes().size() != 32) {
    throw py::value_error("a record's secret has 32 bytes, not " +
                          std::to_string(buffer.bytes().size()));
  }
  return buffer.bytes().first<32>();
}

// `out` of new_bytes as digests: bytes have no alignment to break.
inline std::span<Digest> as_digests(MutableBytes bytes) {
  return {reinterpret_cast<Digest*>(bytes.data()), bytes.size() / kDigestSize};
}

inline py::bytes py_salts(const py::buffer& secret, std::uint8_t tree, std::uint64_t line,
                          std::size_t n) {
  const Buffer key(secret);
  const auto [result, output] = new_bytes(n * kDigestSize);
  salts(to_secret(key), tree, line, as_digests(output));
  return result;
}

// A buffer of 32 bytes a digest as digests.
inline std::span<const Digest> as_digests(const Buffer& buffer) {
  const Bytes bytes = buffer.bytes();
  if (bytes.size() % kDigestSize != 0) {
    throw py::value_error("digests have 32 bytes each, not " + std::to_string(bytes.size()) +
                          " together");
  }
  return {reinterpret_cast<const Digest*>(bytes.data()), bytes.size() / kDigestSize};
}

inline py::bytes py_salted(const py::buffer& secret, std::uint8_t tree, std::uint64_t line,
                           const py::buffer& digests) {
  const Buffer key(secret);
  const Buffer buffer(digests);
  const auto [result, output] = new_bytes(buffer.bytes().size());
  salted(to_secret(key), tree, line, as_digests(buffer), as_digests(output));
  return result;
}

inline py::bytes py_salted_root(const py::buffer& secret, std::uint8_t tree, std::uint64_t line,
                                const py::buffer& digests) {
  const Buffer key(secret);
  const Buffer buffer(digests);
  const std::span<const Digest> in = as_digests(buffer);
  return to_bytes(without_gil(buffer.bytes().size(),
                              [&] { return salted_root(to_secret(key), tree, line, in); }));
}

inline py::bytes py_value_digest(const py::buffer& encoded) {
  const Buffer buffer(encoded);
  return to_bytes(value_digest(buffer.bytes()));
}

}  // namespace torchnotary
