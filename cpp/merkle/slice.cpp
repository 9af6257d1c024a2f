// One walk over a BLAKE3 tree, and what making, measuring and using a slice proof do on the way.
#include "merkle/slice.h"

#include "hashing/blake3.h"
#include "hashing/blake3_tree.h"

namespace torchnotary::merkle {
namespace {

struct Node {
  std::uint64_t begin;
  std::uint64_t end;

  std::uint64_t size() const { return end - begin; }
  std::uint64_t middle() const { return begin + left_size(size()); }
  std::uint64_t last_chunk() const { return end - 1 - (end - 1) % kChunkSize; }
};

// Whether a run reaches into every chunk of a node: the proof then shows all of its bytes.
bool shows(const ByteRun& run, const Node& node) {
  if (run.begin >= node.end) return false;
  return node.size() <= kChunkSize ||
         (run.begin < node.begin + kChunkSize && run.end > node.last_chunk());
}

// Visits the nodes that a proof consists of, in its order: visitor.hidden(node) for a chaining
// value, visitor.shown(node) for data, and visitor.parent(left, right) with what these returned.
// `run` is the first one that ends beyond node.begin. Ends early once visitor.done().
template <class Visitor>
auto walk(Visitor& visitor, Runs runs, const Node& node, const ByteRun& run)
    -> decltype(visitor.hidden(node)) {
  if (run.begin >= node.end) return visitor.hidden(node);
  if (shows(run, node)) return visitor.shown(node);
  const std::uint64_t middle = node.middle();
  const auto left = walk(visitor, runs, {node.begin, middle}, run);
  if (visitor.done()) return left;
  return visitor.parent(
      left, walk(visitor, runs, {middle, node.end}, run.end > middle ? run : runs(middle)));
}

template <class Visitor>
auto walk(Visitor& visitor, Runs runs, std::uint64_t size) {
  return walk(visitor, runs, Node{0, size}, runs(0));
}

struct Nothing {};

struct Measure {
  std::uint64_t most;
  std::uint64_t total = 0;

  Nothing hidden(const Node&) { return add(kDigestSize); }
  Nothing shown(const Node& node) { return add(node.size()); }
  Nothing parent(Nothing, Nothing) { return {}; }
  bool done() const { return total > most; }
  Nothing add(std::uint64_t bytes) {
    total += bytes;
    return {};
  }
};

struct Write {
  FunctionRef<void(std::uint64_t, MutableBytes)> read;
  FunctionRef<Digest(std::uint64_t, std::uint64_t)> value;
  std::vector<std::byte>& proof;

  Nothing hidden(const Node& node) {
    const Digest cv = value(node.begin, node.size());
    proof.insert(proof.end(), cv.begin(), cv.end());
    return {};
  }
  Nothing shown(const Node& node) {
    const std::size_t at = proof.size();
    proof.resize(at + node.size());
    read(node.begin, MutableBytes(proof).subspan(at));
    return {};
  }
  Nothing parent(Nothing, Nothing) { return {}; }
  bool done() const { return false; }
};

// What is left of a proof.
struct Rest {
  Bytes proof;

  Bytes take(std::uint64_t bytes) {
    const Bytes taken = proof.first(bytes);
    proof = proof.subspan(bytes);
    return taken;
  }
};

struct Value : Rest {
  Value(Bytes proof, ParallelFor parallel) : Rest{proof}, parallel(parallel) {}

  Digest hidden(const Node&) {
    Digest cv;
    std::memcpy(cv.data(), take(kDigestSize).data(), kDigestSize);
    return cv;
  }
  Digest shown(const Node& node) {
    return subtree_value(mode, take(node.size()), node.begin / kChunkSize, parallel);
  }
  Digest parent(const Digest& left, const Digest& right) {
    return parent_node(mode, left, right).chaining_value();
  }
  bool done() const { return false; }

  const Blake3Mode mode = Blake3Mode::hash();
  ParallelFor parallel;
};

struct Deliver : Rest {
  Deliver(Bytes proof, FunctionRef<void(std::uint64_t, Bytes)> deliver)
      : Rest{proof}, deliver(deliver) {}

  Nothing hidden(const Node&) {
    take(kDigestSize);
    return {};
  }
  Nothing shown(const Node& node) {
    deliver(node.begin, take(node.size()));
    return {};
  }
  Nothing parent(Nothing, Nothing) { return {}; }
  bool done() const { return false; }

  FunctionRef<void(std::uint64_t, Bytes)> deliver;
};

}  // namespace

std::uint64_t slice_size(std::uint64_t size, Runs runs, std::uint64_t most) {
  Measure measure{most};
  walk(measure, runs, size);
  return measure.total;
}

void append_slice(std::uint64_t size, Runs runs,
                  FunctionRef<void(std::uint64_t, MutableBytes)> read,
                  FunctionRef<Digest(std::uint64_t, std::uint64_t)> value,
                  std::vector<std::byte>& proof) {
  Write write{read, value, proof};
  walk(write, runs, size);
}

Digest slice_root(std::uint64_t size, Runs runs, Bytes proof, ParallelFor parallel) {
  Value value(proof, parallel);
  const Node top{0, size};
  const ByteRun run = runs(0);
  if (shows(run, top)) return blake3(value.mode, proof, parallel);
  // The root is compressed with another flag than the parents below it.
  const std::uint64_t middle = top.middle();
  const Digest left = walk(value, runs, {0, middle}, run);
  const Digest right = walk(value, runs, {middle, size}, run.end > middle ? run : runs(middle));
  Digest root;
  parent_node(value.mode, left, right).root(root, 0);
  return root;
}

void slice_data(std::uint64_t size, Runs runs, Bytes proof,
                FunctionRef<void(std::uint64_t, Bytes)> take) {
  Deliver deliver(proof, take);
  walk(deliver, runs, size);
}

}  // namespace torchnotary::merkle
