// Every deterministic setting torch has, for as long as a scope lives.
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "torch/settings.h"

namespace torchnotary {

// Sets process_settings(), the calling thread's number of intra-op threads if one is given, and
// turns denormal flushing off on the calling thread and its intra-op workers. Everything is back
// when the scope ends, also if construction fails midway.
//
// Most settings belong to the process, so scopes that overlap, on one thread or several, share
// them: the first one in saves and sets, the last one out restores. Denormals and thread counts
// belong to a thread and are shared in the same way among the scopes of that thread. A scope that
// asks for another number of threads than is in force inside an open one throws NotaryError.
//
// A worker thread takes the denormal mode of the thread that starts it, and does not follow later
// changes: hence every worker is visited. Inter-op threads and autograd's device threads are out
// of reach; they keep what they started with.
class DeterminismScope {
 public:
  explicit DeterminismScope(std::optional<int> threads = std::nullopt);
  ~DeterminismScope();
  DeterminismScope(const DeterminismScope&) = delete;
  DeterminismScope& operator=(const DeterminismScope&) = delete;

  // Ends the scope; ending it again does nothing. Throws NotaryError if it is ended on another
  // thread than the one it began on and that thread's own settings would have to be changed back
  // (the process's are restored all the same), or what a setter of torch threw.
  void leave();

  // Name, value before and value set; last "threads" and "flush_denormal".
  const std::vector<SettingChange>& report() const { return report_; }

 private:
  struct ThreadState;
  static std::shared_ptr<ThreadState> this_thread();

  std::shared_ptr<ThreadState> thread_;
  std::vector<SettingChange> report_;
};

}  // namespace torchnotary
