#include "torch/tensor_view.h"

#include <ATen/core/Tensor.h>
#include <c10/core/Layout.h>
#include <c10/core/ScalarType.h>

#include <string>

#include "hashing/errors.h"

namespace torchnotary {
namespace {

// As Python prints them.
const char* name_of(at::Layout layout) {
  switch (layout) {
    case at::kSparse:
      return "torch.sparse_coo";
    case at::kSparseCsr:
      return "torch.sparse_csr";
    case at::kSparseCsc:
      return "torch.sparse_csc";
    case at::kSparseBsr:
      return "torch.sparse_bsr";
    case at::kSparseBsc:
      return "torch.sparse_bsc";
    case at::kMkldnn:
      return "torch._mkldnn";
    case at::kJagged:
      return "torch.jagged";
    default:
      return "a layout newer than torchnotary";
  }
}

[[noreturn]] void refuse(const std::string& layout, const char* next_step) {
  throw UnsupportedTensor("no commitment rule for this layout", "torch.strided", layout, next_step);
}

void check_layout(const at::Tensor& tensor) {
  if (!tensor.defined()) refuse("undefined", "commit a tensor that holds values");
  if (tensor.is_nested()) refuse("nested", "commit its components, or a padded copy");
  if (tensor.is_quantized()) refuse("quantised", "commit .int_repr(), scale and zero point");
  if (tensor.layout() != at::kStrided) {
    refuse(name_of(tensor.layout()), "commit .to_dense(), or the tensors it is made of");
  }
  if (tensor.is_meta()) refuse("meta", "commit a tensor that holds values");
  if (tensor.unsafeGetTensorImpl()->is_python_dispatch()) {
    // FakeTensor, DTensor …: the class alone knows what its data are.
    refuse("a subclass with its own dispatch", "commit the tensors it is made of");
  }
  if (!tensor.has_storage()) refuse("a wrapper without storage", "commit the tensor it wraps");
}

// One past the last element of the storage that the tensor reads, in elements.
std::int64_t reach(const at::Tensor& tensor) {
  std::int64_t end = tensor.storage_offset() + 1;
  for (std::int64_t dim = 0; dim < tensor.dim(); ++dim) {
    end += (tensor.size(dim) - 1) * tensor.stride(dim);
  }
  return end;
}

}  // namespace

TensorView view_of(const at::Tensor& tensor) {
  const auto name = c10::getDtypeNames(tensor.scalar_type()).first;
  const auto sizes = tensor.sizes();
  const auto strides = tensor.strides();
  TensorView view{
      .data = static_cast<const std::byte*>(tensor.const_data_ptr()),
      .dtype = &dtype_of(name),
      .shape = {sizes.data(), sizes.size()},
      .strides = {strides.data(), strides.size()},
      .conj = tensor.is_conj(),
      .neg = tensor.is_neg(),
  };
  check(view);
  return view;
}

bool is_ordinary(const at::Tensor& tensor, std::size_t max_bytes) {
  constexpr c10::DispatchKeySet kTransforms{
      c10::DispatchKey::FuncTorchBatched, c10::DispatchKey::FuncTorchGradWrapper,
      c10::DispatchKey::Functionalize,    c10::DispatchKey::ZeroTensor,
      c10::DispatchKey::Batched,          c10::DispatchKey::Python};
  if (!tensor.defined() || !tensor.is_cpu() || tensor.layout() != at::kStrided ||
      tensor.is_quantized() || tensor.is_nested() || !tensor.has_storage() ||
      tensor.key_set().has_any(kTransforms)) {
    return false;
  }
  const std::size_t nbytes = tensor.nbytes();
  if (nbytes > max_bytes) return false;
  return nbytes == 0 ||
         static_cast<std::size_t>(reach(tensor)) * tensor.itemsize() <= tensor.storage().nbytes();
}

namespace {

at::Tensor on_host(const at::Tensor& tensor) {
  return tensor.is_cpu() ? tensor : tensor.detach().cpu();
}

}  // namespace

Commitment commit(const at::Tensor& tensor, ParallelFor parallel) {
  check_layout(tensor);
  const at::Tensor host = on_host(tensor);
  return commit(view_of(host), parallel);
}

Digest reshaped_digest(const at::Tensor& tensor, const Digest& data_root) {
  return tensor_digest(view_of(tensor), data_root);
}

void copy_data(const at::Tensor& tensor, MutableBytes out) {
  check_layout(tensor);
  const at::Tensor host = on_host(tensor);
  copy_data(view_of(host), out);
}

}  // namespace torchnotary
