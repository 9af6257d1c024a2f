// Openings: whatever decodes is encoded to the same bytes, and one whose digest and root are those
// committed to shows the committed bytes.
//
// An input, by its first byte:
//   even: any opening      u8 what ‖ opening
//   odd:  a genuine one    u8 what ‖ u8 which tensor ‖ its index, as far as it needs ‖ changes
// A change is u8 what ‖ u16 where ‖ u8 byte; the opening is taken as changed.
#include <algorithm>
#include <optional>
#include <string>
#include <vector>

#include "fuzz/input.h"
#include "hashing/errors.h"
#include "tensor/commitment.h"
#include "tensor/opening.h"

extern "C" std::size_t LLVMFuzzerMutate(std::uint8_t* data, std::size_t size, std::size_t most);

namespace torchnotary {
namespace {

constexpr std::size_t kMagic = 22;

std::optional<Opening> decode(Bytes encoded) {
  try {
    return decode_opening(encoded);
  } catch (const MalformedProof& error) {
    require(std::string_view(error.what()).find("byte ") != std::string::npos,
            "a refusal names the byte");
    return std::nullopt;
  }
}

// What is shown; nothing where it shows bools that are none.
std::optional<std::vector<std::byte>> shown(const Opening& opening) {
  const std::uint64_t nbytes = selected_nbytes(opening);
  require(nbytes <= opening.proof.size(), "no more is selected than the proof holds");
  std::vector<std::byte> values(nbytes);
  try {
    copy_selected(opening, values);
  } catch (const MalformedProof&) {
    require(opening.dtype->kind == Kind::boolean, "only bools have bytes to refuse");
    return std::nullopt;
  }
  return values;
}

void require_sound_coding(Bytes encoded, const std::optional<Opening>& opening) {
  if (!opening) return;
  require(std::ranges::equal(encode_opening(*opening), encoded), "equal openings are equal bytes");
  const Bytes head = encoded.first(std::min(encoded.size(), kMaxOpeningHead));
  require(opening_size(head, encoded.size()) == encoded.size(), "its head says its size");
}

void any_opening(Bytes encoded) {
  const std::optional<Opening> opening = decode(encoded);
  require_sound_coding(encoded, opening);
  if (!opening) return;
  root_of(*opening);
  digest_of(*opening);
  shown(*opening);
}

// A tensor with its commitment. The memory is what is committed to, byte for byte.
struct Tensor {
  std::vector<std::byte> memory;
  const DType* dtype;
  std::vector<std::int64_t> shape, strides;
  Commitment commitment;

