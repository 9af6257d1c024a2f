"""Standing aside: where torch traces or compiles, calls pass; and recording leaves no trace.

Under ``torch.compile``, ``torch.export``, ``jit.trace``, ``make_fx`` and fake tensors there are no
values to commit to. Elsewhere what the recorder itself asks of torch must not reach a
``TorchFunctionMode``, a ``TorchDispatchMode`` or a tensor subclass of the caller's.
"""

from __future__ import annotations

import sys
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any

from .module_calls import is_held
from .tracing import is_tracing, unseen

_NOTHING: AbstractContextManager[Any] = nullcontext()


def is_traced() -> bool:
    """Whether torch compiles or traces what runs now, rather than running it."""
    torch = sys.modules.get("torch")
    if torch is None:
        return False
    if torch.compiler.is_compiling():
        return True
    core = torch._C
    if core._get_tracing_state() is not None:
        return True
    if not core._len_torch_dispatch_stack():
        return False
    keys = core._TorchDispatchModeKey
    return (
        core._get_dispatch_mode(keys.FAKE) is not None
        or core._get_dispatch_mode(keys.PROXY) is not None
        or core._get_dispatch_mode(keys.FUNCTIONAL) is not None
    )


def aside() -> AbstractContextManager[Any]:
    """A block in which the caller's torch function and dispatch modes, and traces of calls around
    this one, see nothing."""
    torch = sys.modules.get("torch")
    if torch is None:
        return _NOTHING
    modes = torch._C._len_torch_dispatch_stack()
    if not modes and not (is_held("trace") and is_tracing()):
        return torch._C.DisableTorchFunction()
    from torch.utils._python_dispatch import _disable_current_modes

    stack = ExitStack()
    stack.enter_context(unseen())
    stack.enter_context(torch._C.DisableTorchFunction())
    if modes:
        stack.enter_context(_disable_current_modes())
    return stack
