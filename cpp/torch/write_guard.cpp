#include "torch/write_guard.h"

#include <ATen/core/dispatch/Dispatcher.h>
#include <torch/library.h>

#include <algorithm>
#include <atomic>
#include <map>
#include <memory>
#include <mutex>
#include <set>
#include <string>
#include <tuple>

#include "torch/sealing.h"

namespace torchnotary {
namespace {

std::atomic<void (*)(const NotaryError&)> raise_error = nullptr;

bool is_written(const c10::Argument& argument) {
  return argument.alias_info() != nullptr && argument.alias_info()->isWrite();
}

// Every form of batch norm ends in this operator; it updates the running statistics in training,
// and its schema does not say so.
constexpr char kBatchNorm[] = "aten::native_batch_norm";

bool updates_statistics(const c10::FunctionSchema& schema, c10::ArrayRef<c10::IValue> arguments) {
  if (schema.name() != kBatchNorm) return false;
  const auto training = schema.argumentIndexWithName("training");
  return training && arguments[static_cast<std::size_t>(*training)].toBool();
}

bool is_statistic(const c10::Argument& argument) {
  return argument.name() == "running_mean" || argument.name() == "running_var";
}

void check(const c10::FunctionSchema& schema, const at::Tensor& tensor) {
  if (!tensor.defined() || !is_sealed(tensor)) return;
  raise_error.load()(NotaryError(
      schema.name() + " would write to sealed memory: " + sealed_names(tensor), "", "",
      "change a copy (copy.deepcopy(model) is not sealed), or call notary.detach(model) first and "
      "attach the model again afterwards"));
}

void check(const c10::FunctionSchema& schema, const c10::IValue& value) {
  if (value.isTensor()) {
    check(schema, value.toTensor());
  } else if (value.isTensorList()) {
    for (const at::Tensor tensor : value.toTensorList()) check(schema, tensor);
  } else if (value.isList()) {  // Tensor?(a!)[]
    for (const c10::IValue item : value.toList()) check(schema, item);
  }
}

void guard(const c10::OperatorHandle& op, c10::DispatchKeySet keys, torch::jit::Stack* stack) {
  const auto& schema = op.schema();
  const auto arguments = torch::jit::last(*stack, schema.arguments().size());
  const bool statistics = updates_statistics(schema, arguments);
  for (std::size_t i = 0; i < arguments.size(); ++i) {
    const c10::Argument& argument = schema.arguments()[i];
    if (is_written(argument) || (statistics && is_statistic(argument))) {
      check(schema, arguments[i]);
    }
  }
  op.redispatchBoxed(keys & c10::DispatchKeySet(c10::DispatchKeySet::FULL_AFTER, kSealedKey),
                     stack);
}

// The registrations, which last as long as these objects: for good.
class Registrations {
 public:
  Registrations() { others_.fallback(torch::CppFunction::makeFallthrough()); }

  void add_new_operators() {
    for (const c10::OperatorName& name : c10::Dispatcher::singleton().getAllOpNames()) {
      const auto op = c10::Dispatcher::singleton().findSchema(name);
      if (!op || !needs_guard(op->schema()) || !guarded_.insert(name).second) continue;
      of_namespace(std::string(*name.getNamespace()))
          .impl(c10::toString(name).c_str(), torch::CppFunction::makeFromBoxedFunction<&guard>());
    }
  }

 private:
  struct Less {
    bool operator()(const c10::OperatorName& a, const c10::OperatorName& b) const {
      return std::tie(a.name, a.overload_name) < std::tie(b.name, b.overload_name);
    }
  };

  static bool needs_guard(const c10::FunctionSchema& schema) {
    const auto& arguments = schema.arguments();
    return schema.name() == kBatchNorm ||
           std::any_of(arguments.begin(), arguments.end(), is_written);
  }

  torch::Library& of_namespace(const std::string& name) {
    auto& library = libraries_[name];
    if (!library) {
      library = std::make_unique<torch::Library>(torch::Library::IMPL, name, kSealedKey, __FILE__,
                                                 __LINE__);
    }
    return *library;
  }

  torch::Library others_{torch::Library::IMPL, "_", kSealedKey, __FILE__, __LINE__};
  std::map<std::string, std::unique_ptr<torch::Library>> libraries_;
  std::set<c10::OperatorName, Less> guarded_;
};

}  // namespace

void guard_writes(void (*raise)(const NotaryError&)) {
  static std::mutex mutex;
  static auto* registrations = new Registrations;  // never destroyed: tensors may outlive it
  const std::lock_guard lock(mutex);
  raise_error = raise;
  registrations->add_new_operators();
}

}  // namespace torchnotary
