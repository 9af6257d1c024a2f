#include "exact/interpolate.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <vector>

#include "exact/contiguous.h"
#include "exact/environment.h"
#include "exact/rounding.h"
#include "exact/storage.h"

namespace torchnotary::exact {
namespace {

// Results that are worth a task.
constexpr std::size_t kTask = 32768;

// fl(in ÷ out) or fl(1 ÷ factor).
float scale(const ResampledAxis& axis) {
  if (axis.factor) return reciprocal_rounded_once(*axis.factor);
  return static_cast<float>(axis.in) / static_cast<float>(axis.out);
}

std::vector<std::size_t> nearest_elements(const ResampledAxis& axis, Nearest mode) {
  const float s = scale(axis);
  std::vector<std::size_t> elements;
  for (std::size_t i = 0; i < axis.out; ++i) {
    const float at = mode == Nearest::exact ? static_cast<float>(i) + 0.5f : static_cast<float>(i);
    elements.push_back(std::min(static_cast<std::size_t>(std::floor(at * s)), axis.in - 1));
  }
  return elements;
}

struct Between {
  std::size_t low, high;
  float weight;  // λ, of the higher one
};

std::vector<Between> linear_elements(const ResampledAxis& axis, bool align_corners) {
  float s = scale(axis);
  if (align_corners) {
    s = axis.out == 1 ? 0.0f : static_cast<float>(axis.in - 1) / static_cast<float>(axis.out - 1);
  }
  std::vector<Between> all;
  for (std::size_t i = 0; i < axis.out; ++i) {
    float p = static_cast<float>(i) * s;
    if (!align_corners) p = std::max(((static_cast<float>(i) + 0.5f) * s) - 0.5f, 0.0f);
    const std::size_t low = std::min(static_cast<std::size_t>(std::floor(p)), axis.in - 1);
    all.push_back({low, std::min(low + 1, axis.in - 1), p - static_cast<float>(low)});
  }
  return all;
}

// row(plane, row) for `rows` rows of each plane, some together a task.
template <class Row>
void for_each_row(std::size_t planes, std::size_t rows, std::size_t columns, ParallelFor parallel,
                  Row row) {
  const std::size_t all = planes * rows;
  const std::size_t together = std::max<std::size_t>(kTask / std::max<std::size_t>(columns, 1), 1);
  for_each_task(parallel, (all + together - 1) / together, [&](std::size_t task) {
    const std::size_t end = std::min(all, (task + 1) * together);
    for (std::size_t i = task * together; i < end; ++i) row(i / rows, i % rows);
  });
}

template <class Word>
void nearest(std::span<const ResampledAxis> axes, std::size_t planes, const Word* in, Word* out,
             Nearest mode, ParallelFor parallel) {
  std::array<ResampledAxis, 3> three;
  std::copy(axes.begin(), axes.end(), three.end() - std::ssize(axes));
  std::array<std::vector<std::size_t>, 3> from;
  for (std::size_t axis = 0; axis < 3; ++axis) from[axis] = nearest_elements(three[axis], mode);
  const std::size_t rows = three[0].out * three[1].out, columns = three[2].out;
  for_each_row(planes, rows, columns, parallel, [&](std::size_t plane, std::size_t row) {
    const std::size_t depth = plane * three[0].in + from[0][row / three[1].out];
    const Word* source = in + (depth * three[1].in + from[1][row % three[1].out]) * three[2].in;
    Word* to = out + (plane * rows + row) * columns;
    for (std::size_t c = 0; c < columns; ++c) to[c] = source[from[2][c]];
  });
}

// Along the last axis, for one row.
void blend(const std::vector<Between>& between, const float* in, float* out) {
  for (std::size_t c = 0; c < between.size(); ++c) {
    const float low = in[between[c].low];
    out[c] = low + (between[c].weight * (in[between[c].high] - low));
  }
}

}  // namespace

void interpolate_nearest(std::span<const ResampledAxis> axes, std::size_t planes, const void* in,
                         void* out, std::size_t element_bytes, Nearest mode, ParallelFor parallel) {
  const auto run = [&](auto word) {
    using Word = decltype(word);
    nearest(axes, planes, static_cast<const Word*>(in), static_cast<Word*>(out), mode, parallel);
  };
  if (element_bytes == 1) run(std::uint8_t{});
  if (element_bytes == 2) run(std::uint16_t{});
  if (element_bytes == 4) run(std::uint32_t{});
  if (element_bytes == 8) run(std::uint64_t{});
}

void interpolate_linear(std::span<const ResampledAxis> axes, const Input& input,
                        const Output& output, bool align_corners, ParallelFor parallel) {
  const ContiguousInput in(input, parallel);
  ContiguousOutput out(output);
  const FloatEnvironment environment;
  const bool two = axes.size() == 2;
  const std::vector<Between> along = linear_elements(axes.back(), align_corners);
  const std::vector<Between> down =
      two ? linear_elements(axes.front(), align_corners) : std::vector<Between>(1);
  const std::size_t rows = down.size(), columns = along.size(), row_in = axes.back().in;
  std::size_t planes = 1;
  for (const std::int64_t size : output.sizes) planes *= static_cast<std::size_t>(size);
  planes = rows * columns == 0 ? 0 : planes / (rows * columns);
  for_each_row(planes, rows, columns, parallel, [&](std::size_t plane, std::size_t row) {
    const float* source = in.data() + plane * (two ? axes.front().in : 1) * row_in;
    float* to = out.data() + (plane * rows + row) * columns;
    blend(along, source + down[row].low * row_in, to);
    if (two) {
      thread_local std::vector<float> high;
      high.resize(columns);
      blend(along, source + down[row].high * row_in, high.data());
      const float weight = down[row].weight;
      for (std::size_t c = 0; c < columns; ++c) to[c] = to[c] + (weight * (high[c] - to[c]));
    }
    for (std::size_t c = 0; c < columns; ++c) to[c] = canonical(to[c]);
  });
  out.write(parallel);
}

}  // namespace torchnotary::exact
