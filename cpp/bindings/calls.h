// What a recorded call asks of torch on the caller's path, each in one step that keeps the GIL:
// the writer's thread waits for it, and would not give it back for milliseconds.
#pragma once

#include <pybind11/pybind11.h>
#include <torch/csrc/autograd/python_variable.h>

#include <cstdint>
#include <string>
#include <vector>

#include "bindings/buffers.h"
#include "tensor/commitment.h"
#include "torch/random_state.h"
#include "torch/settings_in_force.h"
#include "torch/tensor_view.h"

namespace torchnotary {

// One bytes object as long as the generator stands still, so that Python asks with `is`.
inline py::bytes py_cpu_random_state() {
  static auto* watch = new CpuRandomWatch;  // never destroyed, like the bytes: Python may be gone
  static auto* known = new py::bytes;
  if (const auto moved = watch->moved()) *known = py::bytes(*moved);
  return *known;
}

using PyDigests =
    py::typing::Tuple<py::str, py::typing::Tuple<py::int_, py::ellipsis>, py::int_, py::bytes>;

inline py::object py_small_digests(py::handle value, std::int64_t max_rows, std::size_t max_bytes) {
  if (!THPVariable_CheckExact(value.ptr())) return py::none();
  const at::Tensor& tensor = THPVariable_Unpack(value.ptr());
  if (!is_ordinary(tensor, max_bytes)) return py::none();
  const TensorView view = view_of(tensor);
  py::tuple shape(view.rank());
  for (std::size_t i = 0; i < view.rank(); ++i) shape[i] = view.shape[i];
  std::vector<Digest> digests;
  std::int64_t run = 0;
  if (view.rank() >= 2 && view.shape[0] > 0) {
    run = rows_of(view.shape[0], max_rows).run;
    digests = row_digests(view, max_rows);
  } else {
    digests.push_back(commit(view).digest);
  }
  return PyDigests(py::make_tuple(py::str(view.dtype->name.data(), view.dtype->name.size()), shape,
                                  run, to_bytes(std::as_bytes(std::span(digests)))));
}

inline void define_calls(py::module_& m) {
  using namespace py::literals;
  m.def(
      "settings_fingerprint", [] { return py::bytes(settings_fingerprint()); },
      "Bytes that differ whenever a setting that settings_in_force() reads from LibTorch, or this\n"
      "thread's number of intra-op threads, differs.");
  m.def("cpu_random_state", &py_cpu_random_state,
        "State of torch's default CPU generator, as torch.get_rng_state() has it: the same object\n"
        "as long as it does not change.");
  m.def("small_digests", &py_small_digests, "value"_a, "max_rows"_a, "max_bytes"_a,
        "(dtype, shape, run, digests) of a torch.Tensor of at most `max_bytes` bytes, as a leaf\n"
        "has them: one digest for `run` rows of axis 0, or one in all (run 0) where the rank is\n"
        "below 2 or axis 0 is empty. None for other values, and for tensors that are not simply\n"
        "memory of the CPU.");
}

}  // namespace torchnotary
