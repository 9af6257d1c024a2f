// Prints digests of inputs made by a written-down rule, which are to be the same on every machine
// and CPU path: without an argument the paths of this machine, otherwise the digests on that path.
//
// tests/python/golden_digests.py says the rule again, with other libraries, and compares.
#include <algorithm>
#include <array>
#include <cstdio>
#include <string>
#include <vector>

#include "hashing/blake3.h"
#include "hashing/cpu.h"
#include "hashing/errors.h"
#include "hashing/sha256.h"
#include "merkle/tree.h"
#include "tensor/commitment.h"

namespace torchnotary {
namespace {

// Around blocks, chunks, lanes, groups and pieces.
constexpr std::array kEdges = {64,    128,   1024,   2048,   3072,   4096,   8192,
                               16384, 32768, 131072, 262144, 524288, 1048576};

// Byte i of every input is the top byte of i * 2654435761 mod 2^32.
std::vector<std::byte> input(std::size_t size) {
  std::vector<std::byte> bytes(size);
  for (std::size_t i = 0; i < size; ++i) {
    bytes[i] = static_cast<std::byte>(static_cast<std::uint32_t>(i * 2654435761u) >> 24);
  }
  return bytes;
}

void print(const char* what, std::size_t size, Bytes digest) {
  std::printf("%s %zu ", what, size);
  for (const std::byte byte : digest) std::printf("%02x", std::to_integer<unsigned>(byte));
  std::printf("\n");
}

void print_hashes(std::size_t size) {
  const std::vector<std::byte> data = input(size), key = input(32);
  print("hash", size, blake3(Blake3Mode::hash(), data));
  print("keyed", size, blake3(Blake3Mode::keyed(Bytes(key).first<32>()), data));
  print("derive", size, blake3(Blake3Mode::derive_key("torchnotary golden digests"), data));
  Blake3 hasher(Blake3Mode::hash());
  for (std::size_t at = 0; at < size; at += 1000) {
    hasher.update(Bytes(data).subspan(at, std::min<std::size_t>(1000, size - at)));
  }
  std::vector<std::byte> extended(200);
  hasher.finalize(extended, size % 300);
  print("extended", size, extended);
  print("sha256", size, sha256(data));
}

// Leaf i is the leaf hash of i as 8 bytes, little-endian.
void print_root(std::size_t size) {
  std::vector<Digest> leaves;
  for (std::uint64_t i = 0; i < size; ++i) {
    std::array<std::byte, 8> entry;
    store_le(entry.data(), i);
    leaves.push_back(merkle::leaf_hash(entry));
  }
  print("root", size, merkle::root(leaves));
}

// 37 rows of `columns` elements that lie column by column.
void print_tensor(const char* dtype, std::size_t columns) {
  const DType& type = dtype_of(dtype);
  const std::vector<std::byte> memory = input(37 * columns * type.itemsize);
  const std::array shape = {std::int64_t{37}, static_cast<std::int64_t>(columns)};
  const std::array<std::int64_t, 2> strides = {1, 37};
  print(dtype, columns, commit({memory.data(), &type, shape, strides, false, false}).digest);
}

void print_all() {
  print_hashes(0);
  print_hashes(1);
  for (const int edge : kEdges) {
    for (const int size : {edge - 1, edge, edge + 1}) print_hashes(static_cast<std::size_t>(size));
  }
  for (std::size_t size = 0; size <= 130; ++size) print_root(size);
  for (const char* dtype : {"bool", "uint8", "int16", "float32", "float64", "complex128"}) {
    for (const std::size_t columns : {1, 3, 4, 8, 16, 41, 4001}) print_tensor(dtype, columns);
  }
}

}  // namespace
}  // namespace torchnotary

int main(int argc, char** argv) {
  using namespace torchnotary;
  if (argc > 1) {
    try {
      use_cpu_path(choose_cpu_path(argv[1]));
    } catch (const NotaryError& error) {
      std::fprintf(stderr, "%s: %s\n", error.what(), error.actual.c_str());
      return 1;
    }
    print_all();
    return 0;
  }
  for (const CpuPath path : supported_cpu_paths()) {
    std::printf("%s\n", std::string(cpu_path_name(path)).c_str());
  }
}
