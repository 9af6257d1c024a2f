// A table of settings that is set as a whole and restored as a whole. No LibTorch here.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <variant>
#include <vector>

namespace torchnotary {

using SettingValue = std::variant<bool, std::int64_t, std::string>;

struct Setting {
  std::string name;
  // What is in force, as torch's own getter says it.
  std::function<SettingValue()> read;
  // What `write` needs to bring the setting back; it differs from what is in force where a
  // setting inherits from another.
  std::function<SettingValue()> save;
  std::function<void(const SettingValue&)> write;
  SettingValue wanted;
};

// A setting whose getter returns exactly what its setter takes.
Setting plain_setting(std::string name, std::function<SettingValue()> read,
                      std::function<void(const SettingValue&)> write, SettingValue wanted);

// What was in force before a scope, and what it put in its place.
struct SettingChange {
  std::string name;
  SettingValue before;
  SettingValue set;

  bool operator==(const SettingChange&) const = default;
};

// Sets every row of a table to what it wants for as long as this lives. Construction either sets
// them all or, when a write throws, restores those already set and rethrows. Not thread-safe: the
// caller serialises. The table must outlive this.
class AppliedSettings {
 public:
  explicit AppliedSettings(std::span<const Setting> table);
  ~AppliedSettings();
  AppliedSettings(const AppliedSettings&) = delete;
  AppliedSettings& operator=(const AppliedSettings&) = delete;

  // Brings every row back, last set first, including rows that others changed meanwhile. A write
  // that throws does not keep the rest from being restored; the first such exception is rethrown
  // at the end. Once restored, calling it again does nothing.
  void restore();

  const std::vector<SettingChange>& changes() const { return changes_; }

 private:
  std::span<const Setting> table_;
  std::vector<SettingValue> saved_;  // one a row that was reached, in table order
  std::vector<SettingChange> changes_;
};

}  // namespace torchnotary
