// What a trace needs to know of an operator, worked out once from its schema.
#pragma once

#include <ATen/core/function_schema.h>

#include <cstdint>
#include <string>
#include <vector>

namespace torchnotary {

struct OperatorFacts {
  // How an argument that is stored as an integer is to be read.
  enum class Code : std::uint8_t { none, dtype, layout, memory_format };

  struct Argument {
    std::string key;   // its name as a JSON string with the colon
    std::string name;  // its name as a JSON string
    Code code;
    bool written;  // the operator changes it
    bool trained;  // the same, where the operator trains: see `trains`
    bool out;      // and does not read it
    bool aliased;  // a view of it is returned; its content is not looked at
  };

  std::string name;                  // name and overload, as a JSON string
  std::vector<Argument> arguments;   // in the schema's order
  std::vector<std::size_t> ordered;  // their indices, by name
  bool writes;                       // any argument
  // The argument that says whether running statistics, which the schema does not call written, are
  // updated; -1 where there is none.
  int trains;
  bool uninitialized;  // returns memory that nobody has written
  bool resizes;        // gives a tensor memory that nobody has written
  bool lifts;          // is told of memory that was filled past torch
};

// Lives as long as the thread; one for each operator that it calls.
const OperatorFacts& facts_of(const c10::FunctionSchema& schema);

}  // namespace torchnotary
