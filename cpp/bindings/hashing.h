// Python's face of the hashing room.
#pragma once

#include <pybind11/typing.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <mutex>
#include <optional>
#include <vector>

#include "bindings/buffers.h"
#include "hashing/blake3.h"
#include "hashing/cpu.h"
#include "hashing/sha256.h"

namespace torchnotary {

inline Blake3Mode blake3_mode(const std::optional<py::buffer>& key,
                              const std::optional<std::string>& context) {
  if (key && context) throw py::value_error("blake3 takes a key or a context, not both");
  if (context) return Blake3Mode::derive_key(*context);
  if (!key) return Blake3Mode::hash();
  const Buffer buffer(*key);
  if (buffer.bytes().size() != kDigestSize) {
    throw py::value_error("a BLAKE3 key has 32 bytes, not " +
                          std::to_string(buffer.bytes().size()));
  }
  return Blake3Mode::keyed(buffer.bytes().first<kDigestSize>());
}

inline py::bytes py_blake3(const py::buffer& data, const std::optional<py::buffer>& key,
                           const std::optional<std::string>& context, std::size_t length,
                           std::size_t threads) {
  const Blake3Mode mode = blake3_mode(key, context);
  const Buffer buffer(data);
  const auto [result, output] = new_bytes(length);
  without_gil(buffer.bytes().size() + length,
              [&, output = output] { blake3(mode, buffer.bytes(), output, Threads(threads)); });
  return result;
}

// Below a megabyte, starting threads costs more than they save.
inline constexpr std::size_t kWorthThreads = std::size_t{1} << 20;

// Contiguous buffers, held as long as this lives.
struct Messages {
  explicit Messages(const py::iterable& buffers) {
    for (const py::handle object : buffers) {
      bytes.push_back(held.emplace_back(object).bytes());
      size += bytes.back().size();
    }
  }

  std::deque<Buffer> held;
  std::vector<Bytes> bytes;
  std::size_t size = 0;  // of all of them
};

inline py::typing::List<py::bytes> py_blake3_many(const py::iterable& buffers,
                                                  std::size_t threads) {
  const Messages messages(buffers);
  std::vector<Digest> digests(messages.bytes.size());
  without_gil(messages.size, [&] {
    blake3_many(Blake3Mode::hash(), messages.bytes, digests.data(),
                Threads(messages.size < kWorthThreads ? 1 : threads));
  });
  py::list results(digests.size());
  for (std::size_t i = 0; i < digests.size(); ++i) results[i] = to_bytes(digests[i]);
  return results;
}

inline py::bytes py_sha256(const py::buffer& data) {
  const Buffer buffer(data);
  const Digest digest = without_gil(buffer.bytes().size(), [&] { return sha256(buffer.bytes()); });
  return to_bytes(digest);
}

// The digests of messages, `prefix` put before each, one after the other.
inline py::bytes sha256_of(const std::vector<Bytes>& messages, std::size_t size,
                           const py::bytes& prefix, std::size_t threads) {
  const Buffer before(prefix);
  const auto [result, output] = new_bytes(messages.size() * kDigestSize);
  without_gil(size, [&, output = output] {
    const std::size_t shares = size < kWorthThreads ? 1 : threads;
    const Threads run(shares);
    run(shares, [&](std::size_t share) {
      for (std::size_t i = share; i < messages.size(); i += shares) {
        Sha256 hasher;
        hasher.update(before.bytes());
        hasher.update(messages[i]);
        const Digest digest = hasher.finalize();
        std::copy(digest.begin(), digest.end(), output.begin() + i * kDigestSize);
      }
    });
  });
  return result;
}

inline py::bytes py_sha256_many(const py::iterable& buffers, const py::bytes& prefix,
                                std::size_t threads) {
  const Messages messages(buffers);
  return sha256_of(messages.bytes, messages.size, prefix, threads);
}

// The same of the lines of one buffer; the last one ends with the buffer.
inline py::bytes py_sha256_lines(const py::buffer& lines, const py::bytes& prefix,
                                 std::size_t threads) {
  const Buffer buffer(lines);
  Bytes rest = buffer.bytes();
  std::vector<Bytes> messages;
  while (const void* end = std::memchr(rest.data(), '\n', rest.size())) {
    messages.push_back(rest.first(static_cast<const std::byte*>(end) - rest.data()));
    rest = rest.subspan(messages.back().size() + 1);
  }
  messages.push_back(rest);
  return sha256_of(messages, buffer.bytes().size(), prefix, threads);
}

// The lines that a template makes of fixed-width columns: its pieces in turn with the columns'
// next values, a newline between lines.
inline py::bytes py_fill_lines(const std::vector<py::bytes>& pieces,
                               const std::vector<py::buffer>& columns, std::size_t width) {
  std::deque<Buffer> held;
  std::size_t line = 1;
  for (const py::bytes& piece : pieces) line += held.emplace_back(piece).bytes().size();
  if (width == 0 || columns.empty() || pieces.size() != columns.size() + 1) {
    throw py::value_error("a template has one piece more than there are columns");
  }
  for (const py::buffer& column : columns) held.emplace_back(column);
  const std::size_t rows = held.back().bytes().size() / width;
  for (std::size_t i = pieces.size(); i < held.size(); ++i) {
    if (held[i].bytes().size() != rows * width) {
      throw py::value_error("columns have as many values of the given width as each other");
    }
  }
  line += width * columns.size();
  const auto [result, output] = new_bytes(rows == 0 ? 0 : rows * line - 1);
  auto at = output.begin();
  for (std::size_t row = 0; row < rows; ++row) {
    if (row > 0) *at++ = std::byte{'\n'};
    for (std::size_t i = 0; i < pieces.size(); ++i) {
      at = std::ranges::copy(held[i].bytes(), at).out;
      if (i == columns.size()) break;
      at = std::ranges::copy(held[pieces.size() + i].bytes().subspan(row * width, width), at).out;
    }
  }
  return result;
}

// Blake3 for Python, whose threads may share a hasher: its updates take turns. The lock is
// always given back before the GIL is asked for, so that the two cannot wait for each other.
class PyBlake3 {
 public:
  PyBlake3(const std::optional<py::buffer>& key, const std::optional<std::string>& context)
      : hasher_(blake3_mode(key, context)) {}

  void update(const py::buffer& data, std::size_t threads) {
    const Buffer buffer(data);
    without_gil(buffer.bytes().size(), [&] {
      const std::lock_guard lock(mutex_);
      hasher_.update(buffer.bytes(), Threads(threads));
    });
  }

  py::bytes digest(std::size_t length, std::uint64_t seek) {
    const auto [result, output] = new_bytes(length);
    without_gil(length, [&, output = output] {
      const std::lock_guard lock(mutex_);
      hasher_.finalize(output, seek);
    });
    return result;
  }

 private:
  std::mutex mutex_;
  Blake3 hasher_;
};

}  // namespace torchnotary
