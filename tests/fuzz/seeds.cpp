// Writes the inputs that a fuzz target starts from: seeds TARGET FOLDER.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <fstream>
#include <string>
#include <vector>

#include "hashing/bytes.h"
#include "merkle/tree.h"
#include "tensor/opening.h"

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
      std::string inclusion = proof_seed(0, first, size),
                  consistency = proof_seed(2, first + 1, size);
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

// Headers of every kind of entry, and of everything that is most nearly one.
Seeds safetensors_header_fuzz() {
  Seeds seeds;
  const auto add = [&](std::uint64_t data_size, const std::string& header) {
    std::string seed;
    append(seed, data_size);
    seeds.push_back(seed + header);
  };
  const auto entry = [](const std::string& dtype, const std::string& shape, int begin, int end) {
    return "{\"dtype\":\"" + dtype + "\",\"shape\":[" + shape + "],\"data_offsets\":[" +
           std::to_string(begin) + "," + std::to_string(end) + "]}";
  };
  add(0, "{}");
  add(0, "{\"__metadata__\":{\"format\":\"pt\",\"a\\n\\u00e9\\ud83d\\ude00\":\"\\\"\\\\\"}}  ");
  for (const char* one :
       {"BOOL", "U8", "I8", "F8_E4M3", "F8_E4M3FNUZ", "F8_E5M2", "F8_E5M2FNUZ", "F8_E8M0"}) {
    add(6, std::string("{\"w\":") + entry(one, "2,3", 0, 6) + "}");
  }
  for (const char* two : {"I16", "U16", "F16", "BF16"}) {
    add(12, std::string("{\"w\":") + entry(two, "2,3", 0, 12) + "}");
  }
  for (const char* four : {"I32", "U32", "F32"}) {
    add(4, std::string("{\"\xc3\xa9\":") + entry(four, "", 0, 4) + "}");
  }
  for (const char* eight : {"I64", "U64", "F64", "C64"}) {
    add(8, std::string("{\"w\":") + entry(eight, "1", 0, 8) + "}\n");
  }
  add(20, "{\"b\":" + entry("F32", "4", 4, 20) + ",\"a\":" + entry("F16", "2", 0, 4) +
              ",\"empty\":" + entry("F32", "0,7", 4, 4) + "}");
  add(0, "{\"w\":{\"dtype\":\"U8\",\"shape\":[9223372036854775807,0],\"data_offsets\":[0,0]}}");
  add(9223372036854775807u,
      "{\"w\":{\"shape\":[9223372036854775807],\"dtype\":\"U8\","
      "\"data_offsets\":[0,9223372036854775807]}}");
  return seeds;
}

// An opening of each dtype and kind of item as any opening, and changes to genuine ones.
Seeds opening_decoder_fuzz() {
  Seeds seeds;
  const std::vector<std::byte> memory(16 * 60 * 70);
  using Item = IndexItem;
  const std::vector<std::vector<Item>> indices = {
      {{Item::Kind::integer, 3}, {Item::Kind::slice, 0, 70, 1}},
      {{Item::Kind::slice, 1, 20, 3}, {Item::Kind::integer, 69}},
      {{Item::Kind::new_axis}, {Item::Kind::slice, 7, 2, 50}, {Item::Kind::slice, 5, 30, 2}},
      {{Item::Kind::slice, 0, 0, 1}, {Item::Kind::slice, 0, 70, 1}},
  };
  const std::int64_t shape[] = {60, 70}, strides[] = {70, 1};
  for (const char* dtype : {"float32", "float64", "float16", "bfloat16", "int64", "int32", "int16",
                            "int8", "uint8", "uint16", "uint32", "uint64", "bool", "complex32",
                            "complex64", "complex128", "float8_e4m3fn", "float8_e8m0fnu"}) {
    const TensorView view{memory.data(), &dtype_of(dtype), shape, strides, false, false};
    // An opening of 16 bytes an element would be longer than the longest input.
    const std::size_t count = view.dtype->itemsize > 4 ? 1 : indices.size();
    for (std::size_t i = 0; i < count; ++i) {
      const std::vector<std::byte> code = encode_opening(make_opening(view, indices[i]));
      seeds.push_back(std::string(1, '\0') +
                      std::string(reinterpret_cast<const char*>(code.data()), code.size()));
    }
  }
  for (char tensor = 0; tensor < 8; ++tensor) {
    for (const char* rest : {"\1\2\3\4\5\6\7\10\11", "\2\1\1\2\1\3\3\3\2\1\1"}) {
      seeds.push_back(std::string(1, '\1') + tensor + rest + std::string(20, '\5'));
    }
  }
  return seeds;
}

struct Target {
  const char* name;
  Seeds (*seeds)();
};
constexpr Target kTargets[] = {
    {"proof_verifier_fuzz", proof_verifier_fuzz},
    {"safetensors_header_fuzz", safetensors_header_fuzz},
    {"opening_decoder_fuzz", opening_decoder_fuzz},
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
