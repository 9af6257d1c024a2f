// Routes the operators of a thread under exact/1 to the kernels of cpp/exact/, lets those that only
// move data or count pass, takes composite ones apart, and refuses every other one
// (docs/exact-profile.md).
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <c10/core/DispatchKeySet.h>

#include <span>
#include <string>
#include <utility>
#include <vector>

#include "hashing/errors.h"

namespace torchnotary::exact {

// Scopes of a thread nest; exact/1 is on while one is open.
void enter();
void leave();
bool is_on();
// How many threads have one open.
std::size_t scopes();

// Says how NotExact is thrown from within an operator.
void raise_not_exact_by(void (*raise)(const NotaryError&));
[[noreturn]] void refuse(const std::string& what, const std::string& expected,
                         const std::string& actual, const std::string& next_step);

using Arguments = std::span<const c10::IValue>;

// What a kernel gives back, and where it may put it.
class Results {
 public:
  explicit Results(at::Tensor target) : target_(std::move(target)) {}

  // Memory for a result that no argument shares.
  at::Tensor fresh(at::IntArrayRef sizes, at::ScalarType type) const;
  // Where the operator is to write in place or by out=; undefined where neither.
  const at::Tensor& target() const { return target_; }

  // What a kernel returns that leaves an operator to torch though its tensors are floating: as it
  // is called, it only moves data.
  bool only_moves() {
    only_moves_ = true;
    return false;
  }
  bool moves() const { return only_moves_; }

  void add(at::Tensor result) { tensors_.emplace_back(std::move(result)); }
  std::vector<at::Tensor>& tensors() { return tensors_; }

 private:
  at::Tensor target_;
  std::vector<at::Tensor> tensors_;
  bool only_moves_ = false;
};

// Computes an operator from its arguments; false where it is torch's to compute: all its tensors
// are integers, or results.only_moves().
using Kernel = bool (*)(Arguments arguments, Results& results);

struct Rule {
  enum class Way : std::uint8_t {
    kernel,   // computed here, or by torch where the kernel leaves integers to it
    moves,    // run by torch: it rounds nothing
    part,     // no rule of its own, but torch composes it of others: taken apart
    unknown,  // no rule of its own: by torch if all is integers, else refused
    random,   // refused always
  };
  Way way = Way::unknown;
  Kernel kernel = nullptr;
  std::size_t arguments = 0;         // that the kernel takes, counted from the first
  std::vector<std::size_t> written;  // arguments that the results go to: out=, in place
  bool in_place = false;
};

// Worked out once for each operator.
const Rule& rule_of(const c10::OperatorHandle& op);

// Every operator that is registered now by its full name, with the way it goes.
std::vector<std::pair<std::string, Rule::Way>> all_operators();

// Runs an operator that is no Way::part: those are to be run with the hook in place. `keys` are
// those it was called with. Throws NotExact where the profile does not say what it gives.
void run(const Rule& rule, const c10::OperatorHandle& op, c10::DispatchKeySet keys,
         torch::jit::Stack* stack);

// Kernels by the name of their operator with its overload, each room's own.
struct NamedKernel {
  const char* name;
  Kernel kernel;
};
std::span<const NamedKernel> elementwise_kernels();
std::span<const NamedKernel> product_kernels();
std::span<const NamedKernel> reduction_kernels();
std::span<const NamedKernel> attention_kernels();
std::span<const NamedKernel> conversion_kernels();
std::span<const NamedKernel> window_kernels();
std::span<const NamedKernel> cell_kernels();
std::span<const NamedKernel> scatter_kernels();
std::span<const NamedKernel> loss_kernels();
std::span<const NamedKernel> moving_kernels();

// Names of operators that only move data.
std::span<const char* const> moving_operators();

}  // namespace torchnotary::exact
