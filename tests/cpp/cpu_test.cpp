// The choice of CPU path.
#include "hashing/cpu.h"

#include <gtest/gtest.h>

#include "hashing/errors.h"

namespace torchnotary {
namespace {

TEST(CpuPathChoice, TakesTheBestPathUnlessAskedAndAnySupportedOneByItsName) {
  EXPECT_EQ(choose_cpu_path(""), supported_cpu_paths().front());
  for (const CpuPath path : supported_cpu_paths()) {
    EXPECT_EQ(choose_cpu_path(cpu_path_name(path)), path);
  }
}

TEST(CpuPathChoice, AlwaysHasThePortablePath) {
  EXPECT_EQ(choose_cpu_path("portable"), CpuPath::portable);
  EXPECT_EQ(supported_cpu_paths().back(), CpuPath::portable);
}

TEST(CpuPathChoice, RefusesAPathThatTheMachineLacksNamingThoseItHas) {
  // No machine has both.
  const bool x86 = choose_cpu_path("") != CpuPath::neon;
  for (const std::string request : {x86 ? "neon" : "avx2", "AVX2", "fastest"}) {
    try {
      choose_cpu_path(request);
      ADD_FAILURE() << request << " was accepted";
    } catch (const NotaryError& error) {
      EXPECT_EQ(error.actual, request);
      EXPECT_NE(error.expected.find("portable"), std::string::npos);
    }
  }
}

TEST(CpuPathChoice, ThePortablePathUsesNoShaInstructions) {
  use_cpu_path(CpuPath::portable);
  EXPECT_FALSE(cpu_has_sha256());
  use_cpu_path(supported_cpu_paths().front());
}

}  // namespace
}  // namespace torchnotary
