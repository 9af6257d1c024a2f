// Pooling and resampling, and bags of rows (docs/exact-profile.md, section 10).
#include <ATen/native/Pool.h>

#include <array>
#include <optional>
#include <string>
#include <vector>

#include "exact/embedding_bag.h"
#include "exact/interpolate.h"
#include "exact/pooling.h"
#include "torch/exact_dispatch.h"
#include "torch/exact_tensors.h"
#include "torch/intra_op.h"

namespace torchnotary::exact {
namespace {

// An argument with a number for each of `axes` axes, or one for all; `otherwise` where it is empty.
std::vector<std::int64_t> per_axis(const c10::IValue& value, std::size_t axes,
                                   const std::vector<std::int64_t>& otherwise = {}) {
  const auto given = value.toIntVector();
  if (given.empty() && !otherwise.empty()) return otherwise;
  TORCH_CHECK(given.size() == axes || given.size() == 1, "pooling: expected ", axes,
              " numbers, got ", given.size());
  return given.size() == axes ? given : std::vector<std::int64_t>(axes, given[0]);
}

// Its last axes are windows over those of the input.
template <std::size_t kAxes>
struct Windows {
  PoolAxes axes{};
  at::DimVector out;  // sizes of the result

  PoolAxis& axis(std::size_t i) { return axes[3 - kAxes + i]; }
};

template <std::size_t kAxes>
Windows<kAxes> windows_over(const at::Tensor& x) {
  TORCH_CHECK(x.dim() == kAxes + 1 || x.dim() == kAxes + 2, "pooling: an input of ", x.sizes(),
              " does not have ", kAxes, " axes and channels");
  Windows<kAxes> windows;
  windows.out.assign(x.sizes().begin(), x.sizes().end());
  for (std::size_t i = 0; i < kAxes; ++i) {
    const auto size = x.size(x.dim() - static_cast<std::int64_t>(kAxes - i));
    TORCH_CHECK(size > 0, "pooling: an input of ", x.sizes(), " has an axis without elements");
    windows.axis(i).in = static_cast<std::size_t>(size);
  }
  return windows;
}

// In the memory format of the input, as torch gives it.
at::Tensor laid_out_like(const at::Tensor& x, const at::Tensor& made) {
  return made.dim() > 3 ? made.contiguous(x.suggest_memory_format()) : made;
}

struct WindowArguments {
  std::vector<std::int64_t> kernel, stride, padding, dilation;
  bool ceil;
};

template <std::size_t kAxes>
Windows<kAxes> sliding(const at::Tensor& x, const WindowArguments& given) {
  Windows<kAxes> windows = windows_over<kAxes>(x);
  for (std::size_t i = 0; i < kAxes; ++i) {
    PoolAxis& axis = windows.axis(i);
    TORCH_CHECK(given.kernel[i] > 0 && given.stride[i] > 0 && given.dilation[i] > 0 &&
                    given.padding[i] >= 0 && given.padding[i] <= given.kernel[i] / 2,
                "pooling: kernel, stride and dilation must be positive, padding at most half the "
                "kernel");
    const std::int64_t out = at::native::pooling_output_shape<std::int64_t>(
        static_cast<std::int64_t>(axis.in), given.kernel[i], given.padding[i], given.stride[i],
        given.dilation[i], given.ceil);
    TORCH_CHECK(out > 0, "pooling: the windows do not fit an input of ", x.sizes());
    windows.out[windows.out.size() - kAxes + i] = out;
    axis = {.in = axis.in,
            .out = static_cast<std::size_t>(out),
            .kernel = static_cast<std::size_t>(given.kernel[i]),
            .stride = static_cast<std::size_t>(given.stride[i]),
            .padding = static_cast<std::size_t>(given.padding[i]),
            .dilation = static_cast<std::size_t>(given.dilation[i])};
  }
  return windows;
}

template <std::size_t kAxes>
Windows<kAxes> adaptive(const at::Tensor& x, const c10::IValue& sizes) {
  Windows<kAxes> windows = windows_over<kAxes>(x);
  const auto out = per_axis(sizes, kAxes);
  for (std::size_t i = 0; i < kAxes; ++i) {
    TORCH_CHECK(out[i] > 0, "adaptive pooling: an output size must be positive");
    windows.out[windows.out.size() - kAxes + i] = out[i];
    windows.axis(i).out = static_cast<std::size_t>(out[i]);
    windows.axis(i).adaptive = true;
  }
  return windows;
}

// (planes, depth, rows, columns), as kernels want it.
template <std::size_t kAxes>
at::Tensor planes_of(const at::Tensor& tensor) {
  at::DimVector sizes{-1};
  for (std::size_t i = 0; i < 3 - kAxes; ++i) sizes.push_back(1);
  for (std::size_t i = 0; i < kAxes; ++i) {
    sizes.push_back(tensor.size(tensor.dim() - static_cast<std::int64_t>(kAxes - i)));
  }
  return tensor.reshape(sizes);
}

template <std::size_t kAxes>
bool greatest(const at::Tensor& x, const Windows<kAxes>& windows, bool with_indices,
              Results& results) {
  const at::Tensor out = results.fresh(windows.out, x.scalar_type());
  at::Tensor indices;
  if (with_indices) indices = results.fresh(windows.out, at::kLong);
  if (out.numel() > 0) {
    const at::Tensor from = planes_of<kAxes>(x), to = planes_of<kAxes>(out);
    max_pool(windows.axes, input_of(from), output_of(to),
             with_indices ? indices.mutable_data_ptr<std::int64_t>() : nullptr, kIntraOpThreads);
  }
  results.add(laid_out_like(x, out));
  if (with_indices) results.add(laid_out_like(x, indices));
  return true;
}

template <std::size_t kAxes>
bool average(const at::Tensor& x, const Windows<kAxes>& windows, AverageOver over,
             std::int64_t divisor, Results& results) {
  const at::Tensor out = results.fresh(windows.out, x.scalar_type());
  if (out.numel() > 0) {
    const at::Tensor from = planes_of<kAxes>(x), to = planes_of<kAxes>(out);
    average_pool(windows.axes, input_of(from), output_of(to), over, divisor, kIntraOpThreads);
  }
  results.add(laid_out_like(x, out));
  return true;
}

// self, kernel, stride, padding, dilation, ceil_mode
template <std::size_t kAxes, bool kWithIndices>
bool max_pool_kernel(Arguments a, Results& results) {
  const at::Tensor& x = a[0].toTensor();
  if (!is_float(x.scalar_type())) return false;
  const auto kernel = per_axis(a[1], kAxes);
  return greatest(x,
                  sliding<kAxes>(x, {kernel, per_axis(a[2], kAxes, kernel), per_axis(a[3], kAxes),
                                     per_axis(a[4], kAxes), a[5].toBool()}),
                  kWithIndices, results);
}

// self, kernel, stride, padding, ceil_mode, count_include_pad, divisor_override
template <std::size_t kAxes>
bool average_pool_kernel(Arguments a, Results& results) {
  const at::Tensor& x = a[0].toTensor();
  if (!is_float(x.scalar_type())) return false;
  const auto kernel = per_axis(a[1], kAxes);
  const std::vector<std::int64_t> ones(kAxes, 1);
  const bool has_divisor = a.size() > 6 && !a[6].isNone();
  TORCH_CHECK(!has_divisor || a[6].toInt() != 0, "avg_pool: the divisor must not be zero");
  return average(x,
                 sliding<kAxes>(x, {kernel, per_axis(a[2], kAxes, kernel), per_axis(a[3], kAxes),
                                    ones, a[4].toBool()}),
                 a[5].toBool() ? AverageOver::padded : AverageOver::elements,
                 has_divisor ? a[6].toInt() : 0, results);
}

template <std::size_t kAxes>
bool adaptive_average(Arguments a, Results& results) {  // self, output_size
  const at::Tensor& x = a[0].toTensor();
  if (!is_float(x.scalar_type())) return false;
  return average(x, adaptive<kAxes>(x, a[1]), AverageOver::elements, 0, results);
}

template <std::size_t kAxes>
bool adaptive_greatest(Arguments a, Results& results) {  // self, output_size
  const at::Tensor& x = a[0].toTensor();
  if (!is_float(x.scalar_type())) return false;
  return greatest(x, adaptive<kAxes>(x, a[1]), true, results);
}

template <std::size_t kAxes>
struct Resampling {
  std::array<ResampledAxis, kAxes> axes;
  at::DimVector out;
};

// `scales` are the last kAxes arguments.
template <std::size_t kAxes>
Resampling<kAxes> resampling(const at::Tensor& x, const c10::IValue& size, Arguments scales) {
  TORCH_CHECK(x.dim() == kAxes + 2, "interpolate: an input of ", x.sizes(), " does not have ",
              kAxes + 2, " axes");
  Resampling<kAxes> made;
  made.out.assign(x.sizes().begin(), x.sizes().begin() + 2);
  const auto out = size.toIntVector();
  TORCH_CHECK(out.size() == kAxes, "interpolate: expected ", kAxes, " sizes");
  for (std::size_t i = 0; i < kAxes; ++i) {
    const std::int64_t in = x.size(static_cast<std::int64_t>(i) + 2);
    TORCH_CHECK(in > 0 && out[i] > 0, "interpolate: sizes must be positive");
    made.out.push_back(out[i]);
    made.axes[i] = {static_cast<std::size_t>(in), static_cast<std::size_t>(out[i]),
                    scales[i].isNone() ? std::nullopt : std::optional(scales[i].toDouble())};
  }
  return made;
}

template <std::size_t kAxes, Nearest kMode>
bool nearest(Arguments a, Results& results) {  // self, output_size, scales …
  const at::Tensor& self = a[0].toTensor();
  const auto made = resampling<kAxes>(self, a[1], a.subspan(2, kAxes));
  const at::Tensor x = self.contiguous();
  const at::Tensor out = results.fresh(made.out, x.scalar_type());
  if (out.numel() > 0) {
    interpolate_nearest(made.axes, static_cast<std::size_t>(x.size(0) * x.size(1)),
                        x.const_data_ptr(), out.mutable_data_ptr(), x.element_size(), kMode,
                        kIntraOpThreads);
  }
  results.add(laid_out_like(self, out));
  return true;
}

template <std::size_t kAxes>
bool between(Arguments a, Results& results) {  // self, output_size, align_corners, scales …
  const at::Tensor& x = a[0].toTensor();
  if (!is_float(x.scalar_type())) return false;
  const auto made = resampling<kAxes>(x, a[1], a.subspan(3, kAxes));
  const at::Tensor out = results.fresh(made.out, x.scalar_type());
  if (out.numel() > 0) {
    interpolate_linear(made.axes, input_of(x), output_of(out), a[2].toBool(), kIntraOpThreads);
  }
  results.add(laid_out_like(x, out));
  return true;
}

std::vector<std::int64_t> int64s(const at::Tensor& tensor) {
  const at::Tensor wide = tensor.to(at::kLong).contiguous();
  const auto* first = wide.const_data_ptr<std::int64_t>();
  return {first, first + wide.numel()};
}

// Where bags end, from where they begin.
std::vector<std::int64_t> ends_of(const at::Tensor& offsets, bool has_last, std::int64_t count) {
  std::vector<std::int64_t> ends = int64s(offsets);
  TORCH_CHECK(ends.empty() ? count == 0 : ends[0] == 0,
              "embedding_bag: the first offset has to be 0");
  TORCH_CHECK(!has_last || !ends.empty(), "embedding_bag: no last offset");
  if (!ends.empty()) ends.erase(ends.begin());
  if (!has_last && offsets.numel() > 0) ends.push_back(count);
  std::int64_t before = 0;
  for (const std::int64_t end : ends) {
    TORCH_CHECK(before <= end && end <= count, "embedding_bag: offsets have to ascend to at most ",
                count, ", got ", end, " after ", before);
    before = end;
  }
  return ends;
}

// weight, indices, offsets, scale_grad_by_freq, mode, sparse, per_sample_weights,
// include_last_offset, then `padding`. What torch returns besides the bags serves gradients only,
// and is empty here.
bool bags(Arguments a, std::optional<std::int64_t> padding, Results& results) {
  const at::Tensor &table = a[0].toTensor(), &indices = a[1].toTensor();
  const at::Tensor weights = optional_tensor(a[6]);
  const std::int64_t mode = a[4].toInt();
  TORCH_CHECK(table.dim() == 2 && indices.dim() == 1 && a[2].toTensor().dim() == 1,
              "embedding_bag: expected a table (rows, columns), indices and offsets");
  TORCH_CHECK(mode >= 0 && mode <= 2, "embedding_bag: unknown mode ", mode);
  TORCH_CHECK(!weights.defined() || (mode == 0 && weights.sizes() == indices.sizes()),
              "embedding_bag: per_sample_weights need mode='sum' and one weight an index");
  storage_of(table.scalar_type());
  const std::vector<std::int64_t> rows = int64s(indices);
  const std::vector<std::int64_t> ends = ends_of(a[2].toTensor(), a[7].toBool(), indices.numel());
  for (const std::int64_t row : rows) {
    TORCH_CHECK_INDEX(row >= 0 && row < table.size(0), "embedding_bag: index ", row,
                      " lies outside a table of ", table.size(0), " rows");
  }
  const at::Tensor factors = weights.defined() ? as_float32(weights) : weights;
  const at::Tensor out =
      results.fresh({static_cast<std::int64_t>(ends.size()), table.size(1)}, table.scalar_type());
  constexpr BagMode kModes[] = {BagMode::sum, BagMode::mean, BagMode::max};
  embedding_bag(kModes[mode], input_of(table), rows, ends, padding,
                factors.defined() ? factors.const_data_ptr<float>() : nullptr, output_of(out),
                kIntraOpThreads);
  results.add(out);
  for (int i = 0; i < 3; ++i) results.add(results.fresh({0}, indices.scalar_type()));
  return true;
}

bool bags_without_padding(Arguments a, Results& results) { return bags(a, std::nullopt, results); }

bool bags_with_padding(Arguments a, Results& results) {  // a negative one counts from the end
  if (a[8].isNone()) return bags(a, std::nullopt, results);
  return bags(a, axis_of(a[8].toInt(), a[0].toTensor().size(0)), results);
}

bool bags_within(Arguments a, Results& results) {  // negative: no padding
  const std::int64_t padding = a[8].toInt();
  return bags(a, padding < 0 ? std::nullopt : std::optional(padding), results);
}

constexpr NamedKernel kKernels[] = {
    {"aten::embedding_bag", &bags_without_padding},
    {"aten::embedding_bag.padding_idx", &bags_with_padding},
    {"aten::_embedding_bag", &bags_within},
    {"aten::_embedding_bag_forward_only", &bags_within},
    {"aten::max_pool1d", &max_pool_kernel<1, false>},
    {"aten::max_pool2d", &max_pool_kernel<2, false>},
    {"aten::max_pool3d", &max_pool_kernel<3, false>},
    {"aten::max_pool1d_with_indices", &max_pool_kernel<1, true>},
    {"aten::max_pool2d_with_indices", &max_pool_kernel<2, true>},
    {"aten::max_pool3d_with_indices", &max_pool_kernel<3, true>},
    {"aten::avg_pool1d", &average_pool_kernel<1>},
    {"aten::avg_pool2d", &average_pool_kernel<2>},
    {"aten::avg_pool3d", &average_pool_kernel<3>},
    {"aten::adaptive_avg_pool1d", &adaptive_average<1>},
    {"aten::adaptive_avg_pool2d", &adaptive_average<2>},
    {"aten::adaptive_avg_pool3d", &adaptive_average<3>},
    {"aten::adaptive_max_pool1d", &adaptive_greatest<1>},
    {"aten::adaptive_max_pool2d", &adaptive_greatest<2>},
    {"aten::adaptive_max_pool3d", &adaptive_greatest<3>},
    {"aten::upsample_nearest1d", &nearest<1, Nearest::floor>},
    {"aten::upsample_nearest2d", &nearest<2, Nearest::floor>},
    {"aten::upsample_nearest3d", &nearest<3, Nearest::floor>},
    {"aten::_upsample_nearest_exact1d", &nearest<1, Nearest::exact>},
    {"aten::_upsample_nearest_exact2d", &nearest<2, Nearest::exact>},
    {"aten::_upsample_nearest_exact3d", &nearest<3, Nearest::exact>},
    {"aten::upsample_linear1d", &between<1>},
    {"aten::upsample_bilinear2d", &between<2>},
};

}  // namespace

std::span<const NamedKernel> window_kernels() { return kKernels; }

}  // namespace torchnotary::exact
