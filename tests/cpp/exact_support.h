// What the tests of exact kernels share: strided tensors of every element type, and values that are
// hard on them.
#pragma once

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "exact/element.h"
#include "exact/storage.h"

namespace torchnotary::exact {

using Shape = std::vector<std::int64_t>;

inline std::size_t elements_of(const Shape& shape) {
  std::size_t product = 1;
  for (const std::int64_t size : shape) product *= static_cast<std::size_t>(size);
  return product;
}

// The strides of a contiguous tensor, each times `spread`.
inline Shape contiguous(const Shape& shape, std::int64_t spread = 1) {
  Shape strides(shape.size());
  std::int64_t stride = spread;
  for (std::size_t axis = shape.size(); axis-- > 0; stride *= shape[axis]) strides[axis] = stride;
  return strides;
}

// Its own memory, of `extent` elements, and a view into it.
struct TestTensor {
  TestTensor(Element element, Shape sizes, Shape strides)
      : element(element), sizes(std::move(sizes)), strides(std::move(strides)) {
    std::size_t last = 0;
    for (std::size_t axis = 0; axis < this->sizes.size(); ++axis) {
      if (this->sizes[axis] == 0) return;
      last += static_cast<std::size_t>((this->sizes[axis] - 1) * this->strides[axis]);
    }
    bytes.resize((last + 1) * element_size(element), std::byte{0x5a});
  }
  TestTensor(Element element, const Shape& sizes) : TestTensor(element, sizes, contiguous(sizes)) {}

  Input input() const { return {bytes.data(), element, sizes, strides}; }
  Output output() { return {bytes.data(), element, sizes, strides}; }

  // The element with a row-major index in `shape`, to which this tensor is broadcast.
  std::size_t place(const Shape& shape, std::size_t index) const {
    std::int64_t offset = 0;
    for (std::size_t axis = shape.size(); axis-- > 0;) {
      const auto at = static_cast<std::int64_t>(index) % shape[axis];
      index /= static_cast<std::size_t>(shape[axis]);
      const std::size_t missing = shape.size() - sizes.size();
      if (axis >= missing && sizes[axis - missing] != 1) offset += at * strides[axis - missing];
    }
    return static_cast<std::size_t>(offset) * element_size(element);
  }

  template <class T>
  T get(std::size_t place) const {
    T value;
    std::memcpy(&value, bytes.data() + place, sizeof value);
    return value;
  }
  template <class T>
  void put(std::size_t place, T value) {
    std::memcpy(bytes.data() + place, &value, sizeof value);
  }

  // The number at a place as binary32.
  float value(std::size_t place) const {
    switch (element) {
      case Element::float32:
        return get<float>(place);
      case Element::bfloat16:
        return widen_bfloat16(get<std::uint16_t>(place));
      case Element::float16:
        return widen_float16(get<std::uint16_t>(place));
      case Element::boolean:
      case Element::uint8:
        return static_cast<float>(get<std::uint8_t>(place));
      case Element::int8:
        return static_cast<float>(get<std::int8_t>(place));
      case Element::int16:
        return static_cast<float>(get<std::int16_t>(place));
      case Element::int32:
        return static_cast<float>(get<std::int32_t>(place));
      case Element::int64:
        return static_cast<float>(get<std::int64_t>(place));
    }
    return 0;
  }

  Element element;
  Shape sizes, strides;
  std::vector<std::byte> bytes;
};

// The bits with which a result is stored.
inline std::uint32_t stored_bits(float x, Element element) {
  switch (element) {
    case Element::bfloat16:
      return narrow_bfloat16(x);
    case Element::float16:
      return narrow_float16(x);
    case Element::boolean:
      return x != 0;
    default:
      return std::bit_cast<std::uint32_t>(canonical(x));
  }
}

inline std::uint32_t bits_at(const TestTensor& tensor, std::size_t place) {
  switch (element_size(tensor.element)) {
    case 1:
      return tensor.get<std::uint8_t>(place);
    case 2:
      return tensor.get<std::uint16_t>(place);
    default:
      return tensor.get<std::uint32_t>(place);
  }
}

// Numbers of every size and sign, zeros, denormals, infinities, NaNs with payloads.
class HardNumbers {
 public:
  explicit HardNumbers(unsigned seed) : random_(seed) {}

  float next() {
    static constexpr float kHard[] = {0.0f,
                                      -0.0f,
                                      1.0f,
                                      -1.0f,
                                      0.5f,
                                      -2.5f,
                                      3.0f,
                                      6.0f,
                                      -3.0f,
                                      1e-40f,
                                      -1e-45f,
                                      1.1754944e-38f,
                                      3.4028235e38f,
                                      std::numeric_limits<float>::infinity(),
                                      -std::numeric_limits<float>::infinity()};
    switch (random_() % 8) {
      case 0:
        return kHard[random_() % std::size(kHard)];
      case 1:
        return std::bit_cast<float>(static_cast<std::uint32_t>(random_()));  // NaNs among them
      case 2:
        return std::bit_cast<float>(0x7f800000u | static_cast<std::uint32_t>(random_()));
      default:
        return std::normal_distribution<float>(0, 3)(random_);
    }
  }

  // Fills memory of that element type; floating numbers keep what payload they can.
  void fill(TestTensor& tensor) {
    for (std::size_t at = 0; at < tensor.bytes.size(); at += element_size(tensor.element)) {
      const auto bits = std::bit_cast<std::uint32_t>(next());
      switch (tensor.element) {
        case Element::float32:
          tensor.put(at, bits);
          break;
        case Element::bfloat16:
          tensor.put(at, static_cast<std::uint16_t>(bits >> 16));
          break;
        case Element::float16:
          tensor.put(at, random_() % 4 == 0 ? static_cast<std::uint16_t>(random_())
                                            : narrow_float16(std::bit_cast<float>(bits)));
          break;
        case Element::boolean:
          tensor.put(at, static_cast<std::uint8_t>(random_() % 2));
          break;
        default:
          for (std::size_t i = 0; i < element_size(tensor.element); ++i) {
            tensor.bytes[at + i] = static_cast<std::byte>(random_());
          }
      }
    }
  }

 private:
  std::mt19937 random_;
};

}  // namespace torchnotary::exact
