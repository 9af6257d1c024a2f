// Where a tensor's memory is, and how often torch wrote to it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstddef>
#include <cstdint>
#include <optional>

namespace torchnotary {

struct TensorState {
  const void* address;                   // null of a tensor without storage
  std::optional<std::uint32_t> version;  // absent of inference tensors, which have none

  bool operator==(const TensorState&) const = default;
};

inline TensorState tensor_state(const at::Tensor& tensor) {
  TensorState state{nullptr, std::nullopt};
  if (tensor.has_storage()) {
    // Past data_ptr(), which would materialise a lazy copy.
    const auto offset = static_cast<std::size_t>(tensor.storage_offset()) * tensor.itemsize();
    state.address = static_cast<const std::byte*>(tensor.storage().data()) + offset;
  }
  if (!tensor.is_inference()) state.version = tensor._version();
  return state;
}

}  // namespace torchnotary
