// Every kernel of exact/1 gives the committed bits (tests/golden/exact_kernels.txt), on every path
// and with any number of threads.
#include "exact_golden.h"

#include <gtest/gtest.h>

#include <fstream>

#include "support.h"

namespace torchnotary::exact {
namespace {

std::vector<std::string> committed() {
  std::ifstream file("tests/golden/exact_kernels.txt");
  std::vector<std::string> lines;
  for (std::string line; std::getline(file, line);) lines.push_back(line);
  return lines;
}

class ExactGolden : public EveryCpuPath {};

TEST_P(ExactGolden, EveryKernelGivesTheCommittedBitsWithAnyNumberOfThreads) {
  const std::vector<std::string> expected = committed();
  for (const std::size_t threads : {1, 2, 3, 7}) {
    SCOPED_TRACE(testing::Message() << threads << " threads");
    const std::vector<std::string> actual = golden_lines(threads);
    ASSERT_EQ(actual.size(), expected.size());
    for (std::size_t i = 0; i < actual.size(); ++i) EXPECT_EQ(actual[i], expected[i]);
  }
}

TORCHNOTARY_ON_EVERY_CPU_PATH(ExactGolden);

}  // namespace
}  // namespace torchnotary::exact
