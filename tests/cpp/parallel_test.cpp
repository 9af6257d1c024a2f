// Threads: every task runs exactly once, whatever their numbers.
#include "hashing/parallel.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>
#include <vector>

namespace torchnotary {
namespace {

TEST(ThreadsTest, EveryTaskRunsExactlyOnce) {
  for (const std::size_t threads : {0, 1, 2, 3, 16}) {
    for (const std::size_t count : {0, 1, 2, 3, 100}) {
      std::vector<std::atomic<int>> runs(count);
      Threads{threads}(count, [&](std::size_t i) { ++runs[i]; });
      for (const auto& run : runs) EXPECT_EQ(run, 1) << threads << " " << count;
    }
  }
}

TEST(ThreadsTest, OneThreadMeansTheCallersOwn) {
  std::set<std::thread::id> ids;
  Threads{1}(10, [&](std::size_t) { ids.insert(std::this_thread::get_id()); });
  EXPECT_EQ(ids, std::set{std::this_thread::get_id()});
}

// Both tasks wait for each other, so neither could finish on one thread.
TEST(ThreadsTest, TwoThreadsRunSideBySide) {
  std::atomic<int> arrived{0};
  Threads{2}(2, [&](std::size_t) {
    ++arrived;
    while (arrived < 2) std::this_thread::yield();
  });
  EXPECT_EQ(arrived, 2);
}

}  // namespace
}  // namespace torchnotary
