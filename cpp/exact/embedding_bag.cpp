#include "exact/embedding_bag.h"

#include <algorithm>
#include <cstring>
#include <string>
#include <vector>

#include "exact/contiguous.h"
#include "exact/convert.h"
#include "exact/elementwise_kernels.h"
#include "exact/environment.h"
#include "exact/lane_sums.h"
#include "exact/storage.h"
#include "hashing/errors.h"

namespace torchnotary::exact {
namespace {

// Columns that are summed side by side.
constexpr std::size_t kColumns = 256;

// Reads parts of a table's rows as binary32.
class Rows {
 public:
  explicit Rows(const Input& table) : table_(table) {}

  const float* read(std::int64_t row, std::size_t column, std::size_t n) {
    const auto size = static_cast<std::ptrdiff_t>(element_size(table_.element));
    const std::ptrdiff_t step = table_.strides[1] * size;
    const auto* from = static_cast<const std::byte*>(table_.data) + row * table_.strides[0] * size +
                       static_cast<std::ptrdiff_t>(column) * step;
    if (table_.strides[1] != 1) {
      for (std::size_t c = 0; c < n; ++c) {
        std::memcpy(raw_ + c * element_size(table_.element),
                    from + static_cast<std::ptrdiff_t>(c) * step, element_size(table_.element));
      }
      from = raw_;
    }
    if (table_.element == Element::float32) return reinterpret_cast<const float*>(from);
    widen(from, table_.element, wide_, n);
    return wide_;
  }

 private:
  const Input& table_;
  alignas(64) std::byte raw_[kColumns * 8];
  alignas(64) float wide_[kColumns];
};

struct Bag {
  BagMode mode;
  std::span<const std::int64_t> indices;
  const float* weights;
  std::optional<std::int64_t> padding;

  bool takes(std::size_t i) const { return !padding || indices[i] != *padding; }
  std::size_t rows() const {
    std::size_t n = 0;
    for (std::size_t i = 0; i < indices.size(); ++i) n += takes(i) ? 1 : 0;
    return n;
  }
};

void maximum(const Bag& bag, Rows& rows, std::size_t column, std::size_t n, float* out) {
  const ArithmeticKernel maximum =
      elementwise_kernels().arithmetic[static_cast<std::size_t>(ElementOp::maximum)];
  bool first = true;
  for (std::size_t i = 0; i < bag.indices.size(); ++i) {
    if (!bag.takes(i)) continue;
    const float* row = rows.read(bag.indices[i], column, n);
    const float* const inputs[3] = {row, first ? row : out, nullptr};
    maximum(inputs, out, n, nullptr);
    first = false;
  }
  if (first) std::fill_n(out, n, 0.0f);
}

void sum(const Bag& bag, Rows& rows, std::size_t column, std::size_t n, float* out) {
  const std::size_t count = bag.rows();
  with_lanes<kColumns>(count, n, [&](auto& lanes) {
    std::size_t index = 0;
    for (std::size_t i = 0; i < bag.indices.size(); ++i) {
      if (!bag.takes(i)) continue;
      const float* row = rows.read(bag.indices[i], column, n);
      if (bag.weights != nullptr) {
        lanes.add_product(index++, row, bag.weights[i]);
      } else {
        lanes.add(index++, row);
      }
    }
    lanes.finish(out);
  });
  const auto by = static_cast<float>(std::max<std::size_t>(count, 1));
  for (std::size_t c = 0; c < n; ++c) {
    out[c] = canonical(bag.mode == BagMode::mean ? out[c] / by : out[c]);
  }
}

void check(std::span<const std::int64_t> indices, std::int64_t rows) {
  for (const std::int64_t index : indices) {
    if (index >= 0 && index < rows) continue;
    throw NotaryError("an index of embedding_bag lies outside its table",
                      "0 to " + std::to_string(rows - 1), std::to_string(index),
                      "give indices of rows");
  }
}

}  // namespace

void embedding_bag(BagMode mode, const Input& table, std::span<const std::int64_t> indices,
                   std::span<const std::int64_t> ends, std::optional<std::int64_t> padding,
                   const float* weights, const Output& output, ParallelFor parallel) {
  check(indices, table.sizes[0]);
  ContiguousOutput out(output);
  const auto columns = static_cast<std::size_t>(table.sizes[1]);
  for_each_task(parallel, ends.size(), [&](std::size_t b) {
    const auto begin = static_cast<std::size_t>(b == 0 ? 0 : ends[b - 1]);
    const std::size_t count = static_cast<std::size_t>(ends[b]) - begin;
    const Bag bag{mode, indices.subspan(begin, count),
                  weights != nullptr ? weights + begin : nullptr, padding};
    Rows rows(table);
    for (std::size_t column = 0; column < columns; column += kColumns) {
      const std::size_t n = std::min(kColumns, columns - column);
      float* to = out.data() + b * columns + column;
      mode == BagMode::max ? maximum(bag, rows, column, n, to) : sum(bag, rows, column, n, to);
    }
  });
  out.write(parallel);
}

}  // namespace torchnotary::exact
