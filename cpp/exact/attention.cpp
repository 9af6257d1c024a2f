// Attention in tiles of queries: all scores of one tile of one key head, then weights, then values.
#include "exact/attention.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "exact/attention_kernels.h"
#include "exact/convert.h"
#include "exact/environment.h"
#include "tensor/transpose.h"

namespace torchnotary::exact {
namespace {

constexpr float kAbsent = -std::numeric_limits<float>::infinity();
constexpr std::size_t kMostRows = 132;        // of a tile; multiples of kRowBlock waste nothing
constexpr std::size_t kMostScores = 3 << 16;  // of a tile of more than kRowBlock rows

std::size_t round_up(std::size_t n, std::size_t step) { return (n + step - 1) / step * step; }

// Row r of a tile is query r / group of head r % group among those that share a key head: keys and
// values are read once for all of them.
struct Tile {
  std::size_t batch, key_head;
  std::size_t first, rows;  // among the rows of the key head
};

// What a thread needs beside the operands, kept for its next tile.
struct Scratch {
  std::vector<float> queries, keys, values, scores, added, out, sums;
  std::vector<std::uint8_t> states;
};

class TileOfAttention {
 public:
  TileOfAttention(const Attention& a, const Tile& tile, Scratch& scratch)
      : a_(a),
        kernels_(attention_kernels(cpu_path())),
        tile_(tile),
        group_(a.heads / a.key_heads),
        columns_(round_up(a.value_width, kernels_.lanes)),
        chunks_((a.keys + kKeyChunk - 1) / kKeyChunk),
        s_(scratch) {}

  void run() {
    find_queries();
    s_.scores.resize(std::max(s_.scores.size(), chunks_ * tile_.rows * kKeyChunk));
    for (std::size_t c = 0; c < chunks_; ++c) score_chunk(c);
    weigh();
    s_.out.assign(tile_.rows * columns_, 0.0f);
    for (std::size_t c = 0; c < chunks_; ++c) add_values(c);
    store();
  }

 private:
  std::size_t query(std::size_t row) const { return (tile_.first + row) / group_; }
  std::size_t head(std::size_t row) const {
    return tile_.key_head * group_ + (tile_.first + row) % group_;
  }
  // One past the last key that a row may see.
  std::size_t end_of_keys(std::size_t row) const {
    return a_.causal ? std::min(a_.keys, query(row) + 1) : a_.keys;
  }
  float* scores(std::size_t chunk) { return s_.scores.data() + chunk * tile_.rows * kKeyChunk; }

  const std::byte* at(const AttentionInput& in, std::size_t head, std::size_t row) const {
    const auto offset = static_cast<std::int64_t>(tile_.batch) * in.batch_stride +
                        static_cast<std::int64_t>(head) * in.head_stride +
                        static_cast<std::int64_t>(row) * in.row_stride;
    return static_cast<const std::byte*>(in.data) +
           offset * static_cast<std::int64_t>(element_size(a_.storage));
  }

  // Rows of binary32 that are evenly apart stay where they are, others are copied.
  void find_queries() {
    if (a_.storage == Storage::float32 && (group_ == 1 || a_.queries == 1)) {
      queries_ = reinterpret_cast<const float*>(at(a_.q, head(0), query(0)));
      query_pitch_ = group_ == 1 ? a_.q.row_stride : a_.q.head_stride;
      return;
    }
    s_.queries.resize(std::max(s_.queries.size(), tile_.rows * a_.width));
    for (std::size_t r = 0; r < tile_.rows; ++r) {
      widen(at(a_.q, head(r), query(r)), element_of(a_.storage), s_.queries.data() + r * a_.width,
            a_.width);
    }
    queries_ = s_.queries.data();
    query_pitch_ = static_cast<std::ptrdiff_t>(a_.width);
  }

