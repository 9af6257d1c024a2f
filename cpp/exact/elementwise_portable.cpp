// The element-by-element operators in plain C++, one element at a time.
#include <algorithm>
#include <bit>
#include <limits>

#include "exact/division.h"
#include "exact/elementary_portable.h"
#include "exact/elementwise_kernels.h"
#include "exact/storage.h"

namespace torchnotary::exact {
namespace portable {
namespace {

using FloatTag = hn::Lane<float>;
constexpr std::size_t kFloatLanes = 1;
#include "exact/elementwise_ops-inl.h"

template <class From, class To, To (*kConvert)(From)>
void convert(const From* in, To* out, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) out[i] = kConvert(in[i]);
}

constexpr ElementwiseKernels kKernels = {
    kArithmetic,
    &convert<std::uint16_t, float, widen_bfloat16>,
    &convert<std::uint16_t, float, widen_float16>,
    &convert<float, std::uint16_t, narrow_bfloat16>,
    &convert<float, std::uint16_t, narrow_float16>,
};

}  // namespace
}  // namespace portable

const ElementwiseKernels kElementwisePortable = portable::kKernels;

}  // namespace torchnotary::exact
