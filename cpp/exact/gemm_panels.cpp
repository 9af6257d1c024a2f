// Copying panels, by the strides that their operand has.
#include "exact/gemm_panels.h"

#include <algorithm>
#include <cstring>

#include "tensor/transpose.h"

namespace torchnotary::exact {
namespace {

// `units` whole units: a copy whose size the compiler knows is a few moves.
template <std::size_t kItem>
void copy_units(const std::byte* from, std::size_t units, std::byte* to) {
  for (std::size_t i = 0; i < units; ++i) {
    std::memcpy(to + i * kUnit * kItem, from + i * kUnit * kItem, kUnit * kItem);
  }
}

class Copy {
 public:
  Copy(const Matrix& b, std::size_t n, std::size_t k, std::size_t k_count, const Panels& panels,
       std::size_t first, std::size_t count, std::byte* const* to)
      : b_(b),
        n_(n),
        k_count_(k_count),
        panels_(panels),
        first_(first),
        count_(count),
        to_(to),
        item_(element_size(b.storage)),
        row_bytes_(b.row_stride * static_cast<std::ptrdiff_t>(item_)),
        column_bytes_(b.column_stride * static_cast<std::ptrdiff_t>(item_)),
        from_(static_cast<const std::byte*>(b.data) + static_cast<std::ptrdiff_t>(k) * row_bytes_) {
  }

  void run() const {
    if (b_.column_stride == 1) {
      copy_rows();
    } else {
      for (std::size_t i = 0; i < count_; ++i) copy_columns(i);
    }
    if (first_ + count_ == panels_.count && n_ % kUnit != 0) clear_rest();
  }

 private:
  std::size_t column(std::size_t i) const { return panels_.begin(first_ + i) * kUnit; }
  std::size_t width(std::size_t i) const { return panels_.width(first_ + i) * kUnit; }
  std::size_t used(std::size_t i) const { return std::min(width(i), n_ - column(i)); }
  const std::byte* at(std::size_t i) const {
    return from_ + static_cast<std::ptrdiff_t>(column(i)) * column_bytes_;
  }

  // Row after row through all panels, as the rows lie in memory.
  void copy_rows() const {
    for (std::size_t row = 0; row < k_count_; ++row) {
      const std::ptrdiff_t row_at = static_cast<std::ptrdiff_t>(row) * row_bytes_;
      for (std::size_t i = 0; i < count_; ++i) {
        std::byte* to = to_[i] + row * width(i) * item_;
        const std::size_t units = used(i) / kUnit;
        if (item_ == 4) {
          copy_units<4>(at(i) + row_at, units, to);
        } else {
          copy_units<2>(at(i) + row_at, units, to);
        }
        const std::size_t whole = units * kUnit * item_;
        if (used(i) % kUnit != 0) {
          std::memcpy(to + whole, at(i) + row_at + whole, used(i) % kUnit * item_);
        }
      }
    }
  }

  void copy_columns(std::size_t i) const {
    if (b_.row_stride == 1) {
      transpose(at(i), column_bytes_, to_[i], width(i) * item_, k_count_, used(i), item_);
      return;
    }
    for (std::size_t row = 0; row < k_count_; ++row) {
      const std::byte* from = at(i) + static_cast<std::ptrdiff_t>(row) * row_bytes_;
      std::byte* to = to_[i] + row * width(i) * item_;
      for (std::size_t j = 0; j < used(i); ++j) {
        std::memcpy(to + j * item_, from + static_cast<std::ptrdiff_t>(j) * column_bytes_, item_);
      }
    }
  }

  void clear_rest() const {
    const std::size_t last = count_ - 1, unused = (width(last) - used(last)) * item_;
    for (std::size_t row = 0; row < k_count_; ++row) {
      std::memset(to_[last] + (row + 1) * width(last) * item_ - unused, 0, unused);
    }
  }

  const Matrix& b_;
  const std::size_t n_, k_count_;
  const Panels& panels_;
  const std::size_t first_, count_;
  std::byte* const* const to_;
  const std::size_t item_;
  const std::ptrdiff_t row_bytes_, column_bytes_;
  const std::byte* const from_;
};

}  // namespace

void copy_panels(const Matrix& b, std::size_t n, std::size_t k, std::size_t k_count,
                 const Panels& panels, std::size_t first, std::size_t count, std::byte* const* to) {
  Copy(b, n, k, k_count, panels, first, count, to).run();
}

}  // namespace torchnotary::exact