  // The rows of a chunk of keys or values, `pitch` floats apart and with zeros up to that: in place
  // if they are so already, or if `any_pitch` will do for rows without zeros behind them.
  const float* rows_of_chunk(const AttentionInput& in, std::size_t chunk, std::size_t width,
                             bool any_pitch, std::int64_t& pitch) {
    const std::size_t first = chunk * kKeyChunk;
    const bool whole = static_cast<std::size_t>(pitch) == width;
    if (a_.storage == Storage::float32 && whole && (any_pitch || in.row_stride == pitch)) {
      pitch = in.row_stride;
      return reinterpret_cast<const float*>(at(in, tile_.key_head, first));
    }
    s_.values.resize(std::max(s_.values.size(), kKeyChunk * static_cast<std::size_t>(pitch)));
    for (std::size_t j = 0; j < keys_of_chunk(chunk); ++j) {
      float* to = s_.values.data() + j * static_cast<std::size_t>(pitch);
      widen(at(in, tile_.key_head, first + j), element_of(a_.storage), to, width);
      std::fill(to + width, to + pitch, 0.0f);
    }
    return s_.values.data();
  }

  // Asks for the rows of the chunk after this one, which few queries leave no time to wait for.
  void prefetch_next(const AttentionInput& in, std::size_t chunk, std::size_t width) const {
    if (tile_.rows > kRowBlock || chunk + 1 == chunks_) return;
    for (std::size_t j = 0; j < keys_of_chunk(chunk + 1); ++j) {
      const std::byte* row = at(in, tile_.key_head, (chunk + 1) * kKeyChunk + j);
      for (std::size_t i = 0; i < width * element_size(a_.storage); i += 64) {
        __builtin_prefetch(row + i, 0, 2);
      }
    }
  }

  std::size_t keys_of_chunk(std::size_t chunk) const {
    return std::min(kKeyChunk, a_.keys - chunk * kKeyChunk);
  }

  void score_chunk(std::size_t chunk) {
    // Rows come in the order of their queries, so that those that see none of the keys come first.
    std::size_t begin = 0;
    while (begin < tile_.rows && end_of_keys(begin) <= chunk * kKeyChunk) ++begin;
    if (begin == tile_.rows) return;
    prefetch_next(a_.k, chunk, a_.width);
    s_.keys.resize(std::max(s_.keys.size(), a_.width * kKeyChunk));
    auto pitch = static_cast<std::int64_t>(a_.width);
    const float* rows = rows_of_chunk(a_.k, chunk, a_.width, true, pitch);
    transpose(reinterpret_cast<const std::byte*>(rows), pitch * 4,
              reinterpret_cast<std::byte*>(s_.keys.data()), kKeyChunk * 4, a_.width,
              keys_of_chunk(chunk), 4);
    kernels_.scores(queries_, query_pitch_, s_.keys.data(), a_.width, begin / kRowBlock * kRowBlock,
                    tile_.rows, scores(chunk));
  }

  void weigh() {
    s_.sums.resize(std::max(s_.sums.size(), tile_.rows));
    s_.states.resize(std::max(s_.states.size(), chunks_ * tile_.rows));
    PresentKeys present;
    std::int64_t in_scratch = -1;  // the mask's offset whose row is in scratch
    for (std::size_t r = 0; r < tile_.rows; ++r) {
      const float* added = nullptr;
      if (a_.mask.kind == AttentionMask::Kind::none) {
        present = {0, end_of_keys(r), end_of_keys(r)};
      } else {
        added = mask_row(r, in_scratch, present);
      }
      s_.sums[r] = kernels_.weights(scores(0) + r * kKeyChunk, tile_.rows * kKeyChunk, a_.keys,
                                    added, present, a_.scale, s_.states.data() + r, tile_.rows);
    }
  }

  // The mask of a row as what is added to its scores.
  const float* mask_row(std::size_t row, std::int64_t& in_scratch, PresentKeys& present) {
    const AttentionMask& mask = a_.mask;
    const auto offset = static_cast<std::int64_t>(tile_.batch) * mask.batch_stride +
                        static_cast<std::int64_t>(head(row)) * mask.head_stride +
                        static_cast<std::int64_t>(query(row)) * mask.query_stride;
    float* added = s_.added.data();
    if (offset == in_scratch && !a_.causal) return added;
    s_.added.resize(std::max(s_.added.size(), chunks_ * kKeyChunk));
    added = s_.added.data();
    const std::size_t end = end_of_keys(row);
    read_mask(offset, added, end);
    std::fill(added + end, added + chunks_ * kKeyChunk, kAbsent);
    present = kernels_.present(added, end);
    in_scratch = offset;
    return added;
  }

