#include "torch/exact_dispatch.h"

#include <ATen/ExpandUtils.h>
#include <ATen/core/grad_mode.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/_to_copy.h>
#include <c10/core/ScalarType.h>
#include <c10/util/flat_hash_map.h>

#include <pthread.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <cstring>
#include <initializer_list>
#include <mutex>
#include <unordered_map>
#include <unordered_set>

#include "exact/environment.h"
#include "torch/arena.h"
#include "torch/exact_conversions.h"
#include "torch/hook.h"
#include "torch/sealing.h"
#include "torch/write_guard.h"

namespace torchnotary::exact {
namespace {

thread_local int depth = 0;
std::atomic<std::size_t> threads_on = 0;
std::atomic<void (*)(const NotaryError&)> raise_error = nullptr;

std::string full_name(const c10::FunctionSchema& schema) {
  return schema.overload_name().empty() ? schema.name()
                                        : schema.name() + "." + schema.overload_name();
}

bool is_floating(const at::Tensor& tensor) {
  return tensor.defined() &&
         (at::isFloatingType(tensor.scalar_type()) || at::isComplexType(tensor.scalar_type()));
}

template <class Predicate>
bool any_tensor(const c10::IValue& value, Predicate predicate) {
  if (value.isTensor()) return value.toTensor().defined() && predicate(value.toTensor());
  if (value.isTensorList()) {
    for (const at::Tensor each : value.toTensorList())
      if (each.defined() && predicate(each)) return true;
  } else if (value.isList()) {
    for (const c10::IValue& each : value.toListRef())
      if (any_tensor(each, predicate)) return true;
  }
  return false;
}

template <class Predicate>
bool any_tensor(Arguments values, Predicate predicate) {
  return std::any_of(values.begin(), values.end(),
                     [&](const c10::IValue& value) { return any_tensor(value, predicate); });
}

Arguments last(const torch::jit::Stack& stack, std::size_t count) {
  return Arguments(stack).last(count);
}

// Operators with another one's meaning for given arguments, seen before anything else.
class Table {
 public:
  Table() {
    for (const auto& kernels :
         {elementwise_kernels(), product_kernels(), reduction_kernels(), attention_kernels(),
          conversion_kernels(), window_kernels(), cell_kernels(), scatter_kernels(), loss_kernels(),
          moving_kernels()}) {
      for (const NamedKernel& each : kernels) {
        kernels_.emplace(each.name, each.kernel);
        std::string base(each.name);
        base.resize(std::min(base.find('.'), base.size()));
        overloads_[base].push_back(each.name);
      }
    }
    for (const char* name : moving_operators()) moving_.insert(name);
  }

  Rule rule_for(const c10::OperatorHandle& op) const {
    const c10::FunctionSchema& schema = op.schema();
    Rule rule;
    rule.arguments = schema.arguments().size();
    if (find_kernel(schema, rule)) {
      rule.way = Rule::Way::kernel;
    } else if (op.hasTag(at::Tag::nondeterministic_seeded)) {
      rule.way = Rule::Way::random;
    } else if (moving_.contains(schema.name()) || moving_.contains(full_name(schema))) {
      rule.way = Rule::Way::moves;
    } else if (op.hasKernelForDispatchKey(c10::DispatchKey::CompositeImplicitAutograd)) {
      rule.way = Rule::Way::part;
    }
    return rule;
  }

 private:
  bool find_kernel(const c10::FunctionSchema& schema, Rule& rule) const {
    const auto own = kernels_.find(full_name(schema));
    if (own != kernels_.end()) {
      rule.kernel = own->second;
      return true;
    }
    const auto& arguments = schema.arguments();
    for (std::size_t i = 0; i < arguments.size(); ++i) {
      const c10::AliasInfo* alias = arguments[i].alias_info();
      if (alias == nullptr || !alias->isWrite()) continue;
      rule.written.push_back(i);
      rule.in_place = !arguments[i].is_out();
    }
    if (rule.written.empty() || (rule.in_place && rule.written != std::vector<std::size_t>{0})) {
      return false;
    }
    std::string base = schema.name();
    if (rule.in_place) {
      if (base.back() != '_') return false;
      base.pop_back();
    }
    const auto overloads = overloads_.find(base);
    if (overloads == overloads_.end()) return false;
    for (const std::string& name : overloads->second) {
      const std::size_t dot = name.find('.');
      const auto op = c10::Dispatcher::singleton().findSchema(
          {base, dot == std::string::npos ? "" : name.substr(dot + 1)});
      if (!op || !takes_the_same(op->schema(), schema, rule)) continue;
      rule.kernel = kernels_.at(name);
      rule.arguments = op->schema().arguments().size();
      return true;
    }
    return false;
  }

