// Text that grows by many small pieces: appending is inlined, unlike std::string's.
#pragma once

#include <algorithm>
#include <cstring>
#include <memory>
#include <string_view>

namespace torchnotary {

class Text {
 public:
  Text& operator+=(std::string_view piece) {
    if (capacity_ - size_ < piece.size()) grow(piece.size());
    std::memcpy(data_.get() + size_, piece.data(), piece.size());
    size_ += piece.size();
    return *this;
  }
  Text& operator+=(char c) {
    if (capacity_ == size_) grow(1);
    data_[size_++] = c;
    return *this;
  }

  char* data() { return data_.get(); }
  std::size_t size() const { return size_; }
  std::size_t capacity() const { return capacity_; }
  char back() const { return data_[size_ - 1]; }
  std::string_view view() const { return {data_.get(), size_}; }
  // Forgets what follows the first `size` characters; memory is kept.
  void shrink(std::size_t size) { size_ = size; }

 private:
  void grow(std::size_t more) {
    const std::size_t capacity = std::max<std::size_t>({2 * capacity_, size_ + more, 4096});
    std::unique_ptr<char[]> data(new char[capacity]);
    if (size_ > 0) std::memcpy(data.get(), data_.get(), size_);
    data_ = std::move(data);
    capacity_ = capacity;
  }

  std::unique_ptr<char[]> data_;
  std::size_t size_ = 0;
  std::size_t capacity_ = 0;
};

}  // namespace torchnotary
