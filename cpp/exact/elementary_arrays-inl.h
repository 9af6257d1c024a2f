// The elementary functions over arrays, for each Highway target that includes this file.
#if defined(TORCHNOTARY_EXACT_ELEMENTARY_ARRAYS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TORCHNOTARY_EXACT_ELEMENTARY_ARRAYS_INL_H_
#undef TORCHNOTARY_EXACT_ELEMENTARY_ARRAYS_INL_H_
#else
#define TORCHNOTARY_EXACT_ELEMENTARY_ARRAYS_INL_H_
#endif

#include <cstring>

#include "exact/elementary-inl.h"
#include "exact/elementary.h"

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

HWY_BEFORE_NAMESPACE();
namespace torchnotary::exact::HWY_NAMESPACE {

// The last, incomplete vector is completed by zeros.
#define TORCHNOTARY_ARRAY(name, Name)                     \
  void name##_array(const float* x, float* y, size_t n) { \
    const hn::ScalableTag<float> d;                       \
    constexpr size_t kLanes = hn::MaxLanes(d);            \
    size_t i = 0;                                         \
    for (; i + kLanes <= n; i += kLanes) {                \
      hn::StoreU(Name(d, hn::LoadU(d, x + i)), d, y + i); \
    }                                                     \
    if (i == n) return;                                   \
    alignas(64) float rest[kLanes] = {};                  \
    std::memcpy(rest, x + i, (n - i) * sizeof(float));    \
    hn::Store(Name(d, hn::Load(d, rest)), d, rest);       \
    std::memcpy(y + i, rest, (n - i) * sizeof(float));    \
  }
TORCHNOTARY_ELEMENTARY(TORCHNOTARY_ARRAY)
#undef TORCHNOTARY_ARRAY

#define TORCHNOTARY_ENTRY(name, Name) name##_array,
inline constexpr ElementaryKernels kElementary = {TORCHNOTARY_ELEMENTARY(TORCHNOTARY_ENTRY)};
#undef TORCHNOTARY_ENTRY

}  // namespace torchnotary::exact::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#endif
#endif  // per-target include guard
