// Tensors: gathering against an odometer, the header's grammar, the row rule, refusals.
#include <algorithm>

#include "hashing/blake3.h"
#include "hashing/errors.h"
#include "support.h"
#include "tensor/commitment.h"
#include "tensor/gather.h"
#include "tensor/salt.h"
#include "tensor/view.h"

namespace torchnotary {
namespace {

using Numbers = std::vector<std::int64_t>;

TensorView make(const std::byte* data, const char* dtype, const Numbers& shape,
                const Numbers& strides) {
  return {data, &dtype_of(dtype), shape, strides, false, false};
}

// The data bytes, one element after the other, each found by its index alone.
std::vector<std::byte> slow_bytes(const TensorView& view) {
  std::vector<std::byte> bytes;
  const std::size_t itemsize = view.dtype->itemsize;
  for (std::size_t flat = 0; flat < view.nbytes() / itemsize; ++flat) {
    std::int64_t rest = static_cast<std::int64_t>(flat), offset = 0;
    for (std::size_t i = view.rank(); i-- > 0;) {
      offset += rest % view.shape[i] * view.strides[i];
      rest /= view.shape[i];
    }
    const std::byte* element = view.data + offset * static_cast<std::int64_t>(itemsize);
    bytes.insert(bytes.end(), element, element + itemsize);
    if (view.dtype->kind == Kind::boolean) bytes.back() = std::byte{bytes.back() != std::byte{0}};
  }
  return bytes;
}

using TensorGather = EveryCpuPath;
TORCHNOTARY_ON_EVERY_CPU_PATH(TensorGather);

TEST_P(TensorGather, AnyStridesGatherAsAnOdometerDoes) {
  const std::vector<std::byte> memory = random_bytes(1 << 20);
  const std::byte* middle = memory.data() + (1 << 19);
  const std::vector<std::pair<Numbers, Numbers>> layouts = {
      {{}, {}},
      {{7}, {1}},
      {{7}, {-3}},
      {{7}, {0}},
      {{0, 5}, {5, 1}},
      {{5, 0, 3}, {1, 7, 99}},
      {{4, 6}, {1, 4}},
      {{4, 6, 5}, {30, 5, 1}},
      {{4, 6, 5}, {60, 5, 1}},
      {{4, 6, 5}, {-30, 10, -2}},
      {{1, 6, 1, 5}, {999, 5, 999, 1}},
      {{3, 1000}, {2000, 2}},
      {{2, 3, 2, 3}, {0, 6, 0, 2}},
      {{40, 37}, {1, 40}},           // transposed
      {{2, 40, 37}, {1480, 1, 40}},  // channels last
      {{33, 5, 7}, {1, 33, 165}},    // all axes reversed
      {{33, 7, 5}, {1, 165, 33}},
      {{40, 37}, {1, -41}},
      {{3, 100}, {1, 3}},  // too few rows for a tile
  };
  for (const char* dtype : {"bool", "uint8", "int16", "float32", "float64", "complex128"}) {
    for (const auto& [shape, strides] : layouts) {
      const TensorView view = make(middle, dtype, shape, strides);
      check(view);
      std::vector<std::byte> gathered(view.nbytes());
      copy_data(view, gathered);
      EXPECT_EQ(gathered, slow_bytes(view));
      EXPECT_EQ(commit(view).data_root, blake3(Blake3Mode::hash(), gathered));
    }
  }
}

TEST_P(TensorGather, ASeekGoesOnAsIfEverythingBeforeHadBeenRead) {
  const std::vector<std::byte> memory = random_bytes(1 << 16);
  const std::vector<std::pair<Numbers, Numbers>> layouts = {
      {{40, 37}, {1, 40}}, {{5, 13}, {40, 2}}, {{9, 4, 7}, {1, 63, 9}}, {{}, {}}};
  for (const auto& [shape, strides] : layouts) {
    const TensorView view = make(memory.data(), "float32", shape, strides);
    const std::vector<std::byte> whole = slow_bytes(view);
    for (std::size_t element = 0; element <= whole.size() / 4; element += 1 + element / 9) {
      Gatherer gather(view);
      gather.seek(element);
      std::vector<std::byte> buffer(whole.size() + 16);
      const Bytes rest = gather.next(buffer);
      ASSERT_TRUE(std::ranges::equal(rest, Bytes(whole).subspan(4 * element))) << element;
      ASSERT_TRUE(gather.next(buffer).empty());
    }
  }
}

TEST_P(TensorGather, LargeStridedTensorsHashInPiecesOnManyThreads) {
  constexpr std::int64_t kSide = 1031;  // prime: pieces end inside rows
  const std::vector<std::byte> memory = random_bytes(8 * kSide * kSide);
  const Numbers shape = {kSide, kSide}, strides = {1, kSide};
  for (const char* dtype : {"uint8", "int16", "float32", "float64"}) {
    const TensorView view = make(memory.data(), dtype, shape, strides);
    const Digest expected = blake3(Blake3Mode::hash(), slow_bytes(view));
    EXPECT_EQ(commit(view).data_root, expected) << dtype;
    EXPECT_EQ(commit(view, Threads(3)).data_root, expected) << dtype;
  }
}

TEST_P(TensorGather, ABufferSmallerThanARunContinuesWhereItStopped) {
  const std::vector<std::byte> memory = random_bytes(4096);
  const Numbers shape = {5, 13}, strides = {40, 2};
  const TensorView view = make(memory.data(), "int16", shape, strides);
  for (const std::size_t size : {16, 32, 48, 1024}) {
    Gatherer gather(view);
    std::vector<std::byte> buffer(size), all;
    for (Bytes part = gather.next(buffer); !part.empty(); part = gather.next(buffer)) {
      all.insert(all.end(), part.begin(), part.end());
    }
    EXPECT_EQ(all, slow_bytes(view)) << size;
  }
}

TEST(TensorDigest, TheHeaderIsTheGrammars) {
  const std::vector<std::byte> memory = random_bytes(24);
  const Numbers shape = {2, 3}, strides = {3, 1};
  const Digest root = blake3(Blake3Mode::hash(), memory);
  std::string header("\7float32\2", 9);
  header += std::string("\2\0\0\0\0\0\0\0\3\0\0\0\0\0\0\0\x18\0\0\0\0\0\0\0", 24);
  std::vector<std::byte> message(bytes_of(header).begin(), bytes_of(header).end());
  message.insert(message.end(), root.begin(), root.end());
  const Commitment made = commit(make(memory.data(), "float32", shape, strides));
  EXPECT_EQ(made.data_root, root);
  EXPECT_EQ(made.digest, blake3(Blake3Mode::derive_key("torchnotary 2026-11 tensor v1"), message));
}

TEST(TensorRows, AtMostSoManyRunsAllOfOneLengthButTheLast) {
  const auto is = [](Rows rows, std::int64_t run, std::int64_t count) {
    return rows.run == run && rows.count == count;
  };
  EXPECT_TRUE(is(rows_of(1, 4096), 1, 1));
  EXPECT_TRUE(is(rows_of(4095, 4096), 1, 4095));
  EXPECT_TRUE(is(rows_of(4096, 4096), 1, 4096));
  EXPECT_TRUE(is(rows_of(4097, 4096), 2, 2049));
  EXPECT_TRUE(is(rows_of(8192, 4096), 2, 4096));
  EXPECT_TRUE(is(rows_of(8193, 4096), 3, 2731));
  EXPECT_TRUE(is(rows_of(INT64_MAX, 4096), (std::int64_t{1} << 51), 4096));
}

TEST(TensorRows, EachDigestIsThatOfTheRowAlone) {
  const std::vector<std::byte> memory = random_bytes(2 << 20);
  for (const std::int64_t width : {1, 255, 256, 257, 384, 2048}) {  // around chunks' 1,024 bytes
    for (const std::int64_t n : {1, 2, 63, 64, 65, 66, 129, 130}) {
      const Numbers shape = {n, width}, strides = {width + 1, 1};
      const std::vector<Digest> digests =
          row_digests(make(memory.data(), "float32", shape, strides), 4096, Threads(3));
      ASSERT_EQ(digests.size(), static_cast<std::size_t>(n));
      for (std::int64_t i = 0; i < n; ++i) {
        const Numbers row = {width}, step = {1};
        const std::byte* start = memory.data() + i * (width + 1) * 4;
        ASSERT_EQ(digests[i], commit(make(start, "float32", row, step)).digest) << n << " " << i;
      }
    }
  }
}

TEST(TensorRows, AnEndlessAxisOfEmptyRowsDoesNotOverflow) {
  const Numbers shape = {INT64_MAX, 0}, strides = {0, 1};
  const std::vector<Digest> digests = row_digests(make(nullptr, "int8", shape, strides), 4096);
  EXPECT_EQ(digests.size(), 4096u);
  EXPECT_EQ(digests[0], digests[4094]);
  EXPECT_NE(digests[0], digests[4095]);  // one row shorter
}

// torch.empty(0).as_strided((3, 0), (2**62, 1)) is a tensor. Found by `make sanitize`.
TEST(TensorStrides, StridesThatNoElementNeedsDoNotOverflow) {
  constexpr std::int64_t kHuge = std::int64_t{1} << 62;
  const std::vector<std::byte> memory = random_bytes(64);
  const std::vector<std::pair<Numbers, Numbers>> layouts = {{{3, 0}, {kHuge, 1}},
                                                            {{0, 5}, {kHuge, kHuge}},
                                                            {{0, 5}, {-kHuge, 2}},
                                                            {{5, 0, 5}, {3, 1, kHuge}}};
  for (const auto& [shape, strides] : layouts) {
    const TensorView view = make(memory.data(), "float64", shape, strides);
    check(view);
    EXPECT_EQ(commit(view).data_root, blake3(Blake3Mode::hash(), {}));
    if (shape[0] == 0) continue;
    const Numbers rest(shape.begin() + 1, shape.end()), steps(rest.size(), 1);
    const Digest row = commit(make(memory.data(), "float64", rest, steps)).digest;
    EXPECT_EQ(row_digests(view, 4096), std::vector<Digest>(shape[0], row));
  }
  const Numbers shape = {1, 4, 1}, strides = {kHuge, 2, -kHuge};
  const TensorView view = make(memory.data(), "float64", shape, strides);
  EXPECT_EQ(commit(view).data_root,
            blake3(Blake3Mode::hash(),
                   slow_bytes(make(memory.data(), "float64", Numbers{4}, Numbers{2}))));
}

TEST(TensorCheck, WhatCannotBeIsRefused) {
  const std::byte byte{};
  const auto refused = [&](const char* dtype, const Numbers& shape, const Numbers& strides) {
    EXPECT_THROW(check(make(&byte, dtype, shape, strides)), UnsupportedTensor);
  };
  EXPECT_THROW(dtype_of("float33"), UnsupportedTensor);
  refused("int8", {-1}, {1});
  refused("int8", {1}, {});
  refused("int16", {INT64_MAX}, {1});
  refused("int8", {INT64_MAX, 2}, {1, 1});
  refused("int8", Numbers(256, 1), Numbers(256, 1));
  const Numbers shape = {2}, strides = {1};
  EXPECT_THROW(check(make(nullptr, "int8", shape, strides)), UnsupportedTensor);
  EXPECT_NO_THROW(check(make(&byte, "int8", shape, strides)));
}

TEST(TensorSalts, EachSlotHasItsOwnWhereverItStandsInABatch) {
  const std::vector<std::byte> secret = random_bytes(32);
  std::vector<Digest> many(130);
  salts(Bytes(secret).first<32>(), 1, 7, many);
  std::vector<Digest> sorted = many;
  std::sort(sorted.begin(), sorted.end());
  EXPECT_EQ(std::unique(sorted.begin(), sorted.end()), sorted.end());
  for (const std::size_t n : {1, 63, 64, 65}) {
    std::vector<Digest> fewer(n);
    salts(Bytes(secret).first<32>(), 1, 7, fewer);
    EXPECT_TRUE(std::equal(fewer.begin(), fewer.end(), many.begin())) << n;
  }
}

}  // namespace
}  // namespace torchnotary
