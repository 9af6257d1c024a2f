// BLAKE3 of many messages at once: vector lanes are filled across messages.
#include <algorithm>
#include <array>
#include <numeric>
#include <vector>

#include "hashing/blake3.h"
#include "hashing/blake3_kernels.h"

namespace torchnotary {
namespace {

// So many messages share one pass over their levels; their chaining values fit on the stack.
constexpr std::size_t kGroup = 2 * kMaxLanes;

// Messages of a chunk or less, each of which is its own root.
void hash_short(const Blake3Mode& mode, Blake3Batch batch, std::size_t length, Digest* output) {
  batch.length = length;
  batch.key = mode.key.data();
  batch.flags = mode.flags;
  batch.start_flags = kChunkStart;
  batch.end_flags = kChunkEnd | kRoot;
  batch.output = output->data();
  blake3_kernels().hash_batch(batch);
}

// Messages of several chunks, at most kGroup of them: the first chunk of all, the second of all,
// …, then all parents of one place. Trees of equal length have equal shape.
void hash_by_level(const Blake3Mode& mode, Blake3Batch batch, std::size_t length, Digest* output) {
  const Blake3Kernels& kernels = blake3_kernels();
  const std::size_t chunks = (length - 1) / kChunkSize + 1;
  std::array<Digest, kGroup * kMaxLanes> cvs, above;
  batch.key = mode.key.data();
  batch.flags = mode.flags;
  batch.start_flags = kChunkStart;
  batch.end_flags = kChunkEnd;
  batch.output_stride = chunks * kDigestSize;
  for (std::size_t chunk = 0; chunk < chunks; ++chunk) {
    batch.counter = chunk;
    batch.length = std::min(kChunkSize, length - chunk * kChunkSize);
    batch.output = cvs[chunk].data();
    kernels.hash_batch(batch);
    batch.input += batch.inputs == nullptr ? kChunkSize : 0;
    batch.offset += kChunkSize;
  }
  for (std::size_t width = chunks; width > 1; width = width / 2 + width % 2) {
    const std::uint8_t root = width == 2 ? kRoot : 0;
    for (std::size_t pair = 0; pair < width / 2; ++pair) {
      kernels.hash_batch({.input = cvs[2 * pair].data(),
                          .stride = chunks * kDigestSize,
                          .count = batch.count,
                          .length = kBlockSize,
                          .key = mode.key.data(),
                          .flags = static_cast<std::uint8_t>(mode.flags | kParent | root),
                          .output = above[pair].data(),
                          .output_stride = chunks * kDigestSize});
    }
    for (std::size_t i = 0; width % 2 != 0 && i < batch.count; ++i) {
      above[i * chunks + width / 2] = cvs[i * chunks + width - 1];
    }
    cvs.swap(above);
  }
  for (std::size_t i = 0; i < batch.count; ++i) output[i] = cvs[i * chunks];
}

// Whether one message of this length leaves lanes empty.
bool leaves_lanes(std::size_t length) {
  return length > 0 && length < blake3_kernels().lanes * kChunkSize;
}

// Messages of one length for which leaves_lanes holds, at most kGroup.
void hash_group(const Blake3Mode& mode, const Blake3Batch& batch, std::size_t length,
                Digest* output) {
  if (length <= kChunkSize) {
    hash_short(mode, batch, length, output);
  } else {
    hash_by_level(mode, batch, length, output);
  }
}

// A run of messages of one length in the order of `order`.
struct Run {
  std::size_t first;
  std::size_t count;
};

// Runs of at most kGroup messages that share lanes, and of one message where that fills them.
std::vector<Run> runs_of(std::span<const Bytes> messages, std::span<const std::size_t> order) {
  std::vector<Run> runs;
  for (std::size_t i = 0; i < order.size(); ++i) {
    const std::size_t length = messages[order[i]].size();
    const bool joins = !runs.empty() && runs.back().count < kGroup && leaves_lanes(length) &&
                       messages[order[runs.back().first]].size() == length;
    if (joins) {
      ++runs.back().count;
    } else {
      runs.push_back({i, 1});
    }
  }
  return runs;
}

void hash_run(const Blake3Mode& mode, std::span<const Bytes> messages,
              std::span<const std::size_t> members, Digest* output) {
  const std::size_t length = messages[members[0]].size();
  if (!leaves_lanes(length)) {
    output[members[0]] = blake3(mode, messages[members[0]]);
    return;
  }
  std::array<const std::byte*, kGroup> inputs;
  std::array<Digest, kGroup> digests;
  for (std::size_t i = 0; i < members.size(); ++i) inputs[i] = messages[members[i]].data();
  hash_group(mode, {.inputs = inputs.data(), .count = members.size()}, length, digests.data());
  for (std::size_t i = 0; i < members.size(); ++i) output[members[i]] = digests[i];
}

}  // namespace

void blake3_many(const Blake3Mode& mode, const std::byte* input, std::size_t stride,
                 std::size_t count, std::size_t length, Digest* output) {
  if (!leaves_lanes(length)) {
    for (std::size_t i = 0; i < count; ++i) output[i] = blake3(mode, {input + i * stride, length});
    return;
  }
  for (std::size_t done = 0; done < count; done += kGroup) {
    hash_group(
        mode,
        {.input = input + done * stride, .stride = stride, .count = std::min(kGroup, count - done)},
        length, output + done);
  }
}

void blake3_many(const Blake3Mode& mode, std::span<const Bytes> messages, Digest* output,
                 ParallelFor parallel) {
  // Threads share one big message better than they share out a few.
  constexpr std::size_t kBig = std::size_t{1} << 20;
  std::vector<std::size_t> order;
  order.reserve(messages.size());
  for (std::size_t i = 0; i < messages.size(); ++i) {
    if (messages[i].size() < kBig) {
      order.push_back(i);
    } else {
      output[i] = blake3(mode, messages[i], parallel);
    }
  }
  const auto shorter = [&](std::size_t a, std::size_t b) {
    return messages[a].size() < messages[b].size();
  };
  if (!std::is_sorted(order.begin(), order.end(), shorter)) {
    std::stable_sort(order.begin(), order.end(), shorter);
  }
  const std::vector<Run> runs = runs_of(messages, order);
  parallel(runs.size(), [&](std::size_t i) {
    hash_run(mode, messages, std::span(order).subspan(runs[i].first, runs[i].count), output);
  });
}

void blake3_keyed_many(std::span<const Digest> keys, const std::byte* input, std::size_t length,
                       Digest* output) {
  if (length == 0) {  // a batch has at least one byte a message
    for (std::size_t i = 0; i < keys.size(); ++i)
      output[i] = blake3(Blake3Mode::keyed(keys[i]), {});
    return;
  }
  if (keys.empty()) return;
  blake3_kernels().hash_batch({.input = input,
                               .stride = length,
                               .count = keys.size(),
                               .length = length,
                               .keys = keys.data(),
                               .flags = kKeyedHash,
                               .start_flags = kChunkStart,
                               .end_flags = kChunkEnd | kRoot,
                               .output = output->data()});
}

}  // namespace torchnotary
