// Python's face of tensors in files.
#pragma once

#include <pybind11/stl.h>

#include <algorithm>
#include <chrono>
#include <mutex>
#include <optional>
#include <thread>
#include <tuple>

#include "bindings/buffers.h"
#include "hashing/errors.h"
#include "tensor/files.h"

namespace torchnotary {

// A tensor of a row-major file by its place, for files that have no header of their own.
inline StoredTensor py_stored_tensor(std::string name, const std::string& dtype,
                                     std::vector<std::int64_t> shape, std::uint64_t begin) {
  StoredTensor stored{std::move(name), &dtype_of(dtype), std::move(shape), begin, 0, begin};
  std::int64_t bytes = stored.dtype->itemsize;
  for (const std::int64_t size : stored.shape) {
    if (size < 0 || __builtin_mul_overflow(bytes, size, &bytes)) {
      throw UnsupportedTensor("the tensor's bytes cannot be counted in 63 bits",
                              "at most 2^63 - 1 bytes", "", "fix the shape");
    }
  }
  stored.nbytes = static_cast<std::uint64_t>(bytes);
  return stored;
}

inline std::vector<StoredTensor> py_read_safetensors_header(int descriptor) {
  const FileState state = FileState::of(descriptor, "the file");
  std::deque<StoredTensor> found;
  {
    py::gil_scoped_release release;
    found = read_safetensors_header(state.size, [&](std::uint64_t offset, MutableBytes out) {
      const int code = read_at(descriptor, offset, out);
      if (code > 0) throw FileError(code, "the file");
      if (code < 0) {
        throw MalformedRecord(
            "byte " + std::to_string(offset) + ": the file shrank while it was read", "", "",
            "try again");
      }
    });
  }
  return {std::make_move_iterator(found.begin()), std::make_move_iterator(found.end())};
}

// Tells Python of finished tensors, on the calling thread and not too often, and whether the
// user has asked to stop.
class PyWatch {
 public:
  explicit PyWatch(std::optional<py::function> finished) : finished_(std::move(finished)) {}

  bool go_on() {
    if (std::this_thread::get_id() != caller_) return !error_;
    const auto now = std::chrono::steady_clock::now();
    if (now - last_ < std::chrono::milliseconds(50)) return !error_;
    last_ = now;
    py::gil_scoped_acquire acquire;
    try {
      if (PyErr_CheckSignals() != 0) throw py::error_already_set();
      tell();
    } catch (py::error_already_set& error) {
      error_.emplace(std::move(error));
    }
    return !error_;
  }
  void finished(std::size_t index) {
    const std::lock_guard lock(mutex_);
    waiting_.push_back(index);
  }
  // With the GIL: what has not been told yet, or the exception that ended the work.
  void close() {
    if (error_) throw std::move(*error_);
    tell();
  }

 private:
  void tell() {
    std::vector<std::size_t> indices;
    {
      const std::lock_guard lock(mutex_);
      indices.swap(waiting_);
    }
    for (const std::size_t index : indices) {
      if (finished_) (*finished_)(index);
    }
  }

  const std::thread::id caller_ = std::this_thread::get_id();
  std::optional<py::function> finished_;
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
  std::optional<py::error_already_set> error_;
  std::mutex mutex_;
  std::vector<std::size_t> waiting_;
};

using PyTensorFile = std::tuple<py::bytes, FileState, std::vector<StoredTensor>>;

// The data roots and the digests of all tensors, 32 bytes each.
inline std::pair<py::bytes, py::bytes> py_commit_files(const std::vector<PyTensorFile>& files,
                                                       std::size_t threads,
                                                       std::optional<py::function> finished) {
  std::vector<TensorFile> native;
  for (const auto& [path, state, tensors] : files) {
    TensorFile& file = native.emplace_back(TensorFile{path, state, {}});
    for (const StoredTensor& tensor : tensors) file.tensors.push_back(&tensor);
  }
  PyWatch watch(std::move(finished));
  std::vector<Commitment> commitments;
  {
    py::gil_scoped_release release;
    const auto go_on = [&] { return watch.go_on(); };
    const auto done = [&](std::size_t index) { watch.finished(index); };
    commitments = commit_files(native, Threads(std::min(threads, kMaxFileThreads)), {go_on, done});
  }
  watch.close();
  const auto [roots, roots_out] = new_bytes(commitments.size() * kDigestSize);
  const auto [digests, digests_out] = new_bytes(commitments.size() * kDigestSize);
  for (std::size_t i = 0; i < commitments.size(); ++i) {
    std::copy_n(commitments[i].data_root.data(), kDigestSize, &roots_out[i * kDigestSize]);
    std::copy_n(commitments[i].digest.data(), kDigestSize, &digests_out[i * kDigestSize]);
  }
  return {roots, digests};
}

}  // namespace torchnotary
