#include "exact/pooling.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "exact/contiguous.h"
#include "exact/elementwise_kernels.h"
#include "exact/environment.h"
#include "exact/lane_sums.h"
#include "exact/storage.h"

namespace torchnotary::exact {
namespace {

// Elements of the input that are worth a task.
constexpr std::size_t kTask = 65536;
// Averages that are summed side by side.
constexpr std::size_t kColumns = 32;

// A window along one axis: first, first + step, …, `count` of them, inside the input.
struct Window {
  std::size_t first, step, count;
  std::size_t padded;  // how many there are with those in the padding
};

Window window(const PoolAxis& axis, std::size_t i) {
  if (axis.adaptive) {
    const std::size_t first = i * axis.in / axis.out;
    const std::size_t count = ((i + 1) * axis.in + axis.out - 1) / axis.out - first;
    return {first, 1, count, count};
  }
  const auto in = static_cast<std::ptrdiff_t>(axis.in);
  const auto step = static_cast<std::ptrdiff_t>(axis.dilation);
  const auto padding = static_cast<std::ptrdiff_t>(axis.padding);
  std::ptrdiff_t begin = static_cast<std::ptrdiff_t>(i * axis.stride) - padding;
  const std::ptrdiff_t end = begin + static_cast<std::ptrdiff_t>(axis.kernel - 1) * step + 1;
  const std::ptrdiff_t padded = std::min(end, in + padding) - begin;
  while (begin < 0) begin += step;
  const std::ptrdiff_t last = std::min(end, in);
  const std::ptrdiff_t count = last > begin ? (last - begin + step - 1) / step : 0;
  return {static_cast<std::size_t>(begin), axis.dilation, static_cast<std::size_t>(count),
          static_cast<std::size_t>(std::max<std::ptrdiff_t>(padded, 0))};
}

std::vector<Window> windows(const PoolAxis& axis) {
  std::vector<Window> all;
  for (std::size_t i = 0; i < axis.out; ++i) all.push_back(window(axis, i));
  return all;
}

struct Planes {
  const PoolAxes& axes;
  std::array<std::vector<Window>, 3> windows;
  const float* in;
  float* out;
  std::size_t count;

  Planes(const PoolAxes& axes, const float* in, float* out, const Output& output)
      : axes(axes),
        windows{exact::windows(axes[0]), exact::windows(axes[1]), exact::windows(axes[2])},
        in(in),
        out(out),
        count(1) {
    for (const std::int64_t size : output.sizes) count *= static_cast<std::size_t>(size);
    count = out_size() == 0 ? 0 : count / out_size();
  }
  std::size_t in_size() const { return axes[0].in * axes[1].in * axes[2].in; }
  std::size_t out_size() const { return axes[0].out * axes[1].out * axes[2].out; }
  std::size_t row(std::size_t depth, std::size_t row) const {
    return (depth * axes[1].in + row) * axes[2].in;
  }
};

// Calls make()(plane, depth, row) for each row of results, with one make() for each task: planes
// are put together to tasks.
template <class Make>
void for_each_row(const Planes& planes, ParallelFor parallel, Make make) {
  const std::size_t in_size = std::max<std::size_t>(planes.in_size(), 1);
  const std::size_t together = std::max<std::size_t>(kTask / in_size, 1);
  for_each_task(parallel, (planes.count + together - 1) / together, [&](std::size_t task) {
    auto row = make();
    const std::size_t end = std::min(planes.count, (task + 1) * together);
    for (std::size_t plane = task * together; plane < end; ++plane) {
      for (std::size_t i = 0; i < planes.axes[0].out; ++i) {
        for (std::size_t j = 0; j < planes.axes[1].out; ++j) row(plane, i, j);
      }
    }
  });
}

// Calls visit(offset) for the elements of a window, in order, relative to the plane.
template <class Visit>
void for_each_element(const Planes& planes, const Window& depths, const Window& rows,
                      const Window& columns, Visit visit) {
  for (std::size_t d = 0; d < depths.count; ++d) {
    for (std::size_t r = 0; r < rows.count; ++r) {
      const std::size_t row =
          planes.row(depths.first + d * depths.step, rows.first + r * rows.step);
      for (std::size_t c = 0; c < columns.count; ++c) visit(row + columns.first + c * columns.step);
    }
  }
}

// Section 1.
float larger(float a, float b) {
  if (a != a || b != b) return std::bit_cast<float>(kNan);
  if (a == b) return std::signbit(a) ? b : a;
  return a > b ? a : b;
}

void max_row_with_indices(const Planes& planes, std::size_t plane, std::size_t depth,
                          std::size_t row, std::int64_t* indices) {
  const float* in = planes.in + plane * planes.in_size();
  const PoolAxes& axes = planes.axes;
  const std::size_t at = ((plane * axes[0].out + depth) * axes[1].out + row) * axes[2].out;
  for (std::size_t column = 0; column < axes[2].out; ++column) {
    float maximum = -std::numeric_limits<float>::infinity(), greatest = maximum;
    std::size_t index = std::numeric_limits<std::size_t>::max();
    for_each_element(planes, planes.windows[0][depth], planes.windows[1][row],
                     planes.windows[2][column], [&](std::size_t offset) {
                       const float x = in[offset];
                       maximum = larger(maximum, x);
                       const bool is_greater = x > greatest || (x != x && greatest == greatest);
                       if (!is_greater && index != std::numeric_limits<std::size_t>::max()) return;
                       greatest = x;
                       index = offset;
                     });
    planes.out[at + column] = maximum;
    if (indices != nullptr) indices[at + column] = static_cast<std::int64_t>(index);
  }
}

// The maxima of a row without indices: first over the rows of the windows, element by element,
// in a buffer that −∞ pads, then over its columns.
class MaxRow {
 public:
  explicit MaxRow(const Planes& planes)
      : planes_(planes),
        axis_(planes.axes[2]),
        width_(std::max(axis_.padding + axis_.in,
                        (axis_.out - 1) * axis_.stride + (axis_.kernel - 1) * axis_.dilation + 1)),
        column_maxima_(width_, -std::numeric_limits<float>::infinity()),
        strided_(axis_.out) {}

