// Operators that move or select bits, or make constants, and so are torch's own under exact/1
// (docs/exact-profile.md, section 2).
#include "torch/exact_dispatch.h"

#include <ATen/native/TypeProperties.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>

#include <vector>

#include "torch/exact_conversions.h"
#include "torch/exact_tensors.h"

namespace torchnotary::exact {
namespace {

// Names without an overload stand for all overloads.
constexpr const char* kMoves[] = {
    // views
    "aten::_reshape_alias",
    "aten::_unsafe_view",
    "aten::alias",
    "aten::as_strided",
    "aten::broadcast_to",
    "aten::chunk",
    "aten::detach",
    "aten::detach_",
    "aten::diagonal",
    "aten::expand",
    "aten::expand_as",
    "aten::flatten",
    "aten::lift",
    "aten::lift_fresh",
    "aten::movedim",
    "aten::narrow",
    "aten::permute",
    "aten::reshape",
    "aten::reshape_as",
    "aten::select",
    "aten::slice",
    "aten::split",
    "aten::split_with_sizes",
    "aten::squeeze",
    "aten::squeeze_",
    "aten::t",
    "aten::tensor_split",
    "aten::transpose",
    "aten::transpose_",
    "aten::unbind",
    "aten::unflatten",
    "aten::unfold",
    "aten::unsqueeze",
    "aten::unsqueeze_",
    "aten::view",
    "aten::view_as",
    "aten::resize_",
    "aten::set_",
    "aten::unsafe_split",
    "aten::unsafe_split_with_sizes",
    // copies
    "aten::clone",
    "aten::contiguous",
    "aten::repeat",
    "aten::repeat_interleave",
    "aten::tile",
    "aten::flip",
    "aten::roll",
    "aten::rot90",
    "aten::tril",
    "aten::tril_",
    "aten::triu",
    "aten::triu_",
    "aten::constant_pad_nd",
    "aten::reflection_pad1d",
    "aten::reflection_pad2d",
    "aten::replication_pad1d",
    "aten::replication_pad2d",
    "aten::im2col",
    "aten::pixel_shuffle",
    "aten::pixel_unshuffle",
    "aten::channel_shuffle",
    "aten::diag_embed",
    "aten::block_diag",
    "aten::diagonal_copy",
    "aten::reflection_pad3d",
    "aten::replication_pad3d",
    "aten::_pack_padded_sequence",
    // selection
    "aten::index.Tensor",
    "aten::index_select",
    "aten::index_copy",
    "aten::index_copy_",
    "aten::index_fill",
    "aten::index_fill_",
    "aten::gather",
    "aten::take",
    "aten::take_along_dim",
    "aten::embedding",
    "aten::masked_fill",
    "aten::masked_fill_",
    "aten::masked_select",
    "aten::masked_scatter",
    "aten::masked_scatter_",
    "aten::scatter.src",
    "aten::scatter.value",
    "aten::scatter_.src",
    "aten::scatter_.value",
    "aten::select_scatter",
    "aten::slice_scatter",
    "aten::nonzero",
    "aten::any",
    "aten::all",
    "aten::equal",
    "aten::is_nonzero",
    "aten::item",
    "aten::_local_scalar_dense",
    "aten::signbit",
    "aten::count_nonzero",
    "aten::searchsorted",
    "aten::bucketize",
    // constants
    "aten::empty",
    "aten::empty_like",
    "aten::empty_permuted",
    "aten::empty_strided",
    "aten::full",
    "aten::full_like",
    "aten::fill",
    "aten::fill_",
    "aten::new_empty",
    "aten::new_empty_strided",
    "aten::new_full",
    "aten::new_ones",
    "aten::new_zeros",
    "aten::ones",
    "aten::ones_like",
    "aten::scalar_tensor",
    "aten::zero_",
    "aten::zeros",
    "aten::zeros_like",
    "aten::eye",
    "aten::tril_indices",
    "aten::triu_indices",
};

// cat and stack convert where the types differ; each part is then converted first.
template <bool kStacks>
bool join(Arguments a, Results& results) {
  std::vector<at::Tensor> parts = a[0].toTensorVector();
  bool same = true;
  at::native::ResultTypeState state = {};
  for (const at::Tensor& each : parts) {
    same &= each.scalar_type() == parts[0].scalar_type();
    state = at::native::update_result_type_state(each, state);
  }
  if (same) return results.only_moves();
  const at::ScalarType type = at::native::result_type(state);
  if (!is_float(type)) return false;
  for (at::Tensor& each : parts) each = converted(each, type);
  results.add(kStacks ? at::stack(parts, a[1].toInt()) : at::cat(parts, a[1].toInt()));
  return true;
}

constexpr NamedKernel kKernels[] = {
    {"aten::cat", &join<false>},
    {"aten::stack", &join<true>},
};

}  // namespace

std::span<const char* const> moving_operators() { return kMoves; }

std::span<const NamedKernel> moving_kernels() { return kKernels; }

}  // namespace torchnotary::exact
