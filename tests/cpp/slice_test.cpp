// BLAKE3 slice proofs: against a tree built chunk by chunk, at the boundaries of chunks and levels.
#include "merkle/slice.h"

#include <algorithm>
#include <set>

#include "hashing/blake3.h"
#include "hashing/blake3_tree.h"
#include "support.h"

namespace torchnotary::merkle {
namespace {

using Data = std::vector<std::byte>;
using RunList = std::vector<ByteRun>;

// The chaining value of a node, one chunk after the other.
Digest slow_value(Bytes data, std::uint64_t first_chunk) {
  const Blake3Mode mode = Blake3Mode::hash();
  if (data.size() <= kChunkSize) return chunk_node(mode, data, first_chunk).chaining_value();
  std::size_t left = kChunkSize;
  while (2 * left < data.size()) left *= 2;
  return parent_node(mode, slow_value(data.first(left), first_chunk),
                     slow_value(data.subspan(left), first_chunk + left / kChunkSize))
      .chaining_value();
}

Data slow_proof(Bytes data, std::uint64_t offset, const std::set<std::uint64_t>& chunks) {
  const std::uint64_t first = offset / kChunkSize, end = (offset + data.size() - 1) / kChunkSize;
  const auto next = chunks.lower_bound(first);
  if (next == chunks.end() || *next > end) {
    const Digest cv = slow_value(data, first);
    return {cv.begin(), cv.end()};
  }
  if (data.size() <= kChunkSize) return {data.begin(), data.end()};
  std::size_t left = kChunkSize;
  while (2 * left < data.size()) left *= 2;
  Data proof = slow_proof(data.first(left), offset, chunks);
  const Data right = slow_proof(data.subspan(left), offset + left, chunks);
  proof.insert(proof.end(), right.begin(), right.end());
  return proof;
}

struct Slice {
  const Data& data;
  const RunList& list;

