// Sources that are added to, or otherwise joined with, the elements that indices name
// (docs/exact-profile.md, section 7).
#pragma once

#include <cstddef>
#include <cstdint>

#include "exact/element.h"
#include "hashing/parallel.h"

namespace torchnotary::exact {

enum class ScatterOp : std::uint8_t { add, multiply, mean, greatest, least };

// Each element of `target` that indices name becomes op of itself and of its sources, in ascending
// order; of its sources alone without `include_self`. Along `axis` indices[…, i, …] says where
// source[…, i, …] goes; along the others places are the same. `indices` (int64, all within the
// target) and `source` (float32) have the same sizes, beyond the target's along `axis` at most;
// `target` is float32.
void scatter(ScatterOp op, const Input& indices, const Input& source, const Output& target,
             std::size_t axis, bool include_self, ParallelFor parallel = kSerial);

}  // namespace torchnotary::exact
