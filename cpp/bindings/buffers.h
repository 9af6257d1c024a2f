// Python buffers and integers as the C++ rooms take them, and digests as Python bytes.
#pragma once

#include <pybind11/pybind11.h>

#include <stdexcept>
#include <string>
#include <vector>

#include "hashing/bytes.h"

namespace torchnotary {

namespace py = pybind11;

// Below this many bytes, releasing the GIL costs more than it gives others.
inline constexpr std::size_t kReleaseGil = 4096;

// The memory of a contiguous Python buffer, held as long as this lives.
class Buffer {
 public:
  // TypeError for what is no buffer, and for one with gaps (where Python says BufferError).
  explicit Buffer(py::handle object) {
    if (PyObject_GetBuffer(object.ptr(), &view_, PyBUF_SIMPLE) == 0) return;
    if (PyErr_ExceptionMatches(PyExc_BufferError)) {
      PyErr_Clear();
      throw py::type_error("a contiguous buffer is needed, such as bytes; copy it first");
    }
    throw py::error_already_set();
  }
  ~Buffer() { PyBuffer_Release(&view_); }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  Bytes bytes() const {
    return {static_cast<const std::byte*>(view_.buf), static_cast<std::size_t>(view_.len)};
  }

 private:
  Py_buffer view_;
};

// Runs `work` without the GIL where there is enough of it. `work` touches no Python object.
template <class Work>
auto without_gil(std::size_t bytes, Work work) {
  if (bytes < kReleaseGil) return work();
  py::gil_scoped_release release;
  return work();
}

inline py::bytes to_bytes(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// New Python bytes of `size`, and their memory to write into before anyone else sees them.
inline std::pair<py::bytes, MutableBytes> new_bytes(std::size_t size) {
  PyObject* object = PyBytes_FromStringAndSize(nullptr, static_cast<Py_ssize_t>(size));
  if (object == nullptr) throw py::error_already_set();
  auto* memory = reinterpret_cast<std::byte*>(PyBytes_AS_STRING(object));
  return {py::reinterpret_steal<py::bytes>(object), {memory, size}};
}

}  // namespace torchnotary