  void read_mask(std::int64_t offset, float* added, std::size_t n) const {
    const AttentionMask& mask = a_.mask;
    const auto* bytes = static_cast<const std::byte*>(mask.data);
    if (mask.kind == AttentionMask::Kind::boolean) {
      const auto* from = reinterpret_cast<const std::uint8_t*>(bytes) + offset;
      if (mask.key_stride == 1) return kernels_.absent(from, added, n);
      for (std::size_t j = 0; j < n; ++j) {
        added[j] = from[static_cast<std::int64_t>(j) * mask.key_stride] != 0 ? 0.0f : kAbsent;
      }
      return;
    }
    const auto size = static_cast<std::int64_t>(element_size(mask.storage));
    const std::byte* from = bytes + offset * size;
    if (mask.key_stride == 1) return widen(from, element_of(mask.storage), added, n);
    for (std::size_t j = 0; j < n; ++j) {
      widen(from + static_cast<std::int64_t>(j) * mask.key_stride * size, element_of(mask.storage),
            added + j, 1);
    }
  }

  void add_values(std::size_t chunk) {
    const std::uint8_t* states = s_.states.data() + chunk * tile_.rows;
    if (std::all_of(states, states + tile_.rows, [](std::uint8_t s) { return s == kAllZero; })) {
      return;
    }
    auto pitch = static_cast<std::int64_t>(columns_);
    prefetch_next(a_.v, chunk, a_.value_width);
    // Rows far apart share few sets of the cache: where they are read often they are brought
    // together.
    const bool once = tile_.rows <= 2 * kRowBlock;
    const float* rows = rows_of_chunk(a_.v, chunk, a_.value_width, once, pitch);
    kernels_.values(scores(chunk), states, tile_.rows, keys_of_chunk(chunk), rows, pitch, columns_,
                    s_.out.data(), columns_);
  }

  void store() {
    const AttentionInput place = {a_.output.data, a_.output.batch_stride, a_.output.head_stride,
                                  a_.output.row_stride};
    for (std::size_t r = 0; r < tile_.rows; ++r) {
      float* row = s_.out.data() + r * columns_;
      auto* to = const_cast<std::byte*>(at(place, head(r), query(r)));
      if (a_.storage == Storage::float32) {
        kernels_.divide(row, s_.sums[r], reinterpret_cast<float*>(to), a_.value_width);
      } else {
        kernels_.divide(row, s_.sums[r], row, a_.value_width);
        narrow(row, element_of(a_.storage), to, a_.value_width);
      }
    }
  }

  const Attention& a_;
  const AttentionKernels& kernels_;
  const Tile tile_;
  const std::size_t group_, columns_, chunks_;
  Scratch& s_;
  const float* queries_ = nullptr;
  std::ptrdiff_t query_pitch_ = 0;
};

}  // namespace

void attention(const Attention& a, ParallelFor parallel) {
  if (a.batch == 0 || a.heads == 0 || a.queries == 0 || a.value_width == 0) return;
  const std::size_t rows = a.queries * (a.heads / a.key_heads);
  const std::size_t fitting = kMostScores / std::max(round_up(a.keys, kKeyChunk), kKeyChunk);
  const std::size_t tile_rows = std::clamp(fitting / kRowBlock * kRowBlock, kRowBlock, kMostRows);
  const std::size_t tiles = (rows + tile_rows - 1) / tile_rows;
  for_each_task(parallel, a.batch * a.key_heads * tiles, [&](std::size_t task) {
    static thread_local Scratch scratch;
    const std::size_t first = task % tiles * tile_rows, head = task / tiles;
    TileOfAttention(a,
                    {.batch = head / a.key_heads,
                     .key_head = head % a.key_heads,
                     .first = first,
                     .rows = std::min(tile_rows, rows - first)},
                    scratch)
        .run();
  });
}

}  // namespace torchnotary::exact
