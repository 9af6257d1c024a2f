#include "exact/convert.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "exact/axes.h"
#include "exact/blocks.h"
#include "exact/elementwise_kernels.h"
#include "exact/environment.h"
#include "exact/rounding.h"

namespace torchnotary::exact {
namespace {

template <class Integer>
void widen_integers(const void* in, float* out, std::size_t n) {
  const auto* integers = static_cast<const Integer*>(in);
  for (std::size_t i = 0; i < n; ++i) out[i] = static_cast<float>(integers[i]);
}

// Both bounds are powers of two or 0, and so exact.
template <class Integer>
void truncate_block(const float* in, void* out, std::size_t n) {
  using Limits = std::numeric_limits<Integer>;
  const float low = Limits::is_signed ? -std::ldexp(1.0f, Limits::digits) : 0.0f;
  const float beyond = std::ldexp(1.0f, Limits::digits);
  for (std::size_t i = 0; i < n; ++i) {
    const float x = in[i];
    Integer integer = 0;  // of a NaN
    if (x >= beyond) {
      integer = Limits::max();
    } else if (x <= low) {
      integer = Limits::min();
    } else if (x == x) {
      integer = static_cast<Integer>(x);
    }
    static_cast<Integer*>(out)[i] = integer;
  }
}

void truncate_block(Element element, const float* in, void* out, std::size_t n) {
  switch (element) {
    case Element::uint8:
      return truncate_block<std::uint8_t>(in, out, n);
    case Element::int8:
      return truncate_block<std::int8_t>(in, out, n);
    case Element::int16:
      return truncate_block<std::int16_t>(in, out, n);
    case Element::int32:
      return truncate_block<std::int32_t>(in, out, n);
    default:
      return truncate_block<std::int64_t>(in, out, n);
  }
}

}  // namespace

void widen(const void* in, Element element, float* out, std::size_t n) {
  switch (element) {
    case Element::float32:
      std::copy_n(static_cast<const float*>(in), n, out);
      return;
    case Element::bfloat16:
      return elementwise_kernels().widen_bfloat16(static_cast<const std::uint16_t*>(in), out, n);
    case Element::float16:
      return elementwise_kernels().widen_float16(static_cast<const std::uint16_t*>(in), out, n);
    case Element::boolean:
    case Element::uint8:
      return widen_integers<std::uint8_t>(in, out, n);
    case Element::int8:
      return widen_integers<std::int8_t>(in, out, n);
    case Element::int16:
      return widen_integers<std::int16_t>(in, out, n);
    case Element::int32:
      return widen_integers<std::int32_t>(in, out, n);
    case Element::int64:
      return widen_integers<std::int64_t>(in, out, n);
  }
}

void narrow(const float* in, Element element, void* out, std::size_t n) {
  switch (element) {
    case Element::bfloat16:
      return elementwise_kernels().narrow_bfloat16(in, static_cast<std::uint16_t*>(out), n);
    case Element::float16:
      return elementwise_kernels().narrow_float16(in, static_cast<std::uint16_t*>(out), n);
    case Element::float32:
      for (std::size_t i = 0; i < n; ++i) static_cast<float*>(out)[i] = canonical(in[i]);
      return;
    default:
      for (std::size_t i = 0; i < n; ++i) static_cast<std::uint8_t*>(out)[i] = in[i] != 0.0f;
  }
}

void truncate(const Input& in, const Output& out, ParallelFor parallel) {
  const Axes axes = collapsed_axes(out, {&in, 1});
  for_each_range(parallel, axes.elements(), [&](std::size_t begin, std::size_t end) {
    BlockReader reader(axes, 1, in, Element::float32);
    BlockWriter writer(axes, out, out.element);
    for_each_block(axes, begin, end, [&](const Position& at, std::size_t, std::size_t n) {
      truncate_block(out.element, static_cast<const float*>(reader.read(at, n)),
                     writer.place(at, n), n);
      writer.write(at, n);
    });
  });
}

void arange(double start, double step, const Output& out, ParallelFor parallel) {
  const Axes axes = collapsed_axes(out, {});
  for_each_range(parallel, axes.elements(), [&](std::size_t begin, std::size_t end) {
    BlockWriter writer(axes, out, Element::float32);
    for_each_block(axes, begin, end, [&](const Position& at, std::size_t first, std::size_t n) {
      auto* values = static_cast<float*>(writer.place(at, n));
      for (std::size_t i = 0; i < n; ++i) {
        const double value = start + static_cast<double>(first + i) * step;
        const bool wide = out.element == Element::float32;
        values[i] = wide ? static_cast<float>(value) : rounded_to_odd(value);
      }
      writer.write(at, n);
    });
  });
}

}  // namespace torchnotary::exact
