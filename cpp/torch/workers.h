// Reaches the threads that torch's operators will run on when the calling thread calls them.
#pragma once

#include <cstddef>

#include "hashing/parallel.h"

namespace torchnotary {

// Calls task(worker) once on the calling thread (worker 0) and on each intra-op worker that serves
// it, workers numbered below `count` == at::get_num_threads(). Inside a parallel region, where
// there are no workers to serve it, on the calling thread alone.
void on_every_worker(std::size_t count, FunctionRef<void(std::size_t worker)> task);

}  // namespace torchnotary
