// What objects of other libraries hold in their own memory, to notice that it changed.
#pragma once

#include <pybind11/pybind11.h>

#include <cstddef>
#include <cstring>
#include <vector>

#include "hashing/bytes.h"

namespace torchnotary {

namespace py = pybind11;

// A copy of the memory of each object beyond what every object has, as its type says how much that
// is. What is in it nobody here needs to know: equal bytes, equal state. Objects whose state lies
// elsewhere are not for this.
class MemorySnapshot {
 public:
  explicit MemorySnapshot(const py::list& objects) : objects_(objects) {
    for (const py::handle object : objects_) {
      const Bytes memory = memory_of(object);
      copies_.emplace_back(memory.begin(), memory.end());
    }
  }

  bool holds() const {
    for (std::size_t i = 0; i < copies_.size(); ++i) {
      const Bytes memory = memory_of(PyList_GET_ITEM(objects_.ptr(), static_cast<Py_ssize_t>(i)));
      if (std::memcmp(copies_[i].data(), memory.data(), memory.size()) != 0) return false;
    }
    return true;
  }

 private:
  static Bytes memory_of(py::handle object) {
    const auto common = static_cast<std::size_t>(PyBaseObject_Type.tp_basicsize);
    const auto size = static_cast<std::size_t>(Py_TYPE(object.ptr())->tp_basicsize);
    return {reinterpret_cast<const std::byte*>(object.ptr()) + common, size - common};
  }

  py::list objects_;
  std::vector<std::vector<std::byte>> copies_;
};

}  // namespace torchnotary
