#include "exact/contiguous.h"

#include "exact/elementwise.h"

namespace torchnotary::exact {
namespace {

std::vector<std::int64_t> contiguous_strides(std::span<const std::int64_t> sizes) {
  std::vector<std::int64_t> strides(sizes.size());
  std::int64_t stride = 1;
  for (std::size_t axis = sizes.size(); axis-- > 0; stride *= sizes[axis]) strides[axis] = stride;
  return strides;
}

std::size_t count(std::span<const std::int64_t> sizes) {
  std::size_t product = 1;
  for (const std::int64_t size : sizes) product *= static_cast<std::size_t>(size);
  return product;
}

bool is_contiguous(Element element, std::span<const std::int64_t> sizes,
                   std::span<const std::int64_t> strides) {
  std::int64_t stride = 1;
  for (std::size_t axis = sizes.size(); axis-- > 0; stride *= sizes[axis]) {
    if (sizes[axis] != 1 && strides[axis] != stride) return false;
  }
  return element == Element::float32;
}

}  // namespace

ContiguousInput::ContiguousInput(const Input& input, ParallelFor parallel)
    : data_(static_cast<const float*>(input.data)) {
  if (is_contiguous(input.element, input.sizes, input.strides)) return;
  copy_.reset(new float[count(input.sizes)]);
  data_ = copy_.get();
  const std::vector<std::int64_t> strides = contiguous_strides(input.sizes);
  elementwise(ElementOp::identity, {&input, 1}, {},
              {copy_.get(), Element::float32, input.sizes, strides}, parallel);
}

ContiguousOutput::ContiguousOutput(const Output& output)
    : output_(output), data_(static_cast<float*>(output.data)) {
  if (is_contiguous(output.element, output.sizes, output.strides)) return;
  copy_.reset(new float[count(output.sizes)]);
  data_ = copy_.get();
}

void ContiguousOutput::write(ParallelFor parallel) {
  if (copy_ == nullptr) return;
  const std::vector<std::int64_t> strides = contiguous_strides(output_.sizes);
  const Input from{copy_.get(), Element::float32, output_.sizes, strides};
  elementwise(ElementOp::identity, {&from, 1}, {}, output_, parallel);
}

}  // namespace torchnotary::exact
