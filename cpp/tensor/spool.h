// Bytes of any number in bounded memory: the first megabytes are held, what follows goes to a file
// without a name.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "hashing/bytes.h"

namespace torchnotary {

class Spool {
 public:
  // What is held before a file is made.
  static constexpr std::size_t kHeld = 2 << 20;

  // `folder` is where the file would lie; an empty one stands for the system's temporary folder.
  explicit Spool(std::string folder) : folder_(std::move(folder)) {}
  ~Spool();
  Spool(const Spool&) = delete;
  Spool& operator=(const Spool&) = delete;

  // Raises FileError where the file cannot be made or written.
  void append(Bytes bytes);

  std::uint64_t size() const { return written_ + held_.size(); }

  // Everything appended, as one piece of memory that lives as long as this; nothing may be
  // appended any more. Raises FileError.
  Bytes finish();

 private:
  void write_held();
  void write(Bytes bytes);

  std::string folder_;
  std::vector<std::byte> held_;
  int descriptor_ = -1;
  std::uint64_t written_ = 0;
  void* mapped_ = nullptr;
};

}  // namespace torchnotary
