// BLAKE3 on every CPU path: the official vectors, and the paper's tree written out slowly.
#include "hashing/blake3.h"

#include <cstdlib>
#include <fstream>
#include <iterator>

#include "hashing/blake3_kernels.h"
#include "hashing/blake3_tree.h"
#include "support.h"

namespace torchnotary {
namespace {

using Blake3Test = EveryCpuPath;
TORCHNOTARY_ON_EVERY_CPU_PATH(Blake3Test);

// Lengths at which something changes: blocks, chunks, lanes, threads' pieces.
const std::vector<std::size_t> kLengths = [] {
  std::vector<std::size_t> lengths = {0, 1};
  for (const std::size_t edge : {64, 128, 1024, 2048, 4096, 8192, 16384, 31 * 1024, 32768, 131072,
                                 262144, 524288, 1048576, 3 * 1048576}) {
    for (const std::size_t length : {edge - 1, edge, edge + 1}) lengths.push_back(length);
  }
  return lengths;
}();

// The paper's §2.1, one node at a time: no lanes, no threads, no stack.
Blake3Node slow_node(const Blake3Mode& mode, Bytes input, std::uint64_t counter) {
  if (input.size() <= kChunkSize) return chunk_node(mode, input, counter);
  std::size_t left = kChunkSize;
  while (2 * left < input.size()) left *= 2;
  return parent_node(
      mode, slow_node(mode, input.first(left), counter).chaining_value(),
      slow_node(mode, input.subspan(left), counter + left / kChunkSize).chaining_value());
}

Digest slow_hash(const Blake3Mode& mode, Bytes input) {
  Digest digest;
  slow_node(mode, input, 0).root(digest, 0);
  return digest;
}

std::vector<Blake3Mode> modes() {
  static const std::vector<std::byte> key = random_bytes(32);
  return {Blake3Mode::hash(), Blake3Mode::keyed(Bytes(key).first<32>()),
          Blake3Mode::derive_key("tests 2026 context")};
}

TEST_P(Blake3Test, TheOfficialVectorsHold) {
  const char* folder = std::getenv("TORCHNOTARY_VECTORS");
  const std::string name =
      std::string(folder == nullptr ? "../shared/vectors" : folder) + "/blake3/test_vectors.json";
  std::ifstream file(name);
  if (!file) GTEST_SKIP() << "the BLAKE3 vectors are absent: no file " << name;
  const std::string text{std::istreambuf_iterator<char>(file), {}};

  // The value after `"name": ` from `at` on, which moves behind it.
  std::size_t at = 0;
  const auto field = [&](const std::string& field_name) {
    const std::string marker = "\"" + field_name + "\": ";
    at = text.find(marker, at) + marker.size();
    const std::size_t end = text.find_first_of(",\n", at);
    std::string value = text.substr(at, end - at);
    at = end;
    return value.front() == '"' ? value.substr(1, value.size() - 2) : value;
  };
  const std::string key = field("key");
  const Blake3Mode keyed = Blake3Mode::keyed(bytes_of(key).first<32>());
  const Blake3Mode derive = Blake3Mode::derive_key(field("context_string"));
  int cases = 0;
  while (text.find("input_len", at) != std::string::npos) {
    const std::vector<std::byte> input = counting_bytes(std::stoul(field("input_len")));
    for (const auto& [mode, expected] :
         {std::pair(Blake3Mode::hash(), field("hash")), std::pair(keyed, field("keyed_hash")),
          std::pair(derive, field("derive_key"))}) {
      std::vector<std::byte> output(expected.size() / 2);
      blake3(mode, input, output);
      EXPECT_EQ(hex(output), expected) << input.size();
    }
    ++cases;
  }
  EXPECT_EQ(cases, 35);
}

TEST_P(Blake3Test, EveryLengthHashesAsThePaperSays) {
  const std::vector<std::byte> data = random_bytes(kLengths.back());
  for (const Blake3Mode& mode : modes()) {
    for (const std::size_t length : kLengths) {
      const Bytes input = Bytes(data).first(length);
      ASSERT_EQ(hex(blake3(mode, input)), hex(slow_hash(mode, input))) << length;
    }
  }
}

TEST_P(Blake3Test, EveryNumberOfChunksUpToThreeTimesTheLanesHashesAsThePaperSays) {
  const std::vector<std::byte> data = random_bytes(49 * kChunkSize);
  for (std::size_t length = 1; length <= data.size(); length += 511) {
    const Bytes input = Bytes(data).first(length);
    ASSERT_EQ(hex(blake3(Blake3Mode::hash(), input)), hex(slow_hash(Blake3Mode::hash(), input)))
        << length;
  }
}

TEST_P(Blake3Test, TheCutsOfIncrementalInputNeverShow) {
  const std::vector<std::byte> data = random_bytes(3 << 20);
  std::mt19937 random(7);
  for (int round = 0; round < 30; ++round) {
    const std::size_t length = random() % data.size();
    Blake3 hasher(Blake3Mode::hash());
    for (std::size_t at = 0; at < length;) {
      const std::size_t most = round % 2 == 0 ? 5000 : 1000000;
      const std::size_t take = std::min<std::size_t>(random() % most, length - at);
      hasher.update(Bytes(data).subspan(at, take));
      at += take;
    }
    ASSERT_EQ(hex(hasher.finalize()), hex(blake3(Blake3Mode::hash(), Bytes(data).first(length))));
  }
}

TEST_P(Blake3Test, PiecesFinishedInAnyOrderGiveTheSameDigest) {
  const auto backwards = [](std::size_t count, FunctionRef<void(std::size_t)> task) {
    while (count > 0) task(--count);
  };
  for (const std::size_t length : {(1 << 20) + 1, 2 << 20, 5 << 20, (9 << 20) + 4321}) {
    const std::vector<std::byte> data = random_bytes(length);
    const Digest expected = slow_hash(Blake3Mode::hash(), data);
    EXPECT_EQ(blake3(Blake3Mode::hash(), data, backwards), expected) << length;
    EXPECT_EQ(blake3(Blake3Mode::hash(), data, Threads(3)), expected) << length;
    Blake3 hasher(Blake3Mode::hash());
    hasher.update(data, backwards);
    EXPECT_EQ(hasher.finalize(), expected) << length;
  }
}

TEST_P(Blake3Test, ManyShortMessagesHashAsEachAlone) {
  const std::vector<std::byte> data = random_bytes(40 * 17000);
  for (const std::size_t length : {0, 1, 31, 64, 65, 127, 128, 1000, 1023, 1024, 1025, 1536, 2048,
                                   2049, 5 * 1024, 16383, 16384, 16385}) {
    for (const std::size_t count : {0, 1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 33}) {
      for (const std::size_t stride : {std::size_t{0}, length, length + 13}) {
        const Blake3Mode mode = modes()[(length + count) % 3];
        std::vector<Digest> digests(count);
        blake3_many(mode, data.data(), stride, count, length, digests.data());
        for (std::size_t i = 0; i < count; ++i) {
          const Bytes message = Bytes(data).subspan(i * stride, length);
          ASSERT_EQ(digests[i], slow_hash(mode, message)) << length << " " << i;
        }
      }
    }
  }
}

TEST_P(Blake3Test, MessagesOfManyLengthsHashAsEachAlone) {
  const std::vector<std::byte> data = random_bytes(3 << 20);
  std::mt19937 random(3);
  std::vector<Bytes> messages;
  for (int i = 0; i < 500; ++i) {
    const std::size_t most = i % 3 == 0 ? 70 : i % 3 == 1 ? 20000 : 1024;
    const std::size_t length = i % 7 == 0 ? 384 : random() % most;
    messages.push_back(Bytes(data).subspan(random() % 1000, length));
  }
  messages.push_back(data);
  messages.push_back({});
  for (const Blake3Mode& mode : modes()) {
    std::vector<Digest> expected;
    for (const Bytes message : messages) expected.push_back(slow_hash(mode, message));
    for (const std::size_t threads : {1, 2, 3, 8}) {
      std::vector<Digest> digests(messages.size());
      blake3_many(mode, messages, digests.data(), Threads(threads));
      for (std::size_t i = 0; i < messages.size(); ++i) {
        ASSERT_EQ(digests[i], expected[i]) << messages[i].size() << " " << threads;
      }
    }
  }
  blake3_many(Blake3Mode::hash(), std::span<const Bytes>(), nullptr);
}

TEST_P(Blake3Test, ManyKeyedMessagesHashAsEachUnderItsOwnKey) {
  const std::vector<std::byte> data = random_bytes(33 * 1024, 2);
  std::vector<Digest> keys(33), digests(33);
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const std::vector<std::byte> key = random_bytes(32, 100 + i);
    std::copy(key.begin(), key.end(), keys[i].begin());
  }
  for (const std::size_t length : {0, 1, 32, 63, 64, 65, 100, 1023, 1024}) {
    for (const std::size_t count : {0, 1, 2, 3, 4, 5, 8, 9, 16, 17, 33}) {
      blake3_keyed_many(std::span(keys).first(count), data.data(), length, digests.data());
      for (std::size_t i = 0; i < count; ++i) {
        const Bytes message = Bytes(data).subspan(i * length, length);
        ASSERT_EQ(digests[i], slow_hash(Blake3Mode::keyed(keys[i]), message)) << length;
      }
    }
  }
}

TEST_P(Blake3Test, BytesThatAreReadInPiecesHashAsInOne) {
  constexpr std::size_t kPiece = 512 * kChunkSize;
  std::vector<std::byte> data(66 * kPiece);  // more than one wave of pieces
  for (std::size_t i = 0; i < data.size(); ++i) data[i] = static_cast<std::byte>(i * i >> 11);
  for (const std::size_t size : {std::size_t{0}, std::size_t{1}, kPiece - 1, kPiece, kPiece + 1,
                                 kPiece + 1025, 2 * kPiece, 3 * kPiece + 7, data.size()}) {
    for (const std::size_t threads : {1, 3}) {
      const auto read = [&](std::uint64_t offset, MutableBytes out) {
        std::copy_n(data.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
      };
      for (const Blake3Mode& mode : modes()) {
        if (mode.flags != 0 && size > 3 * kPiece) continue;
        EXPECT_EQ(blake3_read(mode, size, read, Threads(threads)),
                  blake3(mode, Bytes(data).first(size)))
            << size;
      }
    }
  }
}

// No test can hash the 4 TiB after which the chunk counter leaves its low word.
TEST_P(Blake3Test, TheChunkCounterCarriesIntoItsHighWordInsideABatch) {
  const std::vector<std::byte> data = random_bytes(17 * kChunkSize);
  const Blake3Mode mode = Blake3Mode::hash();
  for (const std::uint64_t counter : {0x1'0000'0000ull - 5, 0x7'ffff'ffffull, 0x8000'0000ull - 3}) {
    std::vector<Digest> cvs(17);
    blake3_kernels(GetParam())
        .hash_batch({.input = data.data(),
                     .stride = kChunkSize,
                     .count = 17,
                     .length = kChunkSize,
                     .key = mode.key.data(),
                     .counter = counter,
                     .counting = true,
                     .flags = mode.flags,
                     .start_flags = kChunkStart,
                     .end_flags = kChunkEnd,
                     .output = cvs[0].data()});
    for (std::size_t i = 0; i < 17; ++i) {
      const Bytes chunk = Bytes(data).subspan(i * kChunkSize, kChunkSize);
      EXPECT_EQ(cvs[i], chunk_node(mode, chunk, counter + i).chaining_value())
          << counter << " " << i;
    }
  }
}

TEST_P(Blake3Test, AnyPartOfTheExtendedOutputCanBeReadAlone) {
  const std::vector<std::byte> data = random_bytes(5000);
  for (const Blake3Mode& mode : modes()) {
    for (const std::size_t length : {0, 1, 65, 1024, 1025, 5000}) {
      const Bytes input = Bytes(data).first(length);
      std::vector<std::byte> whole(1000);
      slow_node(mode, input, 0).root(whole, 0);
      Blake3 hasher(mode);
      hasher.update(input);
      for (const std::size_t seek : {0, 1, 63, 64, 65, 500}) {
        std::vector<std::byte> part(300);
        hasher.finalize(part, seek);
        EXPECT_EQ(hex(part), hex(Bytes(whole).subspan(seek, 300))) << length << " " << seek;
      }
    }
  }
}

}  // namespace
}  // namespace torchnotary
