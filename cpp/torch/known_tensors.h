// What a trace knows of the tensors it has met: what they hold, and where that was made.
//
// A tensor is hashed once. It is known again by its storage (held weakly, so that its address is
// not another's), its version counter and its geometry. A counter does not move for writes past
// torch (NumPy, ctypes), and tensors made in inference mode have none: what a traced operator
// writes is told by wrote(), what others write to those is not seen.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/StorageImpl.h>
#include <c10/util/SmallVector.h>
#include <c10/util/flat_hash_map.h>

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "tensor/commitment.h"

namespace torchnotary {

// Where a content was made: which parameter, buffer or input (by the number of its name), or which
// output of which line.
struct Source {
  enum class Kind : std::uint8_t { unknown, parameter, buffer, input, output };
  Kind kind = Kind::unknown;
  std::uint32_t output = 0;
  std::uint64_t number = 0;  // of the name or the line

  bool is(const Source& other) const {
    return kind == other.kind && output == other.output && number == other.number;
  }
};

// What is known of a tensor. Where `view_offset` is there, the tensor is a view, by its own
// strides, of the row-major tensor `source` names, at that offset in elements; `digest` is then
// that tensor's.
struct Content {
  Source source;
  std::optional<Digest> digest;
  std::optional<std::int64_t> view_offset;
  bool uninitialized = false;
  std::string_view unbound;  // why it has no digest: a static text
  bool fresh = false;        // hashed just now
};

class KnownTensors {
 public:
  // `writes_are_told`: whether wrote() is called for every operator. `hashes`: false leaves every
  // digest out, for measuring. `base`, which must outlive this, is asked about storages that are
  // met for the first time.
  KnownTensors(bool writes_are_told, bool hashes, const KnownTensors* base = nullptr)
      : writes_are_told_(writes_are_told), hashes_(hashes), base_(base) {}

  // Says where `tensor` comes from, and its digest where that is known.
  void add(const at::Tensor& tensor, Source source, const std::optional<Digest>& digest);

  // The content of a tensor that an operator reads.
  Content read(const at::Tensor& tensor);
  // The same for one whose content the operator does not look at: uninitialized memory stays so.
  Content glance(const at::Tensor& tensor);

  // The memory of `tensor` was written: what was known of it, views included, no longer holds.
  void wrote(const at::Tensor& tensor, Source source);
  // The content of a tensor that an operator returned, new or a view.
  Content made(const at::Tensor& tensor, Source source, bool uninitialized);
  // Somebody fills memory without telling torch: it is to be read as it is.
  void filled(const at::Tensor& tensor);

  // To be called before every operator: forgets storages that are gone, those met lately at once.
  // What a weak reference keeps of a storage lies between the tensors that come and go, and splits
  // the heap.
  void forget_gone();

  // Tensors that were read and came from nowhere this knows.
  std::uint64_t outside() const { return outside_; }

 private:
  using Extents = c10::SmallVector<std::int64_t, 5>;

  struct Known {
    Extents sizes, strides;
    std::int64_t offset;
    at::ScalarType dtype;
    bool row_major;
    c10::VariableVersion counter;
    std::uint32_t version;
    Source source;
    Digest digest;
    std::optional<Digest> data_root;
  };

  struct Memory {
    c10::weak_intrusive_ptr<c10::StorageImpl> storage{c10::intrusive_ptr<c10::StorageImpl>()};
    const void* data = nullptr;
    bool uninitialized = false;  // or written in part only, as far as is known
    Source writer;
    c10::SmallVector<Known, 1> known;
  };

  Memory* find(const at::Tensor& tensor);
  Memory& insert(c10::StorageImpl* storage);
  Memory& find_or_add(const at::Tensor& tensor, Source writer);
  bool holds(const Known& known, const at::Tensor& tensor) const;
  bool recall(Memory& memory, const at::Tensor& tensor, Content& content) const;
  Content hash(Memory& memory, const at::Tensor& tensor);
  void retire(std::unique_ptr<Memory> memory);

  const bool writes_are_told_;
  const bool hashes_;
  const KnownTensors* const base_;
  ska::flat_hash_map<c10::StorageImpl*, std::unique_ptr<Memory>> memories_;
  std::vector<std::unique_ptr<Memory>> spare_;  // of storages that are gone
  struct Young {
    c10::StorageImpl* storage;
    int age;  // in operators
  };
  std::vector<Young> young_;            // met lately: most are gone soon
  std::vector<c10::StorageImpl*> old_;  // a few are looked at in turn
  std::size_t next_old_ = 0;
  std::uint64_t outside_ = 0;
};

// Why a tensor cannot be committed to, as a static text; empty where it can.
std::string_view unbound_reason(const at::Tensor& tensor);

}  // namespace torchnotary
