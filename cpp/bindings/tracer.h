// The operator tracer, as capture/tracing.py uses it.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <torch/csrc/utils/pybind.h>

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "bindings/buffers.h"
#include "torch/tracer.h"

namespace torchnotary {

// Bytes of a finished trace, which they keep alive.
struct TraceBytes {
  std::shared_ptr<Tracer> tracer;
  Bytes bytes;
};

inline Digest to_digest(const py::buffer& buffer) {
  const Buffer memory(buffer);
  if (memory.bytes().size() != kDigestSize) throw py::value_error("a digest has 32 bytes");
  Digest digest;
  std::copy(memory.bytes().begin(), memory.bytes().end(), digest.begin());
  return digest;
}

inline std::shared_ptr<Tracer> make_tracer(const py::buffer& secret,
                                           std::shared_ptr<const TracedModel> model,
                                           std::string folder, bool operators, bool keep,
                                           bool digests) {
  const Digest key = to_digest(secret);
  return std::make_shared<Tracer>(
      Secret(key),
      Tracer::Options{
          .operators = operators, .keep = keep, .digests = digests, .folder = std::move(folder)},
      std::move(model));
}

inline void add_source(TracedModel& model, const at::Tensor& tensor, bool is_parameter,
                       const std::string& name, const std::optional<py::buffer>& digest) {
  std::optional<Digest> known;
  if (digest) known = to_digest(*digest);
  model.add(tensor, is_parameter ? Source::Kind::parameter : Source::Kind::buffer, name, known);
}

inline void add_line(Tracer& tracer, const std::vector<std::string>& pieces,
                     const std::vector<py::buffer>& commitments) {
  std::vector<Digest> digests;
  for (const py::buffer& each : commitments) digests.push_back(to_digest(each));
  tracer.line(pieces, digests);
}

inline std::optional<py::bytes> digest_of(Tracer& tracer, const at::Tensor& tensor) {
  const auto digest = [&] {
    const py::gil_scoped_release release;
    return tracer.digest(tensor);
  }();
  if (!digest) return std::nullopt;
  return to_bytes(*digest);
}

inline py::list kept_of(const Tracer& tracer) {
  py::list kept;
  for (const Tracer::Kept& each : tracer.kept()) {
    kept.append(py::make_tuple(each.line, each.output, each.dtype, py::cast(each.shape),
                               each.offset, each.nbytes));
  }
  return kept;
}

inline void bind_tracer(py::module_& m) {
  using namespace py::literals;
  py::class_<TraceBytes>(m, "TraceBytes", py::buffer_protocol(),
                         "Bytes of a finished trace, read-only; memoryview() gives them.")
      .def_buffer([](TraceBytes& piece) {
        return py::buffer_info(const_cast<std::byte*>(piece.bytes.data()), 1,
                               py::format_descriptor<std::uint8_t>::format(),
                               static_cast<py::ssize_t>(piece.bytes.size()), true);
      });

  py::class_<TracedModel, std::shared_ptr<TracedModel>>(
      m, "TracedModel", "What traces of calls of one model share: its tensors, modules and paths.")
      .def(py::init<>())
      .def("add", &add_source, "tensor"_a, "is_parameter"_a, "name"_a, "digest"_a = py::none(),
           "Name a parameter or buffer, with its digest where that is known.")
      .def(
          "add_module",
          [](TracedModel& model, const py::object& module, const std::string& path, int role) {
            model.add_module(module.ptr(), path, static_cast<TracedModel::Role>(role));
          },
          "module"_a, "path"_a, "role"_a,
          "Name a module, which must outlive the traces; role 1 plain, 2 shown, 3 opaque.");

  py::class_<Tracer, std::shared_ptr<Tracer>>(
      m, "Tracer",
      "Writes down the operators a thread runs between enter() and leave(), as lines of\n"
      "trace.jsonl under the salts of `secret` (32 bytes). `operators=False`: only lines that\n"
      "are given; `keep`: the data of outputs too; `digests=False`: nothing is hashed, for\n"
      "measuring. Spooled bytes go to a nameless file in `folder` (\"\": the temporary one).")
      .def(py::init(&make_tracer), "secret"_a, "model"_a = py::none(), "folder"_a = "",
           "operators"_a = true, "keep"_a = false, "digests"_a = true)
      .def("add_input", &Tracer::add_input, "tensor"_a, "path"_a,
           "Say that a tensor is the input of that path.")
      .def("set_root", &Tracer::set_root, "path"_a, "The path of operators in no module.")
      .def("enter", &Tracer::enter, "Begin a stretch on this thread.")
      .def("leave", &Tracer::leave, "End it.")
      .def("digest", &digest_of, "tensor"_a,
           "The digest of a tensor (32 bytes), hashed unless it is known; None where unbound.")
      .def("line", &add_line, "pieces"_a, "commitments"_a,
           "Add a line: pieces of JSON, with a commitment over each digest between them.")
      .def("finish", &Tracer::finish, py::call_guard<py::gil_scoped_release>(),
           "Seal what is pending; no line may follow.")
      .def_property_readonly("failure", &Tracer::failure, "What went wrong; \"\" for nothing.")
      .def_property_readonly(
          "root", [](const Tracer& tracer) { return to_bytes(tracer.writer().root()); },
          "The RFC 9162 root over the lines, after finish().")
      .def_property_readonly(
          "size", [](const Tracer& tracer) { return tracer.writer().lines(); }, "Lines so far.")
      .def_property_readonly(
          "left_out", [](const Tracer& tracer) { return tracer.writer().left_out(); },
          "Lines beyond what a line file may hold.")
      .def_property_readonly("outside", &Tracer::outside,
                             "Tensors that were read and came from nowhere that is known.")
      .def_property_readonly("threads", &Tracer::threads,
                             "Threads started, and modules called on other threads.")
      .def_property_readonly(
          "kept", &kept_of, "(line, output, dtype name, shape, offset, bytes) of each kept tensor.")
      .def_property_readonly(
          "data",
          [](const std::shared_ptr<Tracer>& tracer) {
            return TraceBytes{tracer, tracer->writer().file()};
          },
          "The line file, after finish().")
      .def_property_readonly(
          "digests",
          [](const std::shared_ptr<Tracer>& tracer) {
            return TraceBytes{tracer, tracer->writer().digests()};
          },
          "For each line u32le count and count unsalted digests, after finish().")
      .def_property_readonly(
          "kept_data",
          [](const std::shared_ptr<Tracer>& tracer) {
            return TraceBytes{tracer, tracer->kept_data()};
          },
          "The data bytes of kept tensors, after finish().");

  m.def(
      "enter_module",
      [](const py::handle& module) { return static_cast<int>(Tracer::enter_module(module.ptr())); },
      "module"_a,
      "Tell this thread's tracers that a module is called: 0 where there is none to tell, else\n"
      "the role of the module (4: it is none of the model), and leave_module() is to follow.");
  m.def("leave_module", &Tracer::leave_module, "Tell them that it returned.");
  m.def("note_thread", &Tracer::note_thread, "Tell them that a thread is started.");
  m.def(
      "pause_tracing", [] { return reinterpret_cast<std::uintptr_t>(Tracer::pause()); },
      "Have this thread's tracers see nothing; returns what resume_tracing() takes.");
  m.def(
      "resume_tracing",
      [](std::uintptr_t paused) { Tracer::resume(reinterpret_cast<Tracer*>(paused)); }, "paused"_a);
}

}  // namespace torchnotary
