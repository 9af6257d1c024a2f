#include "torch/packs.h"

#include <c10/core/StorageImpl.h>
#include <c10/util/SmallVector.h>

#include <algorithm>
#include <map>
#include <mutex>
#include <span>
#include <tuple>
#include <utility>
#include <vector>

#include "tensor/sealed_memory.h"
#include "torch/arena.h"
#include "torch/exact_tensors.h"
#include "torch/intra_op.h"
#include "torch/sealing.h"

namespace torchnotary::exact {
namespace {

using Numbers = std::vector<std::int64_t>;

// What a pack is known by, beside its storage: offset, type, sizes, strides, and for whom.
Numbers key_of(const at::Tensor& weights, const Numbers& use) {
  Numbers key{weights.storage_offset(), static_cast<std::int64_t>(weights.scalar_type()),
              weights.dim()};
  key.insert(key.end(), weights.sizes().begin(), weights.sizes().end());
  key.insert(key.end(), weights.strides().begin(), weights.strides().end());
  key.insert(key.end(), use.begin(), use.end());
  return key;
}

struct Pack {
  PackedMatrix matrix;
  PackMemory memory;
  const void* data = nullptr;
  std::size_t size = 0;
};

// A storage that is gone leaves its object behind as long as it is held weakly: no other one gets
// its address meanwhile.
struct Packs {
  c10::weak_intrusive_ptr<c10::StorageImpl> storage;
  std::map<Numbers, Pack> by_use;
};

class Cache {
 public:
  template <class Make>
  Pack get(const at::Tensor& weights, const Numbers& use, Make make) {
    const std::lock_guard lock(mutex_);
    c10::StorageImpl* const storage = weights.storage().unsafeGetStorageImpl();
    auto found = all_.find(storage);
    if (found == all_.end()) {
      forget_gone();
      found = all_.emplace(storage, Packs{weights.storage().getWeakStorageImpl(), {}}).first;
    }
    const auto [entry, is_new] = found->second.by_use.try_emplace(key_of(weights, use));
    if (is_new) entry->second = make();
    return entry->second;
  }

  std::size_t bytes() {
    const std::lock_guard lock(mutex_);
    forget_gone();
    std::size_t sum = 0;
    for (const auto& [storage, packs] : all_)
      for (const auto& [key, pack] : packs.by_use) sum += pack.size;
    return sum;
  }

 private:
  void forget_gone() {
    std::erase_if(all_, [](const auto& entry) { return entry.second.storage.expired(); });
  }

  std::mutex mutex_;
  std::map<c10::StorageImpl*, Packs> all_;
};

Cache& cache() {
  static auto* all = new Cache;  // as long as the process: tensors may outlive everything else
  return *all;
}

// `fill` writes `size` bytes; sealed where the weights are.
template <class Fill>
Pack make_pack(bool sealed, std::size_t size, Fill fill) {
  Pack pack{.size = size};
  if (sealed) {
    const auto memory = std::make_shared<const SealedMemory>(
        size, [&](std::span<std::byte> out) { pack.matrix = fill(out.data()); });
    pack.data = memory->data();
    pack.memory = memory;
  } else {
    const auto memory = std::make_shared<const at::Tensor>(
        empty_in_arena({static_cast<std::int64_t>(size)}, at::kByte));
    pack.matrix = fill(static_cast<std::byte*>(memory->mutable_data_ptr()));
    pack.data = memory->const_data_ptr();
    pack.memory = memory;
  }
  return pack;
}

template <class Fill>
Pack get_pack(const at::Tensor& weights, const Numbers& use, std::size_t size, Fill fill) {
  if (!is_sealed(weights)) return make_pack(false, size, fill);
  return cache().get(weights, use, [&] { return make_pack(true, size, fill); });
}

}  // namespace

MatrixPack pack_matrix(const at::Tensor& weights) {
  const auto n = static_cast<std::size_t>(weights.size(0));
  const auto k = static_cast<std::size_t>(weights.size(1));
  const Storage storage = storage_of(weights.scalar_type());
  const Matrix matrix{weights.const_data_ptr(), storage, weights.stride(0), weights.stride(1)};
  const Numbers use{static_cast<std::int64_t>(cpu_path())};
  const Pack pack = get_pack(
      weights, use, PackedMatrix::size(n, k, storage),
      [&](std::byte* memory) { return PackedMatrix::pack(matrix, n, k, memory, kIntraOpThreads); });
  return {pack.matrix.at(pack.data), pack.memory};
}

ConvolutionPack pack_convolution(const Convolution& convolution, const at::Tensor& weights) {
  const Numbers use{static_cast<std::int64_t>(convolution.groups), convolution.transposed};
  const std::size_t size = packed_weights_size(convolution) * sizeof(float);
  const Pack pack = get_pack(weights, use, size, [&](std::byte* memory) {
    pack_weights(convolution, input_of(weights), reinterpret_cast<float*>(memory));
    return PackedMatrix();
  });
  return {static_cast<const float*>(pack.data), pack.memory};
}

std::size_t packed_bytes() { return cache().bytes(); }

}  // namespace torchnotary::exact
