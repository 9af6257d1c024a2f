// layer_norm, rms_norm, batch_norm as it evaluates, group_norm (docs/exact-profile.md, section 7).
#pragma once

#include <cstddef>

#include "exact/element.h"
#include "hashing/parallel.h"

namespace torchnotary::exact {

// Adjacent floating numbers; none where data is null.
struct Parameter {
  const void* data = nullptr;
  Element element = Element::float32;
};

// x and y are floating and have the same sizes; they may be the same memory. eps is rounded to
// binary32.

// Over the last `axes` axes; parameters have one number for each element of these.
void layer_norm(const Input& x, const Output& y, std::size_t axes, Parameter weight, Parameter bias,
                float eps, ParallelFor parallel = kSerial);
void rms_norm(const Input& x, const Output& y, std::size_t axes, Parameter weight, float eps,
              ParallelFor parallel = kSerial);

// Axis 1 has the channels, and each parameter one number for each of them.
void batch_norm(const Input& x, const Output& y, Parameter mean, Parameter variance,
                Parameter weight, Parameter bias, float eps, ParallelFor parallel = kSerial);
// `groups` divides the number of channels. instance_norm has a group for each channel.
void group_norm(const Input& x, const Output& y, std::size_t groups, Parameter weight,
                Parameter bias, float eps, ParallelFor parallel = kSerial);

}  // namespace torchnotary::exact
