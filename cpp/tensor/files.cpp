// Reading files piece by piece and hashing what was read while it is in the cache.
#include "tensor/files.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <memory>
#include <mutex>

#include "hashing/blake3.h"
#include "hashing/buffer_pool.h"
#include "hashing/errors.h"

namespace torchnotary {
namespace {

// Neighbours in a file that are this short together are read and hashed at once.
constexpr std::uint64_t kGroup = std::uint64_t{768} << 10;
// Tensors of more bytes are shared between threads, those of fewer are shared out.
constexpr std::uint64_t kShared = std::uint64_t{16} << 20;
// Files that are open at a time; a process may have 1,024.
constexpr std::size_t kOpenFiles = 64;

// An open file, closed at the end.
class Descriptor {
 public:
  explicit Descriptor(const std::string& path)
      // Without O_NONBLOCK opening a pipe would wait for a writer for ever.
      : descriptor_(::open(path.c_str(), O_RDONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC)) {
    if (descriptor_ < 0) throw FileError(errno, path);
  }
  ~Descriptor() { ::close(descriptor_); }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;

  int get() const { return descriptor_; }

 private:
  int descriptor_;
};

// The first failure of any thread, which ends the work of all.
class Failure {
 public:
  bool stopped() const { return stopped_.load(std::memory_order_relaxed); }
  void stop() { stopped_.store(true, std::memory_order_relaxed); }
  void set(int code, std::size_t file, std::uint64_t offset) {
    const std::lock_guard lock(mutex_);
    if (code_ == 0) code_ = code, file_ = file, offset_ = offset;
    stop();
  }
  void raise(std::span<const TensorFile> files) const {
    if (code_ == 0) return;
    const std::string& path = files[file_].path;
    if (code_ > 0) throw FileError(code_, path);
    throw MalformedRecord(path + ", byte " + std::to_string(offset_) +
                              ": the file ends here; it was cut short while it was hashed",
                          std::to_string(files[file_].state.size) + " bytes", "", "try again");
  }

 private:
  std::atomic<bool> stopped_{false};
  std::mutex mutex_;
  int code_ = 0;
  std::size_t file_ = 0;
  std::uint64_t offset_ = 0;
};

// Neighbours in one file that are read together: one tensor of any length, or several short ones.
struct Unit {
  std::size_t file;
  std::size_t first, count;  // of the tensors of the file
  std::size_t index;         // of the first among the tensors of all files
  std::uint64_t begin, nbytes;
};

void require_state(const TensorFile& file, int descriptor) {
  const FileState now = FileState::of(descriptor, file.path);
  if (now == file.state) return;
  const auto shown = [](const FileState& state) {
    return std::to_string(state.size) + " bytes, inode " + std::to_string(state.inode) +
           ", changed at " + std::to_string(std::max(state.modified, state.changed)) + " ns";
  };
  throw MalformedRecord(file.path + " changed while it was hashed", shown(file.state), shown(now),
                        "try again once nothing writes to it");
}

void append_units(std::span<const TensorFile> files, std::size_t file, std::size_t index,
                  std::vector<Unit>& units) {
  const std::vector<const StoredTensor*>& tensors = files[file].tensors;
  for (std::size_t i = 0; i < tensors.size(); ++i) {
    const StoredTensor& tensor = *tensors[i];
    if (i > 0) {
      Unit& last = units.back();
      if (tensor.begin == last.begin + last.nbytes && last.nbytes <= kGroup &&
          tensor.nbytes <= kGroup - last.nbytes) {
        ++last.count;
        last.nbytes += tensor.nbytes;
        continue;
      }
    }
    units.push_back({file, i, 1, index + i, tensor.begin, tensor.nbytes});
  }
}

// Any byte of a bool but 0 reads as true, as in memory.
void normalise(const StoredTensor& tensor, MutableBytes bytes) {
  if (tensor.dtype->kind != Kind::boolean) return;
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(byte != std::byte{0});
}

// Fills `out` from a file, and with zeros once anything has failed.
void read_or_fail(Failure& failure, int descriptor, std::size_t file, std::uint64_t offset,
                  MutableBytes out) {
  const int code = failure.stopped() ? ECANCELED : read_at(descriptor, offset, out);
  if (code == 0) return;
  std::fill(out.begin(), out.end(), std::byte{0});
  if (!failure.stopped()) failure.set(code, file, offset);
}

class Hasher {
 public:
  Hasher(std::span<const TensorFile> files, const Watch& watch, std::vector<Commitment>& out)
      : files_(files), watch_(watch), out_(out) {}

  // Files [first, last), of whose tensors the first is the index-th of all.
  void run(std::size_t first, std::size_t last, std::size_t index, ParallelFor parallel) {
    std::vector<std::unique_ptr<Descriptor>> open;
    std::vector<Unit> units;
    for (std::size_t file = first; file < last; ++file) {
      open.push_back(std::make_unique<Descriptor>(files_[file].path));
      require_state(files_[file], open.back()->get());
      append_units(files_, file, index, units);
      index += files_[file].tensors.size();
    }
    const auto descriptor = [&](const Unit& unit) { return open[unit.file - first]->get(); };
    // Large ones first, so that no thread begins one when the others are done.
    std::stable_sort(units.begin(), units.end(),
                     [](const Unit& a, const Unit& b) { return a.nbytes > b.nbytes; });
    const auto shared = std::find_if(units.begin(), units.end(),
                                     [](const Unit& unit) { return unit.nbytes <= kShared; });
    for (auto unit = units.begin(); unit != shared; ++unit)
      whole(*unit, descriptor(*unit), parallel);
    const std::span<const Unit> rest(shared, units.end());
    parallel(rest.size(), [&](std::size_t i) {
      if (failure_.stopped()) return;
      if (rest[i].nbytes > kGroup) {
        whole(rest[i], descriptor(rest[i]), kSerial);
      } else {
        group(rest[i], descriptor(rest[i]));
      }
    });
    failure_.raise(files_);
    for (std::size_t file = first; file < last; ++file) {
      require_state(files_[file], open[file - first]->get());
    }
  }
  bool stopped() const { return failure_.stopped(); }

