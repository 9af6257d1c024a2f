#include "torch/hook.h"

#include <c10/core/impl/LocalDispatchKeySet.h>
#include <torch/library.h>

#include <array>

#include "torch/exact_dispatch.h"
#include "torch/tracer.h"

namespace torchnotary {
namespace {

thread_local std::array<bool, 2> wanted_by{};

void on_operator(const c10::OperatorHandle& op, c10::DispatchKeySet keys,
                 torch::jit::Stack* stack) {
  const auto plainly = [&](torch::jit::Stack* operands) {
    op.redispatchBoxed(below_hook(keys), operands);
  };
  // Transforms of functorch put back the thread's keys as they found them, so that the key alone
  // does not say whether an operator is part of another one.
  if (Tracer::is_in_operator()) {
    const c10::impl::ExcludeDispatchKeyGuard unseen(kKey);
    plainly(stack);
  } else if (!exact::is_on()) {
    const c10::impl::ExcludeDispatchKeyGuard unseen(kKey);
    Tracer::trace(op, stack, plainly);
  } else {
    const exact::Rule& rule = exact::rule_of(op);
    if (rule.way == exact::Rule::Way::part) {
      plainly(stack);  // the key stays: its parts are seen one by one
      return;
    }
    const c10::impl::ExcludeDispatchKeyGuard unseen(kKey);
    Tracer::trace(op, stack,
                  [&](torch::jit::Stack* operands) { exact::run(rule, op, keys, operands); });
  }
}

}  // namespace

void want_hook(HookUser user, bool wanted) {
  wanted_by[static_cast<std::size_t>(user)] = wanted;
  c10::impl::tls_set_dispatch_key_included(kKey, wanted_by[0] || wanted_by[1]);
}

TORCH_LIBRARY_IMPL(_, TESTING_ONLY_GenericMode, m) {
  m.fallback(torch::CppFunction::makeFromBoxedFunction<&on_operator>());
}

}  // namespace torchnotary
