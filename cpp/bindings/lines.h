// What a canonical JSON line can hold (python/torchnotary/statement/lines.py), looked at quickly.
#pragma once

#include <Python.h>

namespace torchnotary {

inline constexpr long long kMaxLineInteger = (1LL << 53) - 1;

// Whether `value` is made of exact strings, booleans, null, integers within ±(2^53 − 1), lists,
// tuples and dictionaries with ASCII keys, nested at most `depth` deep. Runs no Python code.
inline bool fits_a_line(PyObject* value, int depth) {
  if (PyUnicode_CheckExact(value) || PyBool_Check(value) || value == Py_None) return true;
  if (PyLong_CheckExact(value)) {
    int overflow = 0;
    const long long number = PyLong_AsLongLongAndOverflow(value, &overflow);
    return overflow == 0 && -kMaxLineInteger <= number && number <= kMaxLineInteger;
  }
  if (depth == 0) return false;
  if (PyDict_CheckExact(value)) {
    PyObject* key = nullptr;
    PyObject* item = nullptr;
    for (Py_ssize_t at = 0; PyDict_Next(value, &at, &key, &item);) {
      if (!PyUnicode_CheckExact(key) || !PyUnicode_IS_ASCII(key)) return false;
      if (!fits_a_line(item, depth - 1)) return false;
    }
    return true;
  }
  if (PyList_CheckExact(value) || PyTuple_CheckExact(value)) {
    const Py_ssize_t count = PySequence_Fast_GET_SIZE(value);
    for (Py_ssize_t i = 0; i < count; ++i) {
      if (!fits_a_line(PySequence_Fast_GET_ITEM(value, i), depth - 1)) return false;
    }
    return true;
  }
  return false;
}

}  // namespace torchnotary