  // Whether `schema` has the arguments of `plain`, and besides only where results go.
  static bool takes_the_same(const c10::FunctionSchema& plain, const c10::FunctionSchema& schema,
                             const Rule& rule) {
    const std::size_t besides = rule.in_place ? 0 : rule.written.size();
    const std::size_t count = plain.arguments().size();
    if (schema.arguments().size() != count + besides) return false;
    for (std::size_t i = 0; i < count; ++i) {
      const c10::Argument &a = plain.arguments()[i], &b = schema.arguments()[i];
      const bool is_named_so = a.name() == b.name() || (rule.in_place && i == 0);
      if (!is_named_so || *a.real_type() != *b.real_type()) return false;
    }
    return true;
  }

  std::unordered_map<std::string, Kernel> kernels_;
  std::unordered_map<std::string, std::vector<std::string>> overloads_;
  std::unordered_set<std::string> moving_;
};

// What may stand among the keys of an operator that a kernel computes.
constexpr c10::DispatchKeySet kPlainKeys =
    c10::DispatchKeySet({c10::DispatchKey::CPU, c10::DispatchKey::Dense, kSealedKey, kKey,
                         c10::DispatchKey::BackendSelect, c10::DispatchKey::ADInplaceOrView}) |
    c10::autograd_dispatch_keyset | c10::DispatchKeySet(c10::BackendComponent::CPUBit);

// The difference keeps the bit of the backend.
c10::DispatchKey other_key(c10::DispatchKeySet keys) {
  return (keys - kPlainKeys).highestPriorityTypeId();
}
bool has_other_keys(c10::DispatchKeySet keys) {
  return other_key(keys) != c10::DispatchKey::Undefined;
}

void require_plain(const c10::FunctionSchema& schema, c10::DispatchKeySet keys,
                   Arguments arguments) {
  if (has_other_keys(keys)) {
    const std::string other = toString(other_key(keys));
    refuse(full_name(schema) + " was called under " + other + ", which exact/1 does not specify",
           "plain dense tensors of the CPU", other,
           "leave autocast and transforms off under exact/1, or record with profile=\"native\"");
  }
  any_tensor(arguments, [&](const at::Tensor& tensor) {
    if (!tensor.is_cpu() || tensor.layout() != at::kStrided || tensor.is_neg() ||
        tensor.is_conj() || tensor._is_zerotensor()) {
      refuse(full_name(schema) + " was given a tensor that exact/1 does not specify",
             "a dense tensor of the CPU", tensor.toString(), "convert it before the call");
    }
    // Without axes it may be a number: the kernels that take it as one say so.
    if (tensor.scalar_type() == at::kDouble && tensor.dim() > 0) {
      refuse(full_name(schema) + " was given a tensor of another floating type",
             "float32, bfloat16 or float16", "float64", "convert the model with .float()");
    }
    if (at::isComplexType(tensor.scalar_type())) {
      refuse(full_name(schema) + " was given a complex tensor", "float32, bfloat16 or float16",
             toString(tensor.scalar_type()), "compute its parts as real tensors");
    }
    if (at::GradMode::is_enabled() && tensor.requires_grad()) {
      refuse(full_name(schema) + " would need gradients, which exact/1 does not compute",
             "no gradients", "a tensor that requires them",
             "call the model under torch.inference_mode() or torch.no_grad()");
    }
    return false;
  });
}

void require_integers(const c10::FunctionSchema& schema, Arguments results) {
  any_tensor(results, [&](const at::Tensor& tensor) {
    if (is_floating(tensor)) {
      refuse(full_name(schema) + " made floating values by a rule that exact/1 does not have",
             "integers or booleans", toString(tensor.scalar_type()),
             "see docs/exact-profile.md for the operators it has");
    }
    return false;
  });
}

[[noreturn]] void refuse_operator(const c10::FunctionSchema& schema, const char* why,
                                  const char* next_step) {
  refuse(full_name(schema) + " " + why, "an operator of docs/exact-profile.md", full_name(schema),
         next_step);
}

// Puts a result where the caller wanted it.
void write(const at::Tensor& target, const at::Tensor& result, bool in_place) {
  if (!result.is_same(target)) {
    if (in_place && target.sizes() != result.sizes()) {
      TORCH_CHECK(false, "output with shape ", target.sizes(),
                  " doesn't match the broadcast shape ", result.sizes());
    }
    TORCH_CHECK(c10::canCast(result.scalar_type(), target.scalar_type()), "result type ",
                result.scalar_type(), " can't be cast to the desired output type ",
                target.scalar_type());
    if (!in_place) at::native::resize_output(target, result.sizes());
    copy_converted(target, result);
  } else if (!target.is_inference()) {
    target.unsafeGetTensorImpl()->bump_version();
  }
}

void run_kernel(const Rule& rule, const c10::OperatorHandle& op, c10::DispatchKeySet keys,
                torch::jit::Stack* stack) {
  const c10::FunctionSchema& schema = op.schema();
  const std::size_t count = schema.arguments().size();
  const Arguments arguments = last(*stack, count);
  for (const std::size_t i : rule.written) {
    if (arguments[i].toTensor().defined() && is_sealed(arguments[i].toTensor())) {
      op.redispatchBoxed(below_hook(keys), stack);  // which raises: see write_guard.h
      return;
    }
  }
  const bool has_floating = any_tensor(arguments, is_floating);
  const auto by_torch = [&] {
    op.redispatchBoxed(below_hook(keys), stack);
    require_integers(schema, last(*stack, schema.returns().size()));
  };
  if (!has_floating && has_other_keys(keys)) {  // a transform of integers
    by_torch();
    return;
  }
  require_plain(schema, keys, arguments);
  std::vector<at::Tensor> targets;
  for (const std::size_t i : rule.written) targets.push_back(arguments[i].toTensor());
  Results results(targets.size() == 1 ? targets[0] : at::Tensor());
  if (!rule.kernel(arguments.first(rule.arguments), results)) {
    if (results.moves()) {
      op.redispatchBoxed(below_hook(keys), stack);
    } else {
      by_torch();
    }
    return;
  }
  std::vector<at::Tensor>& made = results.tensors();
  for (std::size_t i = 0; i < targets.size(); ++i) {
    write(targets[i], made[i], rule.in_place);
    made[i] = targets[i];
  }
  torch::jit::drop(*stack, count);
  for (at::Tensor& each : made) stack->emplace_back(std::move(each));
}

// A forked child has but one of its parent's threads.
void in_forked_child() { threads_on = depth > 0 ? 1 : 0; }

[[maybe_unused]] const int watches_forks = ::pthread_atfork(nullptr, nullptr, &in_forked_child);

}  // namespace

void enter() {
  if (depth++ > 0) return;
  ++threads_on;
  want_hook(HookUser::exact, true);
}

void leave() {
  if (--depth > 0) return;
  --threads_on;
  want_hook(HookUser::exact, false);
}

bool is_on() { return depth > 0; }

std::size_t scopes() { return threads_on.load(); }

void raise_not_exact_by(void (*raise)(const NotaryError&)) { raise_error = raise; }

void refuse(const std::string& what, const std::string& expected, const std::string& actual,
            const std::string& next_step) {
  raise_error.load()(NotaryError(what, expected, actual, next_step));
  std::abort();  // raise_error throws
}

at::Tensor Results::fresh(at::IntArrayRef sizes, at::ScalarType type) const {
  return empty_in_arena(sizes, type);
}

const Rule& rule_of(const c10::OperatorHandle& op) {
  static const auto* table = new Table;
  thread_local ska::flat_hash_map<const void*, const Rule*> known;
  const Rule*& rule = known[&op.schema()];
  if (rule == nullptr) {
    static std::mutex mutex;
    static auto* all = new std::unordered_map<const void*, Rule>;  // as long as the process
    const std::lock_guard lock(mutex);
    const auto [entry, is_new] = all->try_emplace(&op.schema());
    if (is_new) entry->second = table->rule_for(op);
    rule = &entry->second;
  }
  return *rule;
}

std::vector<std::pair<std::string, Rule::Way>> all_operators() {
  std::vector<std::pair<std::string, Rule::Way>> found;
  c10::Dispatcher& dispatcher = c10::Dispatcher::singleton();
  for (const c10::OperatorName& name : dispatcher.getAllOpNames()) {
    if (const auto op = dispatcher.findSchema(name)) {
      found.emplace_back(toString(name), rule_of(*op).way);
    }
  }
  return found;
}

void run(const Rule& rule, const c10::OperatorHandle& op, c10::DispatchKeySet keys,
         torch::jit::Stack* stack) {
  const c10::FunctionSchema& schema = op.schema();
  const FloatEnvironment environment;  // torch's own comparisons flush denormals where they may
  const auto by_torch = [&] { op.redispatchBoxed(below_hook(keys), stack); };
  switch (rule.way) {
    case Rule::Way::kernel:
      run_kernel(rule, op, keys, stack);
      return;
    case Rule::Way::moves:
      by_torch();
      return;
    case Rule::Way::random:
      refuse_operator(schema, "draws random numbers, which exact/1 does not specify",
                      "draw them before the call, or record with profile=\"native\"");
    case Rule::Way::part:  // not here
    case Rule::Way::unknown: {
      const Arguments arguments = last(*stack, schema.arguments().size());
      const bool has_tensor = any_tensor(arguments, [](const at::Tensor&) { return true; });
      if (!has_tensor || any_tensor(arguments, is_floating)) {
        refuse_operator(schema, "is not part of exact/1",
                        "write it with operators it has, or record with profile=\"native\"");
      }
      by_torch();
      require_integers(schema, last(*stack, schema.returns().size()));
    }
  }
}

}  // namespace torchnotary::exact
