// Resampling of one to three axes (docs/exact-profile.md, section 10).
#pragma once

#include <cstddef>
#include <optional>
#include <span>

#include "exact/element.h"
#include "hashing/parallel.h"

namespace torchnotary::exact {

// One axis; `factor` is the scale factor, where one was given and is kept.
struct ResampledAxis {
  std::size_t in = 1, out = 1;
  std::optional<double> factor{};
};

enum class Nearest { floor, exact };  // "nearest", "nearest-exact"

// `planes` contiguous tensors of one to three axes, whose elements, of `element_bytes` each (1, 2,
// 4 or 8), are moved.
void interpolate_nearest(std::span<const ResampledAxis> axes, std::size_t planes, const void* in,
                         void* out, std::size_t element_bytes, Nearest mode, ParallelFor parallel);

// "linear" of one axis, "bilinear" of two: the last axes of the tensors, which may have any
// strides.
void interpolate_linear(std::span<const ResampledAxis> axes, const Input& input,
                        const Output& output, bool align_corners, ParallelFor parallel);

}  // namespace torchnotary::exact
