// Safetensors headers: the parser accepts exactly what the rules, written out slowly, accept, and
// then its tensors cover the data without overlap, gap or rest.
//
// An input is u64 size of the data ‖ header.
#include <algorithm>
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

// Half of the time the data get the size that the header most likely says.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned seed) {
  size = LLVMFuzzerMutate(data, size, most);
  if (size <= 8 || seed % 2 == 0) return size;
  const std::uint64_t likely =
      likely_size({reinterpret_cast<const char*>(data) + 8, size - 8});
  std::memcpy(data, &likely, 8);
  return size;
}
