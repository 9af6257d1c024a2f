// Buffers that tasks borrow and give back: as many as run at a time, and their pages are made once.
#pragma once

#include <cstddef>
#include <memory>
#include <mutex>
#include <new>
#include <utility>
#include <vector>

namespace torchnotary {

class BufferPool {
  struct FreeAligned {
    void operator()(std::byte* buffer) const { ::operator delete[](buffer, kAlignment); }
    // Whole vectors are written to whole lines.
    static constexpr std::align_val_t kAlignment{4096};
  };

 public:
  using Buffer = std::unique_ptr<std::byte[], FreeAligned>;

  // Of so many bytes each.
  explicit BufferPool(std::size_t size) : size_(size) {}

  Buffer borrow() {
    const std::lock_guard lock(mutex_);
    if (idle_.empty()) return Buffer(new (FreeAligned::kAlignment) std::byte[size_]);
    Buffer buffer = std::move(idle_.back());
    idle_.pop_back();
    return buffer;
  }
  void give_back(Buffer buffer) {
    const std::lock_guard lock(mutex_);
    idle_.push_back(std::move(buffer));
  }

 private:
  const std::size_t size_;
  std::mutex mutex_;
  std::vector<Buffer> idle_;
};

}  // namespace torchnotary
