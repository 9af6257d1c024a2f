// Safetensors headers: the parser accepts exactly what the rules, written out slowly, accept, and
// then its tensors cover the data without overlap, gap or rest.
//
// An input is u64 size of the data ‖ header.
#include <algorithm>
#include <cstdio>
#include <deque>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "fuzz/input.h"
#include "fuzz/safetensors_reference.h"
#include "hashing/errors.h"
#include "tensor/safetensors.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

namespace torchnotary {
namespace {

using Tensors = std::deque<StoredTensor>;

std::optional<Tensors> parse(Bytes header, std::uint64_t file_size) {
  try {
    return parse_safetensors_header(header, file_size);
  } catch (const MalformedRecord& error) {
    const std::string_view message = error.what();
    require(message.find("byte ") != message.npos, "a refusal names the byte");
    return std::nullopt;
  } catch (const UnsupportedTensor& error) {
    require(!error.next_step.empty(), "a refusal says what next");
    return std::nullopt;
  }
}

void require_cover(const Tensors& tensors, std::uint64_t data, std::uint64_t file_size) {
  std::uint64_t at = data;
  for (const StoredTensor& tensor : tensors) {
    require(tensor.begin == at, "each tensor begins where the one before ends");
    require(tensor.declared >= 8 && tensor.declared < data, "its entry stands in the header");
    at += tensor.nbytes;
  }
  require(at == file_size, "the last tensor ends the file");
}

// Tensors of no bytes at one place may stand in any order.
void require_equal(const Tensors& tensors, std::uint64_t data,
                   const std::vector<reference::Entry>& entries) {
  require(tensors.size() == entries.size(), "as many tensors as entries");
  std::map<std::string, const reference::Entry*> by_name;
  for (const reference::Entry& entry : entries) by_name[entry.name] = &entry;
  for (const StoredTensor& tensor : tensors) {
    require(by_name.contains(tensor.name), "names are the header's");
    const reference::Entry& entry = *by_name[tensor.name];
    require(tensor.shape == entry.shape, "shapes are the header's");
    require(tensor.dtype->itemsize == entry.itemsize, "dtypes are the header's");
    require(tensor.begin == data + entry.begin, "offsets are the header's");
    require(tensor.nbytes == entry.end - entry.begin, "lengths are the header's");
  }
}

// The greatest number behind a comma and before a bracket: most likely where the data end.
std::uint64_t likely_size(std::string_view header) {
  std::uint64_t most = 0;
  for (std::size_t at = header.find(','); at != header.npos; at = header.find(',', at + 1)) {
    std::uint64_t value = 0;
    std::size_t end = at + 1;
    for (; end < header.size() && header[end] >= '0' && header[end] <= '9'; ++end) {
      value = value * 10 + static_cast<std::uint64_t>(header[end] - '0');
    }
    if (end < header.size() && header[end] == ']') most = std::max(most, value);
  }
  return most;
}

// Moves one pair of data_offsets by as much, so that lengths stay and places do not.
std::string shift_offsets(std::string_view header, unsigned seed) {
  constexpr std::string_view kKey = "data_offsets\":[";
  std::vector<std::size_t> places;
  for (std::size_t at = header.find(kKey); at != header.npos; at = header.find(kKey, at + 1)) {
    places.push_back(at + kKey.size());
  }
  std::string shifted(header);
  if (places.empty()) return shifted;
  const std::size_t at = places[seed / 8 % places.size()];
  unsigned long long begin = 0, end = 0;
  int length = 0;
  if (std::sscanf(shifted.c_str() + at, "%19llu,%19llu%n", &begin, &end, &length) != 2) {
    return shifted;
  }
  const unsigned long long by = seed / 64 % 9;
  const bool down = seed % 8 == 1 && begin >= by && end >= by;
  const auto moved = [&](unsigned long long offset) {
    return std::to_string(down ? offset - by : offset + by);
  };
  return shifted.replace(at, static_cast<std::size_t>(length), moved(begin) + "," + moved(end));
}

}  // namespace
}  // namespace torchnotary

using namespace torchnotary;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(std::as_bytes(std::span(data, size)));
  const auto data_size = input.value<std::uint64_t>();
  const Bytes header = input.rest();
  const std::uint64_t begin = 8 + header.size();
  const bool wraps = data_size > ~std::uint64_t{0} - begin;
  const std::uint64_t file_size = wraps ? data_size : begin + data_size;
  const auto tensors = parse(header, file_size);
  const std::string_view text(reinterpret_cast<const char*>(header.data()), header.size());
  const auto entries = reference::safetensors(text, file_size - begin);
  require(tensors.has_value() == entries.has_value(), "what is accepted is what the rules accept");
  if (!tensors) return 0;
  require_cover(*tensors, begin, file_size);
  require_equal(*tensors, begin, *entries);
  return 0;
}

// Half of the time the data get the size that the header most likely says; some of the time one
// tensor is moved before or after that.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned seed) {
  const bool shifts = seed % 4 == 1;
  if (!shifts || size <= 8) size = LLVMFuzzerMutate(data, size, most);
  if (size <= 8) return size;
  const std::string_view header(reinterpret_cast<const char*>(data) + 8, size - 8);
  if (seed % 2 == 0) {
    const std::uint64_t likely = likely_size(header);
    std::memcpy(data, &likely, 8);
  }
  if (!shifts) return size;
  const std::string shifted = shift_offsets(header, seed);
  if (8 + shifted.size() > most) return size;
  std::memcpy(data + 8, shifted.data(), shifted.size());
  return 8 + shifted.size();
}
