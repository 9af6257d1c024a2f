// Turns writes of torch's operators to sealed tensors into errors, before they fault.
#pragma once

#include <c10/core/DispatchKey.h>

#include "hashing/errors.h"

namespace torchnotary {

// What sealed tensors, and by inheritance their views, carry in their key set: the dispatcher then
// asks this key first. A private key of torch's, as there is no public one for extensions: the
// functionality keys with a use of their own (Conjugate, Negative, ZeroTensor …) are taken, and a
// backend of our own would replace the kernels. TESTING_ONLY_GenericWrapper stands on tensors by
// definition, above autograd, and nothing in torch registers anything under it. Its one cost:
// `Tensor.new` and `Tensor.new_tensor`, which derive a backend from all keys, refuse it.
inline constexpr c10::DispatchKey kSealedKey = c10::DispatchKey::TESTING_ONLY_GenericWrapper;

// Registers a check with every operator known now whose schema says that it writes an argument
// (and with batch norm, whose schema does not say it), once each; all others fall through at no
// cost. `raise` throws what the caller is to see. Operators registered later are checked after the
// next call; until then they fault.
void guard_writes(void (*raise)(const NotaryError&));

}  // namespace torchnotary
