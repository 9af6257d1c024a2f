// The rules of a safetensors header, slow and obvious: all of the JSON as a tree of values, then
// what a header may hold of it. Nothing where a rule is broken.
//
// Source: RFC 8259 and the format's description in huggingface/safetensors; strict where those
// leave a choice, as docs/formats.md says: no key twice, no other keys, rank at most 64.
#pragma once

#include <algorithm>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace torchnotary::reference {

struct Value {
  enum class Kind { object, list, text, number, word };
  Kind kind{};
  std::string text;               // of a text, decoded; of a number, as it stands
  std::vector<std::string> keys;  // of an object, whose values are the items
  std::vector<Value> items;
};

class Json {
 public:
  explicit Json(std::string_view text) : rest_(text) {}

  std::optional<Value> whole() {
    auto value = read(0);
    space();
    return rest_.empty() ? value : std::nullopt;
  }

 private:
  void space() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\n\r"), rest_.size())); }

  bool take(std::string_view wanted) {
    if (!rest_.starts_with(wanted)) return false;
    rest_.remove_prefix(wanted.size());
    return true;
  }

  std::optional<Value> read(int depth) {
    space();
    if (depth > 8) return std::nullopt;  // deeper than any header
    if (take("{")) return object(depth);
    if (take("[")) return list(depth);
    if (take("\"")) return text();
    for (const char* word : {"true", "false", "null"}) {
      if (take(word)) return Value{.kind = Value::Kind::word};
    }
    return number();
  }

  std::optional<Value> object(int depth) {
    Value value{.kind = Value::Kind::object};
    if (space(), take("}")) return value;
    do {
      space();
      if (!take("\"")) return std::nullopt;
      auto key = text();
      if (!key || (space(), !take(":"))) return std::nullopt;
      auto member = read(depth + 1);
      if (!member) return std::nullopt;
      value.keys.push_back(key->text);
      value.items.push_back(*member);
    } while (space(), take(","));
    return take("}") ? std::optional(value) : std::nullopt;
  }

  std::optional<Value> list(int depth) {
    Value value{.kind = Value::Kind::list};
    if (space(), take("]")) return value;
    do {
      auto item = read(depth + 1);
      if (!item) return std::nullopt;
      value.items.push_back(*item);
    } while (space(), take(","));
    return take("]") ? std::optional(value) : std::nullopt;
  }

  std::optional<Value> number() {
    const std::string_view begin = rest_;
    const auto digits = [&] {
      const std::size_t count = std::min(rest_.find_first_not_of("0123456789"), rest_.size());
      rest_.remove_prefix(count);
      return count;
    };
    take("-");
    const bool zero = rest_.starts_with('0');
    const std::size_t count = digits();
    if (count == 0 || (zero && count > 1)) return std::nullopt;
    if (take(".") && digits() == 0) return std::nullopt;
    if (take("e") || take("E")) {
      if (!take("+")) take("-");
      if (digits() == 0) return std::nullopt;
    }
    return Value{.kind = Value::Kind::number,
                 .text = std::string(begin.substr(0, begin.size() - rest_.size()))};
  }

  static void append(std::string& text, std::uint32_t code) {
    if (code < 0x80) {
      text += static_cast<char>(code);
    } else if (code < 0x800) {
      text += static_cast<char>(0xC0 + code / 64);
      text += static_cast<char>(0x80 + code % 64);
    } else if (code < 0x10000) {
      text += static_cast<char>(0xE0 + code / 4096);
      text += static_cast<char>(0x80 + code / 64 % 64);
      text += static_cast<char>(0x80 + code % 64);
    } else {
      text += static_cast<char>(0xF0 + code / 262144);
      text += static_cast<char>(0x80 + code / 4096 % 64);
      text += static_cast<char>(0x80 + code / 64 % 64);
      text += static_cast<char>(0x80 + code % 64);
    }
  }

  // A character of UTF-8: what it decodes to has to encode to the same bytes.
  std::optional<std::uint32_t> character() {
    const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(rest_[i]); };
    std::size_t size = 1;
    std::uint32_t code = byte(0);
    if (code >= 0x80) {
      size = code < 0xC0 ? 0 : code < 0xE0 ? 2 : code < 0xF0 ? 3 : code < 0xF8 ? 4 : 0;
      if (size == 0 || rest_.size() < size) return std::nullopt;
      code &= 0x7Fu >> size;
      for (std::size_t i = 1; i < size; ++i) code = code * 64 + byte(i) % 64;
    }
    std::string again;
    if (code > 0x10FFFF || (code >= 0xD800 && code < 0xE000)) return std::nullopt;
    append(again, code);
    return take(again) ? std::optional(code) : std::nullopt;
  }

  std::optional<std::uint32_t> four_digits() {
    if (rest_.size() < 4) return std::nullopt;
    std::uint32_t code = 0;
    for (int i = 0; i < 4; ++i) {
      const std::size_t digit = std::string_view("0123456789abcdef0123456789ABCDEF").find(rest_[i]);
      if (digit == std::string_view::npos) return std::nullopt;
      code = code * 16 + digit % 16;
    }
    rest_.remove_prefix(4);
    return code;
  }

  std::optional<std::uint32_t> escape() {
    static const std::map<char, char> kMeant = {{'"', '"'},  {'\\', '\\'}, {'/', '/'},
                                                {'b', '\b'}, {'f', '\f'},  {'n', '\n'},
                                                {'r', '\r'}, {'t', '\t'}};
    if (rest_.empty()) return std::nullopt;
    if (const auto found = kMeant.find(rest_[0]); found != kMeant.end()) {
      rest_.remove_prefix(1);
      return found->second;
    }
    if (!take("u")) return std::nullopt;
    const auto high = four_digits();
    if (!high || *high < 0xD800 || *high >= 0xE000) return high;
    if (*high >= 0xDC00 || !take("\\u")) return std::nullopt;
    const auto low = four_digits();
    if (!low || *low < 0xDC00 || *low >= 0xE000) return std::nullopt;
    return 0x10000 + (*high - 0xD800) * 0x400 + (*low - 0xDC00);
  }

  // After the opening quote.
  std::optional<Value> text() {
    Value value{.kind = Value::Kind::text};
    while (!rest_.empty()) {
      if (take("\"")) return value;
      if (static_cast<unsigned char>(rest_[0]) < 0x20) return std::nullopt;
      const auto code = take("\\") ? escape() : character();
      if (!code) return std::nullopt;
      append(value.text, *code);
    }
    return std::nullopt;
  }

  std::string_view rest_;
};

