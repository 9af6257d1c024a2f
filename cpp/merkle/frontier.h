// The root of a tree whose leaves come one by one and are not kept: RFC 9162 §2.1.1.
#pragma once

#include <cstdint>
#include <vector>

#include "hashing/bytes.h"

namespace torchnotary::merkle {

// Holds the roots of the perfect subtrees seen so far, at most one a bit of size().
class Frontier {
 public:
  void push(const Digest& leaf);

  std::uint64_t size() const { return size_; }
  // That of no leaves is SHA-256 of the empty string.
  Digest root() const;

 private:
  std::uint64_t size_ = 0;
  std::vector<Digest> roots_;  // largest subtree first
};

}  // namespace torchnotary::merkle
