// Raises the C++ rooms' errors as the Python classes of the same name.
#pragma once

#include <pybind11/pybind11.h>

#include <cerrno>

#include "hashing/errors.h"

namespace torchnotary {

inline void raise_python(const char* name, const NotaryError& error) {
  namespace py = pybind11;
  const auto value = [](const std::string& text) -> py::object {
    return text.empty() ? py::object(py::none()) : py::str(text);
  };
  const py::object type = py::module_::import("torchnotary.errors").attr(name);
  const py::object exception =
      type(error.what(), py::arg("expected") = value(error.expected),
           py::arg("actual") = value(error.actual), py::arg("next_step") = value(error.next_step));
  PyErr_SetObject(type.ptr(), exception.ptr());
}

inline void register_errors() {
  pybind11::register_local_exception_translator([](std::exception_ptr pointer) {
    try {
      if (pointer) std::rethrow_exception(pointer);
    } catch (const MalformedProof& error) {
      raise_python("MalformedProof", error);
    } catch (const MalformedRecord& error) {
      raise_python("MalformedRecord", error);
    } catch (const FileError& error) {
      errno = error.code;
      PyErr_SetFromErrnoWithFilename(PyExc_OSError, error.path.c_str());
    } catch (const UnsupportedTensor& error) {
      raise_python("UnsupportedTensor", error);
    } catch (const NotaryError& error) {
      raise_python("NotaryError", error);
    }
  });
}

}  // namespace torchnotary
