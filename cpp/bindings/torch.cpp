// _torch: what needs LibTorch. Converts and releases the GIL, no more.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/typing.h>
#include <torch/csrc/utils/pybind.h>
#include <torch/headeronly/version.h>

#include <map>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/buffers.h"
#include "bindings/calls.h"
#include "bindings/errors.h"
#include "bindings/exact.h"
#include "bindings/sealing.h"
#include "bindings/tracer.h"
#include "bindings/watch.h"
#include "torch/determinism.h"
#include "torch/precision_cells.h"
#include "torch/tensor_view.h"

namespace py = pybind11;
namespace tn = torchnotary;
using namespace py::literals;

namespace {

using Values = std::map<std::string, tn::SettingValue>;
using Report = py::typing::Dict<py::str, Values>;

Report to_report(const std::vector<tn::SettingChange>& changes) {
  Report report;
  for (const tn::SettingChange& change : changes) {
    report[py::str(change.name)] = Values{{"before", change.before}, {"set", change.set}};
  }
  return report;
}

std::pair<py::bytes, py::bytes> commit(const at::Tensor& tensor, std::size_t threads) {
  const auto commitment = [&] {
    const py::gil_scoped_release release;
    return tn::commit(tensor, tn::Threads(threads));
  }();
  return {tn::to_bytes(commitment.data_root), tn::to_bytes(commitment.digest)};
}

// LibTorch's errors without the C++ stack trace that their what() carries.
void translate_torch_error(std::exception_ptr pointer) {
  try {
    if (pointer) std::rethrow_exception(pointer);
  } catch (const c10::Error& error) {
    PyErr_SetString(PyExc_RuntimeError, error.what_without_backtrace());
  }
}

}  // namespace

PYBIND11_MODULE(_torch, m) {
  m.doc() =
      "What needs LibTorch: the determinism scope, the operator tracer, sealed tensors, and "
      "tensors "
      "read where they lie.";
  py::register_local_exception_translator(translate_torch_error);
  tn::register_errors();
  tn::check_precision_cells();

  m.attr("TORCH_MINOR") =
      std::to_string(TORCH_VERSION_MAJOR) + "." + std::to_string(TORCH_VERSION_MINOR);

  py::class_<tn::DeterminismScope>(
      m, "DeterminismScope",
      "Every deterministic setting of torch, from construction to leave() or destruction.\n\n"
      "`threads` is the number of intra-op threads (None: as it is). Raises NotaryError if an\n"
      "open scope holds another number.")
      .def(py::init<std::optional<int>>(), "threads"_a = py::none(),
           py::call_guard<py::gil_scoped_release>())
      .def("leave", &tn::DeterminismScope::leave, py::call_guard<py::gil_scoped_release>(),
           "Restore everything; a second call does nothing. Raises NotaryError on another thread\n"
           "than the scope began on, where that thread's own settings stay changed.")
      .def(
          "report", [](const tn::DeterminismScope& scope) { return to_report(scope.report()); },
          "Name -> {\"before\": value, \"set\": value}, in the order they were set.");

  m.def("commit", &commit, "tensor"_a, "threads"_a = 1,
        "(data root, digest) of a torch.Tensor, 32 bytes each, equal to torchnotary.commit's.\n\n"
        "Raises UnsupportedTensor for sparse, quantised, nested, oneDNN and meta tensors.");
  tn::bind_tracer(m);
  tn::define_calls(m);
  tn::define_sealing(m);
  tn::define_exact(m);
  tn::define_watch(m);
}