  Tensor(const char* name, std::vector<std::int64_t> sizes)
      : dtype(&dtype_of(name)), shape(std::move(sizes)), strides(shape.size()) {
    std::int64_t elements = 1;
    for (std::size_t i = shape.size(); i-- > 0;) {
      strides[i] = elements;
      elements *= shape[i];
    }
    memory.resize(std::max<std::size_t>(elements * dtype->itemsize, 1));
    const std::uint32_t mask = dtype->kind == Kind::boolean ? 1 : 255;
    for (std::size_t i = 0; i < memory.size(); ++i) {
      memory[i] = static_cast<std::byte>((i * 2654435761u >> 13) & mask);
    }
    commitment = commit(view());
  }
  TensorView view() const { return {memory.data(), dtype, shape, strides, false, false}; }
};

// Around one and several chunks, of every item size.
const Tensor& tensor(std::size_t which) {
  static const std::vector<Tensor> tensors = [] {
    std::vector<Tensor> made;
    made.emplace_back("float32", std::vector<std::int64_t>{37, 19});
    made.emplace_back("bool", std::vector<std::int64_t>{3000});
    made.emplace_back("int8", std::vector<std::int64_t>{2, 3, 1024});
    made.emplace_back("complex128", std::vector<std::int64_t>{7, 1, 17});
    made.emplace_back("float64", std::vector<std::int64_t>{});
    made.emplace_back("int16", std::vector<std::int64_t>{5, 0, 3});
    made.emplace_back("uint8", std::vector<std::int64_t>{1023});
    made.emplace_back("float16", std::vector<std::int64_t>{4, 4, 4, 32});
    return made;
  }();
  return tensors[which % tensors.size()];
}

IndexItem slice_of(std::uint64_t size, Input& input) {
  if (size == 0) return {IndexItem::Kind::slice, 0, 0, 1};
  const std::uint64_t start = input.value<std::uint16_t>() % size;
  const std::uint64_t step = input.value<std::uint8_t>() % 9 + 1;
  const std::uint64_t most = (size - 1 - start) / step + 1;
  const std::uint64_t count = input.value<std::uint16_t>() % (most + 1);
  if (count == 0) return {IndexItem::Kind::slice, 0, 0, 1};
  return {IndexItem::Kind::slice, start, count, count == 1 ? 1 : step};
}

std::vector<IndexItem> index_of(const Tensor& tensor, Input& input) {
  std::vector<IndexItem> items;
  for (const std::int64_t signed_size : tensor.shape) {
    const auto size = static_cast<std::uint64_t>(signed_size);
    const auto kind = input.value<std::uint8_t>() % 4;
    if (kind == 3) items.push_back({IndexItem::Kind::new_axis});
    if (kind == 0 && size > 0) {
      items.push_back({IndexItem::Kind::integer, input.value<std::uint16_t>() % size});
    } else if (kind == 2) {
      items.push_back(slice_of(size, input));
    } else {
      items.push_back({IndexItem::Kind::slice, 0, size, 1});
    }
  }
  return items;
}

// What an index selects of memory, axis by axis and element by element.
void select(const Tensor& tensor, std::span<const IndexItem> items, std::size_t axis,
            std::int64_t offset, std::vector<std::byte>& out) {
  if (items.empty()) {
    const std::byte* element = tensor.memory.data() + offset * tensor.dtype->itemsize;
    out.insert(out.end(), element, element + tensor.dtype->itemsize);
    return;
  }
  const IndexItem& item = items.front();
  if (item.kind == IndexItem::Kind::new_axis) {
    return select(tensor, items.subspan(1), axis, offset, out);
  }
  const std::uint64_t count = item.kind == IndexItem::Kind::integer ? 1 : item.count;
  for (std::uint64_t i = 0; i < count; ++i) {
    const std::uint64_t place = item.start + i * item.step;
    require(place < static_cast<std::uint64_t>(tensor.shape[axis]), "indices lie in the tensor");
    select(tensor, items.subspan(1), axis + 1,
           offset + static_cast<std::int64_t>(place) * tensor.strides[axis], out);
  }
}

// Changes bytes; returns whether any is another than before.
bool change(std::vector<std::byte>& code, Input input) {
  const std::vector<std::byte> before = code;
  for (int changes = 0; changes < 4 && !input.rest().empty(); ++changes) {
    const auto what = input.value<std::uint8_t>() % 4;
    const auto at = static_cast<std::ptrdiff_t>(input.value<std::uint16_t>() % (code.size() + 1));
    const auto byte = static_cast<std::byte>(input.value<std::uint8_t>());
    const auto place = code.begin() + at;
    if (what == 0) code.insert(place, byte);
    if (what == 1) code.resize(static_cast<std::size_t>(at));
    if (place == code.end() || what < 2) continue;
    if (what == 2) *place ^= byte;
    if (what == 3) code.erase(place);
  }
  return code != before;
}

void changed_opening(Input input) {
  const Tensor& committed = tensor(input.value<std::uint8_t>());
  const std::vector<IndexItem> items = index_of(committed, input);
  std::vector<std::byte> code = encode_opening(make_opening(committed.view(), items));
  const bool changed = change(code, input);
  const std::optional<Opening> opening = decode(code);
  require_sound_coding(code, opening);
  require(changed || opening.has_value(), "a genuine opening decodes");
  if (!opening) return;
  const bool proven =
      digest_of(*opening) == committed.commitment.digest && root_of(*opening) == opening->data_root;
  require(changed || proven, "a genuine opening proves");
  if (!proven) return;
  require(opening->shape == committed.shape, "the proven shape is the committed one");
  std::vector<std::byte> expected;
  select(committed, opening->items, 0, 0, expected);
  require(shown(*opening) == expected, "what is proven is what was committed to");
}

// Where an opening's number of data bytes stands, and that number for its shape.
bool repair_header(std::uint8_t* code, std::size_t size) {
  std::size_t at = kMagic;
  if (size <= at || size <= at + 1 + code[at]) return false;
  const std::string_view name(reinterpret_cast<const char*>(code) + at + 1, code[at]);
  at += 1 + name.size();
  const std::size_t rank = code[at++];
  if (size < at + 8 * rank + 8) return false;
  std::uint64_t nbytes = 0;
  try {
    nbytes = dtype_of(name).itemsize;
  } catch (const UnsupportedTensor&) {
    return false;
  }
  for (std::size_t i = 0; i < rank; ++i) {
    nbytes *= load_le<std::uint64_t>(reinterpret_cast<std::byte*>(code) + at + 8 * i);
  }
  std::memcpy(code + at + 8 * rank, &nbytes, 8);
  return true;
}

}  // namespace
}  // namespace torchnotary

using namespace torchnotary;

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  Input input(std::as_bytes(std::span(data, size)));
  if (input.value<std::uint8_t>() % 2 == 0) {
    any_opening(input.rest());
  } else {
    changed_opening(input);
  }
  return 0;
}

// Half of the time any opening gets the number of bytes that its shape has, and the length that
// its index needs.
extern "C" std::size_t LLVMFuzzerCustomMutator(std::uint8_t* data, std::size_t size,
                                               std::size_t most, unsigned seed) {
  size = LLVMFuzzerMutate(data, size, most);
  if (size < 2 || data[0] % 2 != 0 || seed % 2 == 0) return size;
  if (!repair_header(data + 1, size - 1)) return size;
  try {
    const std::uint64_t wanted =
        1 + opening_size(std::as_bytes(std::span(data + 1, size - 1)), most - 1);
    if (wanted > most) return size;
    if (wanted > size) std::memset(data + size, static_cast<int>(seed), wanted - size);
    return wanted;
  } catch (const NotaryError&) {
    return size;
  }
}
