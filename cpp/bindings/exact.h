// The exact profile's scope, as python/torchnotary/exact.py uses it.
#pragma once

#include <c10/core/impl/LocalDispatchKeySet.h>
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <torch/csrc/Exceptions.h>
#include <torch/csrc/utils/pybind.h>

#include "bindings/errors.h"
#include "exact/sampling.h"
#include "torch/arena.h"
#include "torch/exact_dispatch.h"
#include "torch/exact_tensors.h"
#include "torch/hook.h"
#include "torch/packs.h"

namespace torchnotary {

inline void raise_not_exact(const NotaryError& error) {
  const pybind11::gil_scoped_acquire gil;
  raise_python("NotExact", error);
  python_error passed_on;
  passed_on.persist();
  throw python_error(passed_on);
}

inline void define_exact(pybind11::module_& m) {
  namespace py = pybind11;
  exact::raise_not_exact_by(&raise_not_exact);
  m.def("enter_exact", &exact::enter, "Compute this thread's operators by exact/1.");
  m.def("leave_exact", &exact::leave, "End what enter_exact() began; pairs nest.");
  m.def("is_exact", &exact::is_on, "Whether this thread computes by exact/1.");
  m.def("exact_scopes", &exact::scopes, "How many threads compute by exact/1.");
  m.def(
      "call_unseen",
      [](const py::function& function, const py::args& arguments, const py::kwargs& named) {
        const c10::impl::ExcludeDispatchKeyGuard unseen(kKey);
        return function(*arguments, **named);
      },
      py::arg("function"), "Call it with operators that neither exact/1 nor a tracer sees.");
  m.def(
      "exact_operators",
      [] {
        py::dict ways;
        for (const auto& [name, way] : exact::all_operators()) {
          const char* by = way == exact::Rule::Way::kernel  ? "kernel"
                           : way == exact::Rule::Way::moves ? "moves"
                           : way == exact::Rule::Way::part  ? "parts"
                                                            : nullptr;
          if (by != nullptr) ways[py::str(name)] = by;
        }
        return ways;
      },
      "The operators that have a rule, by name, each with \"kernel\", \"moves\" or \"parts\".");
  m.def(
      "pack_matrix", [](const at::Tensor& weights) { exact::pack_matrix(weights); },
      py::arg("weights"), py::call_guard<py::gil_scoped_release>(),
      "Pack sealed weights (n, k) of a product now, and not at their first use.");
  m.def(
      "sample",
      [](const at::Tensor& probabilities, std::uint64_t seed, std::uint64_t sequence,
         std::uint64_t position) {
        return exact::sample(
            probabilities.const_data_ptr(), exact::element_of(probabilities.scalar_type()),
            probabilities.stride(0), static_cast<std::size_t>(probabilities.size(0)), seed,
            position, sequence);
      },
      py::arg("probabilities"), py::arg("seed"), py::arg("sequence"), py::arg("position"),
      "The token that probabilities (n,) of a type of exact/1 and Philox draw; -1 for none.");
  m.def("packed_bytes", &exact::packed_bytes, "Bytes of the packs of sealed weights.");
  m.def("arena_bytes", &exact::arena_kept, "Bytes kept for the results of exact kernels.");
  m.def("trim_arena", &exact::trim_arena, "Give those bytes back to the system.");
}

}  // namespace torchnotary
