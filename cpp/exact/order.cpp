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

// take(index, key) for n elements of type T, `step` bytes apart.
template <class T, class Key, class Take>
void for_each_key(const std::byte* from, std::ptrdiff_t step, std::size_t n, Key key, Take take) {
  for (std::size_t i = 0; i < n; ++i, from += step) {
    T value;
    std::memcpy(&value, from, sizeof value);
    take(static_cast<std::int64_t>(i), static_cast<std::int64_t>(key(value)));
  }
}

template <class Take>
void for_each_key(Element element, const std::byte* from, std::ptrdiff_t step, std::size_t n,
                  Take take) {
  const auto itself = [](auto x) { return x; };
  switch (element) {
    case Element::float32:
      return for_each_key<float>(from, step, n, float_key, take);
    case Element::bfloat16:
      return for_each_key<std::uint16_t>(
          from, step, n, [](std::uint16_t x) { return float_key(widen_bfloat16(x)); }, take);
    case Element::float16:
      return for_each_key<std::uint16_t>(
          from, step, n, [](std::uint16_t x) { return float_key(widen_float16(x)); }, take);
    case Element::boolean:
    case Element::uint8:
      return for_each_key<std::uint8_t>(from, step, n, itself, take);
    case Element::int8:
      return for_each_key<std::int8_t>(from, step, n, itself, take);
    case Element::int16:
      return for_each_key<std::int16_t>(from, step, n, itself, take);
    case Element::int32:
      return for_each_key<std::int32_t>(from, step, n, itself, take);
    case Element::int64:
      return for_each_key<std::int64_t>(from, step, n, itself, take);
  }
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
      Keyed best = {std::numeric_limits<std::int64_t>::min(), -1};
      for_each_key(x.element, rows.row(r), rows.step(), n, [&](std::int64_t i, std::int64_t k) {
        // The greatest; or the least as the greatest complement, a NaN greatest in any case.
        if (!greatest && !(nans && k == kNanKey)) k = ~k;
        if (k > best.key || best.index < 0) best = {k, i};
      });
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
      for_each_key(x.element, rows.row(r), rows.step(), n, [&](std::int64_t i, std::int64_t k) {
        order[static_cast<std::size_t>(i)] = {descending ? ~k : k, i};
      });
      if (wanted < n / 8) {
        const auto end = order.begin() + static_cast<std::ptrdiff_t>(wanted);
        std::partial_sort(order.begin(), end, order.end());
      } else {
        std::sort(order.begin(), order.end());
      }
      results.write(r, {order.data(), wanted});
    }
  });
}

}  // namespace torchnotary::exact