  void operator()(std::size_t plane, std::size_t depth, std::size_t row) {
    const float* in = planes_.in + plane * planes_.in_size();
    float* maxima = column_maxima_.data() + axis_.padding;
    std::fill_n(maxima, axis_.in, -std::numeric_limits<float>::infinity());
    static constexpr Window kOne{0, 1, 1, 1};
    for_each_element(planes_, planes_.windows[0][depth], planes_.windows[1][row], kOne,
                     [&](std::size_t offset) { maximum(maxima, in + offset, maxima, axis_.in); });
    const PoolAxes& axes = planes_.axes;
    float* out = planes_.out + ((plane * axes[0].out + depth) * axes[1].out + row) * axis_.out;
    for (std::size_t tap = 0; tap < axis_.kernel; ++tap) {
      const float* from = column_maxima_.data() + tap * axis_.dilation;
      if (axis_.stride != 1) from = strided(from);
      maximum(tap == 0 ? from : out, from, out, axis_.out);
    }
  }

 private:
  void maximum(const float* a, const float* b, float* out, std::size_t n) {
    const float* const inputs[3] = {a, b, nullptr};
    maximum_(inputs, out, n, nullptr);
  }
  const float* strided(const float* from) {
    for (std::size_t i = 0; i < axis_.out; ++i) strided_[i] = from[i * axis_.stride];
    return strided_.data();
  }

  const Planes& planes_;
  const PoolAxis& axis_;
  const std::size_t width_;
  std::vector<float> column_maxima_, strided_;
  const ArithmeticKernel maximum_ =
      elementwise_kernels().arithmetic[static_cast<std::size_t>(ElementOp::maximum)];
};

// How many windows from `column` on have the same shape and lie one stride apart.
std::size_t alike(const std::vector<Window>& windows, std::size_t column) {
  std::size_t n = 1;
  for (; n < kColumns && column + n < windows.size(); ++n) {
    const Window &a = windows[column + n - 1], &b = windows[column + n];
    if (a.count != b.count || a.padded != b.padded) break;
    if (n > 1 && b.first - a.first != a.first - windows[column + n - 2].first) break;
  }
  return n;
}

void average_row(const Planes& planes, std::size_t plane, std::size_t depth, std::size_t row,
                 AverageOver over, std::int64_t divisor) {
  const float* in = planes.in + plane * planes.in_size();
  const PoolAxes& axes = planes.axes;
  float* out = planes.out + ((plane * axes[0].out + depth) * axes[1].out + row) * axes[2].out;
  const Window &depths = planes.windows[0][depth], &rows = planes.windows[1][row];
  for (std::size_t column = 0, n; column < axes[2].out; column += n) {
    const Window& first = planes.windows[2][column];
    n = alike(planes.windows[2], column);
    const std::size_t apart = n > 1 ? planes.windows[2][column + 1].first - first.first : 0;
    const std::size_t elements = depths.count * rows.count * first.count;
    with_lanes<kColumns>(elements, n, [&](auto& lanes) {
      std::size_t index = 0;
      for_each_element(planes, depths, rows, first, [&](std::size_t offset) {
        lanes.add(index++, in + offset, static_cast<std::ptrdiff_t>(apart));
      });
      lanes.finish(out + column);
    });
    const std::size_t counted =
        over == AverageOver::padded ? depths.padded * rows.padded * first.padded : elements;
    const auto by = divisor != 0 ? static_cast<float>(divisor) : static_cast<float>(counted);
    for (std::size_t c = 0; c < n; ++c) out[column + c] = canonical(out[column + c] / by);
  }
}

}  // namespace

void max_pool(const PoolAxes& axes, const Input& input, const Output& output, std::int64_t* indices,
              ParallelFor parallel) {
  const ContiguousInput in(input, parallel);
  ContiguousOutput out(output);
  const Planes planes(axes, in.data(), out.data(), output);
  if (indices == nullptr && !axes[2].adaptive) {
    for_each_row(planes, parallel, [&] { return MaxRow(planes); });
  } else {
    for_each_row(planes, parallel, [&] {
      return [&](std::size_t plane, std::size_t depth, std::size_t row) {
        max_row_with_indices(planes, plane, depth, row, indices);
      };
    });
  }
  out.write(parallel);
}

void average_pool(const PoolAxes& axes, const Input& input, const Output& output, AverageOver over,
                  std::int64_t divisor, ParallelFor parallel) {
  const ContiguousInput in(input, parallel);
  ContiguousOutput out(output);
  const Planes planes(axes, in.data(), out.data(), output);
  for_each_row(planes, parallel, [&] {
    return [&](std::size_t plane, std::size_t depth, std::size_t row) {
      average_row(planes, plane, depth, row, over, divisor);
    };
  });
  out.write(parallel);
}

}  // namespace torchnotary::exact
