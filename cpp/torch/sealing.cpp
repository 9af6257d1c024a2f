#include "torch/sealing.h"

#include <ATen/ops/empty.h>
#include <c10/core/InferenceMode.h>
#include <c10/core/TensorImpl.h>

#include <cstddef>
#include <cstring>
#include <functional>
#include <map>
#include <memory>
#include <span>

#include "hashing/errors.h"
#include "tensor/sealed_memory.h"
#include "torch/write_guard.h"

namespace torchnotary {
namespace {

// Bytes that exist twice at a time while a model is sealed; a larger storage is dealt with alone.
constexpr std::size_t kAtOnce = std::size_t{64} << 20;
// As torch's own allocator aligns: what kernels may rely on.
constexpr std::size_t kAlignment = 64;

// The context of a sealed storage's DataPtr.
struct Place {
  std::shared_ptr<const SealedMemory> memory;
  std::string names;
};

void release(void* place) { delete static_cast<Place*>(place); }

// Tensors on one storage, or on several storages over the same memory.
struct Shared {
  std::string names;
  at::Storage storage;
  std::vector<at::Tensor> tensors;
};

std::vector<Shared> by_memory(const NamedTensors& tensors,
                              const std::function<bool(const at::Tensor&)>& wanted) {
  std::vector<Shared> found;
  std::map<std::pair<const void*, std::size_t>, std::size_t> known;
  for (const auto& [name, tensor] : tensors) {
    if (!wanted(tensor)) continue;
    const at::Storage& storage = tensor.storage();
    const auto [entry, is_new] =
        known.try_emplace({storage.data(), storage.nbytes()}, found.size());
    if (is_new) found.push_back({"", storage, {}});
    Shared& shared = found[entry->second];
    shared.names += (shared.names.empty() ? "" : ", ") + name;
    shared.tensors.push_back(tensor);
  }
  return found;
}

// What `tensor.data = …` does, to the same sizes, strides and offset on another storage.
void put_on(const at::Tensor& tensor, at::Storage storage, c10::DispatchKeySet keys) {
  const at::Tensor moved = [&] {
    const c10::InferenceMode mode(tensor.is_inference());  // else it would get autograd's keys
    return at::detail::make_tensor<c10::TensorImpl>(std::move(storage), keys, tensor.dtype());
  }();
  moved.unsafeGetTensorImpl()->set_sizes_and_strides(tensor.sizes(), tensor.strides(),
                                                     tensor.storage_offset());
  tensor.set_data(moved);
}

std::size_t aligned(std::size_t offset) {
  return (offset + kAlignment - 1) / kAlignment * kAlignment;
}

void seal_together(std::span<const Shared> group, std::size_t size) {
  const auto memory = std::make_shared<const SealedMemory>(size, [&](std::span<std::byte> out) {
    std::size_t offset = 0;
    for (const Shared& shared : group) {
      std::memcpy(out.data() + offset, shared.storage.data(), shared.storage.nbytes());
      offset += aligned(shared.storage.nbytes());
    }
  });
  std::size_t offset = 0;
  for (const Shared& shared : group) {
    void* data = const_cast<std::byte*>(memory->data() + offset);
    const std::size_t nbytes = shared.storage.nbytes();
    const at::Storage storage(
        at::Storage::use_byte_size_t(), nbytes,
        at::DataPtr(data, new Place{memory, shared.names}, &release, at::kCPU),
        /*allocator=*/nullptr, /*resizable=*/false);
    for (const at::Tensor& tensor : shared.tensors) {
      put_on(tensor, storage, tensor.key_set().add(kSealedKey));
    }
    offset += aligned(nbytes);
  }
}

void require_sealable(const std::string& name, const at::Tensor& tensor) {
  const auto refuse = [&](const std::string& actual) {
    throw UnsupportedTensor(name + " cannot be sealed", "a plain tensor in the host's memory",
                            actual,
                            "leave the model unsealed: strict=True hashes it at every call");
  };
  if (!tensor.defined()) refuse("an undefined tensor");
  if (tensor.is_quantized()) refuse("a quantised tensor");
  if (tensor.is_nested()) refuse("a nested tensor");
  if (tensor.layout() != at::kStrided) refuse("a sparse or packed layout");
  if (!tensor.is_cpu()) refuse("a tensor on " + tensor.device().str());
  if (tensor.unsafeGetTensorImpl()->is_python_dispatch() || !tensor.has_storage()) {
    refuse("a wrapper around other tensors");
  }
}

}  // namespace

bool is_sealed(const at::Tensor& tensor) {
  return tensor.has_storage() && tensor.storage().data_ptr().get_deleter() == &release;
}

const std::string& sealed_names(const at::Tensor& tensor) {
  return static_cast<const Place*>(tensor.storage().data_ptr().get_context())->names;
}

void seal(const NamedTensors& tensors) {
  for (const auto& [name, tensor] : tensors) require_sealable(name, tensor);
  std::vector<Shared> all = by_memory(tensors, [](const at::Tensor& tensor) {
    return tensor.storage().nbytes() > 0 && !is_sealed(tensor);
  });
  std::size_t begin = 0, size = 0;
  for (std::size_t i = 0; i < all.size(); ++i) {
    size += aligned(all[i].storage.nbytes());
    if (size < kAtOnce && i + 1 < all.size()) continue;
    const std::span group(all.data() + begin, i + 1 - begin);
    seal_together(group, size);
    for (Shared& shared : group) shared = {};  // lets the old memory go
    begin = i + 1;
    size = 0;
  }
}

void unseal(const NamedTensors& tensors) {
  for (const Shared& shared : by_memory(tensors, is_sealed)) {
    const auto nbytes = static_cast<std::int64_t>(shared.storage.nbytes());
    const at::Tensor copy = at::empty({nbytes}, at::kByte);
    std::memcpy(copy.mutable_data_ptr(), shared.storage.data(), shared.storage.nbytes());
    for (const at::Tensor& tensor : shared.tensors) {
      put_on(tensor, copy.storage(), tensor.key_set().remove(kSealedKey));
    }
  }
}

}  // namespace torchnotary
