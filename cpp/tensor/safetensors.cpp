// The safetensors header: entries as they stand, then what holds between them.
#include "tensor/safetensors.h"

#include <algorithm>
#include <cstring>
#include <limits>
#include <unordered_set>

#include "hashing/errors.h"
#include "tensor/json_reader.h"

namespace torchnotary {

const std::array<StoredDType, 19> kStoredDTypes = {{
    {"BOOL", "bool"},
    {"U8", "uint8"},
    {"I8", "int8"},
    {"F8_E4M3", "float8_e4m3fn"},
    {"F8_E4M3FNUZ", "float8_e4m3fnuz"},
    {"F8_E5M2", "float8_e5m2"},
    {"F8_E5M2FNUZ", "float8_e5m2fnuz"},
    {"F8_E8M0", "float8_e8m0fnu"},
    {"I16", "int16"},
    {"U16", "uint16"},
    {"F16", "float16"},
    {"BF16", "bfloat16"},
    {"I32", "int32"},
    {"U32", "uint32"},
    {"F32", "float32"},
    {"I64", "int64"},
    {"U64", "uint64"},
    {"F64", "float64"},
    {"C64", "complex64"},
}};

namespace {

constexpr std::size_t kMaxNameBytes = std::size_t{1} << 16;
// What names and shapes may take together, so that no header is worth more than 64 MiB to us:
// some 250,000 tensors a file, where the largest models have a thousand.
constexpr std::size_t kMaxTableBytes = std::size_t{48} << 20;
constexpr std::size_t kAllocation = 16;

std::string quoted(const std::string& name) {
  constexpr std::size_t kShown = 100;
  if (name.size() <= kShown) return "'" + name + "'";
  std::size_t cut = kShown;  // not inside a character
  while ((static_cast<unsigned char>(name[cut]) & 0xC0) == 0x80) --cut;
  return "'" + name.substr(0, cut) + "…'";
}

const DType& stored_dtype(const std::string& stored, const std::string& name) {
  const auto found = std::find_if(kStoredDTypes.begin(), kStoredDTypes.end(),
                                  [&](const StoredDType& entry) { return entry.stored == stored; });
  if (found != kStoredDTypes.end()) return dtype_of(found->torch);
  std::string known;
  for (const StoredDType& entry : kStoredDTypes) {
    known += (known.empty() ? "" : ", ") + std::string(entry.stored);
  }
  throw UnsupportedTensor("no commitment rule for dtype " + quoted(stored) + " of " + quoted(name),
                          "", "", "convert it to one of " + known);
}

// A list of at most `limit` sizes.
std::vector<std::int64_t> read_sizes(JsonReader& json, std::size_t limit, const std::string& what) {
  std::vector<std::int64_t> sizes;
  json.peek();
  const std::uint64_t begin = json.position();
  json.take('[');
  if (json.take_if(']')) return sizes;
  do {
    if (sizes.size() == limit) {
      JsonReader::refuse(begin, what, "at most " + std::to_string(limit) + " sizes", "more");
    }
    sizes.push_back(json.size());
  } while (json.take_if(','));
  json.take(']');
  return sizes;
}

// The product of sizes and itemsize, in the order of the sizes as the reference multiplies them.
bool multiply(const StoredTensor& tensor, std::uint64_t& product) {
  std::int64_t bytes = tensor.dtype->itemsize;
  for (const std::int64_t size : tensor.shape) {
    if (__builtin_mul_overflow(bytes, size, &bytes)) return false;
  }
  product = static_cast<std::uint64_t>(bytes);
  return true;
}

void read_metadata(JsonReader& json) {
  std::unordered_set<std::string> keys;
  std::size_t table = 0;
  json.take('{');
  if (json.take_if('}')) return;
  do {
    json.peek();
    const std::uint64_t begin = json.position();
    std::string key = json.string(kMaxNameBytes);
    table += key.size() + 2 * sizeof(std::string) + 2 * kAllocation;
    if (table > kMaxTableBytes) JsonReader::refuse(begin, "__metadata__ has too many keys");
    const auto [where, is_new] = keys.insert(std::move(key));
    if (!is_new) JsonReader::refuse(begin, "the key " + quoted(*where) + " is repeated");
    json.take(':');
    if (json.peek() != '"') {
      JsonReader::refuse(json.position(), "__metadata__ does not map text to text");
    }
    json.skip_string();
  } while (json.take_if(','));
  json.take('}');
}

// One entry after its name and colon. `data` is where the data begin in the file.
void read_entry(JsonReader& json, std::uint64_t data, StoredTensor& tensor) {
  const std::string name = quoted(tensor.name);
  const std::string fault = "the entry of " + name + " needs exactly dtype, shape and data_offsets";
  std::vector<std::int64_t> offsets;
  bool has_dtype = false, has_shape = false, has_offsets = false;
  if (json.peek() != '{') JsonReader::refuse(json.position(), fault);
  json.take('{');
  if (json.peek() == '}') JsonReader::refuse(tensor.declared, fault);
  do {
    json.peek();
    const std::uint64_t begin = json.position();
    const std::string key = json.string(kMaxNameBytes);
    json.take(':');
    if (key == "dtype" && !has_dtype) {
      tensor.dtype = &stored_dtype(json.string(kMaxNameBytes), tensor.name);
      has_dtype = true;
    } else if (key == "shape" && !has_shape) {
      tensor.shape = read_sizes(json, kMaxStoredRank, "the shape of " + name + " is too long");
      has_shape = true;
    } else if (key == "data_offsets" && !has_offsets) {
      offsets = read_sizes(json, 2, "the data_offsets of " + name + " are not two");
      has_offsets = true;
    } else {
      JsonReader::refuse(begin, fault);
    }
  } while (json.take_if(','));
  json.take('}');
  if (!has_dtype || !has_shape || !has_offsets) JsonReader::refuse(tensor.declared, fault);
  if (offsets.size() != 2 || offsets[0] > offsets[1]) {
    JsonReader::refuse(tensor.declared,
                       "the data_offsets of " + name + " are not two ascending offsets");
  }
  tensor.begin = data + static_cast<std::uint64_t>(offsets[0]);
  const auto length = static_cast<std::uint64_t>(offsets[1] - offsets[0]);
  if (!multiply(tensor, tensor.nbytes)) {
    JsonReader::refuse(tensor.declared, "the shape of " + name + " overflows",
                       "at most 2^63 - 1 bytes", "more");
  }
  if (tensor.nbytes != length) {
    JsonReader::refuse(tensor.declared, name + " has other bytes than its dtype and shape need",
                       std::to_string(tensor.nbytes), std::to_string(length));
  }
}

std::deque<StoredTensor> read_entries(JsonReader& json, std::uint64_t data) {
  std::deque<StoredTensor> tensors;
  std::size_t table = 0;
  bool has_metadata = false;
  json.take('{');
  if (json.take_if('}')) return tensors;
  do {
    json.peek();
    const std::uint64_t begin = json.position();
    std::string name = json.string(kMaxNameBytes);
    json.take(':');
    if (name == "__metadata__") {
      if (has_metadata) JsonReader::refuse(begin, "the key '__metadata__' is repeated");
      has_metadata = true;
      if (json.peek() != '{') {
        JsonReader::refuse(json.position(), "__metadata__ does not map text to text");
      }
      read_metadata(json);
      continue;
    }
    StoredTensor& tensor =
        tensors.emplace_back(StoredTensor{std::move(name), nullptr, {}, 0, 0, begin});
    read_entry(json, data, tensor);
    tensor.shape.shrink_to_fit();
    table +=
        sizeof(StoredTensor) + tensor.name.capacity() + 8 * tensor.shape.size() + 2 * kAllocation;
    if (table > kMaxTableBytes) {
      JsonReader::refuse(begin, "the header has more tensors than are read",
                         "at most 48 MiB of them",
                         std::to_string(tensors.size()) + " before the end");
    }
  } while (json.take_if(','));
  json.take('}');
  return tensors;
}

void require_distinct(const std::deque<StoredTensor>& tensors) {
  std::vector<const StoredTensor*> order;
  order.reserve(tensors.size());
  for (const StoredTensor& tensor : tensors) order.push_back(&tensor);
  std::sort(order.begin(), order.end(), [](const StoredTensor* a, const StoredTensor* b) {
    const int compared = a->name.compare(b->name);
    return compared != 0 ? compared < 0 : a->declared < b->declared;
  });
  for (std::size_t i = 1; i < order.size(); ++i) {
    if (order[i - 1]->name == order[i]->name) {
      JsonReader::refuse(order[i]->declared, "the key " + quoted(order[i]->name) + " is repeated");
    }
  }
}

void require_cover(const std::deque<StoredTensor>& tensors, std::uint64_t data,
                   std::uint64_t file_size) {
  std::uint64_t expected = data;
  for (const StoredTensor& tensor : tensors) {
    if (tensor.begin != expected) {
      JsonReader::refuse(
          tensor.begin,
          "tensor " + quoted(tensor.name) +
              (tensor.begin < expected ? " overlaps the one before" : " follows a gap"),
          std::to_string(expected), std::to_string(tensor.begin));
    }
    // Begins are below 2^63 + 2^27 and lengths below 2^63: no sum of the two wraps.
    expected += tensor.nbytes;
    if (expected > file_size) {
      JsonReader::refuse(file_size, "the file is cut short inside tensor " + quoted(tensor.name),
                         std::to_string(expected), std::to_string(file_size));
    }
  }
  if (expected != file_size) {
    JsonReader::refuse(expected, "the file goes on after its last tensor", std::to_string(expected),
                       std::to_string(file_size));
  }
}

std::deque<StoredTensor> read_json(std::uint64_t length, std::uint64_t file_size, ReadAt read) {
  const std::uint64_t data = 8 + length;
  JsonReader json(8, length, read);
  if (json.peek() != '{' || json.position() != 8) {
    JsonReader::refuse(8, "the header is not a JSON object");
  }
  std::deque<StoredTensor> tensors = read_entries(json, data);
  if (json.peek(); !json.ended()) {
    JsonReader::refuse(json.position(), "the header goes on after its JSON");
  }
  require_distinct(tensors);
  std::sort(tensors.begin(), tensors.end(), [](const StoredTensor& a, const StoredTensor& b) {
    return a.begin != b.begin ? a.begin < b.begin : a.nbytes < b.nbytes;
  });
  require_cover(tensors, data, file_size);
  return tensors;
}

void require_length(std::uint64_t length, std::uint64_t file_size) {
  if (length > kMaxHeaderBytes) {
    JsonReader::refuse(0, "the header is too long",
                       "at most " + std::to_string(kMaxHeaderBytes) + " bytes",
                       std::to_string(length));
  }
  if (file_size < 8 || length > file_size - 8) {
    JsonReader::refuse(0, "the header reaches beyond the file",
                       "at most " + std::to_string(file_size < 8 ? 0 : file_size - 8) + " bytes",
                       std::to_string(length));
  }
}

}  // namespace

std::deque<StoredTensor> read_safetensors_header(std::uint64_t file_size, ReadAt read) {
  if (file_size < 8) {
    JsonReader::refuse(0, "too short for a safetensors file", "at least 8 bytes",
                       std::to_string(file_size) + " bytes");
  }
  std::array<std::byte, 8> field;
  read(0, field);
  const auto length = load_le<std::uint64_t>(field.data());
  require_length(length, file_size);
  return read_json(length, file_size, read);
}

std::deque<StoredTensor> parse_safetensors_header(Bytes header, std::uint64_t file_size) {
  require_length(header.size(), file_size);
  return read_json(header.size(), file_size, [&](std::uint64_t offset, MutableBytes out) {
    std::memcpy(out.data(), header.data() + (offset - 8), out.size());
  });
}

}  // namespace torchnotary
