// torch's intra-op threads as a ParallelFor.
#pragma once

#include <ATen/Parallel.h>

#include <algorithm>
#include <atomic>
#include <cstddef>

#include "hashing/parallel.h"
#include "torch/workers.h"

namespace torchnotary {

struct IntraOpThreads {
  void operator()(std::size_t count, FunctionRef<void(std::size_t)> task) const {
    const auto threads = std::min(count, static_cast<std::size_t>(at::get_num_threads()));
    if (threads <= 1 || at::in_parallel_region()) {
      kSerial(count, task);
      return;
    }
    std::atomic<std::size_t> next = 0;
    on_every_worker(threads, [&](std::size_t) {
      for (std::size_t i; (i = next.fetch_add(1, std::memory_order_relaxed)) < count;) task(i);
    });
  }
};
inline constexpr IntraOpThreads kIntraOpThreads;

}  // namespace torchnotary
