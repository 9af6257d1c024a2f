// Gathering strided elements into row-major bytes, runs at a time.
#include "tensor/gather.h"

#include <algorithm>

#include "tensor/transpose.h"

namespace torchnotary {
namespace {

template <std::size_t kItemSize>
void copy_strided(std::byte* to, const std::byte* from, std::int64_t stride,
                  std::int64_t elements) {
  for (std::int64_t i = 0; i < elements; ++i) {
    std::memcpy(to + i * kItemSize, from + i * stride, kItemSize);
  }
}

// Flips the top bit of every `width`-byte number at `first`, `first + step`, … (bytes).
void flip_signs(MutableBytes data, std::size_t width, std::size_t first, std::size_t step) {
  for (std::size_t at = first + width - 1; at < data.size(); at += step) {
    data[at] ^= std::byte{0x80};
  }
}

template <class Unsigned>
void negate_integers(MutableBytes data) {
  for (std::size_t at = 0; at < data.size(); at += sizeof(Unsigned)) {
    store_le(data.data() + at, static_cast<Unsigned>(-load_le<Unsigned>(data.data() + at)));
  }
}

void negate(MutableBytes data, Kind kind, std::size_t itemsize) {
  if (kind == Kind::floating) return flip_signs(data, itemsize, 0, itemsize);
  if (kind == Kind::complex) return flip_signs(data, itemsize / 2, 0, itemsize / 2);
  switch (itemsize) {
    case 1:
      return negate_integers<std::uint8_t>(data);
    case 2:
      return negate_integers<std::uint16_t>(data);
    case 4:
      return negate_integers<std::uint32_t>(data);
    default:
      return negate_integers<std::uint64_t>(data);
  }
}

}  // namespace

Gatherer::Gatherer(const TensorView& view)
    : begin_(view.data),
      at_(view.data),
      itemsize_(view.dtype->itemsize),
      elements_(view.nbytes() / view.dtype->itemsize),
      remaining_(elements_),
      conj_(view.conj),
      neg_(view.neg),
      kind_(view.dtype->kind),
      row_dim_(0),
      row_elements_(0) {
  // Strides of an empty tensor, and those of a single element, may be any number.
  for (std::size_t i = 0; i < view.rank() && elements_ > 0; ++i) {
    const std::int64_t size = view.shape[i];
    if (size == 1) continue;
    const std::int64_t stride = view.strides[i] * static_cast<std::int64_t>(itemsize_);
    if (!dims_.empty() && dims_.back().stride == stride * size) {
      dims_.back().size *= size;
      dims_.back().stride = stride;
    } else {
      dims_.push_back({size, stride, 0});
    }
  }
  if (dims_.empty()) dims_.push_back({1, 0, 0});
  if (elements_ == 0 || dims_.back().stride == static_cast<std::int64_t>(itemsize_)) return;
  std::size_t inside = 1;
  for (std::size_t i = dims_.size(); i-- > 1;) {
    inside *= static_cast<std::size_t>(dims_[i].size);
    if (dims_[i - 1].stride != static_cast<std::int64_t>(itemsize_)) continue;
    row_dim_ = i - 1;
    row_elements_ = inside;
  }
}

void Gatherer::seek(std::uint64_t element) {
  if (elements_ == 0) return;
  at_ = begin_;
  remaining_ = elements_ - static_cast<std::size_t>(element);
  for (std::size_t i = dims_.size(); i-- > 0;) {
    // The outermost index may be its size: the end.
    const auto size = static_cast<std::uint64_t>(dims_[i].size);
    dims_[i].index = static_cast<std::int64_t>(i == 0 ? element : element % size);
    element /= size;
    at_ += dims_[i].index * dims_[i].stride;
  }
}

void Gatherer::read_at(std::uint64_t offset, MutableBytes out) const {
  Gatherer gather = *this;
  gather.seek(offset / itemsize_);
  gather.next(out);
}

void Gatherer::copy_run(std::byte* to, std::int64_t elements) const {
  const std::int64_t stride = dims_.back().stride;
  if (stride == static_cast<std::int64_t>(itemsize_)) {
    std::memcpy(to, at_, static_cast<std::size_t>(elements) * itemsize_);
    return;
  }
  switch (itemsize_) {
    case 1:
      return copy_strided<1>(to, at_, stride, elements);
    case 2:
      return copy_strided<2>(to, at_, stride, elements);
    case 4:
      return copy_strided<4>(to, at_, stride, elements);
    case 8:
      return copy_strided<8>(to, at_, stride, elements);
    default:
      return copy_strided<16>(to, at_, stride, elements);
  }
}

// How many whole rows from here on fit into `room` elements; 0 where the position is inside a
// row, and where they are too few for transposing to pay.
std::int64_t Gatherer::rows_at_once(std::size_t room) const {
  constexpr std::int64_t kWorthwhile = 4;
  if (row_elements_ == 0) return 0;
  for (std::size_t i = row_dim_ + 1; i < dims_.size(); ++i) {
    if (dims_[i].index != 0) return 0;
  }
  const Dim& dim = dims_[row_dim_];
  const std::int64_t rows =
      std::min(dim.size - dim.index, static_cast<std::int64_t>(room / row_elements_));
  return rows < kWorthwhile ? 0 : rows;
}

// Copies whole rows, the elements of all of them at one inner place after the other, and moves on.
void Gatherer::copy_rows(std::byte* to, std::int64_t rows) {
  const Dim& inner = dims_.back();
  const std::size_t pitch = row_elements_ * itemsize_;
  const auto columns = static_cast<std::size_t>(inner.size);
  const std::byte* from = at_;
  std::vector<std::int64_t> index(dims_.size(), 0);
  for (std::size_t done = 0; done < row_elements_; done += columns) {
    transpose(from, inner.stride, to + done * itemsize_, pitch, static_cast<std::size_t>(rows),
              columns, itemsize_);
    for (std::size_t i = dims_.size() - 1; i-- > row_dim_ + 1;) {
      from += dims_[i].stride;
      if (++index[i] < dims_[i].size) break;
      from -= dims_[i].size * dims_[i].stride;
      index[i] = 0;
    }
  }
  dims_[row_dim_].index += rows;
  at_ += rows * dims_[row_dim_].stride;
  carry();
}

// Moves on by `elements` of the innermost dimension, at most to its end.
void Gatherer::advance(std::int64_t elements) {
  Dim& inner = dims_.back();
  inner.index += elements;
  at_ += elements * inner.stride;
  carry();
}

void Gatherer::carry() {
  for (std::size_t i = dims_.size(); i-- > 1;) {
    if (dims_[i].index != dims_[i].size) continue;
    at_ += dims_[i - 1].stride - dims_[i].size * dims_[i].stride;
    dims_[i].index = 0;
    ++dims_[i - 1].index;
  }
}

Bytes Gatherer::next(MutableBytes buffer) {
  const std::size_t total = std::min(buffer.size() / itemsize_, remaining_);
  std::size_t filled = 0;  // elements
  while (filled < total) {
    std::byte* to = buffer.data() + filled * itemsize_;
    if (const std::int64_t rows = rows_at_once(total - filled); rows > 0) {
      copy_rows(to, rows);
      filled += static_cast<std::size_t>(rows) * row_elements_;
      continue;
    }
    const Dim& inner = dims_.back();
    const std::int64_t run =
        std::min(inner.size - inner.index, static_cast<std::int64_t>(total - filled));
    copy_run(to, run);
    advance(run);
    filled += static_cast<std::size_t>(run);
  }
  remaining_ -= total;

  const MutableBytes data = buffer.first(total * itemsize_);
  if (kind_ == Kind::boolean) {
    for (std::byte& value : data) value = std::byte{value != std::byte{0}};
  }
  if (conj_) flip_signs(data, itemsize_ / 2, itemsize_ / 2, itemsize_);
  if (neg_) negate(data, kind_, itemsize_);
  return data;
}

}  // namespace torchnotary
