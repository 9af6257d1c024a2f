#include "exact/strided_rows.h"

#include <algorithm>
#include <cstring>

#include "exact/convert.h"
#include "tensor/transpose.h"

namespace torchnotary::exact {
namespace {

// Room for n narrow elements, the thread's own until the next call.
std::byte* narrow_scratch(std::size_t n) {
  static thread_local std::vector<std::byte> bytes;
  if (bytes.size() < 2 * n) bytes.resize(2 * n);
  return bytes.data();
}

}  // namespace

void WalkedAxes::add(std::int64_t size, std::int64_t stride) {
  if (size == 1) return;
  if (!sizes.empty() && strides.back() == stride * size) {
    sizes.back() *= size;
    strides.back() = stride;
    return;
  }
  sizes.push_back(size);
  strides.push_back(stride);
}

std::size_t WalkedAxes::count() const {
  std::size_t product = 1;
  for (const std::int64_t size : sizes) product *= static_cast<std::size_t>(size);
  return product;
}

std::ptrdiff_t WalkedAxes::offset(std::size_t index) const {
  std::ptrdiff_t offset = 0;
  for (std::size_t axis = sizes.size(); axis-- > 0;) {
    const auto size = static_cast<std::size_t>(sizes[axis]);
    offset += static_cast<std::ptrdiff_t>(axis > 0 ? index % size : index) * strides[axis];
    index /= size;
  }
  return offset;
}

StridedRows::StridedRows(const void* data, Element element, std::span<const std::int64_t> sizes,
                         std::span<const std::int64_t> strides,
                         std::span<const std::size_t> reduced)
    : data_(static_cast<std::byte*>(const_cast<void*>(data))), element_(element) {
  for (std::size_t axis = 0; axis < sizes.size(); ++axis) {
    const bool is_reduced = std::find(reduced.begin(), reduced.end(), axis) != reduced.end();
    (is_reduced ? along_ : across_).add(sizes[axis], strides[axis]);
  }
  rows_ = across_.count();
  length_ = along_.count();
}

float* StridedRows::in_place(std::size_t first, std::size_t count, std::ptrdiff_t& stride) const {
  if (element_ != Element::float32 || !along_.is_plain()) return nullptr;
  if (across_.sizes.size() > 1 && count > 1) {
    const auto inner = static_cast<std::size_t>(across_.sizes.back());
    if (first % inner + count > inner) return nullptr;
  }
  stride = across_.sizes.empty() ? 0 : across_.strides.back();
  return reinterpret_cast<float*>(at(across_.offset(first)));
}

bool StridedRows::side_by_side(std::size_t first, std::size_t count) const {
  if (along_.sizes.size() != 1 || across_.sizes.empty() || across_.strides.back() != 1)
    return false;
  return count >= 4 && first % static_cast<std::size_t>(across_.sizes.back()) + count <=
                           static_cast<std::size_t>(across_.sizes.back());
}

const float* StridedRows::read(std::size_t first, std::size_t count, std::size_t begin,
                               std::size_t n, float* scratch, std::ptrdiff_t& stride) const {
  if (const float* rows = in_place(first, count, stride)) return rows + begin;
  stride = static_cast<std::ptrdiff_t>(n);
  const std::size_t size = element_size(element_);
  if (n > 0 && side_by_side(first, count)) {
    const std::ptrdiff_t step = along_.strides[0];
    const std::byte* from = at(across_.offset(first) + static_cast<std::ptrdiff_t>(begin) * step);
    const bool wide = element_ == Element::float32;
    std::byte* to = wide ? reinterpret_cast<std::byte*>(scratch) : narrow_scratch(count * n);
    transpose(from, step * static_cast<std::ptrdiff_t>(size), to, n * size, count, n, size);
    if (!wide) widen(to, element_, scratch, count * n);
    return scratch;
  }
  for (std::size_t r = 0; r < count; ++r) {
    float* to = scratch + r * n;
    const std::ptrdiff_t row = across_.offset(first + r);
    if (along_.is_plain()) {
      widen(at(row + static_cast<std::ptrdiff_t>(begin)), element_, to, n);
    } else {
      for (std::size_t i = 0; i < n; ++i) {
        widen(at(row + along_.offset(begin + i)), element_, to + i, 1);
      }
    }
  }
  return scratch;
}

void StridedRows::write(std::size_t first, std::size_t count, std::size_t begin, std::size_t n,
                        const float* from, std::ptrdiff_t stride) const {
  std::ptrdiff_t own_stride = 0;
  if (const float* rows = in_place(first, count, own_stride)) {
    if (rows + begin == from) return;
  }
  const std::size_t size = element_size(element_);
  if (n > 0 && side_by_side(first, count)) {
    const std::ptrdiff_t step = along_.strides[0];
    const auto* rows = reinterpret_cast<const std::byte*>(from);
    std::ptrdiff_t pitch = stride * 4;
    if (element_ != Element::float32) {
      std::byte* narrowed = narrow_scratch(count * n);
      for (std::size_t r = 0; r < count; ++r) {
        narrow(from + static_cast<std::ptrdiff_t>(r) * stride, element_, narrowed + r * n * size,
               n);
      }
      rows = narrowed;
      pitch = static_cast<std::ptrdiff_t>(n * size);
    }
    transpose(rows, pitch, at(across_.offset(first) + static_cast<std::ptrdiff_t>(begin) * step),
              static_cast<std::size_t>(step) * size, n, count, size);
    return;
  }
  for (std::size_t r = 0; r < count; ++r) {
    const float* row = from + static_cast<std::ptrdiff_t>(r) * stride;
    const std::ptrdiff_t offset = across_.offset(first + r);
    if (along_.is_plain()) {
      narrow(row, element_, at(offset + static_cast<std::ptrdiff_t>(begin)), n);
    } else {
      for (std::size_t i = 0; i < n; ++i) {
        narrow(row + i, element_, at(offset + along_.offset(begin + i)), 1);
      }
    }
  }
}

}  // namespace torchnotary::exact
