#include "torch/settings.h"

#include <exception>
#include <utility>

namespace torchnotary {

Setting plain_setting(std::string name, std::function<SettingValue()> read,
                      std::function<void(const SettingValue&)> write, SettingValue wanted) {
  auto save = read;
  return {std::move(name), std::move(read), std::move(save), std::move(write), std::move(wanted)};
}

AppliedSettings::AppliedSettings(std::span<const Setting> table) : table_(table) {
  saved_.reserve(table.size());
  changes_.reserve(table.size());
  // Read before anything is written: a row may change what another one reads as.
  for (const Setting& setting : table) changes_.push_back({setting.name, setting.read(), {}});
  try {
    for (const Setting& setting : table) {
      saved_.push_back(setting.save());
      if (saved_.back() != setting.wanted) setting.write(setting.wanted);
    }
    for (std::size_t row = 0; row < table.size(); ++row) changes_[row].set = table[row].read();
  } catch (...) {
    const std::exception_ptr cause = std::current_exception();
    try {
      restore();
    } catch (...) {
      // The setter that failed is the cause to report; every other row is restored all the same.
    }
    std::rethrow_exception(cause);
  }
}

AppliedSettings::~AppliedSettings() {
  try {
    restore();
  } catch (...) {
    // Only an exception already under way leads here with rows left; it says more than this one.
  }
}

void AppliedSettings::restore() {
  std::exception_ptr first;
  while (!saved_.empty()) {
    const Setting& setting = table_[saved_.size() - 1];
    const SettingValue before = std::move(saved_.back());
    saved_.pop_back();
    try {
      // Writing only what differs: some setters warn, and one drops a cache of compiled kernels.
      if (setting.save() != before) setting.write(before);
    } catch (...) {
      if (!first) first = std::current_exception();
    }
  }
  if (first) std::rethrow_exception(first);
}

}  // namespace torchnotary
