"""What others put between a caller and the operators: modes, and hooks on every module.

Hooks on one module are part of a model's structure. These stand outside of any model: the torch
function and dispatch modes this thread is in, hooks that every module runs, and what stands in
place of ``nn.Module.__call__``.
"""

from __future__ import annotations

import sys
from typing import Any

from ..attributes import class_name, describe_callable
from . import module_calls

_NONE: dict[str, str] = {}
_module: Any = None
_known_call: Any = None


def interposed() -> dict[str, str]:
    """What is interposed on this thread now, by kind: qualified names joined by ``, ``, in order.
    Kinds of which there is nothing are left out, so that this is mostly empty."""
    global _module
    torch = sys.modules.get("torch")
    if torch is None:
        return _NONE
    if _module is None:
        _module = sys.modules["torch.nn.modules.module"]
    core, module = torch._C, _module
    if not (
        core._len_torch_function_stack()
        or core._len_torch_dispatch_stack()
        or module._global_forward_pre_hooks
        or module._global_forward_hooks
        or module_calls.beneath(module.Module.__call__) is not module.Module._wrapped_call_impl
        or module.Module._call_impl is not _known_call
        and not _knows(module)
    ):
        return _NONE
    return _named(core, module)


def _named(core: Any, module: Any) -> dict[str, str]:
    function_modes = [
        core._get_function_stack_at(i) for i in range(core._len_torch_function_stack())
    ]
    dispatch_modes = [
        core._get_dispatch_stack_at(i) for i in range(core._len_torch_dispatch_stack())
    ]
    calls = (module_calls.beneath(module.Module.__call__), module.Module._call_impl)
    found = {
        "dispatch_modes": [class_name(mode) for mode in dispatch_modes],
        "forward_hooks": [describe_callable(h) for h in module._global_forward_hooks.values()],
        "forward_pre_hooks": [
            describe_callable(h) for h in module._global_forward_pre_hooks.values()
        ],
        "function_modes": [class_name(mode) for mode in function_modes],
        "module_call": [_whereabouts(call) for call in calls if not _is_torchs(call, module)],
    }
    return {kind: ", ".join(names) for kind, names in found.items() if names}


def _knows(module: Any) -> bool:
    """Whether ``Module._call_impl`` is torch's own, which is then known."""
    global _known_call
    if not _is_torchs(module.Module._call_impl, module):
        return False
    _known_call = module.Module._call_impl
    return True


def _is_torchs(function: Any, module: Any) -> bool:
    """Whether a function was written in torch's module of that name: what wraps it may say so."""
    return getattr(function, "__globals__", None) is vars(module)


def _whereabouts(function: Any) -> str:
    code = getattr(function, "__code__", None)
    if code is None:
        return describe_callable(function)
    return f"{function.__globals__.get('__name__')}.{getattr(code, 'co_qualname', code.co_name)}"
