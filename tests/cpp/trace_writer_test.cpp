// Lines with gaps, sealed in blocks: against one salted digest at a time and a tree of all lines.
#include "tensor/trace_writer.h"

#include <gtest/gtest.h>

#include <limits>
#include <string>
#include <vector>

#include "hashing/sha256.h"
#include "merkle/tree.h"
#include "tensor/salt.h"
#include "tensor/spool.h"

namespace torchnotary {
namespace {

std::array<std::byte, 32> secret() {
  std::array<std::byte, 32> bytes;
  bytes.fill(std::byte{7});
  return bytes;
}

Digest digest_of(int number) { return sha256(bytes_of(std::to_string(number))); }

std::string hex(const Digest& digest) {
  std::string text;
  for (const std::byte b : digest) {
    text += "0123456789abcdef"[std::to_integer<int>(b) >> 4];
    text += "0123456789abcdef"[std::to_integer<int>(b) & 15];
  }
  return text;
}

std::string text_of(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// What the line of `number` holds: a name, and number % 3 slots.
void write_line(TraceWriter& writer, int number) {
  writer.text() += "{\"n\":" + std::to_string(number);
  for (int slot = 0; slot < number % 3; ++slot) {
    writer.text() += ',';
    writer.commitment(digest_of(number + slot));
  }
  writer.text() += '}';
  writer.end_line();
}

std::string expected_line(int number) {
  const auto key = secret();
  std::vector<Digest> digests, commitments(static_cast<std::size_t>(number % 3));
  for (int slot = 0; slot < number % 3; ++slot) digests.push_back(digest_of(number + slot));
  salted(key, 3, static_cast<std::uint64_t>(number), digests, commitments);
  std::string line = "{\"n\":" + std::to_string(number);
  for (const Digest& each : commitments) line += ",\"commitment\":\"" + hex(each) + "\"";
  return line + "}";
}

TEST(TraceWriter, LinesDigestsAndRootAreThoseOfOneLineAtATime) {
  for (const int count : {0, 1, 2, 3, 100, 5000}) {  // 5000 lines are several blocks
    const auto key = secret();
    TraceWriter writer(key, "");
    std::string file, digests;
    std::vector<Digest> leaves;
    for (int i = 0; i < count; ++i) {
      write_line(writer, i);
      const std::string line = expected_line(i);
      leaves.push_back(merkle::leaf_hash(bytes_of(line)));
      file += line + "\n";
      digests += std::string{static_cast<char>(i % 3), 0, 0, 0};
      for (int slot = 0; slot < i % 3; ++slot) {
        const Digest digest = digest_of(i + slot);
        digests += text_of(digest);
      }
    }
    writer.finish();
    EXPECT_EQ(writer.lines(), static_cast<std::uint64_t>(count));
    EXPECT_EQ(text_of(writer.file()), file);
    EXPECT_EQ(text_of(writer.digests()), digests);
    EXPECT_EQ(writer.root(), merkle::root(leaves));
  }
}

TEST(TraceWriter, ADroppedLineLeavesNothing) {
  const auto key = secret();
  TraceWriter writer(key, "");
  write_line(writer, 0);
  writer.text() += "{\"half\":";
  writer.commitment(digest_of(9));
  writer.drop_line();
  write_line(writer, 1);
  writer.text() += "{\"never ended\":";
  writer.commitment(digest_of(9));
  writer.finish();
  EXPECT_EQ(text_of(writer.file()), expected_line(0) + "\n" + expected_line(1) + "\n");
  EXPECT_EQ(writer.digests().size(), 4u + 4 + 32);
}

TEST(TraceWriter, WhatALineFileCannotHoldIsCountedAndLeftOut) {
  const auto key = secret();
  TraceWriter writer(key, "");
  const std::string long_line(64 << 20, 'x');
  for (int i = 0; i < 6; ++i) {
    writer.text() += long_line;
    writer.end_line();
  }
  writer.text() += "short";
  writer.end_line();
  writer.finish();
  EXPECT_EQ(writer.lines(), 3u);
  EXPECT_EQ(writer.left_out(), 4u);
  EXPECT_LE(writer.file().size(), TraceWriter::kMaxBytes);
}

TEST(TraceWriterJson, StringsHaveTheirOneSpelling) {
  const auto spelled = [](std::string_view text) { return json_string(text); };
  EXPECT_EQ(spelled("aten::add"), "\"aten::add\"");
  EXPECT_EQ(spelled("a\"b\\c\n\t\x01\x1f/\x7f"), "\"a\\\"b\\\\c\\n\\t\\u0001\\u001f/\x7f\"");
  EXPECT_EQ(spelled("\xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82"),
            "\"\xc3\xa9\xe2\x82\xac\xf0\x9f\x99\x82\"");
  EXPECT_EQ(spelled("\xff"), "\"\xef\xbf\xbd\"");
  EXPECT_EQ(spelled("\xed\xa0\x80"), "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd\"");  // a surrogate
  EXPECT_EQ(spelled("\xc3"), "\"\xef\xbf\xbd\"");
}

TEST(TraceWriterJson, NumbersAreTaggedWhereJsonCannotHoldThem) {
  Text out;
  append_json_integer(out, 9007199254740991);
  append_json_integer(out, -9007199254740992);
  append_json_integer(out, std::numeric_limits<std::int64_t>::min());
  append_json_double(out, -0.0);
  append_json_double(out, 1e-5);
  EXPECT_EQ(out.view(),
            "9007199254740991{\"int\":\"-9007199254740992\"}{\"int\":\"-9223372036854775808\"}"
            "{\"f64\":\"8000000000000000\"}{\"f64\":\"3ee4f8b588e368f1\"}");
}

TEST(Spool, HoldsWhatWasAppendedWhateverTheLength) {
  for (const std::size_t total : {0u, 1u, 2u << 20, (2u << 20) + 1, 9u << 20}) {
    Spool spool("");
    std::string all;
    for (std::size_t piece = 1; all.size() < total; piece = piece * 3 + 1) {
      const std::string part(std::min(piece, total - all.size()),
                             static_cast<char>('a' + piece % 26));
      spool.append(bytes_of(part));
      all += part;
    }
    EXPECT_EQ(spool.size(), total);
    EXPECT_TRUE(text_of(spool.finish()) == all) << total;
  }
}

}  // namespace
}  // namespace torchnotary
