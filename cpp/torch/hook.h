// The dispatch key under which this library sees a thread's operators, and who wants it included.
//
// While kKey is in a thread's included set, the fallback on it sees every operator before autocast,
// autograd and functorch do: composite ones whole, where what they are made of is called with the
// key excluded.
//
// Why TESTING_ONLY_GenericMode, which no library of torch 2.13 registers: it is a functionality key
// that TLS can include, above all that changes or splits an operator, and below PreDispatch and
// PythonDispatcher, which torch.export holds and accept no second fallback. The public
// RecordFunction callbacks see every operator inside a composite one as well, box the arguments of
// each, and cost a multiple; a TorchDispatchMode costs Python and sees operators below autograd.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/stack.h>
#include <c10/core/DispatchKey.h>
#include <c10/core/DispatchKeySet.h>

#include "hashing/parallel.h"

namespace torchnotary {

inline constexpr c10::DispatchKey kKey = c10::DispatchKey::TESTING_ONLY_GenericMode;

// What stands below the key for an operator that was called with `keys`.
inline c10::DispatchKeySet below_hook(c10::DispatchKeySet keys) {
  return keys & c10::DispatchKeySet(c10::DispatchKeySet::FULL_AFTER, kKey);
}

// Each user of the hook says for itself whether it wants this thread's operators.
enum class HookUser { tracer, exact };
void want_hook(HookUser user, bool wanted);

}  // namespace torchnotary
