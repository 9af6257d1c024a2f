// Prints the lines of exact/1's golden digests (exact_golden.h): without an argument the CPU paths
// of this machine, otherwise the lines on a path with a number of threads.
#include "exact_golden.h"

#include <charconv>
#include <cstdio>
#include <cstring>

#include "hashing/cpu.h"
#include "hashing/errors.h"

int main(int argc, char** argv) {
  using namespace torchnotary;
  if (argc == 1) {
    for (const CpuPath path : supported_cpu_paths()) {
      std::printf("%s\n", std::string(cpu_path_name(path)).c_str());
    }
    return 0;
  }
  std::size_t threads = 0;
  if (argc != 3 ||
      std::from_chars(argv[2], argv[2] + std::strlen(argv[2]), threads).ec != std::errc() ||
      threads == 0) {
    std::fprintf(stderr, "usage: exact_golden [PATH THREADS]\n");
    return 2;
  }
  try {
    use_cpu_path(choose_cpu_path(argv[1]));
    for (const std::string& line : exact::golden_lines(threads)) std::printf("%s\n", line.c_str());
  } catch (const NotaryError& error) {
    std::fprintf(stderr, "%s: %s\n", error.what(), error.actual.c_str());
    return 1;
  }
  return 0;
}
