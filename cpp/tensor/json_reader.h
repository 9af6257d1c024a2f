// A reader of the JSON that the headers of files may hold: objects, lists, strings and sizes,
// token by token, through a small window, so that a header of any length costs no memory.
//
// Strict as RFC 8259 is: valid UTF-8, no half of a surrogate pair, no control characters.
#pragma once

#include <array>
#include <cstdint>
#include <string>

#include "hashing/bytes.h"
#include "hashing/parallel.h"

namespace torchnotary {

class JsonReader {
 public:
  // The text of `length` bytes at `start` of what `read` reads; errors name bytes of that.
  JsonReader(std::uint64_t start, std::uint64_t length,
             FunctionRef<void(std::uint64_t offset, MutableBytes out)> read)
      : read_(read), at_(start), window_begin_(start), end_(start + length) {}

  // The byte at which the next character stands.
  std::uint64_t position() const { return at_; }
  bool ended() const { return at_ == end_; }

  // The next token's first character after whitespace, not taken; 0 at the end.
  char peek();
  // Takes `wanted` if it comes next, after whitespace.
  bool take_if(char wanted);
  // Takes `wanted`, or raises MalformedRecord saying what stands there instead.
  void take(char wanted);
  // Takes a string, decoded. Raises MalformedRecord for more than `limit` bytes.
  std::string string(std::size_t limit);
  // Takes and checks a string of any length.
  void skip_string();
  // Takes an integer of 0 … 2^63 - 1.
  std::int64_t size();

  // Raises MalformedRecord for the byte `offset`.
  [[noreturn]] static void refuse(std::uint64_t offset, const std::string& cause,
                                  std::string expected = "", std::string actual = "");

 private:
  static constexpr std::size_t kWindow = std::size_t{1} << 16;

  int current();  // the byte at position(), -1 at the end
  int next();     // takes it
  template <class Sink>
  void read_string(Sink sink);
  template <class Sink>
  void read_escape(Sink sink);
  template <class Sink>
  void read_utf8(unsigned char lead, std::uint64_t begin, Sink sink);
  std::uint32_t hex4();
  std::string shown(int byte) const;

  FunctionRef<void(std::uint64_t, MutableBytes)> read_;
  std::uint64_t at_;
  std::uint64_t window_begin_;
  std::uint64_t end_;
  std::size_t window_size_ = 0;
  std::array<std::byte, kWindow> window_;
};

}  // namespace torchnotary
