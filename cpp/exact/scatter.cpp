#include "exact/scatter.h"

#include <cmath>
#include <vector>

#include "exact/environment.h"
#include "exact/lane_sums.h"
#include "exact/storage.h"
#include "exact/strided_rows.h"

namespace torchnotary::exact {
namespace {

double larger(double a, double b) {
  if (a != a || b != b) return a + b;
  if (a == b) return std::signbit(a) ? b : a;
  return a > b ? a : b;
}

double joined(ScatterOp op, double a, double b) {
  switch (op) {
    case ScatterOp::multiply:
      return a * b;
    case ScatterOp::greatest:
      return larger(a, b);
    case ScatterOp::least:
      return -larger(-a, -b);
    default:
      return a + b;
  }
}

// The rows of an operand along one axis, `sizes` of which are walked across the others.
class Rows {
 public:
  Rows(std::span<const std::int64_t> sizes, std::span<const std::int64_t> strides, std::size_t axis)
      : step_(strides[axis]) {
    for (std::size_t i = 0; i < sizes.size(); ++i)
      if (i != axis) across_.add(sizes[i], strides[i]);
  }
  std::size_t count() const { return across_.count(); }
  std::ptrdiff_t first(std::size_t row) const { return across_.offset(row); }
  std::ptrdiff_t place(std::ptrdiff_t first, std::int64_t i) const { return first + i * step_; }

 private:
  WalkedAxes across_;
  std::ptrdiff_t step_;
};

// One element of a row of the target.
struct Joined {
  double value = 0;
  std::uint32_t sources = 0;  // in all
  std::uint32_t taken = 0;    // so far
};

// Binary32 operations are those of binary64, rounded once more: that changes nothing.
void take(Joined& to, ScatterOp op, float source, bool include_self) {
  const bool alone = !include_self && to.taken == 0;
  const double value = alone ? source : joined(op, to.value, source);
  to.value = to.sources > kNarrowSum ? value : static_cast<double>(static_cast<float>(value));
  ++to.taken;
}

float result(const Joined& of, ScatterOp op, bool include_self) {
  const auto value = static_cast<float>(of.value);
  if (op != ScatterOp::mean || of.sources == 0) return canonical(value);
  const std::uint64_t count = std::uint64_t{of.sources} + (include_self ? 1 : 0);
  return canonical(value / static_cast<float>(count));
}

}  // namespace

void scatter(ScatterOp op, const Input& indices, const Input& source, const Output& target,
             std::size_t axis, bool include_self, ParallelFor parallel) {
  const Rows which(indices.sizes, indices.strides, axis);
  const Rows from(indices.sizes, source.strides, axis), to(indices.sizes, target.strides, axis);
  const std::int64_t n = indices.sizes[axis], length = target.sizes[axis];
  if (n == 0) return;
  const auto* places = static_cast<const std::int64_t*>(indices.data);
  const auto* values = static_cast<const float*>(source.data);
  auto* out = static_cast<float*>(target.data);
  for_each_rows(
      parallel, which.count(), static_cast<std::size_t>(n + length),
      [&](std::size_t first, std::size_t count) {
        std::vector<Joined> row(static_cast<std::size_t>(length));
        const auto at = [&](std::ptrdiff_t begin, std::int64_t i) -> Joined& {
          return row[static_cast<std::size_t>(places[which.place(begin, i)])];
        };
        for (std::size_t r = first; r < first + count; ++r) {
          const std::ptrdiff_t place = which.first(r), value = from.first(r), own = to.first(r);
          for (std::int64_t e = 0; e < length; ++e)
            row[static_cast<std::size_t>(e)] = {out[to.place(own, e)], 0, 0};
          for (std::int64_t i = 0; i < n; ++i) ++at(place, i).sources;
          for (std::int64_t i = 0; i < n; ++i)
            take(at(place, i), op, values[from.place(value, i)], include_self);
          for (std::int64_t e = 0; e < length; ++e)
            out[to.place(own, e)] = result(row[static_cast<std::size_t>(e)], op, include_self);
        }
      });
}

}  // namespace torchnotary::exact
