#include "torch/determinism.h"

#include <ATen/Parallel.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <cstdint>
#include <exception>
#include <mutex>
#include <string>
#include <thread>
#include <utility>

#include "hashing/errors.h"
#include "torch/context_settings.h"
#include "torch/denormals.h"
#include "torch/workers.h"

namespace torchnotary {
namespace {

// The count may come from somebody else's record, and OpenMP ends the process when the system
// refuses it a thread.
void check_thread_count(int threads) {
  const int most = std::max(1024, static_cast<int>(std::thread::hardware_concurrency()));
  if (threads >= 1 && threads <= most) return;
  throw NotaryError("a determinism scope cannot run with that number of threads",
                    "1 to " + std::to_string(most), std::to_string(threads),
                    "ask for a number the machine can start");
}

// What all open scopes of the process share; `mutex` guards it and every ThreadState.
struct ProcessState {
  std::mutex mutex;
  int open = 0;
  int threads = 0;
  std::optional<AppliedSettings> settings;
};

ProcessState& process() {
  static auto* state = new ProcessState;  // never destroyed: a scope may outlive static storage
  return *state;
}

[[noreturn]] void refuse_thread_count(int asked, int in_force) {
  throw NotaryError("a determinism scope with another number of threads is open",
                    std::to_string(in_force) + " threads", std::to_string(asked) + " threads",
                    "ask for the same number, or end the open scope first");
}

}  // namespace

// What the open scopes of one thread share.
struct DeterminismScope::ThreadState {
  const std::thread::id id = std::this_thread::get_id();
  int open = 0;
  int threads_before = 0;
  int threads = 0;
  std::vector<std::optional<std::uint64_t>> denormals_before;  // by worker

  bool flushed_before() const {
    return std::any_of(denormals_before.begin(), denormals_before.end(),
                       [](const auto& bits) { return bits.value_or(0) != 0; });
  }

  void enter(std::optional<int> asked) {
    threads_before = at::get_num_threads();
    threads = asked.value_or(threads_before);
    if (asked) check_thread_count(threads);
    denormals_before.assign(static_cast<std::size_t>(threads), std::nullopt);
    try {
      if (threads != threads_before) at::set_num_threads(threads);
      on_every_worker(denormals_before.size(), [this](std::size_t worker) {
        denormals_before[worker] = denormal_bits();
        set_denormal_bits(0);
      });
    } catch (...) {
      restore();
      throw;
    }
  }

  void restore() {
    // The workers are those of the scope's team: a team of another size has other threads.
    if (at::get_num_threads() != threads) at::set_num_threads(threads);
    on_every_worker(denormals_before.size(), [this](std::size_t worker) {
      const auto& before = denormals_before[worker];
      if (before) set_denormal_bits(*before);
    });
    if (threads != threads_before) at::set_num_threads(threads_before);
  }

  bool changed() const { return threads != threads_before || flushed_before(); }
};

std::shared_ptr<DeterminismScope::ThreadState> DeterminismScope::this_thread() {
  thread_local const auto state = std::make_shared<ThreadState>();
  return state;
}

DeterminismScope::DeterminismScope(std::optional<int> threads) {
  ProcessState& all = process();
  auto mine = this_thread();
  const std::lock_guard lock(all.mutex);
  if (threads && all.open > 0) {
    const int in_force = mine->open > 0 ? at::get_num_threads() : all.threads;
    if (*threads != in_force) refuse_thread_count(*threads, in_force);
  }
  if (all.open == 0) all.settings.emplace(process_settings());
  bool entered = false;
  try {
    if (mine->open == 0) {
      mine->enter(threads);
      entered = true;
    }
    report_ = all.settings->changes();
    report_.push_back({"threads", std::int64_t{mine->threads_before}, std::int64_t{mine->threads}});
    report_.push_back({"flush_denormal", mine->flushed_before(), false});
  } catch (...) {
    if (entered) mine->restore();
    if (all.open == 0) all.settings.reset();
    throw;
  }
  if (all.open++ == 0) all.threads = mine->threads;
  ++mine->open;
  thread_ = std::move(mine);
}

DeterminismScope::~DeterminismScope() {
  try {
    leave();
  } catch (const std::exception& error) {
    TORCH_WARN("torchnotary: a determinism scope could not restore everything: ", error.what());
  }
}

void DeterminismScope::leave() {
  if (!thread_) return;
  const auto state = std::move(thread_);
  thread_.reset();
  ProcessState& all = process();
  const std::lock_guard lock(all.mutex);
  std::exception_ptr first;
  const bool last_of_thread = --state->open == 0;
  const bool elsewhere = state->id != std::this_thread::get_id();
  try {
    if (last_of_thread && !elsewhere) state->restore();
  } catch (...) {
    first = std::current_exception();
  }
  if (--all.open == 0) {
    try {
      all.settings->restore();
    } catch (...) {
      if (!first) first = std::current_exception();
    }
    all.settings.reset();
  }
  if (first) std::rethrow_exception(first);
  if (last_of_thread && elsewhere && state->changed()) {
    throw NotaryError(
        "a determinism scope ended on another thread than it began on, whose number "
        "of threads or denormal mode stays changed",
        "the thread it began on", "another thread", "begin and end the scope on one thread");
  }
}

}  // namespace torchnotary
