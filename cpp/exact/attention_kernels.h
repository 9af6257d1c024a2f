// The one interface that every CPU path of attention implements.
//
// Scores and weights of a tile of queries lie in chunks of 64 keys: those of chunk c and row r are
// the 64 floats at (c * rows + r) * kKeyChunk.
#pragma once

#include <cstddef>
#include <cstdint>

#include "exact/dot_block.h"
#include "hashing/cpu.h"

namespace torchnotary::exact {

inline constexpr std::size_t kKeyChunk = 64;
inline constexpr std::size_t kRowBlock = 6;  // rows that a kernel holds in registers

// Which keys one query sees, by its masks.
struct PresentKeys {
  std::size_t first = 0;
  std::size_t end = 0;    // one past the last one
  std::size_t count = 0;  // less than end - first where some between them are absent
};

// What the keys of a chunk weigh, for one row.
enum ChunkWeights : std::uint8_t { kAllPositive, kSomeZero, kAllZero };

struct AttentionKernels {
  // scores[r * kKeyChunk + j] = query r · key j for begin ≤ r < end and every j of a chunk; `begin`
  // is a multiple of kRowBlock. Element e of query r is at queries[r * pitch + e], that of key j at
  // keys[e * kKeyChunk + j].
  void (*scores)(const float* queries, std::ptrdiff_t pitch, const float* keys, std::size_t width,
                 std::size_t begin, std::size_t end, float* scores);

  // Turns one row's dot products into weights, in place, for all chunks of `keys` keys, each
  // `pitch` floats after the one before it; keys that are not present weigh +0. Without `added`,
  // all keys before present.end are present; with it, added[j] joins the score of key j, which is
  // absent where that is -∞; it goes to the end of the last chunk. states[c * state_pitch] says
  // what chunk c holds. Returns the weights' sum; a NaN, with all weights +0, where the result is a
  // NaN; 1 where no key is present.
  float (*weights)(float* scores, std::size_t pitch, std::size_t keys, const float* added,
                   const PresentKeys& present, float scale, std::uint8_t* states,
                   std::size_t state_pitch);

  // out[r][i] = fma(w[r][j], v[j][i], out[r][i]) for the first `keys` keys of a chunk ascending,
  // without those that weigh 0, for r < rows and i < columns (a multiple of `lanes`).
  void (*values)(const float* weights, const std::uint8_t* states, std::size_t rows,
                 std::size_t keys, const float* v, std::int64_t v_pitch, std::size_t columns,
                 float* out, std::size_t out_pitch);

  // to[i] = from[i] / sum, NaNs canonical.
  void (*divide)(const float* from, float sum, float* to, std::size_t n);

  // added[j] as an additive mask has it for a boolean one of n adjacent bytes.
  void (*absent)(const std::uint8_t* mask, float* added, std::size_t n);

  // The keys among n whose added[j] is not -∞.
  PresentKeys (*present)(const float* added, std::size_t n);

  std::size_t lanes;
};

const AttentionKernels& attention_kernels(CpuPath path);
extern const AttentionKernels kAttentionPortable;

}  // namespace torchnotary::exact
