#include "tensor/trace_writer.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <mutex>

#include "merkle/tree.h"

namespace torchnotary {
namespace {

constexpr std::size_t kBlock = 256 << 10;  // of text that is sealed together
constexpr std::string_view kGap =
    "\"commitment\":\"0000000000000000000000000000000000000000000000000000000000000000\"";
constexpr char kHex[] = "0123456789abcdef";

// Memory of texts that were written, for the next ones: a fresh one is a page fault for every few
// lines.
constexpr std::size_t kSpareTexts = 4;
std::mutex spare_mutex;
std::vector<Text> spare_texts;

void write_hex(const Digest& digest, char* out) {
  for (const std::byte b : digest) {
    *out++ = kHex[std::to_integer<unsigned>(b) >> 4];
    *out++ = kHex[std::to_integer<unsigned>(b) & 15];
  }
}

// The length of the UTF-8 sequence at `at` (RFC 3629), 0 where there is none.
std::size_t utf8_length(std::string_view text, std::size_t at) {
  const auto byte = [&](std::size_t i) -> unsigned {
    return i < text.size() ? static_cast<unsigned char>(text[i]) : 0;
  };
  const auto follows = [&](std::size_t i) { return (byte(i) & 0xc0) == 0x80; };
  const unsigned first = byte(at), second = byte(at + 1);
  if (first < 0x80) return 1;
  if (first >= 0xc2 && first <= 0xdf) return follows(at + 1) ? 2 : 0;
  if (first >= 0xe0 && first <= 0xef) {
    if (!follows(at + 1) || !follows(at + 2)) return 0;
    if (first == 0xe0 && second < 0xa0) return 0;
    if (first == 0xed && second >= 0xa0) return 0;  // half of a surrogate pair
    return 3;
  }
  if (first >= 0xf0 && first <= 0xf4) {
    if (!follows(at + 1) || !follows(at + 2) || !follows(at + 3)) return 0;
    if (first == 0xf0 && second < 0x90) return 0;
    if (first == 0xf4 && second >= 0x90) return 0;
    return 4;
  }
  return 0;
}

void append_escaped(Text& out, char c) {
  switch (c) {
    case '"':
      out += "\\\"";
      return;
    case '\\':
      out += "\\\\";
      return;
    case '\b':
      out += "\\b";
      return;
    case '\t':
      out += "\\t";
      return;
    case '\n':
      out += "\\n";
      return;
    case '\f':
      out += "\\f";
      return;
    case '\r':
      out += "\\r";
      return;
    default:
      out += "\\u00";
      out += kHex[static_cast<unsigned char>(c) >> 4];
      out += kHex[static_cast<unsigned char>(c) & 15];
  }
}

}  // namespace

TraceWriter::TraceWriter(Secret secret, const std::string& folder)
    : spool_(folder), digest_spool_(folder) {
  std::copy(secret.begin(), secret.end(), secret_.begin());
  const std::lock_guard lock(spare_mutex);
  if (!spare_texts.empty()) {
    text_ = std::move(spare_texts.back());
    spare_texts.pop_back();
  }
}

TraceWriter::~TraceWriter() {
  text_.shrink(0);
  const std::lock_guard lock(spare_mutex);
  if (spare_texts.size() < kSpareTexts && text_.capacity() <= 2 * kBlock) {
    spare_texts.push_back(std::move(text_));
  }
}

void TraceWriter::commitment(const Digest& digest) {
  gaps_.push_back(text_.size() + kGap.size() - 65);
  text_ += kGap;
  slots_.push_back({lines_, slots()});
  digests_.push_back(digest);
}

void TraceWriter::drop_line() {
  text_.shrink(line_start_);
  digests_.resize(first_digest_);
  slots_.resize(first_digest_);
  gaps_.resize(first_digest_);
}

void TraceWriter::end_line() {
  const std::uint64_t size = spool_.size() + text_.size() + 1;
  if (left_out_ > 0 || size > kMaxBytes || lines_ == kMaxLines) {
    // Once one is left out all are: what follows would refer to lines that are not there.
    drop_line();
    ++left_out_;
    return;
  }
  text_ += '\n';
  pending_.push_back({text_.size(), slots()});
  line_start_ = text_.size();
  first_digest_ = digests_.size();
  ++lines_;
  if (text_.size() >= kBlock) seal();
}

void TraceWriter::seal() {
  std::vector<Digest> commitments(slots_.size());
  salted(secret_, kTree, slots_, digests_, commitments);
  for (std::size_t i = 0; i < commitments.size(); ++i)
    write_hex(commitments[i], text_.data() + gaps_[i]);

  const Bytes bytes = bytes_of(text_.view());
  std::size_t begin = 0, first = 0;
  for (const Line& line : pending_) {
    frontier_.push(merkle::leaf_hash(bytes.subspan(begin, line.end - 1 - begin)));
    begin = line.end;
    std::array<std::byte, 4> count;
    store_le<std::uint32_t>(count.data(), static_cast<std::uint32_t>(line.slots));
    digest_spool_.append(count);
    digest_spool_.append(std::as_bytes(std::span(digests_).subspan(first, line.slots)));
    first += line.slots;
  }
  spool_.append(bytes);
  text_.shrink(0);
  gaps_.clear();
  digests_.clear();
  slots_.clear();
  pending_.clear();
  line_start_ = first_digest_ = 0;
}

void TraceWriter::finish() {
  drop_line();
  seal();
  file_ = spool_.finish();
  digest_file_ = digest_spool_.finish();
}

void append_json_string(Text& out, std::string_view text) {
  out += '"';
  for (std::size_t at = 0; at < text.size();) {
    const char c = text[at];
    const std::size_t length = utf8_length(text, at);
    if (length == 0) {
      out += "\xef\xbf\xbd";
      ++at;
    } else if (length > 1) {
      out += text.substr(at, length);
      at += length;
    } else {
      if (static_cast<unsigned char>(c) < 0x20 || c == '"' || c == '\\') {
        append_escaped(out, c);
      } else {
        out += c;
      }
      ++at;
    }
  }
  out += '"';
}

std::string json_string(std::string_view text) {
  Text out;
  append_json_string(out, text);
  return std::string(out.view());
}

void append_json_integer(Text& out, std::int64_t value) {
  constexpr std::int64_t kMax = (std::int64_t{1} << 53) - 1;
  char digits[20];
  const auto end = std::to_chars(digits, digits + sizeof digits, value).ptr;
  const std::string_view text(digits, static_cast<std::size_t>(end - digits));
  const bool tagged = value > kMax || value < -kMax;
  if (tagged) out += "{\"int\":\"";
  out += text;
  if (tagged) out += "\"}";
}

void append_json_double(Text& out, double value) {
  out += "{\"f64\":\"";
  const auto bits = std::bit_cast<std::uint64_t>(value);
  for (int shift = 60; shift >= 0; shift -= 4) out += kHex[bits >> shift & 15];
  out += "\"}";
}

}  // namespace torchnotary
