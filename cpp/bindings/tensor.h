// Python's face of the tensor room: a view over memory that some Python object owns.
#pragma once

#include <cstdint>
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

class PyView {
 public:
  PyView(std::uintptr_t pointer, std::string_view dtype, const py::tuple& shape,
         const py::tuple& strides, bool conj, bool neg, py::object owner)
      : numbers_(numbers(shape, strides)),
        owner_(std::move(owner)),
        view_{.data = reinterpret_cast<const std::byte*>(pointer),
              .dtype = &dtype_of(dtype),
              .shape = std::span(numbers_).first(shape.size()),
              .strides = std::span(numbers_).subspan(shape.size()),
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

  static std::vector<std::int64_t> numbers(const py::tuple& shape, const py::tuple& strides) {
    std::vector<std::int64_t> all;
    all.reserve(shape.size() + strides.size());
    for (const py::tuple* tuple : {&shape, &strides}) {
      for (const py::handle item : *tuple) all.push_back(item.cast<std::int64_t>());
    }
    return all;
  }

  std::vector<std::int64_t> numbers_;  // sizes, then strides
  py::object owner_;
  TensorView view_;
};

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
