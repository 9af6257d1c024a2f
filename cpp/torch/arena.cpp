#include "torch/arena.h"

#include <ATen/EmptyTensor.h>
#include <ATen/ExpandUtils.h>
#include <c10/core/Allocator.h>
#include <c10/core/CPUAllocator.h>
#include <sys/mman.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstdlib>
#include <cstring>
#include <mutex>
#include <new>
#include <vector>

namespace torchnotary::exact {
namespace {

// Smaller ones malloc keeps by itself.
constexpr std::size_t kSmallest = std::size_t{64} << 10;
constexpr std::size_t kHugePage = std::size_t{2} << 20;
constexpr std::size_t kSteps = 8;  // sizes of blocks between two powers of two
constexpr std::size_t kKeptWhereIdle = std::size_t{64} << 20;

struct Block {
  std::size_t size_class;
  std::size_t size;
  void* data;
};

std::size_t class_of(std::size_t nbytes) {
  const std::size_t power = std::bit_width(nbytes - 1) - 1;  // 2^power < nbytes <= 2^(power + 1)
  const std::size_t step = (std::size_t{1} << power) / kSteps;
  return power * kSteps + (nbytes - 1 - (std::size_t{1} << power)) / step;
}

std::size_t size_of_class(std::size_t size_class) {
  const std::size_t power = size_class / kSteps;
  const std::size_t step = (std::size_t{1} << power) / kSteps;
  return (std::size_t{1} << power) + (size_class % kSteps + 1) * step;
}

class Blocks {
 public:
  Block* take(std::size_t nbytes) {
    const std::size_t size_class = class_of(nbytes);
    {
      const std::lock_guard lock(mutex_);
      std::vector<Block*>& free = free_[size_class];
      if (!free.empty()) {
        Block* const block = free.back();
        free.pop_back();
        kept_ -= block->size;
        live_ += block->size;
        return block;
      }
      live_ += size_of_class(size_class);
      most_live_ = std::max(most_live_, live_);
    }
    return make(size_class);
  }

  void give_back(Block* block) {
    {
      const std::lock_guard lock(mutex_);
      live_ -= block->size;
      // What was needed at once may be needed at once again.
      if (kept_ + block->size <= std::max(most_live_, kKeptWhereIdle)) {
        kept_ += block->size;
        free_[block->size_class].push_back(block);
        return;
      }
    }
    destroy(block);
  }

  std::size_t kept() {
    const std::lock_guard lock(mutex_);
    return kept_;
  }

  void trim() {
    std::vector<Block*> gone;
    {
      const std::lock_guard lock(mutex_);
      for (std::vector<Block*>& free : free_) {
        gone.insert(gone.end(), free.begin(), free.end());
        free.clear();
      }
      kept_ = 0;
      most_live_ = live_;
    }
    for (Block* each : gone) destroy(each);
  }

 private:
  static Block* make(std::size_t size_class) {
    const std::size_t size = size_of_class(size_class);
    const std::size_t alignment = size >= kHugePage ? kHugePage : 64;
    void* const data =
        std::aligned_alloc(alignment, (size + alignment - 1) / alignment * alignment);
    if (data == nullptr) throw std::bad_alloc();
    if (size >= kHugePage) ::madvise(data, size, MADV_HUGEPAGE);  // advice: may be refused
    return new Block{size_class, size, data};
  }

  static void destroy(Block* block) {
    std::free(block->data);
    delete block;
  }

  std::mutex mutex_;
  std::array<std::vector<Block*>, 64 * kSteps> free_;
  std::size_t kept_ = 0;
  std::size_t live_ = 0;
  std::size_t most_live_ = 0;
};

// As long as the process: tensors may outlive everything else.
Blocks& blocks() {
  static auto* all = new Blocks;
  return *all;
}

void release(void* context) { blocks().give_back(static_cast<Block*>(context)); }

class Arena final : public c10::Allocator {
 public:
  c10::DataPtr allocate(std::size_t nbytes) override {
    if (nbytes < kSmallest) return c10::GetCPUAllocator()->allocate(nbytes);
    Block* const block = blocks().take(nbytes);
    return {block->data, block, &release, at::kCPU};
  }

  void copy_data(void* to, const void* from, std::size_t count) const override {
    std::memcpy(to, from, count);
  }
};

constexpr c10::DispatchKeySet kKeys(c10::DispatchKey::CPU);

c10::Allocator* arena() {
  static auto* all = new Arena;
  return all;
}

}  // namespace

at::Tensor empty_in_arena(at::IntArrayRef sizes, at::ScalarType type) {
  return at::Tensor(at::detail::empty_generic(sizes, arena(), kKeys, type, std::nullopt));
}

at::Tensor empty_like_in_arena(const at::Tensor& tensor, at::ScalarType type) {
  if (tensor.is_contiguous()) return empty_in_arena(tensor.sizes(), type);
  const auto with = [&](at::IntArrayRef strides) {
    return at::Tensor(
        at::detail::empty_strided_generic(tensor.sizes(), strides, arena(), kKeys, type));
  };
  if (tensor.is_non_overlapping_and_dense()) return with(tensor.strides());
  return with(at::infer_dense_strides(tensor.sizes(), tensor.strides()));
}

std::size_t arena_kept() { return blocks().kept(); }

void trim_arena() { blocks().trim(); }

}  // namespace torchnotary::exact
