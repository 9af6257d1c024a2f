// Environment variables as the libraries of this process read them.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdlib>

namespace torchnotary {

// Those of `names` that are set, each with its bytes.
inline pybind11::dict set_variables(const pybind11::iterable& names) {
  pybind11::dict found;
  for (const pybind11::handle name : names) {
    const char* text = PyUnicode_AsUTF8(name.ptr());
    if (text == nullptr) throw pybind11::error_already_set();
    if (const char* value = std::getenv(text)) found[name] = pybind11::bytes(value);
  }
  return found;
}

}  // namespace torchnotary
