// A table of settings is set as a whole and restored as a whole, whatever its setters throw.
#include "torch/settings.h"

#include <gtest/gtest.h>

#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace torchnotary {
namespace {

class Settings : public testing::Test {
 protected:
  // A setting kept in `values`; writing the one that `throws` names throws.
  Setting row(const std::string& name, SettingValue wanted) {
    return plain_setting(
        name, [this, name] { return values[name]; },
        [this, name](const SettingValue& value) {
          written.push_back(name);
          if (name == throws) throw std::runtime_error(name);
          values[name] = value;
        },
        std::move(wanted));
  }

  std::map<std::string, SettingValue> values = {
      {"a", false}, {"b", std::int64_t{3}}, {"c", std::string("tf32")}};
  const std::map<std::string, SettingValue> before = values;
  std::vector<Setting> table = {row("a", true), row("b", std::int64_t{1}),
                                row("c", std::string("ieee"))};
  std::vector<std::string> written;
  std::string_view throws;
};

TEST_F(Settings, AreSetInOrderAndRestoredInReverse) {
  {
    const AppliedSettings applied(table);
    EXPECT_EQ(values["a"], SettingValue(true));
    EXPECT_EQ(values["b"], SettingValue(std::int64_t{1}));
    EXPECT_EQ(values["c"], SettingValue(std::string("ieee")));
    EXPECT_EQ(applied.changes()[1], (SettingChange{"b", std::int64_t{3}, std::int64_t{1}}));
  }
  EXPECT_EQ(values, before);
  EXPECT_EQ(written, (std::vector<std::string>{"a", "b", "c", "c", "b", "a"}));
}

TEST_F(Settings, ThatAlreadyAreAsWantedAreNotWritten) {
  values["b"] = std::int64_t{1};
  { const AppliedSettings applied(table); }
  EXPECT_EQ(written, (std::vector<std::string>{"a", "c", "c", "a"}));
}

TEST_F(Settings, ThatWereAlreadySetAreRestoredWhenALaterOneThrows) {
  throws = "c";
  EXPECT_THROW(AppliedSettings{table}, std::runtime_error);
  EXPECT_EQ(values, before);
}

TEST_F(Settings, AreAllRestoredAlthoughOneThrows) {
  AppliedSettings applied(table);
  throws = "b";
  EXPECT_THROW(applied.restore(), std::runtime_error);
  EXPECT_EQ(values["a"], before.at("a"));
  EXPECT_EQ(values["c"], before.at("c"));
  throws = {};
  applied.restore();  // a second time: nothing is left to do
  EXPECT_EQ(values["b"], SettingValue(std::int64_t{1}));
}

TEST_F(Settings, ChangedByOthersMeanwhileAreRestoredToo) {
  values["b"] = std::int64_t{1};
  const auto found = values;
  {
    const AppliedSettings applied(table);
    values["a"] = false;
    values["b"] = std::int64_t{7};
  }
  EXPECT_EQ(values, found);
}

// What a getter says may hide what has to be written back: "c" reads as what "a" makes of it.
TEST_F(Settings, AreRestoredFromWhatTheyHoldAndReportedAsWhatTheyRead) {
  table[2].read = [this] {
    return values["a"] == SettingValue(true) ? SettingValue(std::string("ieee")) : values["c"];
  };
  {
    const AppliedSettings applied(table);
    EXPECT_EQ(applied.changes()[2].before, SettingValue(std::string("tf32")));
    EXPECT_EQ(values["c"], SettingValue(std::string("ieee")));
  }
  EXPECT_EQ(values, before);
}

}  // namespace
}  // namespace torchnotary
