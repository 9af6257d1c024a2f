// Writes the inputs that a fuzz target starts from: seeds TARGET FOLDER.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "hashing/bytes.h"
#include "merkle/tree.h"

namespace torchnotary {
namespace {

using Seeds = std::vector<std::string>;

template <class Value>
void append(std::string& text, const Value& value) {
  text.append(reinterpret_cast<const char*>(&value), sizeof(value));
}

std::string proof_seed(std::uint8_t what, std::uint64_t first, std::uint64_t size) {
  std::string seed(1, static_cast<char>(what));
  append(seed, first);
  append(seed, size);
  return seed;
}

// Genuine proofs as any proof, and changes of each kind to genuine ones.
Seeds proof_verifier_fuzz() {
  Seeds seeds;
  std::vector<Digest> leaves;
  for (std::uint64_t size = 1; size <= 17; ++size) {
    leaves.push_back(merkle::leaf_hash(bytes_of(std::to_string(size))));
    for (const std::uint64_t first : {std::uint64_t{0}, size / 2, size - 1}) {
      std::string inclusion = proof_seed(0, first, size), consistency = proof_seed(2, first + 1, size);
      append(inclusion, leaves[first]);
      for (const Digest& hash : merkle::inclusion_proof(leaves, first)) append(inclusion, hash);
      append(consistency, merkle::root(std::span(leaves).first(first + 1)));
      for (const Digest& hash : merkle::consistency_proof(leaves, first + 1)) {
        append(consistency, hash);
      }
      seeds.insert(seeds.end(), {inclusion, consistency});
    }
  }
  for (std::uint8_t what = 0; what < 8; ++what) {
    for (const std::uint8_t kind : {1, 3}) {
      seeds.push_back(proof_seed(kind, 0x0505, 20) + static_cast<char>(what) + "\x01\x02");
    }
  }
  for (const std::uint8_t kind : {0, 2}) {
    seeds.push_back(proof_seed(kind, ~std::uint64_t{0} - 1, ~std::uint64_t{0}) +
                    std::string(32 * 65, '\7'));
  }
  return seeds;
}

struct Target {
  const char* name;
  Seeds (*seeds)();
};
constexpr Target kTargets[] = {
    {"proof_verifier_fuzz", proof_verifier_fuzz},
};

}  // namespace
}  // namespace torchnotary

int main(int argc, char** argv) {
  using namespace torchnotary;
  if (argc != 3) return std::fprintf(stderr, "usage: seeds TARGET FOLDER\n"), 2;
  for (const Target& target : kTargets) {
    if (std::string(argv[1]) != target.name) continue;
    int number = 0;
    for (const std::string& seed : target.seeds()) {
      std::ofstream(std::string(argv[2]) + "/seed-" + std::to_string(number++)) << seed;
    }
    return number > 0 ? 0 : 1;
  }
  return std::fprintf(stderr, "no target %s\n", argv[1]), 2;
}
