// scaled_dot_product_attention (docs/exact-profile.md, section 8).
#include <ATen/ExpandUtils.h>

#include <cmath>

#include "exact/attention.h"
#include "torch/exact_dispatch.h"
#include "torch/exact_tensors.h"
#include "torch/intra_op.h"

namespace torchnotary::exact {
namespace {

// As (batch, heads, rows, elements) with adjacent elements.
at::Tensor four_axes(at::Tensor tensor) {
  while (tensor.dim() < 4) tensor = tensor.unsqueeze(0);
  if (tensor.dim() > 4) tensor = tensor.flatten(0, tensor.dim() - 4);
  return tensor.size(-1) > 1 && tensor.stride(-1) != 1 ? tensor.contiguous() : tensor;
}

AttentionInput rows_of(const at::Tensor& tensor) {
  return {tensor.const_data_ptr(), tensor.stride(0), tensor.stride(1), tensor.stride(2)};
}

// The mask over (batch, heads, queries, keys).
AttentionMask mask_of(const at::Tensor& mask) {
  const bool is_boolean = mask.scalar_type() == at::kBool;
  return {.kind = is_boolean ? AttentionMask::Kind::boolean : AttentionMask::Kind::additive,
          .storage = is_boolean ? Storage::float32 : storage_of(mask.scalar_type()),
          .data = mask.const_data_ptr(),
          .batch_stride = mask.stride(0),
          .head_stride = mask.stride(1),
          .query_stride = mask.stride(2),
          .key_stride = mask.stride(3)};
}

// query, key, value, attn_mask, dropout_p, is_causal, scale, enable_gqa
bool attention_kernel(Arguments a, Results& results) {
  const at::Tensor& query = a[0].toTensor();
  if (!is_float(query.scalar_type())) return false;
  if (a[4].toDouble() > 0) {
    refuse("attention with dropout draws random numbers, which exact/1 does not specify",
           "dropout_p=0", std::to_string(a[4].toDouble()), "call model.eval()");
  }
  TORCH_CHECK(query.dim() >= 2 && a[1].toTensor().dim() == query.dim() &&
                  a[2].toTensor().dim() == query.dim(),
              "scaled_dot_product_attention: query, key and value need as many axes, two or more");
  const at::Tensor q = four_axes(query);
  at::Tensor k = four_axes(a[1].toTensor()), v = four_axes(a[2].toTensor());
  TORCH_CHECK(k.scalar_type() == q.scalar_type() && v.scalar_type() == q.scalar_type(),
              "scaled_dot_product_attention: expected one type, got ", q.scalar_type(), ", ",
              k.scalar_type(), " and ", v.scalar_type());
  const std::int64_t heads = q.size(1), keys = k.size(2);
  if (!a[7].toBool()) {  // else heads of queries share those of keys
    k = k.expand({q.size(0), heads, keys, k.size(3)});
    v = v.expand({q.size(0), heads, v.size(2), v.size(3)});
  }
  TORCH_CHECK(k.size(0) == q.size(0) && v.size(0) == q.size(0) && k.size(3) == q.size(3) &&
                  v.size(2) == keys && k.size(1) == v.size(1) && k.size(1) > 0 &&
                  heads % k.size(1) == 0,
              "scaled_dot_product_attention: shapes ", query.sizes(), ", ", a[1].toTensor().sizes(),
              " and ", a[2].toTensor().sizes(), " do not fit");
  Attention attention{.storage = storage_of(q.scalar_type()),
                      .batch = static_cast<std::size_t>(q.size(0)),
                      .heads = static_cast<std::size_t>(heads),
                      .key_heads = static_cast<std::size_t>(k.size(1)),
                      .queries = static_cast<std::size_t>(q.size(2)),
                      .keys = static_cast<std::size_t>(keys),
                      .width = static_cast<std::size_t>(q.size(3)),
                      .value_width = static_cast<std::size_t>(v.size(3)),
                      .q = rows_of(q),
                      .k = rows_of(k),
                      .v = rows_of(v)};
  attention.causal = a[5].toBool();
  at::Tensor mask = optional_tensor(a[3]);
  if (mask.defined()) {
    TORCH_CHECK(!attention.causal,
                "scaled_dot_product_attention: attn_mask and is_causal exclude one another");
    at::DimVector sizes(query.sizes().begin(), query.sizes().end() - 1);
    sizes.push_back(keys);
    mask = mask.expand(sizes);
    while (mask.dim() < 4) mask = mask.unsqueeze(0);
    if (mask.dim() > 4) mask = mask.flatten(0, mask.dim() - 4);
    attention.mask = mask_of(mask);
  }
  attention.scale = static_cast<float>(a[6].isNone() ? 1 / std::sqrt(static_cast<double>(q.size(3)))
                                                     : a[6].toDouble());
  // Laid out like the queries, as torch's own kernel does: where these have rows before heads,
  // models view the two axes behind them as one.
  const bool rows_first = query.dim() == 4 && q.stride(1) < q.stride(2);
  const at::Tensor out =
      rows_first
          ? results.fresh({q.size(0), q.size(2), heads, v.size(3)}, q.scalar_type()).transpose(1, 2)
          : results.fresh({q.size(0), heads, q.size(2), v.size(3)}, q.scalar_type());
  attention.output = {out.mutable_data_ptr(), out.stride(0), out.stride(1), out.stride(2)};
  exact::attention(attention, kIntraOpThreads);
  if (query.dim() == 4) {
    results.add(out);
  } else {
    at::DimVector sizes(query.sizes().begin(), query.sizes().end() - 1);
    sizes.push_back(v.size(3));
    results.add(out.reshape(sizes));
  }
  return true;
}

constexpr NamedKernel kKernels[] = {
    {"aten::scaled_dot_product_attention", &attention_kernel},
};

}  // namespace

std::span<const NamedKernel> attention_kernels() { return kKernels; }

}  // namespace torchnotary::exact
