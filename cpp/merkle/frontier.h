// The root of a tree whose leaves come one by one and are not kept: RFC 9162 §2.1.1.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "hashing/bytes.h"

namespace torchnotary::merkle {

// Holds the roots of the perfect subtrees seen so far, at most one a bit of size().
class Frontier {
 public:
  Frontier() = default;
  // One that goes on where a tree of `size` leaves left off with these roots(). Requires as many
  // of them as `size` has bits that are 1.
  Frontier(std::uint64_t size, std::vector<Digest> roots) : size_(size), roots_(std::move(roots)) {}

  // Appends to `completed`, where it is given, the roots of subtrees of two leaves and more that
  // `leaf` completes, smallest first.
  void push(const Digest& leaf, std::vector<Digest>* completed = nullptr);

  std::uint64_t size() const { return size_; }
  const std::vector<Digest>& roots() const { return roots_; }
  // That of no leaves is SHA-256 of the empty string.
  Digest root() const;

 private:
  std::uint64_t size_ = 0;
  std::vector<Digest> roots_;  // largest subtree first
};

}  // namespace torchnotary::merkle
