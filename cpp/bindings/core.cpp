// _core: everything of torchnotary that needs no torch. A table of contents, nothing else.
#include <pybind11/pybind11.h>
#include <pybind11/stl.h>
#include <pybind11/typing.h>

#include <map>

#include "bindings/environment.h"
#include "bindings/errors.h"
#include "bindings/files.h"
#include "bindings/hashing.h"
#include "bindings/lines.h"
#include "bindings/memory.h"
#include "bindings/merkle.h"
#include "bindings/opening.h"
#include "bindings/tensor.h"
#include "tensor/difference.h"

namespace py = pybind11;
namespace tn = torchnotary;
using namespace py::literals;

namespace {

void bind_hashing(py::module_& m) {
  m.def(
      "cpu_path", [] { return tn::cpu_path_name(tn::cpu_path()); },
      "The code path in use: avx512, avx2, neon or portable; TORCHNOTARY_CPU narrows it.\n"
      "Raises NotaryError where the variable asks for a path that this machine lacks.");
  m.def("blake3", &tn::py_blake3, "data"_a, "key"_a = py::none(), "context"_a = py::none(),
        "length"_a = 32, "threads"_a = 1,
        "BLAKE3 of a contiguous buffer: `length` bytes of the hash, of the keyed hash (`key`, 32\n"
        "bytes) or of derive-key (`context`). Raises ValueError for another key length or both.");
  m.def("blake3_many", &tn::py_blake3_many, "buffers"_a, "threads"_a = 1,
        "The 32-byte BLAKE3 hashes of contiguous buffers, those of equal length side by side.");
  m.def("sha256", &tn::py_sha256, "data"_a,
        "SHA-256 (FIPS 180-4) of a contiguous buffer: 32 bytes.");
  m.def("sha256_many", &tn::py_sha256_many, "buffers"_a, "prefix"_a = py::bytes(), "threads"_a = 1,
        "The SHA-256 of each contiguous buffer, `prefix` put before it, 32 bytes each in one.");
  m.def("sha256_lines", &tn::py_sha256_lines, "lines"_a, "prefix"_a = py::bytes(), "threads"_a = 1,
        "The same of each line of one buffer, without their newlines; the last needs none.");
  m.def(
      "fill_lines", &tn::py_fill_lines, "pieces"_a, "columns"_a, "width"_a,
      "The lines that a template makes of columns, newlines between them: its pieces in turn with\n"
      "the columns' next `width` bytes. Raises ValueError unless there is one piece more than\n"
      "columns, all of one size.");

  py::class_<tn::PyBlake3>(m, "Blake3", "BLAKE3 in pieces; threads may share it.")
      .def(py::init<const std::optional<py::buffer>&, const std::optional<std::string>&>(),
           "key"_a = py::none(), "context"_a = py::none(), "As for `blake3`.")
      .def("update", &tn::PyBlake3::update, "data"_a, "threads"_a = 1,
           "Appends a contiguous buffer to the input.")
      .def("digest", &tn::PyBlake3::digest, "length"_a = 32, "seek"_a = 0,
           "`length` bytes of the output over the input so far, from position `seek` on.");
}

void bind_merkle(py::module_& m) {
  using namespace tn::merkle;
  m.def(
      "leaf_hash",
      [](const py::buffer& leaf) { return tn::to_bytes(leaf_hash(tn::Buffer(leaf).bytes())); },
      "leaf"_a, "SHA-256(00 ‖ leaf).");
  m.def(
      "node_hash",
      [](const py::buffer& left, const py::buffer& right) {
        return tn::to_bytes(
            node_hash(tn::to_hash(left, "the left hash"), tn::to_hash(right, "the right hash")));
      },
      "left"_a, "right"_a, "SHA-256(01 ‖ left ‖ right).");
  m.def(
      "root", [](const py::iterable& v) { return tn::to_bytes(root(tn::leaf_hashes(v))); },
      "leaves"_a, "The root over entries (RFC 9162 §2.1.1).");
  m.def(
      "root_of_hashes", [](const py::buffer& v) { return tn::to_bytes(root(tn::split_hashes(v))); },
      "hashes"_a, "The root over leaf hashes, 32 bytes each in one buffer.");
  m.def("extend_tree", &tn::extend_tree, "hashes"_a, "size"_a, "peaks"_a,
        "What leaf hashes, 32 bytes each in one buffer, add to a tree of `size` leaves whose\n"
        "complete subtrees have the roots `peaks`, largest first: the nodes above leaves that "
        "become\n"
        "complete, in the order they do, and the peaks then.\n"
        "Raises MalformedProof where `size` has another number of peaks.");
  m.def(
      "inclusion_proof",
      [](const py::iterable& v, std::uint64_t index) {
        return tn::to_list(inclusion_proof(tn::leaf_hashes(v), index));
      },
      "leaves"_a, "index"_a,
      "The siblings of entry `index`, lowest first (RFC 9162 §2.1.3.1).\n"
      "Raises MalformedProof unless `index` is in the tree.");
  m.def(
      "inclusion_proof_of_hashes",
      [](const py::buffer& v, std::uint64_t index) {
        return tn::to_list(inclusion_proof(tn::split_hashes(v), index));
      },
      "hashes"_a, "index"_a, "`inclusion_proof` over leaf hashes, 32 bytes each in one buffer.");
  m.def(
      "consistency_proof",
      [](const py::iterable& v, std::uint64_t size1) {
        return tn::to_list(consistency_proof(tn::leaf_hashes(v), size1));
      },
      "leaves"_a, "size1"_a,
      "The proof that the first `size1` entries are a prefix (RFC 9162 §2.1.4.1).\n"
      "Raises MalformedProof unless 0 < `size1` ≤ the number of entries.");
  m.def(
      "consistency_proof_of_hashes",
      [](const py::buffer& v, std::uint64_t size1) {
        return tn::to_list(consistency_proof(tn::split_hashes(v), size1));
      },
      "hashes"_a, "size1"_a, "`consistency_proof` over leaf hashes, 32 bytes each in one buffer.");
  m.def(
      "inclusion_root",
      [](std::uint64_t index, std::uint64_t size, const py::buffer& leaf,
         const py::iterable& proof) {
        return tn::to_bytes(
            inclusion_root(index, size, tn::to_hash(leaf, "the leaf"), tn::to_proof(proof)));
      },
      "index"_a, "size"_a, "leaf_hash"_a, "proof"_a,
      "The root that an inclusion proof implies (RFC 9162 §2.1.3.2); comparing is the caller's.\n"
      "Raises MalformedProof for an index, hash or proof length that cannot be.");
  m.def(
      "consistency_roots",
      [](std::uint64_t size1, std::uint64_t size2, const py::iterable& proof,
         const py::buffer& root1) {
        const auto [first, second] = consistency_roots(size1, size2, tn::to_proof(proof),
                                                       tn::to_hash(root1, "the earlier root"));
        return std::pair(tn::to_bytes(first), tn::to_bytes(second));
      },
      "size1"_a, "size2"_a, "proof"_a, "root1"_a,
      "The two roots that a consistency proof implies (RFC 9162 §2.1.4.2); comparing is the\n"
      "caller's. Raises MalformedProof for sizes, hashes or proof lengths that cannot be.");
}

void bind_tensor(py::module_& m) {
  py::class_<tn::PyView>(m, "View", "A tensor in borrowed memory, which `owner` keeps alive.")
      .def(py::init<std::uintptr_t, std::string_view, const py::tuple&, const py::tuple&, bool,
                    bool, py::object>(),
           "ptr"_a, "dtype"_a, "shape"_a, "strides"_a, "conj"_a = false, "neg"_a = false,
           "owner"_a = py::none(),
           "`ptr` is the address of element 0, 0, …; sizes and strides count elements; `dtype` is\n"
           "torch's name. Raises UnsupportedTensor where there is no commitment rule.")
      .def_static("from_buffer", &tn::PyView::from_buffer, "data"_a, "dtype"_a, "shape"_a,
                  "offset"_a = 0,
                  "A row-major tensor, `offset` bytes into a contiguous buffer that it holds.\n"
                  "Raises UnsupportedTensor where it reaches beyond the buffer.")
      .def_property_readonly("dtype", &tn::PyView::dtype)
      .def_property_readonly("shape", &tn::PyView::shape)
      .def_property_readonly("nbytes", &tn::PyView::nbytes)
      .def("commit", &tn::PyView::commit, "threads"_a = 1, "(data root, digest), 32 bytes each.")
      .def("row_digests", &tn::PyView::row_digests, "max_rows"_a = 4096, "threads"_a = 1,
           "The digests of the rows of axis 0, 32 bytes each in one; more than `max_rows` are cut\n"
           "into equal runs. Raises UnsupportedTensor for rank < 2 and for no rows.")
      .def("tobytes", &tn::PyView::tobytes, "The data bytes: row-major, little-endian.");

  m.def("commit", &tn::py_commit, "memory"_a, "threads"_a,
        "(digest, data root, dtype, shape, nbytes, layout), digests in hex, of memory that the\n"
        "caller keeps alive, given as (ptr, dtype, shape, strides, conj, neg): a View and its\n"
        "commit() in one.");
  m.def("commit_many", &tn::py_commit_many, "memories"_a, "threads"_a,
        "`commit` of each memory of a list, small ones hashed side by side.");
  m.def("salts", &tn::py_salts, "secret"_a, "tree"_a, "line"_a, "n"_a,
        "The salts of slots 0 … n - 1 of a line, 32 bytes each in one; `secret` has 32 bytes.");
  m.def("salted", &tn::py_salted, "secret"_a, "tree"_a, "line"_a, "digests"_a,
        "The salted forms of digests of slots 0 …, 32 bytes each in one.");
  m.def("salted_root", &tn::py_salted_root, "secret"_a, "tree"_a, "line"_a, "digests"_a,
        "The RFC 9162 root (32 bytes) over the salted forms of digests of slots 0 ….");
  m.def("value_digest", &tn::py_value_digest, "encoded"_a,
        "The digest (32 bytes) of a plain value's typed encoding.");
}

void bind_opening(py::module_& m) {
  py::class_<tn::PyOpening>(m, "Opening", "Elements of a tensor with their proof; unverified.")
      .def(py::init<const tn::PyView&, const std::vector<tn::PyItem>&, std::size_t>(), "view"_a,
           "items"_a, "threads"_a = 1,
           "Opens what `items` select: for every axis (index,) or (start, count, step), and None\n"
           "for a new axis. Raises MalformedProof for items that do not fit or are not canonical.")
      .def(py::init([](const py::bytes& path, const tn::FileState& state,
                       const tn::StoredTensor& tensor, const std::vector<tn::PyItem>& items,
                       std::size_t threads) {
             return std::make_unique<tn::PyOpening>(std::string(path), state, tensor, items,
                                                    threads);
           }),
           "path"_a, "state"_a, "tensor"_a, "items"_a, "threads"_a = 1,
           "The same of a tensor in a file, which is read piece by piece. Raises OSError where it\n"
           "cannot be read and MalformedRecord where it changed, too.")
      .def(py::init<const py::buffer&>(), "encoded"_a,
           "Decodes an opening. Raises MalformedProof, naming the byte, where it is none.")
      .def("encode", &tn::PyOpening::encode, "The bytes of the opening.")
      .def_property_readonly("dtype", &tn::PyOpening::dtype)
      .def_property_readonly("shape", &tn::PyOpening::shape)
      .def_property_readonly("items", &tn::PyOpening::items)
      .def_property_readonly("selected_shape", &tn::PyOpening::selected_shape)
      .def_property_readonly("proof_nbytes", &tn::PyOpening::proof_nbytes)
      .def_property_readonly("data_root", &tn::PyOpening::data_root)
      .def("digest", &tn::PyOpening::digest, "Digest (32 bytes) of the tensor it claims to be of.")
      .def("implied_root", &tn::PyOpening::implied_root, "threads"_a = 1,
           "The data root (32 bytes) that the proof implies; comparing is the caller's.")
      .def("tobytes", &tn::PyOpening::tobytes,
           "The selected elements: row-major, little-endian. Raises MalformedProof for a bool\n"
           "that is neither 0 nor 1.");
  m.def("opening_size", &tn::py_opening_size, "head"_a, "most"_a,
        "The bytes of an opening that begins with `head` (16 KiB suffice); one above `most` where\n"
        "they are more. Raises MalformedProof as Opening does.");
}

void bind_files(py::module_& m) {
  py::class_<tn::StoredTensor>(m, "StoredTensor", "A row-major, little-endian tensor in a file.")
      .def(py::init(&tn::py_stored_tensor), "name"_a, "dtype"_a, "shape"_a, "begin"_a,
           "`dtype` is torch's name; `begin` is the tensor's first byte in the file.\n"
           "Raises UnsupportedTensor for another dtype and for more than 2^63 - 1 bytes.")
      .def_readonly("name", &tn::StoredTensor::name)
      .def_property_readonly("dtype", [](const tn::StoredTensor& t) { return t.dtype->name; })
      .def_readonly("shape", &tn::StoredTensor::shape)
      .def_readonly("begin", &tn::StoredTensor::begin)
      .def_readonly("nbytes", &tn::StoredTensor::nbytes);
  py::class_<tn::FileState>(m, "FileState", "What tells one state of a file from another.")
      .def(py::init([](int descriptor) { return tn::FileState::of(descriptor, "the file"); }),
           "descriptor"_a, "The state of an open file. Raises OSError.")
      .def_readonly("size", &tn::FileState::size)
      .def("__eq__", [](const tn::FileState& a, const tn::FileState& b) { return a == b; });
  m.def(
      "stored_dtypes",
      [] {
        std::map<std::string_view, std::string_view> names;
        for (const auto& [stored, torch] : tn::kStoredDTypes) names[stored] = torch;
        return names;
      },
      "The safetensors format's names of dtypes, each with torch's.");
  m.def("read_safetensors_header", &tn::py_read_safetensors_header, "descriptor"_a,
        "The tensors of an open safetensors file in the order of their bytes. Raises\n"
        "MalformedRecord naming the byte, and UnsupportedTensor for a dtype without a rule.");
  m.def("commit_files", &tn::py_commit_files, "files"_a, "threads"_a = 1, "finished"_a = py::none(),
        "The data roots and the digests (32 bytes each in one) of the tensors of files, each of\n"
        "which is (path, state, its tensors ascending by `begin`); finished(i) is called after\n"
        "the i-th tensor of all. Raises MalformedRecord for a file that changed, OSError for one\n"
        "that cannot be read.");
}

void bind_difference(py::module_& m) {
  py::class_<tn::Difference>(m, "Difference", "How far apart two tensors are.")
      .def(py::init([](const std::string& dtype) { return tn::Difference(tn::dtype_of(dtype)); }),
           "dtype"_a, "`dtype` is torch's name.")
      .def(
          "add",
          [](tn::Difference& difference, const py::buffer& before, const py::buffer& after) {
            const tn::Buffer a(before), b(after);
            tn::without_gil(a.bytes().size(), [&] { difference.add(a.bytes(), b.bytes()); });
          },
          "before"_a, "after"_a,
          "Compares elements in row-major order; again for those that follow. Raises NotaryError\n"
          "unless both buffers hold the same whole number of elements.")
      .def_property_readonly("differing", &tn::Difference::differing)
      .def_property_readonly("undefined", &tn::Difference::undefined)
      .def_property_readonly("largest", &tn::Difference::largest)
      .def_property_readonly("scale", &tn::Difference::scale,
                             "The largest finite value on the first side, 0 for integers.")
      .def_property_readonly("ulps", &tn::Difference::ulps,
                             "Values that can be represented between two finite elements, at most.")
      .def_property_readonly("histogram", &tn::Difference::histogram,
                             "Elements by that number: none, then from 2^(i-1) to below 2^i.");
  m.def(
      "itemsize", [](const std::string& dtype) { return tn::dtype_of(dtype).itemsize; }, "dtype"_a,
      "The bytes of one element of a dtype, by torch's name.");
}

void bind_lines(py::module_& m) {
  m.def(
      "fits_a_line",
      [](const py::object& value, int depth) { return tn::fits_a_line(value.ptr(), depth); },
      "value"_a, "depth"_a,
      "Whether a canonical JSON line can hold a value that nests at most so deep; half surrogate\n"
      "pairs in its strings are not looked for.");
  m.def("set_variables", &tn::set_variables, "names"_a,
        "The environment variables of these names that are set, each with its bytes.");
}

void bind_memory(py::module_& m) {
  py::class_<tn::MemorySnapshot>(m, "MemorySnapshot",
                                 "The memory of objects themselves, beyond what every object has.")
      .def(py::init<const py::list&>(), "objects"_a)
      .def("holds", &tn::MemorySnapshot::holds, "Whether it is, byte for byte, as it was.");
}

}  // namespace

PYBIND11_MODULE(_core, m) {
  m.doc() = "Hashing, trees and tensor commitments of torchnotary; needs no torch.";
  tn::register_errors();
  bind_hashing(m);
  bind_merkle(m);
  bind_tensor(m);
  bind_files(m);
  bind_opening(m);
  bind_difference(m);
  bind_memory(m);
  bind_lines(m);
}
