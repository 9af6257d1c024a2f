// Python's face of the hashing room.
#pragma once

#include <pybind11/typing.h>

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

inline py::typing::List<py::bytes> py_blake3_many(const py::iterable& buffers,
                                                  std::size_t threads) {
  std::deque<Buffer> held;
  std::vector<Bytes> messages;
  std::size_t size = 0;
  for (const py::handle object : buffers) {
    messages.push_back(held.emplace_back(object).bytes());
    size += messages.back().size();
  }
  std::vector<Digest> digests(messages.size());
  without_gil(size, [&] {
    blake3_many(Blake3Mode::hash(), messages, digests.data(),
                Threads(size < kWorthThreads ? 1 : threads));
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

// The digests of many messages, or of a byte before each of them, one after the other.
inline py::bytes py_sha256_many(const py::iterable& buffers, const py::bytes& prefix,
                                std::size_t threads) {
  std::deque<Buffer> held;
  std::vector<Bytes> messages;
  std::size_t size = 0;
  for (const py::handle object : buffers) {
    messages.push_back(held.emplace_back(object).bytes());
    size += messages.back().size();
  }
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
