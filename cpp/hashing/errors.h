// The C++ side of torchnotary's errors; the binding raises the Python class of the same name.
#pragma once

#include <stdexcept>
#include <string>
#include <utility>

namespace torchnotary {

// `expected` and `actual` are the two values compared (empty where nothing was compared);
// `next_step` is what the reader can do about it.
class NotaryError : public std::runtime_error {
 public:
  NotaryError(const std::string& message, std::string expected, std::string actual,
              std::string next_step)
      : std::runtime_error(message),
        expected(std::move(expected)),
        actual(std::move(actual)),
        next_step(std::move(next_step)) {}

  const std::string expected;
  const std::string actual;
  const std::string next_step;
};

// A Merkle proof whose sizes, indices or hash lengths cannot be.
class MalformedProof : public NotaryError {
  using NotaryError::NotaryError;
};

// A file that is not in its one encoding, or that changed while it was read.
class MalformedRecord : public NotaryError {
  using NotaryError::NotaryError;
};

// A file that the system does not open or read: Python's OSError.
class FileError : public std::runtime_error {
 public:
  FileError(int code, const std::string& path) : std::runtime_error(path), code(code), path(path) {}

  const int code;  // errno
  const std::string path;
};

// A tensor whose dtype, layout or size has no commitment rule.
class UnsupportedTensor : public NotaryError {
  using NotaryError::NotaryError;
};

}  // namespace torchnotary
