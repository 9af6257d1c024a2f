// Attention's products, of queries with keys and of weights with values, for each Highway target
// that includes this file.
#if defined(TORCHNOTARY_ATTENTION_PRODUCTS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef TORCHNOTARY_ATTENTION_PRODUCTS_INL_H_
#undef TORCHNOTARY_ATTENTION_PRODUCTS_INL_H_
#else
#define TORCHNOTARY_ATTENTION_PRODUCTS_INL_H_
#endif

#include <algorithm>
#include <bit>
#include <type_traits>

#include "exact/attention_kernels.h"
#include "exact/lanes-inl.h"
#include "exact/storage.h"
#include "hwy/highway.h"

#if HWY_TARGET != HWY_SCALAR && HWY_TARGET != HWY_EMU128

HWY_BEFORE_NAMESPACE();
namespace torchnotary::exact {
namespace HWY_NAMESPACE {
namespace attention {
namespace hn = hwy::HWY_NAMESPACE;

using Tag = hn::ScalableTag<float>;
using V = hn::Vec<Tag>;
constexpr size_t kLanes = hn::MaxLanes(Tag());
// As many columns as fit into the registers beside kRowBlock rows of them.
constexpr size_t kVectors = HWY_TARGET == HWY_AVX2 ? 2 : 4;

// f(the number of rows, as a constant), for up to kRowBlock rows.
template <class F>
HWY_INLINE void WithRows(size_t rows, F f) {
  static_assert(kRowBlock == 6);
  switch (rows) {
    case 1:
      return f(std::integral_constant<size_t, 1>());
    case 2:
      return f(std::integral_constant<size_t, 2>());
    case 3:
      return f(std::integral_constant<size_t, 3>());
    case 4:
      return f(std::integral_constant<size_t, 4>());
    case 5:
      return f(std::integral_constant<size_t, 5>());
    default:
      return f(std::integral_constant<size_t, 6>());
  }
}

// kRows × kVectors chains over the elements from `first` to `last`.
template <size_t kRows>
HWY_INLINE void ScoreChains(const float* HWY_RESTRICT queries, ptrdiff_t pitch,
                            const float* HWY_RESTRICT keys, size_t first, size_t last,
                            float* HWY_RESTRICT scores) {
  const Tag d;
  V p[kRows][kVectors];
  TORCHNOTARY_UNROLL
  for (size_t r = 0; r < kRows; ++r) {
    TORCHNOTARY_UNROLL
    for (size_t v = 0; v < kVectors; ++v) p[r][v] = hn::Zero(d);
  }
  const float* query[kRows];
  TORCHNOTARY_UNROLL
  for (size_t r = 0; r < kRows; ++r) query[r] = queries + static_cast<ptrdiff_t>(r) * pitch;
  for (size_t e = first; e < last; ++e) {
    V k[kVectors];
    TORCHNOTARY_UNROLL
    for (size_t v = 0; v < kVectors; ++v) k[v] = hn::LoadU(d, keys + e * kKeyChunk + v * kLanes);
    TORCHNOTARY_UNROLL
    for (size_t r = 0; r < kRows; ++r) {
      const V q = hn::Set(d, query[r][e]);
      TORCHNOTARY_UNROLL
      for (size_t v = 0; v < kVectors; ++v) p[r][v] = hn::MulAdd(q, k[v], p[r][v]);
    }
  }
  TORCHNOTARY_UNROLL
  for (size_t r = 0; r < kRows; ++r) {
    TORCHNOTARY_UNROLL
    for (size_t v = 0; v < kVectors; ++v) {
      float* dot = scores + r * kKeyChunk + v * kLanes;
      hn::StoreU(first == 0 ? p[r][v] : hn::LoadU(d, dot) + p[r][v], d, dot);
    }
  }
}

void Scores(const float* queries, ptrdiff_t pitch, const float* keys, size_t width, size_t begin,
            size_t end, float* scores) {
  for (size_t r = begin; r < end; r += kRowBlock) {
    WithRows(end - r, [&](auto rows) {
      for (size_t j = 0; j < kKeyChunk; j += kVectors * kLanes) {
        size_t first = 0;
        do {
          const size_t last = std::min(width, first + kDotBlock);
          ScoreChains<rows>(queries + static_cast<ptrdiff_t>(r) * pitch, pitch, keys + j, first,
                            last, scores + r * kKeyChunk + j);
          first = last;
        } while (first < width);
      }
    });
  }
}

// o where w is zero, else fma(w, v, o).
HWY_INLINE V AddUnlessZero(V w, V v, V o) {
  const auto zero = w == hn::Zero(Tag());
#if HWY_TARGET == HWY_AVX3
  return V{_mm512_mask3_fmadd_ps(w.raw, v.raw, o.raw, hn::Not(zero).raw)};  // one instruction
#else
  return hn::IfThenElse(zero, o, hn::MulAdd(w, v, o));
#endif
}

// kRows × kColumns chains over the keys of a chunk. With kZeros, keys that weigh 0 are left out:
// adding their product would make +0 of -0, and a NaN of ∞.
template <size_t kRows, size_t kColumns, bool kZeros>
HWY_INLINE void ValueChains(const float* HWY_RESTRICT weights, size_t keys,
                            const float* HWY_RESTRICT v, int64_t v_pitch, float* HWY_RESTRICT out,
                            size_t out_pitch) {
  const Tag d;
  V o[kRows][kColumns];
  TORCHNOTARY_UNROLL
  for (size_t r = 0; r < kRows; ++r) {
    TORCHNOTARY_UNROLL
    for (size_t i = 0; i < kColumns; ++i) o[r][i] = hn::LoadU(d, out + r * out_pitch + i * kLanes);
  }
  for (size_t j = 0; j < keys; ++j, v += v_pitch) {
    V value[kColumns];
    TORCHNOTARY_UNROLL
    for (size_t i = 0; i < kColumns; ++i) value[i] = hn::LoadU(d, v + i * kLanes);
    TORCHNOTARY_UNROLL
    for (size_t r = 0; r < kRows; ++r) {
      const V w = hn::Set(d, weights[r * kKeyChunk + j]);
      TORCHNOTARY_UNROLL
      for (size_t i = 0; i < kColumns; ++i) {
        o[r][i] = kZeros ? AddUnlessZero(w, value[i], o[r][i]) : hn::MulAdd(w, value[i], o[r][i]);
      }
    }
  }
  TORCHNOTARY_UNROLL
  for (size_t r = 0; r < kRows; ++r) {
    TORCHNOTARY_UNROLL
    for (size_t i = 0; i < kColumns; ++i) hn::StoreU(o[r][i], d, out + r * out_pitch + i * kLanes);
  }
}

template <size_t kRows, bool kZeros>
HWY_INLINE void ValueColumns(const float* weights, size_t keys, const float* v, int64_t v_pitch,
                             size_t columns, float* out, size_t out_pitch) {
  size_t i = 0;
  for (; i + kVectors * kLanes <= columns; i += kVectors * kLanes) {
    ValueChains<kRows, kVectors, kZeros>(weights, keys, v + i, v_pitch, out + i, out_pitch);
  }
  if constexpr (kVectors > 2) {
    if (i + 2 * kLanes <= columns) {
      ValueChains<kRows, 2, kZeros>(weights, keys, v + i, v_pitch, out + i, out_pitch);
      i += 2 * kLanes;
    }
  }
  if (i < columns) {
    ValueChains<kRows, 1, kZeros>(weights, keys, v + i, v_pitch, out + i, out_pitch);
  }
}

// One past the last of `keys` keys that does not weigh 0 in all of kRows rows.
template <size_t kRows>
HWY_INLINE size_t EndOfWeights(const float* weights, size_t keys) {
  for (; keys > 0; --keys) {
    TORCHNOTARY_UNROLL
    for (size_t r = 0; r < kRows; ++r) {
      if (weights[r * kKeyChunk + keys - 1] != 0) return keys;
    }
  }
  return 0;
}

void Values(const float* weights, const uint8_t* states, size_t rows, size_t keys, const float* v,
            int64_t v_pitch, size_t columns, float* out, size_t out_pitch) {
  for (size_t r = 0; r < rows; r += kRowBlock) {
    WithRows(rows - r, [&](auto block) {
      const auto is = [&](ChunkWeights state) { return [state](uint8_t s) { return s == state; }; };
      const uint8_t* first = states + r;
      const float* w = weights + r * kKeyChunk;
      if (std::all_of(first, first + block, is(kAllZero))) return;
      if (std::all_of(first, first + block, is(kAllPositive))) {
        return ValueColumns<block, false>(w, keys, v, v_pitch, columns, out + r * out_pitch,
                                          out_pitch);
      }
      ValueColumns<block, true>(w, EndOfWeights<block>(w, keys), v, v_pitch, columns,
                                out + r * out_pitch, out_pitch);
    });
  }
}

HWY_INLINE V Quotient(const float* from, float sum) {
  const Tag d;
  const V o = hn::LoadU(d, from) / hn::Set(d, sum);
  return hn::IfThenElse(o == o, o, hn::Set(d, std::bit_cast<float>(kNan)));
}

void Divide(const float* from, float sum, float* to, size_t n) {
  const Tag d;
  size_t i = 0;
  for (; i + kLanes <= n; i += kLanes) hn::StoreU(Quotient(from + i, sum), d, to + i);
  if (i == n) return;
  float last[kLanes] = {};
  std::copy(from + i, from + n, last);
  hn::StoreU(Quotient(last, sum), d, last);
  std::copy(last, last + (n - i), to + i);
}

}  // namespace attention
}  // namespace HWY_NAMESPACE
}  // namespace torchnotary::exact
HWY_AFTER_NAMESPACE();

#endif
#endif  // per-target include guard
