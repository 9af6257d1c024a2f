// Threads: a parallel for that starts its threads, shares out the indices and joins.
#include "hashing/parallel.h"

#include <algorithm>
#include <atomic>
#include <system_error>
#include <thread>
#include <vector>

namespace torchnotary {

// Tasks hash memory and do not throw; an exception on a worker would terminate.
void Threads::operator()(std::size_t count, FunctionRef<void(std::size_t)> task) const {
  std::atomic<std::size_t> next{0};
  const auto work = [&] {
    for (std::size_t i = next.fetch_add(1); i < count; i = next.fetch_add(1)) task(i);
  };
  const std::size_t helpers = std::min(threads_, count) - (count > 0 && threads_ > 0 ? 1 : 0);
  std::vector<std::jthread> workers;
  workers.reserve(helpers);
  for (std::size_t i = 0; i < helpers; ++i) {
    try {
      workers.emplace_back(work);
    } catch (const std::system_error&) {
      break;  // No more threads to be had: those there are, the caller's at least, do it all.
    }
  }
  work();
}

}  // namespace torchnotary
