#include "torch/known_tensors.h"

#include <ATen/Parallel.h>
#include <c10/core/Layout.h>

#include <cstring>

#include "hashing/errors.h"
#include "torch/tensor_view.h"

namespace torchnotary {
namespace {

// Bytes from which torch's workers are woken to hash.
constexpr std::size_t kWorthThreads = 256 << 10;
// As commitment.py: bytes up to which a tensor may stand for more memory than it has.
constexpr std::size_t kMaxRepeated = 64 << 20;

// Torch's own workers, which wait spinning for a moment after each operator.
struct TorchThreads {
  void operator()(std::size_t count, FunctionRef<void(std::size_t)> task) const {
    at::parallel_for(0, static_cast<std::int64_t>(count), 1,
                     [&](std::int64_t begin, std::int64_t end) {
                       for (std::int64_t i = begin; i < end; ++i) task(static_cast<std::size_t>(i));
                     });
  }
};
constexpr TorchThreads kTorchThreads;

// Whether two handles are of one counter. Torch has no comparison for them, and two counters may
// stand at the same number.
bool same_counter(const c10::VariableVersion& a, const c10::VariableVersion& b) {
  static_assert(sizeof(c10::VariableVersion) == sizeof(void*));
  return std::memcmp(static_cast<const void*>(&a), static_cast<const void*>(&b), sizeof a) == 0;
}

// How many elements of memory a tensor reaches over; 0 for an empty one.
std::int64_t reach(const at::Tensor& tensor) {
  if (tensor.numel() == 0) return 0;
  std::int64_t last = 0;
  for (std::int64_t d = 0; d < tensor.dim(); ++d) last += (tensor.size(d) - 1) * tensor.stride(d);
  return last + 1;
}

bool is_lazy(const at::Tensor& tensor) { return tensor.is_conj() || tensor.is_neg(); }

c10::StorageImpl* storage_of(const at::Tensor& tensor) {
  return tensor.storage().unsafeGetStorageImpl();
}

}  // namespace

std::string_view unbound_reason(const at::Tensor& tensor) {
  // What an ordinary tensor of the host or of CUDA may have; anything else is looked at closely.
  static const c10::DispatchKeySet ordinary =
      c10::DispatchKeySet({c10::DispatchKey::CPU, c10::DispatchKey::CUDA}) |
      c10::autograd_dispatch_keyset_with_ADInplaceOrView |
      c10::getAutocastRelatedKeySetFromBackend(c10::BackendComponent::CPUBit) |
      c10::getAutocastRelatedKeySetFromBackend(c10::BackendComponent::CUDABit);
  const c10::TensorImpl* impl = tensor.unsafeGetTensorImpl();
  if (!(impl->key_set() - ordinary).empty()) {
    if (tensor.is_nested()) return "nested";
    if (tensor.is_quantized()) return "quantized";
    if (tensor.is_meta()) return "meta";
    if (tensor.layout() != at::kStrided) return tensor.is_sparse() ? "sparse_coo" : "layout";
    if (impl->is_python_dispatch()) return "subclass";
    if (impl->key_set().has(c10::DispatchKey::FuncTorchGradWrapper)) return "functorch";
    if (impl->key_set().has(c10::DispatchKey::Functionalize)) return "functionalized";
    if (impl->key_set().has(c10::DispatchKey::ZeroTensor)) return "zeros without memory";
  }
  if (!tensor.has_storage()) return "no storage";
  const auto size = static_cast<std::size_t>(tensor.numel()) * tensor.itemsize();
  const auto memory = static_cast<std::size_t>(reach(tensor)) * tensor.itemsize();
  if (size > kMaxRepeated && size >= 2 * memory) return "expanded";
  const auto offset = static_cast<std::size_t>(tensor.storage_offset()) * tensor.itemsize();
  if (size > 0 && offset + memory > tensor.storage().nbytes()) return "no memory";
  return {};
}

KnownTensors::Memory* KnownTensors::find(const at::Tensor& tensor) {
  c10::StorageImpl* storage = storage_of(tensor);
  const auto found = memories_.find(storage);
  if (found != memories_.end()) {
    if (found->second->data == storage->data()) return found->second.get();
    retire(std::move(found->second));  // other memory was put into the storage
    memories_.erase(found);
    return nullptr;
  }
  if (base_ == nullptr) return nullptr;
  const auto shared = base_->memories_.find(storage);
  if (shared == base_->memories_.end() || shared->second->data != storage->data()) return nullptr;
  Memory& memory = insert(storage);
  memory = *shared->second;
  return &memory;
}

KnownTensors::Memory& KnownTensors::insert(c10::StorageImpl* storage) {
  std::unique_ptr<Memory> memory;
  if (spare_.empty()) {
    memory = std::make_unique<Memory>();
  } else {
    memory = std::move(spare_.back());
    spare_.pop_back();
  }
  return *(memories_[storage] = std::move(memory));
}

KnownTensors::Memory& KnownTensors::find_or_add(const at::Tensor& tensor, Source writer) {
  if (Memory* memory = find(tensor)) return *memory;
  c10::StorageImpl* storage = storage_of(tensor);
  Memory& memory = insert(storage);
  memory.storage = tensor.storage().getWeakStorageImpl();
  memory.data = storage->data();
  memory.uninitialized = false;
  memory.writer = writer;
  young_.push_back({storage, 0});
  return memory;
}

void KnownTensors::forget_gone() {
  constexpr int kYoung = 16;       // operators
  constexpr std::size_t kOld = 8;  // looked at before each operator, more than each can add
  const auto is_gone = [this](c10::StorageImpl* storage) {
    const auto found = memories_.find(storage);
    if (found == memories_.end()) return true;
    if (!found->second->storage.expired()) return false;
    retire(std::move(found->second));
    memories_.erase(found);
    return true;
  };
  std::size_t kept = 0;
  for (Young young : young_) {
    if (is_gone(young.storage)) continue;
    if (++young.age < kYoung) {
      young_[kept++] = young;
    } else {
      old_.push_back(young.storage);
    }
  }
  young_.resize(kept);
  for (std::size_t i = 0; i < kOld && !old_.empty(); ++i) {
    if (next_old_ >= old_.size()) next_old_ = 0;
    if (is_gone(old_[next_old_])) {
      old_[next_old_] = old_.back();
      old_.pop_back();
    } else {
      ++next_old_;
    }
  }
}

void KnownTensors::retire(std::unique_ptr<Memory> memory) {
  memory->storage.reset();
  memory->known.clear();
  spare_.push_back(std::move(memory));
}

bool KnownTensors::holds(const Known& known, const at::Tensor& tensor) const {
  const c10::VariableVersion& counter = tensor.unsafeGetTensorImpl()->version_counter();
  if (!same_counter(counter, known.counter)) return false;
  return counter.enabled() ? counter.current_version() == known.version : writes_are_told_;
}

bool KnownTensors::recall(Memory& memory, const at::Tensor& tensor, Content& content) const {
  if (is_lazy(tensor)) return false;
  const auto sizes = tensor.sizes(), strides = tensor.strides();
  const std::int64_t offset = tensor.storage_offset();
  for (const Known& known : memory.known) {
    if (known.dtype != tensor.scalar_type() || !holds(known, tensor)) continue;
    if (known.offset == offset && sizes == at::IntArrayRef(known.sizes) &&
        strides == at::IntArrayRef(known.strides)) {
      content.source = known.source;
      content.digest = known.digest;
      return true;
    }
  }
  const std::int64_t elements = reach(tensor);
  for (Known& known : memory.known) {
    const std::int64_t count = c10::multiply_integers(known.sizes);
    if (!known.row_major || known.dtype != tensor.scalar_type() || elements == 0 ||
        offset < known.offset || offset + elements > known.offset + count ||
        known.source.kind == Source::Kind::unknown || !holds(known, tensor)) {
      continue;
    }
    content.source = known.source;
    if (known.data_root && tensor.numel() == count && tensor.is_contiguous()) {
      // The same bytes in another shape: only the header is hashed.
      content.digest = reshaped_digest(tensor, *known.data_root);
    } else {
      content.digest = known.digest;
      content.view_offset = offset - known.offset;
    }
    return true;
  }
  return false;
}

Content KnownTensors::hash(Memory& memory, const at::Tensor& tensor) {
  Content content;
  content.source = memory.writer;
  if (!hashes_) return content;
  Commitment made;
  if (tensor.nbytes() >= kWorthThreads) {
    made = commit(tensor, kTorchThreads);
  } else {
    made = commit(tensor);
  }
  content.digest = made.digest;
  content.fresh = true;
  if (is_lazy(tensor)) return content;
  const auto& counter = tensor.unsafeGetTensorImpl()->version_counter();
  memory.known.push_back({Extents(tensor.sizes()), Extents(tensor.strides()),
                          tensor.storage_offset(), tensor.scalar_type(), tensor.is_contiguous(),
                          counter, counter.enabled() ? counter.current_version() : 0, memory.writer,
                          made.digest, made.data_root});
  return content;
}

void KnownTensors::add(const at::Tensor& tensor, Source source,
                       const std::optional<Digest>& digest) {
  if (!tensor.defined() || !unbound_reason(tensor).empty()) return;
  Memory& memory = find_or_add(tensor, source);
  if (!digest || is_lazy(tensor)) return;
  const auto& counter = tensor.unsafeGetTensorImpl()->version_counter();
  memory.known.push_back({Extents(tensor.sizes()), Extents(tensor.strides()),
                          tensor.storage_offset(), tensor.scalar_type(), tensor.is_contiguous(),
                          counter, counter.enabled() ? counter.current_version() : 0, source,
                          *digest, std::nullopt});
}

Content KnownTensors::read(const at::Tensor& tensor) {
  Content content;
  content.unbound = unbound_reason(tensor);
  if (!content.unbound.empty()) return content;
  Memory* memory = find(tensor);
  if (memory == nullptr) {
    ++outside_;
    memory = &find_or_add(tensor, {});
  }
  memory->uninitialized = false;
  if (recall(*memory, tensor, content)) return content;
  // Contents under older versions and counters are of no use any more.
  if (memory->known.size() >= 8) memory->known.clear();
  return hash(*memory, tensor);
}

Content KnownTensors::glance(const at::Tensor& tensor) {
  Content content;
  Memory* memory = unbound_reason(tensor).empty() ? find(tensor) : nullptr;
  if (memory == nullptr || !memory->uninitialized) return read(tensor);
  if (recall(*memory, tensor, content)) return content;
  content.source = memory->writer;
  content.uninitialized = true;
  return content;
}

void KnownTensors::wrote(const at::Tensor& tensor, Source source) {
  if (!tensor.defined() || !tensor.has_storage()) return;
  Memory& memory = find_or_add(tensor, source);
  memory.known.clear();
  memory.writer = source;
  if (unbound_reason(tensor).empty() && tensor.nbytes() >= tensor.storage().nbytes())
    memory.uninitialized = false;
}

void KnownTensors::filled(const at::Tensor& tensor) {
  if (!tensor.defined() || !tensor.has_storage()) return;
  if (Memory* memory = find(tensor)) memory->uninitialized = false;
}

Content KnownTensors::made(const at::Tensor& tensor, Source source, bool uninitialized) {
  Content content;
  content.unbound = unbound_reason(tensor);
  if (!content.unbound.empty()) return content;
  Memory* memory = find(tensor);
  if (memory != nullptr) {
    const Source& writer = memory->writer;
    if (writer.kind != source.kind || writer.number != source.number) return glance(tensor);
    if (uninitialized) {
      memory->uninitialized = true;
      content.uninitialized = true;
      content.source = source;
      return content;
    }
    // Just written: what it holds is its own, whatever the rest of the memory is; and a line cannot
    // say that a value is a view of what the same line made.
    const bool is_known = recall(*memory, tensor, content) && !content.view_offset;
    return is_known ? content : hash(*memory, tensor);
  }
  memory = &find_or_add(tensor, source);
  if (uninitialized) {
    memory->uninitialized = true;
    content.uninitialized = true;
    content.source = source;
    return content;
  }
  return hash(*memory, tensor);
}

}  // namespace torchnotary
