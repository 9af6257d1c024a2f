// Tensors in files to commitments, all of them in one call: read piece by piece on several
// threads into small buffers, so that no weights are held and no file that shrinks is a crash.
#pragma once

#include <sys/stat.h>

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "hashing/parallel.h"
#include "tensor/commitment.h"
#include "tensor/opening.h"
#include "tensor/safetensors.h"

namespace torchnotary {

// What tells one state of a file from another, as far as the system says.
struct FileState {
  std::uint64_t device, inode, size;
  std::int64_t modified, changed;  // nanoseconds since 1970: content, and content or inode

  // That of an open file. Raises FileError, `path` for its message.
  static FileState of(int descriptor, const std::string& path);
  bool operator==(const FileState&) const = default;
};

// A file, the state in which it was found, and the tensors to commit to, ascending by `begin`.
struct TensorFile {
  std::string path;
  FileState state;
  std::vector<const StoredTensor*> tensors;
};

// What the caller learns on the way, on any thread: go_on() is asked after every piece and ends
// the work where it says no; finished(i) says that the i-th tensor of all files is done.
struct Watch {
  FunctionRef<bool()> go_on;
  FunctionRef<void(std::size_t)> finished;
};

// Fills `out` with the bytes of an open file from `offset` on. Returns 0, an errno, or -1 where
// the file ends before.
int read_at(int descriptor, std::uint64_t offset, MutableBytes out);

// More threads would only need more memory.
inline constexpr std::size_t kMaxFileThreads = 64;

// The commitments of the tensors of all files in order; of no use where go_on() said no. Raises
// MalformedRecord naming a file that is not in its state any more, before or after, and FileError
// for one that cannot be read. Memory: 768 KiB for each of at most kMaxFileThreads threads.
std::vector<Commitment> commit_files(std::span<const TensorFile> files, ParallelFor parallel,
                                     const Watch& watch);

// Opens what `items` select of a tensor in a file: reads all of it once. Raises as commit_files and
// make_opening do.
Opening open_in_file(const std::string& path, const FileState& state, const StoredTensor& tensor,
                     std::span<const IndexItem> items, ParallelFor parallel);

}  // namespace torchnotary