  ByteRun next(std::uint64_t from) const {
    for (const ByteRun& run : list) {
      if (run.end > from) return run;
    }
    return {data.size(), data.size()};
  }
  Data make() const {
    Data proof;
    append_slice(
        data.size(), [&](std::uint64_t from) { return next(from); },
        [&](std::uint64_t offset, MutableBytes out) {
          std::copy_n(data.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
        },
        [&](std::uint64_t offset, std::uint64_t size) {
          return subtree_value(Blake3Mode::hash(), Bytes(data).subspan(offset, size),
                               offset / kChunkSize, Threads(2));
        },
        proof);
    return proof;
  }
  Digest root(Bytes proof) const {
    return slice_root(
        data.size(), [&](std::uint64_t from) { return next(from); }, proof);
  }
  std::uint64_t measure(std::uint64_t most) const {
    return slice_size(
        data.size(), [&](std::uint64_t from) { return next(from); }, most);
  }
};

std::set<std::uint64_t> chunks_of(const RunList& list) {
  std::set<std::uint64_t> chunks;
  for (const ByteRun& run : list) {
    for (std::uint64_t at = run.begin / kChunkSize; at <= (run.end - 1) / kChunkSize; ++at) {
      chunks.insert(at);
    }
  }
  return chunks;
}

RunList random_runs(std::mt19937& random, std::uint64_t size) {
  RunList list;
  std::uint64_t at = random() % size;
  const std::uint64_t most = 1 + random() % 3000;
  while (at < size && list.size() < 8) {
    const std::uint64_t end = std::min(size, at + 1 + random() % most);
    list.push_back({at, end});
    at = end + 1 + random() % (1 + size / 4);
  }
  return list;
}

using SliceProof = EveryCpuPath;
TORCHNOTARY_ON_EVERY_CPU_PATH(SliceProof);

TEST_P(SliceProof, AreTheNodesInPreOrderAndLeadToTheHash) {
  std::mt19937 random(7);
  for (const std::size_t size :
       {1u, 2u, 1023u, 1024u, 1025u, 2048u, 2049u, 3072u, 4095u, 4096u, 4097u, 7u * 1024, 16384u,
        16385u, 31u * 1024 + 1, 65536u, 65u * 1024 + 9}) {
    const Data data = random_bytes(size, static_cast<unsigned>(size));
    const Digest hash = blake3(Blake3Mode::hash(), data);
    for (int round = 0; round < 30; ++round) {
      const RunList list = round == 0 ? RunList{{0, size}} : random_runs(random, size);
      const Slice slice{data, list};
      const Data proof = slice.make();
      EXPECT_EQ(proof, slow_proof(data, 0, chunks_of(list)));
      EXPECT_EQ(slice.measure(proof.size()), proof.size());
      EXPECT_GT(slice.measure(proof.size() - 1), proof.size() - 1);
      EXPECT_EQ(slice.root(proof), hash);
    }
  }
}

TEST_P(SliceProof, DeliverTheDataOfEveryChunkThatARunReaches) {
  std::mt19937 random(8);
  const Data data = random_bytes(37 * 1024 + 5);
  for (int round = 0; round < 200; ++round) {
    const RunList list = random_runs(random, data.size());
    const Slice slice{data, list};
    const Data proof = slice.make();
    std::set<std::uint64_t> chunks;
    slice_data(
        data.size(), [&](std::uint64_t from) { return slice.next(from); }, proof,
        [&](std::uint64_t offset, Bytes piece) {
          EXPECT_TRUE(std::ranges::equal(piece, Bytes(data).subspan(offset, piece.size())));
          for (std::uint64_t at = 0; at < piece.size(); at += kChunkSize) {
            EXPECT_TRUE(chunks.insert((offset + at) / kChunkSize).second);
          }
        });
    EXPECT_EQ(chunks, chunks_of(list));
  }
}

TEST_P(SliceProof, OfAnotherBitLeadElsewhere) {
  const Data data = random_bytes(9 * 1024 + 1);
  const RunList list = {{1500, 1501}, {9 * 1024, 9 * 1024 + 1}};
  const Slice slice{data, list};
  Data proof = slice.make();
  const Digest hash = slice.root(proof);
  for (std::size_t bit = 0; bit < 8 * proof.size(); ++bit) {
    const auto mask = static_cast<std::byte>(1 << bit % 8);
    proof[bit / 8] ^= mask;
    EXPECT_NE(slice.root(proof), hash) << bit;
    proof[bit / 8] ^= mask;
  }
}

TEST(SliceSize, EndsSoonWhereAProofWouldBeHuge) {
  // 2^62 bytes with a byte in every other chunk: going through them all would take years.
  const std::uint64_t size = std::uint64_t{1} << 62;
  const auto runs = [&](std::uint64_t from) {
    const std::uint64_t begin = (from + 2047) / 2048 * 2048;
    return begin < size ? ByteRun{begin, begin + 1} : ByteRun{size, size};
  };
  EXPECT_GT(slice_size(size, runs, 1'000'000), 1'000'000u);
  EXPECT_LT(slice_size(size, runs, 1'000'000), 1'100'000u);
}

TEST(Subtree, ReadPieceByPieceHasTheValueOfItsBytes) {
  const Data data = random_bytes(3 << 20);
  const auto read = [&](std::uint64_t offset, MutableBytes out) {
    std::copy_n(data.begin() + static_cast<std::ptrdiff_t>(offset), out.size(), out.begin());
  };
  const std::pair<std::uint64_t, std::uint64_t> parts[] = {
      {0, 1},      {1024, 1024}, {2048, 2048}, {1 << 20, 1 << 20}, {2 << 20, (1 << 20) - 5},
      {0, 2 << 20}};
  for (const auto& [offset, size] : parts) {
    const Bytes part = Bytes(data).subspan(offset, size);
    const Digest slow = slow_value(part, offset / kChunkSize);
    const Blake3Mode mode = Blake3Mode::hash();
    EXPECT_EQ(subtree_value(mode, part, offset / kChunkSize, Threads(2)), slow);
    EXPECT_EQ(subtree_read(mode, offset, size, read, Threads(2)), slow);
  }
}

}  // namespace
}  // namespace torchnotary::merkle
