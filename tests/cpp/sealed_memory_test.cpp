// Sealed memory holds what was filled in, and neither this process nor a child can change it.
#include "tensor/sealed_memory.h"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>

#include "hashing/errors.h"

#if defined(__linux__)

namespace torchnotary {
namespace {

constexpr auto fill_with_sevens = [](std::span<std::byte> bytes) {
  std::memset(bytes.data(), 7, bytes.size());
};

// What is mapped at an address, by the system's own list: "address-end rw-p … name".
std::string mapping_at(const void* address) {
  std::FILE* maps = std::fopen("/proc/self/maps", "r");
  char line[512];
  std::string found;
  while (std::fgets(line, sizeof line, maps) != nullptr) {
    std::uintptr_t begin = 0, end = 0;
    std::sscanf(line, "%lx-%lx", &begin, &end);
    const auto wanted = reinterpret_cast<std::uintptr_t>(address);
    if (begin <= wanted && wanted < end) found = line;
  }
  std::fclose(maps);
  return found;
}

class SealedMemorySizes : public testing::TestWithParam<std::size_t> {};

TEST_P(SealedMemorySizes, HoldsExactlyWhatWasFilledIn) {
  const SealedMemory memory(GetParam(), [](std::span<std::byte> bytes) {
    for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::byte>(i * 31 + 1);
  });
  ASSERT_EQ(memory.bytes().size(), GetParam());
  for (std::size_t i = 0; i < GetParam(); ++i) {
    ASSERT_EQ(memory.data()[i], static_cast<std::byte>(i * 31 + 1)) << i;
  }
}

INSTANTIATE_TEST_SUITE_P(Boundaries, SealedMemorySizes,
                         testing::Values(0, 1, 4095, 4096, 4097, (1 << 20) + 1));

TEST(SealedMemory, BeginsAsZerosAtAPageBoundary) {
  bool all_zero = true;
  const SealedMemory memory(10000, [&](std::span<std::byte> bytes) {
    for (const std::byte byte : bytes) all_zero = all_zero && byte == std::byte{0};
  });
  EXPECT_TRUE(all_zero);
  EXPECT_EQ(reinterpret_cast<std::uintptr_t>(memory.data()) % 4096, 0u);
}

TEST(SealedMemory, FaultsWhereItIsWritten) {
  const SealedMemory memory(4096, fill_with_sevens);
  auto* byte = reinterpret_cast<volatile char*>(const_cast<std::byte*>(memory.data()));
  EXPECT_DEATH(*byte = 1, "");
}

TEST(SealedMemory, CannotBeMadeWritableWhereItsMappingIsShared) {
  const SealedMemory memory(4096, fill_with_sevens);
  const std::string mapping = mapping_at(memory.data());
  ASSERT_NE(mapping.find("torchnotary"), std::string::npos) << mapping;
  if (mapping.find("r--s") == std::string::npos) GTEST_SKIP() << "mapped privately: " << mapping;
  void* const address = const_cast<std::byte*>(memory.data());
  EXPECT_EQ(mprotect(address, memory.size(), PROT_READ | PROT_WRITE), -1);
  EXPECT_EQ(errno, EACCES);
  const int self = open("/proc/self/mem", O_RDWR | O_CLOEXEC);
  ASSERT_GE(self, 0);
  EXPECT_EQ(pwrite(self, "x", 1, reinterpret_cast<off_t>(address)), -1);
  close(self);
  EXPECT_EQ(memory.data()[0], std::byte{7});
}

TEST(SealedMemory, IsSharedWithAChildThatCannotWriteIt) {
  const SealedMemory memory(4096, fill_with_sevens);
  const pid_t child = fork();
  if (child == 0) {
    signal(SIGSEGV, SIG_DFL);  // a sanitizer's handler would exit instead
    if (memory.data()[5] != std::byte{7}) _exit(1);
    const_cast<volatile std::byte*>(memory.data())[5] = std::byte{8};
    _exit(2);
  }
  int status = 0;
  waitpid(child, &status, 0);
  ASSERT_TRUE(WIFSIGNALED(status)) << WEXITSTATUS(status);
  EXPECT_EQ(WTERMSIG(status), SIGSEGV);
  EXPECT_EQ(memory.data()[5], std::byte{7});
}

TEST(SealedMemory, IsUnmappedWithItsObject) {
  const void* address = nullptr;
  {
    const SealedMemory memory(1 << 20, fill_with_sevens);
    address = memory.data();
  }
  EXPECT_EQ(mapping_at(address).find("torchnotary"), std::string::npos);
}

TEST(SealedMemory, PassesOnWhatFillingThrowsAndLeavesNothingMapped) {
  const std::byte* address = nullptr;
  EXPECT_THROW(SealedMemory(4096,
                            [&](std::span<std::byte> bytes) {
                              address = bytes.data();
                              throw std::runtime_error("not now");
                            }),
               std::runtime_error);
  EXPECT_EQ(mapping_at(address).find("torchnotary"), std::string::npos);
}

TEST(SealedMemory, ThatTheSystemDoesNotHaveIsRefusedByName) {
  try {
    const SealedMemory memory(std::size_t{1} << 63, fill_with_sevens);
    FAIL() << "half of all addresses were sealed";
  } catch (const NotaryError& error) {
    EXPECT_NE(std::string(error.what()).find("fallocate"), std::string::npos) << error.what();
    EXPECT_FALSE(error.next_step.empty());
  }
}

}  // namespace
}  // namespace torchnotary

#endif
