// The element types that kernels read and write, floating or not.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "exact/storage.h"

namespace torchnotary::exact {

enum class Element : std::uint8_t {
  float32,
  bfloat16,
  float16,
  boolean,  // one byte, 0 or 1
  uint8,
  int8,
  int16,
  int32,
  int64,
};

constexpr Element element_of(Storage storage) { return static_cast<Element>(storage); }

constexpr bool is_floating(Element element) { return element <= Element::float16; }

constexpr std::size_t element_size(Element element) {
  switch (element) {
    case Element::boolean:
    case Element::uint8:
    case Element::int8:
      return 1;
    case Element::bfloat16:
    case Element::float16:
    case Element::int16:
      return 2;
    case Element::float32:
    case Element::int32:
      return 4;
    case Element::int64:
      return 8;
  }
  return 0;
}

// A tensor that is read. Strides count elements; sizes and strides are borrowed.
struct Input {
  const void* data = nullptr;
  Element element = Element::float32;
  std::span<const std::int64_t> sizes{};
  std::span<const std::int64_t> strides{};
};

// A tensor that is written. No two of its indices share memory.
struct Output {
  void* data = nullptr;
  Element element = Element::float32;
  std::span<const std::int64_t> sizes{};
  std::span<const std::int64_t> strides{};
};

}  // namespace torchnotary::exact