struct Entry {
  std::string name;
  std::vector<std::int64_t> shape;
  std::uint64_t itemsize;
  std::uint64_t begin, end;  // counted from the start of the data
};

inline std::optional<std::int64_t> size_of(const Value& value) {
  constexpr std::string_view kMost = "9223372036854775807";
  const std::string& text = value.text;
  if (value.kind != Value::Kind::number) return std::nullopt;
  if (text.find_first_not_of("0123456789") != std::string::npos) return std::nullopt;
  if (text.size() > kMost.size() || (text.size() == kMost.size() && text > kMost)) {
    return std::nullopt;
  }
  return std::stoll(text);
}

inline std::optional<std::vector<std::int64_t>> sizes_of(const Value& value) {
  if (value.kind != Value::Kind::list) return std::nullopt;
  std::vector<std::int64_t> sizes;
  for (const Value& item : value.items) {
    const auto size = size_of(item);
    if (!size) return std::nullopt;
    sizes.push_back(*size);
  }
  return sizes;
}

inline std::optional<Entry> entry_of(const std::string& name, const Value& value) {
  static const std::map<std::string, std::uint64_t> kItemSizes = {
      {"BOOL", 1},    {"U8", 1},          {"I8", 1},      {"F8_E4M3", 1}, {"F8_E4M3FNUZ", 1},
      {"F8_E5M2", 1}, {"F8_E5M2FNUZ", 1}, {"F8_E8M0", 1}, {"I16", 2},     {"U16", 2},
      {"F16", 2},     {"BF16", 2},        {"I32", 4},     {"U32", 4},     {"F32", 4},
      {"I64", 8},     {"U64", 8},         {"F64", 8},     {"C64", 8}};
  if (value.kind != Value::Kind::object || value.keys.size() != 3) return std::nullopt;
  std::map<std::string, Value> members;
  for (std::size_t i = 0; i < 3; ++i) members[value.keys[i]] = value.items[i];
  for (const char* key : {"dtype", "shape", "data_offsets"}) {
    if (!members.contains(key)) return std::nullopt;
  }
  const Value& dtype = members["dtype"];
  const auto shape = sizes_of(members["shape"]), offsets = sizes_of(members["data_offsets"]);
  if (dtype.kind != Value::Kind::text || !kItemSizes.contains(dtype.text) || !shape || !offsets ||
      shape->size() > 64 || offsets->size() != 2) {
    return std::nullopt;
  }
  const std::uint64_t itemsize = kItemSizes.at(dtype.text);
  unsigned __int128 bytes = itemsize;
  for (const std::int64_t size : *shape) {
    bytes *= static_cast<std::uint64_t>(size);
    if (bytes >> 63 != 0) return std::nullopt;
  }
  const auto begin = static_cast<std::uint64_t>((*offsets)[0]);
  const auto end = static_cast<std::uint64_t>((*offsets)[1]);
  if (begin > end || bytes != end - begin) return std::nullopt;
  return Entry{name, *shape, itemsize, begin, end};
}

// The tensors by their place, where `data_size` bytes of data follow the header.
inline std::optional<std::vector<Entry>> safetensors(std::string_view header,
                                                     std::uint64_t data_size) {
  if (!header.starts_with('{')) return std::nullopt;
  const auto value = Json(header).whole();
  if (!value) return std::nullopt;
  std::vector<Entry> entries;
  std::set<std::string> names;
  for (std::size_t i = 0; i < value->keys.size(); ++i) {
    const std::string& name = value->keys[i];
    const Value& member = value->items[i];
    if (!names.insert(name).second) return std::nullopt;
    if (name == "__metadata__") {
      std::set<std::string> keys;
      if (member.kind != Value::Kind::object) return std::nullopt;
      for (std::size_t k = 0; k < member.keys.size(); ++k) {
        if (!keys.insert(member.keys[k]).second) return std::nullopt;
        if (member.items[k].kind != Value::Kind::text) return std::nullopt;
      }
      continue;
    }
    const auto entry = entry_of(name, member);
    if (!entry) return std::nullopt;
    entries.push_back(*entry);
  }
  std::stable_sort(entries.begin(), entries.end(), [](const Entry& a, const Entry& b) {
    return std::pair(a.begin, a.end) < std::pair(b.begin, b.end);
  });
  std::uint64_t at = 0;
  for (const Entry& entry : entries) {
    if (entry.begin != at) return std::nullopt;
    at = entry.end;
  }
  return at == data_size ? std::optional(entries) : std::nullopt;
}

}  // namespace torchnotary::reference
