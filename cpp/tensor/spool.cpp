#include "tensor/spool.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>

#include "hashing/errors.h"

namespace torchnotary {
namespace {

int nameless_file(const std::string& folder) {
#ifdef O_TMPFILE
  const int made = ::open(folder.c_str(), O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
  if (made >= 0) return made;
#endif
  // File systems that make no file without a name: made with one, which is taken away at once.
  std::string path = folder + "/torchnotary-XXXXXX";
  const int named = ::mkstemp(path.data());
  if (named < 0) throw FileError(errno, folder);
  ::unlink(path.c_str());
  ::fcntl(named, F_SETFD, FD_CLOEXEC);
  return named;
}

std::string temporary_folder() {
  const char* named = std::getenv("TMPDIR");
  return named != nullptr && *named != '\0' ? named : "/tmp";
}

}  // namespace

Spool::~Spool() {
  if (mapped_ != nullptr) ::munmap(mapped_, written_);
  if (descriptor_ >= 0) ::close(descriptor_);
}

void Spool::append(Bytes bytes) {
  if (held_.size() + bytes.size() > kHeld) write_held();
  if (bytes.size() > kHeld) {
    write(bytes);
  } else {
    held_.insert(held_.end(), bytes.begin(), bytes.end());
  }
}

void Spool::write_held() {
  if (!held_.empty()) write(held_);
  held_.clear();
}

void Spool::write(Bytes bytes) {
  if (folder_.empty()) folder_ = temporary_folder();
  if (descriptor_ < 0) descriptor_ = nameless_file(folder_);
  while (!bytes.empty()) {
    const ssize_t count = ::write(descriptor_, bytes.data(), bytes.size());
    if (count < 0) {
      if (errno == EINTR) continue;
      throw FileError(errno, folder_);
    }
    written_ += static_cast<std::size_t>(count);
    bytes = bytes.subspan(static_cast<std::size_t>(count));
  }
}

Bytes Spool::finish() {
  if (written_ == 0) return held_;
  write_held();
  if (mapped_ == nullptr) {
    void* memory = ::mmap(nullptr, written_, PROT_READ, MAP_SHARED, descriptor_, 0);
    if (memory == MAP_FAILED) throw FileError(errno, folder_);
    mapped_ = memory;
  }
  return {static_cast<const std::byte*>(mapped_), written_};
}

}  // namespace torchnotary
