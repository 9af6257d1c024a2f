// Uses TensorIterator's loop rather than at::parallel_for: parallel_for is a template that opens
// the OpenMP region of whoever compiles it, which is none without -fopenmp and another pool than
// torch's with another OpenMP runtime. The loop's region is compiled inside LibTorch.
#include "torch/workers.h"

#include <ATen/EmptyTensor.h>
#include <ATen/Parallel.h>
#include <ATen/TensorIterator.h>

#include <cstdint>

namespace torchnotary {

void on_every_worker(std::size_t count, FunctionRef<void(std::size_t worker)> task) {
  if (count <= 1 || at::in_parallel_region()) {
    task(0);
    return;
  }
  // One element a worker and a grain of one: every thread of the team gets one element. The tensor
  // comes from the allocator, not the dispatcher, where a mode of the user's could see it.
  const at::TensorBase elements =
      at::detail::empty_cpu({static_cast<std::int64_t>(count)}, at::kByte);
  auto iterator = at::TensorIteratorConfig()
                      .check_all_same_dtype(false)
                      .resize_outputs(false)
                      .add_output(elements)
                      .build();
  iterator.for_each([&](char**, const std::int64_t*,
                        std::int64_t) { task(static_cast<std::size_t>(at::get_thread_num())); },
                    /*grain_size=*/1);
}

}  // namespace torchnotary
