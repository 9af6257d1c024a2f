// Memory that is filled once and that nobody can write afterwards, this process included.
#pragma once

#include <cstddef>
#include <span>

#include "hashing/parallel.h"

namespace torchnotary {

// What was filled in lies in an anonymous file (memfd) sealed against writing, shrinking, growing
// and unsealing, mapped read-only: a write faults, mprotect() cannot make it writable, and children
// of fork share it. Where a kernel refuses shared mappings of sealed files (Linux before 6.7) the
// mapping is private: pages are shared as long as nobody calls mprotect().
class SealedMemory {
 public:
  // Reserves `size` zero bytes at a page boundary, has `fill` write them, then seals them. What
  // `fill` throws is passed on. Throws NotaryError where the system gives no such memory.
  SealedMemory(std::size_t size, FunctionRef<void(std::span<std::byte>)> fill);
  ~SealedMemory();
  SealedMemory(const SealedMemory&) = delete;
  SealedMemory& operator=(const SealedMemory&) = delete;

  // Valid as long as this object; a page boundary, null where there are no bytes.
  const std::byte* data() const { return data_; }
  std::size_t size() const { return size_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  const std::byte* data_ = nullptr;
  std::size_t size_;
};

}  // namespace torchnotary
