// The lines of trace.jsonl as they are written: text at once, commitments in bulk.
//
// A line is written with gaps where its commitments go. A block of lines is sealed together: the
// digests are salted side by side, the gaps filled, the lines hashed into the tree. Memory is
// bounded whatever the length. docs/formats.md, "trace.jsonl", has the grammar.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "hashing/bytes.h"
#include "merkle/frontier.h"
#include "tensor/salt.h"
#include "tensor/spool.h"
#include "tensor/text.h"

namespace torchnotary {

class TraceWriter {
 public:
  static constexpr std::uint8_t kTree = 3;
  // What a line file may hold (statement/lines.py): lines beyond it are left out, and counted.
  static constexpr std::uint64_t kMaxBytes = 256 << 20;
  static constexpr std::uint64_t kMaxLines = 1 << 24;

  // `folder`: where spooled bytes would lie, see Spool.
  TraceWriter(Secret secret, const std::string& folder);
  ~TraceWriter();

  // The line under way, as JSON without its newline; end_line() ends it, drop_line() forgets it.
  Text& text() { return text_; }
  // Appends `"commitment":"…"`, the next slot of the line, over `digest`.
  void commitment(const Digest& digest);
  // How many slots the line under way has.
  std::size_t slots() const { return digests_.size() - first_digest_; }
  // Raises FileError where spooled bytes cannot be written.
  void end_line();
  void drop_line();

  // How many lines were ended; the number of the line under way.
  std::uint64_t lines() const { return lines_; }
  std::uint64_t left_out() const { return left_out_; }

  // Seals what is pending; no line may follow. Raises FileError.
  void finish();
  // After finish(). The file; for each line u32le count ‖ count × 32 bytes of unsalted digests; and
  // the root over lines().
  Bytes file() const { return file_; }
  Bytes digests() const { return digest_file_; }
  Digest root() const { return frontier_.root(); }

 private:
  struct Line {
    std::size_t end;  // in text_
    std::size_t slots;
  };

  void seal();

  std::array<std::byte, 32> secret_;
  Text text_;                      // pending lines, each with its newline, and the one under way
  std::vector<std::size_t> gaps_;  // where each digest's 64 hex digits go
  std::vector<Slot> slots_;
  std::vector<Digest> digests_;
  std::vector<Line> pending_;
  std::size_t first_digest_ = 0;  // of the line under way
  std::size_t line_start_ = 0;    // in text_
  std::uint64_t lines_ = 0;
  std::uint64_t left_out_ = 0;
  merkle::Frontier frontier_;
  Spool spool_;
  Spool digest_spool_;
  Bytes file_;
  Bytes digest_file_;
};

// Appends `text` as a JSON string in RFC 8785's one spelling; bytes that are not UTF-8 become
// U+FFFD.
void append_json_string(Text& out, std::string_view text);

// Appends an integer as lines.py's `number` does: beyond ±(2^53 − 1) as {"int":"…"}.
void append_json_integer(Text& out, std::int64_t value);

// The string itself.
std::string json_string(std::string_view text);

// Appends {"f64":"<16 hex digits of the IEEE bits>"}.
void append_json_double(Text& out, double value);

}  // namespace torchnotary
