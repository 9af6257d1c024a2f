#include "tensor/sealed_memory.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string>

#include "hashing/errors.h"

namespace torchnotary {
namespace {

constexpr char kNextStep[] =
    "free memory or raise its limit, or leave the weights unsealed: strict=True hashes them at "
    "every call";

[[noreturn]] void refuse(const char* step, std::size_t size, int error) {
  throw NotaryError(std::string("memory cannot be sealed: ") + step + " failed",
                    std::to_string(size) + " bytes of sealed memory", std::strerror(error),
                    kNextStep);
}

#if defined(__linux__)

class File {
 public:
  explicit File(std::size_t size)
      : descriptor_(memfd_create("torchnotary", MFD_CLOEXEC | MFD_ALLOW_SEALING)), size_(size) {
    if (descriptor_ < 0) refuse("memfd_create", size, errno);
    // Asked for here, memory that is not there is an error; at the first write it would be SIGBUS.
    const int error = posix_fallocate(descriptor_, 0, static_cast<off_t>(size));
    if (error != 0) {
      close(descriptor_);
      refuse("fallocate", size, error);
    }
  }
  ~File() { close(descriptor_); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;

  // Null where the system refuses.
  std::byte* map(int protection, int flags) const {
    void* mapped = mmap(nullptr, size_, protection, flags, descriptor_, 0);
    return mapped == MAP_FAILED ? nullptr : static_cast<std::byte*>(mapped);
  }

  void seal() const {
    constexpr int seals = F_SEAL_WRITE | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL;
    if (fcntl(descriptor_, F_ADD_SEALS, seals) != 0) refuse("F_ADD_SEALS", size_, errno);
  }

 private:
  const int descriptor_;
  const std::size_t size_;
};

// A file with a writable mapping cannot be sealed: this one ends before.
class WritableMapping {
 public:
  WritableMapping(const File& file, std::size_t size)
      : data_(file.map(PROT_READ | PROT_WRITE, MAP_SHARED)), size_(size) {
    if (data_ == nullptr) refuse("mmap", size, errno);
    madvise(data_, size_, MADV_DONTFORK);  // a child would keep it
  }
  ~WritableMapping() { munmap(data_, size_); }
  WritableMapping(const WritableMapping&) = delete;
  WritableMapping& operator=(const WritableMapping&) = delete;

  std::span<std::byte> bytes() const { return {data_, size_}; }

 private:
  std::byte* const data_;
  const std::size_t size_;
};

const std::byte* sealed(std::size_t size, FunctionRef<void(std::span<std::byte>)> fill) {
  const File file(size);
  {
    const WritableMapping writable(file, size);
    fill(writable.bytes());
  }
  file.seal();
  const std::byte* mapped = file.map(PROT_READ, MAP_SHARED | MAP_POPULATE);
  if (mapped == nullptr) mapped = file.map(PROT_READ, MAP_PRIVATE | MAP_POPULATE);
  if (mapped == nullptr) refuse("mmap", size, errno);
  return mapped;
}

#else

const std::byte* sealed(std::size_t size, FunctionRef<void(std::span<std::byte>)>) {
  refuse("memfd_create, which only Linux has,", size, ENOSYS);
}

#endif

}  // namespace

SealedMemory::SealedMemory(std::size_t size, FunctionRef<void(std::span<std::byte>)> fill)
    : size_(size) {
  if (size > 0) data_ = sealed(size, fill);
}

SealedMemory::~SealedMemory() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
}

}  // namespace torchnotary