 private:
  const StoredTensor& tensor(const Unit& unit, std::size_t i = 0) const {
    return *files_[unit.file].tensors[unit.first + i];
  }

  void read(const Unit& unit, int descriptor, std::uint64_t offset, MutableBytes out) {
    read_or_fail(failure_, descriptor, unit.file, unit.begin + offset, out);
    if (!watch_.go_on()) failure_.stop();
  }

  // One tensor of any length.
  void whole(const Unit& unit, int descriptor, ParallelFor parallel) {
    const auto until_stopped = [&](std::size_t count, FunctionRef<void(std::size_t)> task) {
      if (!failure_.stopped()) parallel(count, task);  // else the root is of no use
    };
    const Digest root = blake3_read(
        Blake3Mode::hash(), unit.nbytes,
        [&](std::uint64_t offset, MutableBytes out) {
          read(unit, descriptor, offset, out);
          normalise(tensor(unit), out);
        },
        until_stopped);
    finish(unit, 0, root);
  }

  // Several that fit into one piece.
  void group(const Unit& unit, int descriptor) {
    auto buffer = buffers_.borrow();
    const MutableBytes all(buffer.get(), unit.nbytes);
    read(unit, descriptor, 0, all);
    std::vector<Bytes> messages(unit.count);
    for (std::size_t i = 0; i < unit.count; ++i) {
      const MutableBytes bytes =
          all.subspan(tensor(unit, i).begin - unit.begin, tensor(unit, i).nbytes);
      normalise(tensor(unit, i), bytes);
      messages[i] = bytes;
    }
    std::vector<Digest> roots(unit.count);
    blake3_many(Blake3Mode::hash(), messages, roots.data());
    buffers_.give_back(std::move(buffer));
    for (std::size_t i = 0; i < unit.count; ++i) finish(unit, i, roots[i]);
  }

  void finish(const Unit& unit, std::size_t i, const Digest& root) {
    const StoredTensor& stored = tensor(unit, i);
    const TensorView view{.data = nullptr,
                          .dtype = stored.dtype,
                          .shape = stored.shape,
                          .strides = {},
                          .conj = false,
                          .neg = false};
    out_[unit.index + i] = {root, tensor_digest(view, root)};
    if (!failure_.stopped()) watch_.finished(unit.index + i);
  }

  std::span<const TensorFile> files_;
  const Watch& watch_;
  std::vector<Commitment>& out_;
  Failure failure_;
  BufferPool buffers_{kGroup};
};

}  // namespace

Opening open_in_file(const std::string& path, const FileState& state, const StoredTensor& tensor,
                     std::span<const IndexItem> items, ParallelFor parallel) {
  const std::vector<TensorFile> files = {{path, state, {&tensor}}};
  const Descriptor descriptor(path);
  require_state(files[0], descriptor.get());
  Failure failure;
  const auto read = [&](std::uint64_t offset, MutableBytes out) {
    read_or_fail(failure, descriptor.get(), 0, tensor.begin + offset, out);
    normalise(tensor, out);
  };
  Opening opening = make_opening(*tensor.dtype, tensor.shape, items, read, parallel);
  failure.raise(files);
  require_state(files[0], descriptor.get());
  return opening;
}

FileState FileState::of(int descriptor, const std::string& path) {
  struct stat status;
  if (::fstat(descriptor, &status) != 0) throw FileError(errno, path);
  const auto nanoseconds = [](const timespec& time) {
    return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
  };
  return {static_cast<std::uint64_t>(status.st_dev), static_cast<std::uint64_t>(status.st_ino),
          static_cast<std::uint64_t>(status.st_size), nanoseconds(status.st_mtim),
          nanoseconds(status.st_ctim)};
}

int read_at(int descriptor, std::uint64_t offset, MutableBytes out) {
  while (!out.empty()) {
    const ssize_t got = ::pread(descriptor, out.data(), out.size(), static_cast<off_t>(offset));
    if (got < 0 && errno == EINTR) continue;
    if (got < 0) return errno;
    if (got == 0) return -1;
    out = out.subspan(static_cast<std::size_t>(got));
    offset += static_cast<std::uint64_t>(got);
  }
  return 0;
}

std::vector<Commitment> commit_files(std::span<const TensorFile> files, ParallelFor parallel,
                                     const Watch& watch) {
  std::size_t count = 0;
  for (const TensorFile& file : files) count += file.tensors.size();
  std::vector<Commitment> commitments(count);
  Hasher hasher(files, watch, commitments);
  std::size_t index = 0;
  for (std::size_t first = 0; first < files.size() && !hasher.stopped(); first += kOpenFiles) {
    const std::size_t last = std::min(files.size(), first + kOpenFiles);
    hasher.run(first, last, index, parallel);
    for (std::size_t file = first; file < last; ++file) index += files[file].tensors.size();
  }
  return commitments;
}

}  // namespace torchnotary
