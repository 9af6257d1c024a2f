// Sealed tensors as Python sees them.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/utils/pybind.h>

#include "bindings/errors.h"
#include "torch/sealing.h"
#include "torch/write_guard.h"

namespace torchnotary {

// From within an operator, on any thread: torch passes its own exception on to Python as it is.
inline void raise_from_operator(const NotaryError& error) {
  const pybind11::gil_scoped_acquire gil;
  raise_python("NotaryError", error);
  python_error passed_on;
  passed_on.persist();
  throw python_error(passed_on);
}

inline void seal_guarded(const NamedTensors& tensors) {
  guard_writes(&raise_from_operator);
  seal(tensors);
}

inline void define_sealing(pybind11::module_& m) {
  namespace py = pybind11;
  m.def("seal", &seal_guarded, py::arg("tensors"), py::call_guard<py::gil_scoped_release>(),
        "Move (name, tensor) pairs into sealed memory; the tensors stay the same objects, and\n"
        "those that share memory share it again. torch's operators raise NotaryError instead of\n"
        "writing to them, everything else faults.\n\n"
        "Raises UnsupportedTensor, before anything is moved, for a tensor that is not plain\n"
        "memory on the host; NotaryError where the system gives no memory.");
  m.def("unseal", &unseal, py::arg("tensors"), py::call_guard<py::gil_scoped_release>(),
        "Put those of the (name, tensor) pairs that are sealed on ordinary copies.");
  m.def("is_sealed", &is_sealed, py::arg("tensor"), "Whether the memory of a tensor is sealed.");
}

}  // namespace torchnotary
