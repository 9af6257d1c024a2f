// Indices checked, and the selected bytes found by counting in the tensor's own axes.
#include "tensor/selection.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <limits>

#include "hashing/blake3_kernels.h"

namespace torchnotary {
namespace {

constexpr std::size_t kMaxRank = std::numeric_limits<std::uint8_t>::max();
constexpr std::size_t kMaxAxes = 63;

const char* fault_of(const IndexItem& item, std::uint64_t size) {
  if (item.kind == IndexItem::Kind::integer) {
    return item.start < size ? nullptr : "an index beyond its axis";
  }
  if (item.count < 2 && item.step != 1) return "a step where fewer than two elements are selected";
  if (item.count == 0) return item.start == 0 ? nullptr : "a start where nothing is selected";
  if (item.step == 0) return "a step of 0";
  if (item.start >= size) return "a slice beyond its axis";
  // Divided, because (count - 1) * step may overflow.
  if (item.count - 1 > (size - 1 - item.start) / item.step) return "a slice beyond its axis";
  return nullptr;
}

// So many bytes between two selected ones leave no chunk between theirs.
constexpr std::uint64_t kMaxGap = kChunkSize - 1;

template <std::size_t kItemSize>
std::byte* copy_strided(const std::byte* from, std::uint64_t stride, std::uint64_t count,
                        std::byte* to) {
  for (std::uint64_t i = 0; i < count; ++i, to += kItemSize) {
    std::memcpy(to, from + i * stride, kItemSize);
  }
  return to;
}

std::byte* copy_elements(const std::byte* from, std::uint64_t itemsize, std::uint64_t stride,
                         std::uint64_t count, std::byte* to) {
  switch (itemsize) {
    case 1:
      return copy_strided<1>(from, stride, count, to);
    case 2:
      return copy_strided<2>(from, stride, count, to);
    case 4:
      return copy_strided<4>(from, stride, count, to);
    case 8:
      return copy_strided<8>(from, stride, count, to);
    default:
      return copy_strided<16>(from, stride, count, to);
  }
}

}  // namespace

const char* IndexCheck::add(const IndexItem& item) {
  if (item.kind != IndexItem::Kind::integer && ++rank_ > kMaxRank) {
    return "more than 255 axes are selected";
  }
  if (item.kind == IndexItem::Kind::new_axis) return nullptr;
  if (axis_ == shape_.size()) return "an item for an axis that the tensor lacks";
  return fault_of(item, static_cast<std::uint64_t>(shape_[axis_++]));
}

const char* IndexCheck::end() const {
  return axis_ == shape_.size() ? nullptr : "an axis of the tensor without an item";
}

std::vector<std::int64_t> selected_shape(std::span<const IndexItem> items) {
  std::vector<std::int64_t> shape;
  for (const IndexItem& item : items) {
    if (item.kind == IndexItem::Kind::integer) continue;
    shape.push_back(item.kind == IndexItem::Kind::slice ? static_cast<std::int64_t>(item.count)
                                                        : 1);
  }
  return shape;
}

Selection::Selection(const DType& dtype, std::span<const std::int64_t> shape,
                     std::span<const IndexItem> items)
    : itemsize_(dtype.itemsize), total_(1), elements_(1) {
  const auto selects_none = [](const IndexItem& item) { return item.count == 0; };
  if (std::any_of(items.begin(), items.end(), selects_none)) {
    elements_ = 0;
    return;
  }
  std::size_t axis = 0;
  for (const IndexItem& item : items) {
    if (item.kind == IndexItem::Kind::new_axis) continue;
    push({static_cast<std::uint64_t>(shape[axis++]), item.start, item.count, item.step});
  }
  if (axes_.empty()) axes_.push_back({1, 0, 1, 1});
}

void Selection::push(Axis axis) {
  total_ *= axis.size;
  elements_ *= axis.count;
  if (axis.size == 1) return;
  if (axes_.empty() || !axis.whole() || axes_.back().step != 1) {
    axes_.push_back(axis);
    return;
  }
  Axis& outer = axes_.back();
  outer = {outer.size * axis.size, outer.start * axis.size, outer.count * axis.size, 1};
}

merkle::ByteRun Selection::run_at(std::span<const std::uint64_t> index) const {
  std::uint64_t element = 0;
  for (std::size_t i = 0; i < axes_.size(); ++i) element = element * axes_[i].size + index[i];
  const Axis& inner = axes_.back();
  const std::uint64_t length = inner.step == 1 ? inner.end() - index.back() : 1;
  return {element * itemsize_, (element + length) * itemsize_};
}

// The first selected place at or after that of `from`, where places are compared as numbers whose
// digits are the indices.
merkle::ByteRun Selection::next(std::uint64_t from) const {
  const merkle::ByteRun none = {total_ * itemsize_, total_ * itemsize_};
  std::uint64_t element = from / itemsize_;
  if (element >= total_) return none;
  std::array<std::uint64_t, kMaxAxes> digits;
  const std::span<std::uint64_t> index = std::span(digits).first(axes_.size());
  for (std::size_t i = axes_.size(); i-- > 0; element /= axes_[i].size) {
    index[i] = element % axes_[i].size;
  }
  std::size_t i = 0;  // digits before i are selected, and those of the place we look for
  for (; i < axes_.size(); ++i) {
    const Axis& axis = axes_[i];
    if (index[i] < axis.start) break;
    const std::uint64_t past = (index[i] - axis.start) % axis.step;
    if (index[i] >= axis.end() || past != 0) break;
  }
  if (i == axes_.size()) return run_at(index);
  if (index[i] < axes_[i].start) {
    index[i] = axes_[i].start;
  } else if (index[i] < axes_[i].end()) {
    index[i] += axes_[i].step - (index[i] - axes_[i].start) % axes_[i].step;
  } else {
    // Carry into the innermost digit above that can grow.
    do {
      if (i-- == 0) return none;
      index[i] += axes_[i].step;
    } while (index[i] >= axes_[i].end());
  }
  for (++i; i < axes_.size(); ++i) index[i] = axes_[i].start;
  return run_at(index);
}

Selection Selection::covering() const {
  Selection cover = *this;
  cover.axes_.clear();
  const std::uint64_t most = kMaxGap / itemsize_;  // elements
  auto axis = axes_.rbegin();
  Axis inner = *axis;
  if (inner.step - 1 <= most) inner = {inner.size, inner.start, inner.end() - inner.start, 1};
  for (++axis; axis != axes_.rend() && inner.step == 1; ++axis) {
    const std::uint64_t every = axis->step * inner.size;
    if (axis->count > 1 && every - inner.count > most) break;
    inner = {axis->size * inner.size, axis->start * inner.size + inner.start,
             (axis->count - 1) * every + inner.count, 1};
  }
  cover.axes_.assign(axes_.begin(), axis.base());
  cover.axes_.push_back(inner);
  return cover;
}

// The selected elements of the innermost axis from a selected one on.
std::uint64_t Selection::left_in_row(std::uint64_t element) const {
  const Axis& inner = axes_.back();
  return (inner.end() - 1 - element % inner.size) / inner.step + 1;
}

std::byte* Selection::copy(std::uint64_t offset, Bytes data, std::byte* to) const {
  const std::uint64_t end = offset + data.size();
  const std::uint64_t stride = axes_.back().step * itemsize_;
  // The last run may go on beyond the data.
  for (std::uint64_t at = next(offset).begin; at < end;) {
    const std::uint64_t count = std::min(left_in_row(at / itemsize_), (end - 1 - at) / stride + 1);
    const std::byte* from = data.data() + (at - offset);
    if (stride == itemsize_) {
      to = std::copy_n(from, count * itemsize_, to);
    } else {
      to = copy_elements(from, itemsize_, stride, count, to);
    }
    at = next(at + (count - 1) * stride + itemsize_).begin;
  }
  return to;
}

}  // namespace torchnotary
