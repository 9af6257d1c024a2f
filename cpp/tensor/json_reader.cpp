// The reader of headers' JSON: one character ahead, no recursion, every refusal with its byte.
#include "tensor/json_reader.h"

#include <algorithm>
#include <utility>

#include "hashing/errors.h"

namespace torchnotary {
namespace {

bool is_space(int byte) { return byte == ' ' || byte == '\t' || byte == '\n' || byte == '\r'; }
bool is_digit(int byte) { return byte >= '0' && byte <= '9'; }

template <class Sink>
void put_utf8(std::uint32_t code, Sink sink) {
  if (code < 0x80) {
    sink(static_cast<char>(code));
    return;
  }
  const int more = code < 0x800 ? 1 : code < 0x10000 ? 2 : 3;
  constexpr std::uint8_t kLead[] = {0, 0xC0, 0xE0, 0xF0};
  sink(static_cast<char>(kLead[more] | (code >> (6 * more))));
  for (int i = more - 1; i >= 0; --i) sink(static_cast<char>(0x80 | ((code >> (6 * i)) & 0x3F)));
}

}  // namespace

void JsonReader::refuse(std::uint64_t offset, const std::string& cause, std::string expected,
                        std::string actual) {
  throw MalformedRecord("byte " + std::to_string(offset) + ": " + cause, std::move(expected),
                        std::move(actual),
                        "get the file again and compare its checksum with the source's");
}

int JsonReader::current() {
  if (at_ == end_) return -1;
  if (at_ - window_begin_ >= window_size_) {
    window_begin_ = at_;
    window_size_ = static_cast<std::size_t>(std::min<std::uint64_t>(kWindow, end_ - at_));
    read_(at_, MutableBytes(window_).first(window_size_));
  }
  return std::to_integer<int>(window_[static_cast<std::size_t>(at_ - window_begin_)]);
}

int JsonReader::next() {
  const int byte = current();
  if (byte >= 0) ++at_;
  return byte;
}

std::string JsonReader::shown(int byte) const {
  if (byte < 0) return "the end of the header";
  if (byte > ' ' && byte < 0x7F) return std::string("'") + static_cast<char>(byte) + "'";
  return "the byte " + std::to_string(byte);
}

char JsonReader::peek() {
  while (is_space(current())) ++at_;
  const int byte = current();
  return byte < 0 ? '\0' : static_cast<char>(byte);
}

bool JsonReader::take_if(char wanted) {
  if (peek() != wanted || at_ == end_) return false;
  ++at_;
  return true;
}

void JsonReader::take(char wanted) {
  if (take_if(wanted)) return;
  refuse(at_, "the header is not the JSON of a safetensors file", shown(wanted), shown(current()));
}

std::string JsonReader::string(std::size_t limit) {
  const std::uint64_t begin = (peek(), at_);
  std::string text;
  read_string([&](char character) {
    if (text.size() == limit) {
      refuse(begin, "a name is too long", "at most " + std::to_string(limit) + " bytes", "more");
    }
    text += character;
  });
  return text;
}

void JsonReader::skip_string() {
  read_string([](char) {});
}

template <class Sink>
void JsonReader::read_string(Sink sink) {
  take('"');
  while (true) {
    const std::uint64_t begin = at_;
    const int byte = next();
    if (byte == '"') return;
    if (byte < 0) refuse(at_, "the header ends inside a string");
    if (byte < 0x20) refuse(begin, "a control character inside a string");
    if (byte == '\\') {
      read_escape(sink);
    } else if (byte < 0x80) {
      sink(static_cast<char>(byte));
    } else {
      read_utf8(static_cast<unsigned char>(byte), begin, sink);
    }
  }
}

template <class Sink>
void JsonReader::read_escape(Sink sink) {
  const std::uint64_t begin = at_ - 1;
  const int kind = next();
  constexpr std::string_view kKinds = "\"\\/bfnrt";
  constexpr std::string_view kMeant = "\"\\/\b\f\n\r\t";
  if (kind != 'u') {
    const std::size_t found =
        kind < 0 ? std::string_view::npos : kKinds.find(static_cast<char>(kind));
    if (found == std::string_view::npos) refuse(begin, "an escape that JSON does not have");
    sink(kMeant[found]);
    return;
  }
  std::uint32_t code = hex4();
  if (code >= 0xD800 && code < 0xDC00) {
    if (next() != '\\' || next() != 'u') refuse(begin, "half of a surrogate pair");
    const std::uint32_t low = hex4();
    if (low < 0xDC00 || low >= 0xE000) refuse(begin, "half of a surrogate pair");
    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
  } else if (code >= 0xDC00 && code < 0xE000) {
    refuse(begin, "half of a surrogate pair");
  }
  put_utf8(code, sink);
}

// Table 3-7 of the Unicode standard: no overlong forms, no surrogates, nothing beyond 10FFFF.
template <class Sink>
void JsonReader::read_utf8(unsigned char lead, std::uint64_t begin, Sink sink) {
  const int more = lead >= 0xF0 ? 3 : lead >= 0xE0 ? 2 : 1;
  if (lead < 0xC2 || lead > 0xF4) refuse(begin, "the header is not UTF-8");
  int low = 0x80, high = 0xBF;
  if (lead == 0xE0) low = 0xA0;
  if (lead == 0xED) high = 0x9F;
  if (lead == 0xF0) low = 0x90;
  if (lead == 0xF4) high = 0x8F;
  sink(static_cast<char>(lead));
  for (int i = 0; i < more; ++i) {
    const int byte = next();
    if (byte < low || byte > high) refuse(begin, "the header is not UTF-8");
    sink(static_cast<char>(byte));
    low = 0x80;
    high = 0xBF;
  }
}

std::uint32_t JsonReader::hex4() {
  std::uint32_t code = 0;
  for (int i = 0; i < 4; ++i) {
    const std::uint64_t begin = at_;
    const int byte = next();
    const int digit = is_digit(byte)               ? byte - '0'
                      : byte >= 'a' && byte <= 'f' ? byte - 'a' + 10
                      : byte >= 'A' && byte <= 'F' ? byte - 'A' + 10
                                                   : -1;
    if (digit < 0) refuse(begin, "an escape without its four hexadecimal digits");
    code = code << 4 | static_cast<std::uint32_t>(digit);
  }
  return code;
}

std::int64_t JsonReader::size() {
  peek();
  const std::uint64_t begin = at_;
  if (!is_digit(current())) {
    refuse(begin, "not a size", "an integer of 0 to 2^63 - 1", shown(current()));
  }
  std::int64_t value = 0;
  bool overflow = false;
  const bool zero = current() == '0';
  while (is_digit(current())) {
    overflow |= __builtin_mul_overflow(value, 10, &value);
    overflow |= __builtin_add_overflow(value, next() - '0', &value);
    if (overflow) refuse(begin, "not a size", "an integer of 0 to 2^63 - 1", "more");
  }
  if (zero && at_ - begin > 1) refuse(begin, "not a size: it begins with 0");
  const int after = current();
  if (after == '.' || after == 'e' || after == 'E') {
    refuse(begin, "not a size", "an integer of 0 to 2^63 - 1", "a float");
  }
  return value;
}

}  // namespace torchnotary
