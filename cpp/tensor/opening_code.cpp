// The bytes of an opening, written and read; a reader refuses what the writer never writes.
#include <algorithm>
#include <limits>
#include <string>
#include <string_view>

#include "hashing/errors.h"
#include "tensor/commitment.h"
#include "tensor/opening.h"

namespace torchnotary {
namespace {

constexpr std::string_view kMagic = "torchnotary opening/1\n";
constexpr std::size_t kMaxRank = std::numeric_limits<std::uint8_t>::max();
static_assert(kMagic.size() + kMaxHeader + kDigestSize + 2 + kMaxRank * (9 + 25) <=
              kMaxOpeningHead);

[[noreturn]] void refuse(std::size_t at, const std::string& cause, const std::string& expected = "",
                         const std::string& actual = "") {
  throw MalformedProof("not an opening: byte " + std::to_string(at) + ": " + cause, expected,
                       actual, "ask for the opening again");
}

class Reader {
 public:
  explicit Reader(Bytes bytes) : bytes_(bytes) {}

  std::size_t at() const { return at_; }

  Bytes take(std::size_t count, const char* what) {
    if (count > bytes_.size() - at_) {
      refuse(bytes_.size(), std::string("it ends inside ") + what);
    }
    at_ += count;
    return bytes_.subspan(at_ - count, count);
  }

  template <class Word>
  Word number(const char* what) {
    return load_le<Word>(take(sizeof(Word), what).data());
  }

 private:
  Bytes bytes_;
  std::size_t at_ = 0;
};

const DType& read_dtype(Reader& reader) {
  const std::size_t at = reader.at();
  const Bytes bytes = reader.take(reader.number<std::uint8_t>("the header"), "the dtype's name");
  try {
    return dtype_of({reinterpret_cast<const char*>(bytes.data()), bytes.size()});
  } catch (const UnsupportedTensor&) {
    refuse(at, "this dtype has no commitment rule");
  }
}

std::vector<std::int64_t> read_shape(Reader& reader, const DType& dtype) {
  const std::size_t begin = reader.at();
  std::vector<std::int64_t> shape(reader.number<std::uint8_t>("the header"));
  for (std::int64_t& size : shape) {
    const std::size_t at = reader.at();
    size = reader.number<std::int64_t>("the shape");
    if (size < 0) refuse(at, "a size beyond 2^63 - 1");
  }
  std::uint64_t nbytes = dtype.itemsize;
  const bool empty = std::count(shape.begin(), shape.end(), 0) > 0;
  for (const std::int64_t size : shape) {
    if (empty) nbytes = 0;
    if (__builtin_mul_overflow(nbytes, static_cast<std::uint64_t>(size), &nbytes) ||
        nbytes > std::numeric_limits<std::int64_t>::max()) {
      refuse(begin, "the tensor has more than 2^63 - 1 bytes");
    }
  }
  const std::size_t at = reader.at();
  const auto claimed = reader.number<std::uint64_t>("the header");
  if (claimed != nbytes) {
    refuse(at, "the number of data bytes is not that of the shape", std::to_string(nbytes),
           std::to_string(claimed));
  }
  return shape;
}

IndexItem read_item(Reader& reader) {
  const char* const what = "its index";
  const std::size_t at = reader.at();
  switch (reader.number<std::uint8_t>(what)) {
    case 0:
      return {IndexItem::Kind::integer, reader.number<std::uint64_t>(what)};
    case 1: {
      const auto start = reader.number<std::uint64_t>(what);
      const auto count = reader.number<std::uint64_t>(what);
      return {IndexItem::Kind::slice, start, count, reader.number<std::uint64_t>(what)};
    }
    case 2:
      return {IndexItem::Kind::new_axis};
    default:
      refuse(at, "an item of an unknown kind", "00, 01 or 02");
  }
}

std::vector<IndexItem> read_items(Reader& reader, std::span<const std::int64_t> shape) {
  const auto count = reader.number<std::uint16_t>("its index");
  std::vector<IndexItem> items;
  IndexCheck check(shape);
  for (std::size_t i = 0; i < count; ++i) {
    const std::size_t at = reader.at();
    items.push_back(read_item(reader));
    if (const char* fault = check.add(items.back())) refuse(at, fault);
  }
  if (const char* fault = check.end()) refuse(reader.at(), fault);
  return items;
}

// Everything but the proof.
Opening read_head(Reader& reader) {
  const Bytes magic = reader.take(kMagic.size(), "its first line");
  if (!std::ranges::equal(magic, bytes_of(kMagic))) {
    refuse(0, "it does not begin as an opening of this version");
  }
  Opening opening{};
  opening.dtype = &read_dtype(reader);
  opening.shape = read_shape(reader, *opening.dtype);
  const Bytes root = reader.take(kDigestSize, "the data root");
  std::copy(root.begin(), root.end(), opening.data_root.begin());
  opening.items = read_items(reader, opening.shape);
  return opening;
}

std::uint64_t proof_size(const Opening& opening, std::uint64_t most) {
  const Selection selection(*opening.dtype, opening.shape, opening.items);
  if (selection.empty()) return 0;
  const Selection cover = selection.covering();
  const TensorView whole{nullptr, opening.dtype, opening.shape, {}, false, false};
  return merkle::slice_size(
      whole.nbytes(), [&](std::uint64_t from) { return cover.next(from); }, most);
}

template <class Word>
void append(std::vector<std::byte>& out, Word word) {
  out.resize(out.size() + sizeof(Word));
  store_le(out.data() + out.size() - sizeof(Word), word);
}

void append(std::vector<std::byte>& out, Bytes bytes) {
  out.insert(out.end(), bytes.begin(), bytes.end());
}

void append(std::vector<std::byte>& out, const IndexItem& item) {
  append(out, static_cast<std::uint8_t>(item.kind));
  if (item.kind == IndexItem::Kind::new_axis) return;
  append(out, item.start);
  if (item.kind == IndexItem::Kind::integer) return;
  append(out, item.count);
  append(out, item.step);
}

}  // namespace

Opening decode_opening(Bytes encoded) {
  Reader reader(encoded);
  Opening opening = read_head(reader);
  const Bytes proof = encoded.subspan(reader.at());
  const std::uint64_t size = proof_size(opening, proof.size());
  if (size > proof.size()) refuse(encoded.size(), "it ends inside its proof");
  if (size < proof.size()) {
    refuse(reader.at() + size, "it goes on after its proof", std::to_string(size) + " bytes",
           std::to_string(proof.size()));
  }
  opening.proof.assign(proof.begin(), proof.end());
  return opening;
}

std::uint64_t opening_size(Bytes head, std::uint64_t most) {
  Reader reader(head);
  const Opening opening = read_head(reader);
  const std::uint64_t left = most - std::min<std::uint64_t>(most, reader.at());
  return reader.at() + proof_size(opening, left);
}

std::vector<std::byte> encode_opening(const Opening& opening) {
  std::vector<std::byte> out;
  append(out, bytes_of(kMagic));
  std::array<std::byte, kMaxHeader> header;
  const TensorView whole{nullptr, opening.dtype, opening.shape, {}, false, false};
  append(out, Bytes(header).first(write_header(whole, header.data())));
  append(out, Bytes(opening.data_root));
  append(out, static_cast<std::uint16_t>(opening.items.size()));
  for (const IndexItem& item : opening.items) append(out, item);
  append(out, Bytes(opening.proof));
  return out;
}

}  // namespace torchnotary
