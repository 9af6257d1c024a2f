// Python's face of the merkle room: hashes are bytes, trees are entries or their leaf hashes.
#pragma once

#include <pybind11/typing.h>

#include <bit>
#include <vector>

#include "bindings/buffers.h"
#include "hashing/errors.h"
#include "merkle/frontier.h"
#include "merkle/tree.h"

namespace torchnotary {

inline Digest to_hash(py::handle object, const char* what) {
  const Buffer buffer(object);
  const Bytes bytes = buffer.bytes();
  if (bytes.size() != kDigestSize) {
    throw MalformedProof(std::string(what) + " is not a SHA-256 hash", "32 bytes",
                         std::to_string(bytes.size()) + " bytes",
                         "check that hashes are raw bytes, neither hex nor base64");
  }
  Digest digest;
  std::copy(bytes.begin(), bytes.end(), digest.begin());
  return digest;
}

inline std::vector<Digest> to_proof(const py::iterable& proof) {
  std::vector<Digest> hashes;
  for (const py::handle item : proof) hashes.push_back(to_hash(item, "an entry of the proof"));
  return hashes;
}

inline std::vector<Digest> leaf_hashes(const py::iterable& leaves) {
  std::vector<Digest> hashes;
  for (const py::handle leaf : leaves) {
    hashes.push_back(merkle::leaf_hash(Buffer(leaf).bytes()));
  }
  return hashes;
}

// Leaf hashes one after the other, 32 bytes each.
inline std::vector<Digest> split_hashes(const py::buffer& data) {
  const Buffer buffer(data);
  const Bytes bytes = buffer.bytes();
  if (bytes.size() % kDigestSize != 0) {
    throw MalformedProof("leaf hashes have 32 bytes each", "a multiple of 32 bytes",
                         std::to_string(bytes.size()) + " bytes", "check the leaf hashes");
  }
  std::vector<Digest> hashes(bytes.size() / kDigestSize);
  if (!bytes.empty()) std::memcpy(hashes.data(), bytes.data(), bytes.size());
  return hashes;
}

inline py::bytes join_hashes(const std::vector<Digest>& hashes) {
  return to_bytes({reinterpret_cast<const std::byte*>(hashes.data()), hashes.size() * kDigestSize});
}

// What `leaves` (hashes) add to a tree of `size` leaves with the complete subtrees `peaks`: the
// nodes above them that become complete, and the peaks then.
inline py::typing::Tuple<py::bytes, py::bytes> extend_tree(const py::buffer& leaves,
                                                           std::uint64_t size,
                                                           const py::buffer& peaks) {
  const std::vector<Digest> hashes = split_hashes(leaves);
  std::vector<Digest> roots = split_hashes(peaks);
  if (roots.size() != static_cast<std::size_t>(std::popcount(size))) {
    throw MalformedProof("a tree has another number of peaks", std::to_string(std::popcount(size)),
                         std::to_string(roots.size()), "give the peaks of this size");
  }
  merkle::Frontier frontier(size, std::move(roots));
  std::vector<Digest> completed;
  without_gil(hashes.size() * kDigestSize, [&] {
    completed.reserve(hashes.size());
    for (const Digest& hash : hashes) frontier.push(hash, &completed);
  });
  return py::make_tuple(join_hashes(completed), join_hashes(frontier.roots()));
}

inline py::typing::List<py::bytes> to_list(const std::vector<Digest>& hashes) {
  py::typing::List<py::bytes> list;
  for (const Digest& hash : hashes) list.append(to_bytes(hash));
  return list;
}

}  // namespace torchnotary
