#include "merkle/frontier.h"

#include "merkle/tree.h"

namespace torchnotary::merkle {

void Frontier::push(const Digest& leaf, std::vector<Digest>* completed) {
  Digest node = leaf;
  for (std::uint64_t n = size_; n & 1; n >>= 1) {
    node = node_hash(roots_.back(), node);
    if (completed != nullptr) completed->push_back(node);
    roots_.pop_back();
  }
  roots_.push_back(node);
  ++size_;
}

Digest Frontier::root() const {
  if (roots_.empty()) return merkle::root({});
  Digest node = roots_.back();
  for (auto left = roots_.rbegin() + 1; left != roots_.rend(); ++left)
    node = node_hash(*left, node);
  return node;
}

}  // namespace torchnotary::merkle
