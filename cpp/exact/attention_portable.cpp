// Attention in plain C++, for machines whose vectors we do not use.
#include <cmath>
#include <limits>

#include "exact/attention_kernels.h"
#include "exact/elementary_portable.h"
#include "exact/lanes.h"
#include "exact/storage.h"

namespace torchnotary::exact {
namespace {

constexpr float kAbsent = -std::numeric_limits<float>::infinity();

void scores(const float* queries, std::ptrdiff_t pitch, const float* keys, std::size_t width,
            std::size_t begin, std::size_t end, float* scores) {
  for (std::size_t r = begin; r < end; ++r) {
    const float* q = queries + static_cast<std::ptrdiff_t>(r) * pitch;
    for (std::size_t j = 0; j < kKeyChunk; ++j) {
      float dot = 0;
      for (std::size_t first = 0; first < width; first += kDotBlock) {
        const std::size_t last = width - first > kDotBlock ? first + kDotBlock : width;
        float p = 0;
        for (std::size_t e = first; e < last; ++e) {
          p = std::fma(q[e], keys[e * kKeyChunk + j], p);
        }
        dot = first == 0 ? p : dot + p;
      }
      scores[r * kKeyChunk + j] = dot;
    }
  }
}

// The sum of the weights of the present keys, in lanes of T.
template <class T>
float sum(const float* weights, std::size_t pitch, const float* added, const PresentKeys& present) {
  T lanes[kSumLanes] = {};
  std::size_t rank = 0;
  for (std::size_t j = present.first; j < present.end; ++j) {
    if (added != nullptr && added[j] == kAbsent) continue;
    T& lane = lanes[rank++ % kSumLanes];
    lane = lane + static_cast<T>(weights[j / kKeyChunk * pitch + j % kKeyChunk]);
  }
  return static_cast<float>(sum_of_lanes(lanes));
}

float weights(float* scores, std::size_t pitch, std::size_t keys, const float* added,
              const PresentKeys& present, float scale, std::uint8_t* states,
              std::size_t state_pitch) {
  float greatest = kAbsent;
  bool nan = false;
  const auto score = [&](std::size_t j) -> float& {
    return scores[j / kKeyChunk * pitch + j % kKeyChunk];
  };
  const auto is_present = [&](std::size_t j) {
    return added != nullptr ? added[j] != kAbsent : j < present.end;
  };
  for (std::size_t j = present.first; j < present.end; ++j) {
    if (!is_present(j)) continue;
    float& s = score(j);
    s = s * scale;
    if (added != nullptr) s = s + added[j];
    nan |= s != s;
    if (s > greatest) greatest = s;
  }
  const bool all_zero = nan || std::isinf(greatest);
  for (std::size_t c = 0; c * kKeyChunk < keys; ++c) {
    const std::size_t last = keys - c * kKeyChunk > kKeyChunk ? (c + 1) * kKeyChunk : keys;
    std::size_t zeros = 0;
    for (std::size_t j = c * kKeyChunk; j < last; ++j) {
      float& w = score(j);
      w = all_zero || !is_present(j) ? 0.0f
                                     : portable::Exp(portable::hn::Lane<float>(), w - greatest);
      zeros += w == 0;
    }
    states[c * state_pitch] = zeros == 0                      ? kAllPositive
                              : zeros == last - c * kKeyChunk ? kAllZero
                                                              : kSomeZero;
  }
  if (present.count == 0) return 1;
  if (all_zero) return std::numeric_limits<float>::quiet_NaN();
  return present.count > kMostInBinary32 ? sum<double>(scores, pitch, added, present)
                                         : sum<float>(scores, pitch, added, present);
}

void values(const float* weights, const std::uint8_t*, std::size_t rows, std::size_t keys,
            const float* v, std::int64_t v_pitch, std::size_t columns, float* out,
            std::size_t out_pitch) {
  for (std::size_t r = 0; r < rows; ++r) {
    for (std::size_t j = 0; j < keys; ++j) {
      const float w = weights[r * kKeyChunk + j];
      if (w == 0) continue;
      const float* value = v + static_cast<std::int64_t>(j) * v_pitch;
      float* o = out + r * out_pitch;
      for (std::size_t i = 0; i < columns; ++i) o[i] = std::fma(w, value[i], o[i]);
    }
  }
}

void divide(const float* from, float sum, float* to, std::size_t n) {
  for (std::size_t i = 0; i < n; ++i) to[i] = canonical(from[i] / sum);
}

void absent(const std::uint8_t* mask, float* added, std::size_t n) {
  for (std::size_t j = 0; j < n; ++j) added[j] = mask[j] != 0 ? 0.0f : kAbsent;
}

PresentKeys present(const float* added, std::size_t n) {
  PresentKeys keys;
  for (std::size_t j = 0; j < n; ++j) {
    if (added[j] == kAbsent) continue;
    if (keys.count++ == 0) keys.first = j;
    keys.end = j + 1;
  }
  return keys;
}

}  // namespace

constexpr AttentionKernels kAttentionPortable = {scores, weights, values, divide,
                                                 absent, present, 1};

}  // namespace torchnotary::exact
