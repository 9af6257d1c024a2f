// Openings: selections against counting, one encoding, and refusals of everything else.
#include "tensor/opening.h"

#include <algorithm>

#include "hashing/errors.h"
#include "support.h"
#include "tensor/commitment.h"

namespace torchnotary {
namespace {

using Numbers = std::vector<std::int64_t>;
using Items = std::vector<IndexItem>;

IndexItem at(std::uint64_t index) { return {IndexItem::Kind::integer, index}; }
IndexItem slice(std::uint64_t start, std::uint64_t count, std::uint64_t step = 1) {
  return {IndexItem::Kind::slice, start, count, step};
}
constexpr IndexItem kNewAxis{IndexItem::Kind::new_axis};

Numbers row_major(const Numbers& shape) {
  Numbers strides(shape.size());
  std::int64_t stride = 1;
  for (std::size_t i = shape.size(); i-- > 0; stride *= shape[i]) strides[i] = stride;
  return strides;
}

// Whether an item selects that place of its axis.
bool selects(const IndexItem& item, std::uint64_t place) {
  for (std::uint64_t i = 0; i < item.count; ++i) {
    if (item.start + i * item.step == place) return true;
  }
  return false;
}

// The selected bytes, one element after the other through the whole tensor.
std::vector<std::byte> slow_selected(Bytes data, std::size_t itemsize, const Numbers& shape,
                                     const Items& items) {
  std::vector<std::byte> out;
  for (std::size_t flat = 0; flat < data.size() / itemsize; ++flat) {
    std::size_t rest = flat, axis = shape.size();
    bool selected = true;
    for (std::size_t i = items.size(); i-- > 0;) {
      if (items[i].kind == IndexItem::Kind::new_axis) continue;
      const auto size = static_cast<std::size_t>(shape[--axis]);
      selected = selected && selects(items[i], rest % size);
      rest /= size;
    }
    const auto begin = data.begin() + static_cast<std::ptrdiff_t>(flat * itemsize);
    if (selected) out.insert(out.end(), begin, begin + static_cast<std::ptrdiff_t>(itemsize));
  }
  return out;
}

struct Case {
  Numbers shape;
  Items items;
};

const std::vector<Case> kCases = {
    {{}, {}},
    {{}, {kNewAxis}},
    {{1}, {at(0)}},
    {{0}, {slice(0, 0)}},
    {{5000}, {at(4999)}},
    {{5000}, {slice(0, 5000)}},
    {{5000}, {slice(1, 2, 4998)}},
    {{5000}, {slice(3, 800, 6)}},
    {{5000}, {slice(1023, 4, 1025)}},
    {{5000}, {slice(1023, 4, 1024)}},
    {{4, 3000}, {slice(0, 4), slice(0, 100)}},
    {{4, 3000}, {slice(0, 4), slice(20, 1977)}},
    {{70, 50}, {at(69), slice(0, 50)}},
    {{70, 50}, {slice(0, 70), at(49)}},
    {{70, 50}, {slice(2, 23, 3), kNewAxis, slice(1, 7, 8)}},
    {{70, 50}, {slice(2, 23), slice(0, 50)}},
    {{70, 50}, {slice(2, 0 + 12, 5), slice(0, 50)}},
    {{6, 1, 30, 1, 20}, {slice(1, 4), at(0), slice(0, 30), slice(0, 1), slice(0, 20)}},
    {{6, 1, 30, 1, 20}, {slice(1, 2, 3), slice(0, 1), slice(5, 9, 2), at(0), slice(1, 18)}},
    {{3, 0, 4}, {slice(0, 3), slice(0, 0), slice(0, 4)}},
    {{3, 5, 4}, {slice(0, 3), slice(0, 0), at(2)}},
};

TEST(Opening, ShowsWhatItsItemsSelectAndLeadsToTheCommitment) {
  for (const char* dtype : {"uint8", "float16", "float32", "complex128"}) {
    for (const auto& [shape, items] : kCases) {
      const Numbers strides = row_major(shape);
      std::vector<std::byte> data = random_bytes(12000 * 16);
      const TensorView view{data.data(), &dtype_of(dtype), shape, strides, false, false};
      const Bytes bytes = Bytes(data).first(view.nbytes());
      const Opening opening = make_opening(view, items, Threads(2));
      const Commitment commitment = commit(view);
      const Selection selection(*view.dtype, shape, items);
      if (!selection.empty()) {
        const auto runs = [&](std::uint64_t from) { return selection.next(from); };
        EXPECT_EQ(opening.proof.size(), merkle::slice_size(view.nbytes(), runs, ~0ull))
            << "the covering runs reach into other chunks";
      }
      EXPECT_EQ(digest_of(opening), commitment.digest);
      EXPECT_EQ(root_of(opening), commitment.data_root);
      std::vector<std::byte> selected(selected_nbytes(opening));
      copy_selected(opening, selected);
      EXPECT_EQ(selected, slow_selected(bytes, view.dtype->itemsize, shape, items));

      const std::vector<std::byte> encoded = encode_opening(opening);
      EXPECT_EQ(encode_opening(decode_opening(encoded)), encoded);
      const Bytes head = Bytes(encoded).first(std::min(encoded.size(), kMaxOpeningHead));
      EXPECT_EQ(opening_size(head, encoded.size()), encoded.size());
      EXPECT_GT(opening_size(head, encoded.size() - 1), encoded.size() - 1);
    }
  }
}

TEST(Opening, OfAStridedTensorIsThatOfItsCopy) {
  const std::vector<std::byte> data = random_bytes(4 * 900 * 700);
  const Numbers shape = {900, 700}, strides = {1, 900};
  const TensorView view{data.data(), &dtype_of("int32"), shape, strides, false, false};
  std::vector<std::byte> copy(view.nbytes());
  copy_data(view, copy);
  const Numbers plain = row_major(shape);
  const TensorView whole{copy.data(), view.dtype, shape, plain, false, false};
  for (const Items& items : {Items{at(5), slice(0, 700)}, Items{slice(0, 900), at(3)}}) {
    EXPECT_EQ(encode_opening(make_opening(view, items, Threads(2))),
              encode_opening(make_opening(whole, items)));
  }
}

TEST(Opening, ItemsThatAreNotCanonicalAreRefused) {
  const std::vector<std::byte> data = random_bytes(20);
  const Numbers shape = {4, 5}, strides = {5, 1};
  const TensorView view{data.data(), &dtype_of("uint8"), shape, strides, false, false};
  const std::vector<Items> refused = {
      {},
      {at(0)},
      {at(0), at(0), at(0)},
      {at(4), at(0)},
      {slice(0, 5), at(0)},
      {slice(4, 1), at(0)},
      {slice(1, 2, 3), at(0)},
      {slice(0, 1, 2), at(0)},
      {slice(1, 0), at(0)},
      {slice(0, 2, 0), at(0)},
      {slice(~0ull, ~0ull, ~0ull), at(0)},
  };
  for (const Items& items : refused) EXPECT_THROW(make_opening(view, items), MalformedProof);
  EXPECT_NO_THROW(make_opening(view, Items{slice(0, 4), slice(0, 3, 2)}));
}

TEST(Opening, EveryOtherEncodingIsRefusedOrAnotherOpening) {
  const std::vector<std::byte> data = random_bytes(2500);
  const Numbers shape = {50, 50}, strides = {50, 1};
  const TensorView view{data.data(), &dtype_of("uint8"), shape, strides, false, false};
  const Items items = {slice(3, 2, 4), kNewAxis, at(7)};
  std::vector<std::byte> encoded = encode_opening(make_opening(view, items));
  for (std::size_t length = 0; length < encoded.size(); ++length) {
    EXPECT_THROW(decode_opening(Bytes(encoded).first(length)), MalformedProof);
  }
  for (std::size_t bit = 0; bit < 8 * encoded.size(); ++bit) {
    const auto mask = static_cast<std::byte>(1 << bit % 8);
    encoded[bit / 8] ^= mask;
    try {
      EXPECT_EQ(encode_opening(decode_opening(encoded)), encoded);
    } catch (const MalformedProof& error) {
      EXPECT_NE(std::string(error.what()).find("byte "), std::string::npos);
    }
    encoded[bit / 8] ^= mask;
  }
  encoded.push_back(std::byte{0});
  EXPECT_THROW(decode_opening(encoded), MalformedProof);
}

}  // namespace
}  // namespace torchnotary
