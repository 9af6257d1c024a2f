// Sums, means and maxima of rows of a table (docs/exact-profile.md, section 10).
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>

#include "exact/element.h"
#include "hashing/parallel.h"

namespace torchnotary::exact {

enum class BagMode { sum, mean, max };

// `table` is (rows, columns) and `output` (bags, columns), with any strides. Bag b has the rows
// indices[ends[b − 1]] … indices[ends[b] − 1], of which those equal to `padding` are left out.
// `weights`, if not null, has a number for each index (only for sums). Raises NotaryError for an
// index outside the table.
void embedding_bag(BagMode mode, const Input& table, std::span<const std::int64_t> indices,
                   std::span<const std::int64_t> ends, std::optional<std::int64_t> padding,
                   const float* weights, const Output& output, ParallelFor parallel);

}  // namespace torchnotary::exact
