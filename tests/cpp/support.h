// What the tests share: bytes to hash, hexadecimal, and one body for every CPU path.
#pragma once

#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "hashing/bytes.h"
#include "hashing/cpu.h"

namespace torchnotary {

inline std::vector<std::byte> random_bytes(std::size_t size, unsigned seed = 1) {
  std::mt19937 random(seed);
  std::vector<std::byte> bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

// 0, 1, …, 250, 0, 1, …: the input of the official BLAKE3 vectors.
inline std::vector<std::byte> counting_bytes(std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) bytes[i] = static_cast<std::byte>(i % 251);
  return bytes;
}

inline std::string hex(Bytes bytes) {
  static constexpr char kDigits[] = "0123456789abcdef";
  std::string text;
  for (const std::byte byte : bytes) {
    text += kDigits[std::to_integer<int>(byte) >> 4];
    text += kDigits[std::to_integer<int>(byte) & 15];
  }
  return text;
}

// Runs its tests once on every CPU path this machine supports.
class EveryCpuPath : public testing::TestWithParam<CpuPath> {
 protected:
  void SetUp() override { use_cpu_path(GetParam()); }
  void TearDown() override { use_cpu_path(supported_cpu_paths().front()); }
};

#define TORCHNOTARY_ON_EVERY_CPU_PATH(suite)                                  \
  INSTANTIATE_TEST_SUITE_P(, suite, testing::ValuesIn(supported_cpu_paths()), \
                           [](const testing::TestParamInfo<CpuPath>& path) {  \
                             return std::string(cpu_path_name(path.param));   \
                           })

}  // namespace torchnotary
