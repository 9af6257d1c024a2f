// What makes a view one that can be committed.
#include "tensor/view.h"

#include <limits>
#include <string>

#include "hashing/errors.h"

namespace torchnotary {
namespace {

std::string text(std::span<const std::int64_t> values) {
  std::string out = "[";
  for (const std::int64_t value : values) {
    if (out.size() > 1) out += ", ";
    out += std::to_string(value);
  }
  return out + "]";
}

[[noreturn]] void refuse(const char* message, std::string expected, std::string actual,
                         const char* next_step) {
  throw UnsupportedTensor(message, std::move(expected), std::move(actual), next_step);
}

void check_size(const TensorView& view) {
  std::int64_t bytes = view.dtype->itemsize;
  bool empty = false;
  bool overflow = false;
  for (const std::int64_t size : view.shape) {
    if (size < 0)
      refuse("a size is negative", "sizes of 0 or more", text(view.shape), "fix the shape");
    empty = empty || size == 0;
    overflow = overflow || __builtin_mul_overflow(bytes, size, &bytes);
  }
  // An empty tensor has no bytes however large its other sizes are.
  if (overflow && !empty) {
    refuse("the tensor's bytes cannot be counted in 63 bits", "at most 2^63 - 1 bytes",
           text(view.shape), "fix the shape");
  }
  if (!empty && view.data == nullptr) {
    refuse("the tensor has no memory", "a data pointer", "null",
           "commit a materialised tensor, not a meta or fake one");
  }
}

}  // namespace

std::size_t TensorView::nbytes() const {
  std::size_t bytes = dtype->itemsize;
  for (const std::int64_t size : shape) bytes *= static_cast<std::size_t>(size);
  return bytes;
}

void check(const TensorView& view) {
  if (view.rank() > std::numeric_limits<std::uint8_t>::max()) {
    refuse("the tensor has too many dimensions", "at most 255", std::to_string(view.rank()),
           "reshape the tensor");
  }
  if (view.strides.size() != view.rank()) {
    refuse("sizes and strides differ in number", std::to_string(view.rank()),
           std::to_string(view.strides.size()), "give one stride for each size");
  }
  check_size(view);
  if (view.conj && view.dtype->kind != Kind::complex) {
    refuse("only complex tensors have a conjugate", "a complex dtype",
           std::string(view.dtype->name), "resolve the view first");
  }
  if (view.neg && (view.dtype->kind == Kind::boolean || view.dtype->kind == Kind::opaque)) {
    refuse("this dtype cannot be negated", "an integer, floating or complex dtype",
           std::string(view.dtype->name), "resolve the view first");
  }
}

bool is_plain(const TensorView& view) {
  if (view.conj || view.neg || view.dtype->kind == Kind::boolean) return false;
  std::int64_t expected = 1;
  for (std::size_t i = view.rank(); i-- > 0;) {
    if (view.shape[i] == 0) return true;
    if (view.shape[i] != 1 && view.strides[i] != expected) return false;
    if (__builtin_mul_overflow(expected, view.shape[i], &expected)) return false;
  }
  return true;
}

}  // namespace torchnotary
