#include "exact/order.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <vector>

#include "exact/storage.h"
#include "exact/strided_rows.h"
#include "hashing/errors.h"

namespace torchnotary::exact {
namespace {

constexpr std::int64_t kNanKey = std::numeric_limits<std::int64_t>::max();

// An integer that is in the order of the numbers: the same for -0 and +0, and greatest for a NaN.
std::int64_t float_key(float x) {
  if (x != x) return kNanKey;
  const auto bits = std::bit_cast<std::int32_t>(x);
  return bits < 0 ? -static_cast<std::int64_t>(bits & 0x7fffffff) : bits;
}

template <class T>
T load(const std::byte* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

std::int64_t key(const std::byte* from, Element element) {
  switch (element) {
    case Element::float32:
      return float_key(load<float>(from));
    case Element::bfloat16:
      return float_key(widen_bfloat16(load<std::uint16_t>(from)));
    case Element::float16:
      return float_key(widen_float16(load<std::uint16_t>(from)));
    case Element::boolean:
    case Element::uint8:
      return load<std::uint8_t>(from);
    case Element::int8:
      return load<std::int8_t>(from);
    case Element::int16:
      return load<std::int16_t>(from);
    case Element::int32:
      return load<std::int32_t>(from);
    case Element::int64:
      return load<std::int64_t>(from);
  }
  return 0;
}

struct Keyed {
  std::int64_t key, index;
  // Ascending; equal ones by index.
  bool operator<(const Keyed& other) const {
    return key != other.key ? key < other.key : index < other.index;
  }
};

// One axis of a tensor, and the others, which count its rows.
struct AlongAxis {
  std::byte* data;
  std::size_t size;  // of an element
  std::ptrdiff_t stride;
  WalkedAxes across;

  AlongAxis(const void* data, Element element, std::span<const std::int64_t> sizes,
            std::span<const std::int64_t> strides, std::size_t axis)
      : data(static_cast<std::byte*>(const_cast<void*>(data))),
        size(element_size(element)),
        stride(axis < strides.size() ? strides[axis] : 1) {
    for (std::size_t i = 0; i < sizes.size(); ++i) {
      if (i != axis) across.add(sizes[i], strides[i]);
    }
  }

  std::byte* row(std::size_t row) const {
    return data + across.offset(row) * static_cast<std::ptrdiff_t>(size);
  }
  std::ptrdiff_t step() const { return stride * static_cast<std::ptrdiff_t>(size); }
};

// Writes the elements that `order` names, and their indices, to row `row` of the results.
class Results {
 public:
  Results(const AlongAxis& x, const Output& values, const Output& indices, std::size_t axis)
      : x_(x),
        values_(values.data, values.element, values.sizes, values.strides, axis),
        indices_(indices.data, Element::int64, indices.sizes, indices.strides, axis) {}

  void write(std::size_t row, std::span<const Keyed> order) const {
    const std::byte* from = x_.row(row);
    if (values_.data != nullptr) {
      std::byte* to = values_.row(row);
      for (const Keyed& k : order) {
        std::memcpy(to, from + k.index * x_.step(), x_.size);
        to += values_.step();
      }
    }
    if (indices_.data != nullptr) {
      std::byte* to = indices_.row(row);
      for (const Keyed& k : order) {
        std::memcpy(to, &k.index, sizeof k.index);
        to += indices_.step();
      }
    }
  }

 private:
  const AlongAxis& x_;
  const AlongAxis values_, indices_;
};

std::size_t size_along(std::span<const std::int64_t> sizes, std::size_t axis) {
  return axis < sizes.size() ? static_cast<std::size_t>(sizes[axis]) : 1;
}

}  // namespace

void extreme(bool greatest, const Input& x, std::size_t axis, const Output& values,
             const Output& indices, ParallelFor parallel) {
  const AlongAxis rows(x.data, x.element, x.sizes, x.strides, axis);
  const Results results(rows, values, indices, axis);
  const std::size_t n = size_along(x.sizes, axis), count = rows.across.count();
  if (count == 0) return;
  if (n == 0) {
    throw NotaryError("a maximum or minimum of no elements is asked for", "1 or more", "0",
                      "choose an axis that has elements");
  }
  const bool nans = is_floating(x.element);
  for_each_rows(parallel, count, n, [&](std::size_t first, std::size_t together) {
    for (std::size_t r = first; r < first + together; ++r) {
      const std::byte* from = rows.row(r);
      Keyed best = {};
      for (std::size_t i = 0; i < n; ++i, from += rows.step()) {
        // The greatest of these; of the least the greatest complement, a NaN greatest in any case.
        std::int64_t k = key(from, x.element);
        if (!greatest && !(nans && k == kNanKey)) k = ~k;
        if (i == 0 || k > best.key) best = {k, static_cast<std::int64_t>(i)};
      }
      results.write(r, {&best, 1});
    }
  });
}

void sort(bool descending, const Input& x, std::size_t axis, const Output& values,
          const Output& indices, ParallelFor parallel) {
  const AlongAxis rows(x.data, x.element, x.sizes, x.strides, axis);
  const Results results(rows, values, indices, axis);
  const std::size_t n = size_along(x.sizes, axis);
  const std::size_t wanted =
      size_along(values.data != nullptr ? values.sizes : indices.sizes, axis);
  for_each_rows(parallel, rows.across.count(), n, [&](std::size_t first, std::size_t together) {
    std::vector<Keyed> order(n);
    for (std::size_t r = first; r < first + together; ++r) {
      const std::byte* from = rows.row(r);
      for (std::size_t i = 0; i < n; ++i, from += rows.step()) {
        const std::int64_t k = key(from, x.element);
        order[i] = {descending ? ~k : k, static_cast<std::int64_t>(i)};
      }
      const auto end = order.begin() + static_cast<std::ptrdiff_t>(wanted);
      if (wanted < n) std::nth_element(order.begin(), end, order.end());
      std::sort(order.begin(), end);
      results.write(r, {order.data(), wanted});
    }
  });
}

}  // namespace torchnotary::exact
