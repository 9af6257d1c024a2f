#include "torch/operator_facts.h"

#include <ATen/core/jit_type.h>

#include <algorithm>
#include <memory>
#include <numeric>
#include <string_view>
#include <unordered_map>
#include <unordered_set>

#include "tensor/trace_writer.h"

namespace torchnotary {
namespace {

// Operators whose result is memory as it was found. (`out` overloads of theirs write nothing.)
bool leaves_memory_unwritten(std::string_view name) {
  static const std::unordered_set<std::string_view> names = {
      "aten::empty",
      "aten::empty_like",
      "aten::empty_strided",
      "aten::empty_permuted",
      "aten::empty_quantized",
      "aten::new_empty",
      "aten::new_empty_strided",
  };
  return names.contains(name);
}

OperatorFacts::Code code_of(const c10::Argument& argument) {
  c10::TypePtr type = argument.real_type();
  if (const auto optional = type->cast<c10::OptionalType>()) type = optional->getElementType();
  switch (type->kind()) {
    case c10::TypeKind::ScalarTypeType:
      return OperatorFacts::Code::dtype;
    case c10::TypeKind::LayoutType:
      return OperatorFacts::Code::layout;
    case c10::TypeKind::MemoryFormatType:
      return OperatorFacts::Code::memory_format;
    default:
      return OperatorFacts::Code::none;
  }
}

// Batch and instance norms update these past their schema, and past the version counter.
bool is_statistic(const std::string& name) {
  return name == "running_mean" || name == "running_var";
}

int training_argument(const c10::FunctionSchema& schema) {
  if (!schema.argumentIndexWithName("running_mean")) return -1;
  for (const char* name : {"training", "train", "use_input_stats"}) {
    if (const auto index = schema.argumentIndexWithName(name)) return *index;
  }
  return -1;
}

OperatorFacts facts_from(const c10::FunctionSchema& schema) {
  OperatorFacts facts{};
  std::string name = schema.name();
  facts.uninitialized = leaves_memory_unwritten(name);
  facts.resizes = name == "aten::resize_" || name == "aten::resize_as_";
  facts.lifts = name == "aten::lift_fresh" || name == "aten::lift";
  if (!schema.overload_name().empty()) name += "." + schema.overload_name();
  facts.name = json_string(name);
  facts.trains = training_argument(schema);
  for (const c10::Argument& argument : schema.arguments()) {
    OperatorFacts::Argument known{};
    known.name = json_string(argument.name());
    known.key = known.name + ":";
    known.code = code_of(argument);
    const c10::AliasInfo* alias = argument.alias_info();
    known.trained = facts.trains >= 0 && is_statistic(argument.name());
    known.written = alias != nullptr && alias->isWrite();
    known.out = argument.is_out();
    known.aliased = alias != nullptr && !alias->isWrite();
    facts.writes |= known.written;
    facts.arguments.push_back(std::move(known));
  }
  facts.ordered.resize(facts.arguments.size());
  std::iota(facts.ordered.begin(), facts.ordered.end(), std::size_t{0});
  std::sort(facts.ordered.begin(), facts.ordered.end(), [&](std::size_t a, std::size_t b) {
    return schema.arguments()[a].name() < schema.arguments()[b].name();
  });
  return facts;
}

struct Entry {
  std::string name, overload;
  OperatorFacts facts;
};

}  // namespace

const OperatorFacts& facts_of(const c10::FunctionSchema& schema) {
  thread_local std::unordered_map<const c10::FunctionSchema*, std::unique_ptr<Entry>> known;
  auto& entry = known[&schema];
  // A library that was unloaded may leave its schema's address to another operator.
  if (!entry || entry->name != schema.name() || entry->overload != schema.overload_name()) {
    entry =
        std::make_unique<Entry>(Entry{schema.name(), schema.overload_name(), facts_from(schema)});
  }
  return entry->facts;
}

}  // namespace torchnotary
