"""Recording modules in place: ``attach`` on one module, ``with notary:`` on every outermost one.

Both sit where ``nn.Module.__call__`` looks up its implementation, outside all hooks, so that a
record shows what the caller got, exceptions included. ``attach`` puts a recorder on the instance
(``_call_impl``, and ``generate`` where there is one); copies and pickles of the module leave it
behind. ``with notary:`` replaces ``nn.Module.__call__`` while any block is open.
"""

from __future__ import annotations

import sys
import threading
import types
import weakref
from contextvars import ContextVar
from typing import Any

from ..structure import unwrap
from .surroundings import CodeFacts
from .wrappers import Target

_SLOTS = ("_call_impl", "_compiled_call_impl", "generate")


class Recorder:
    """Stands on a module instance in place of one of its methods and records calls of it."""

    __torchnotary_recorder__ = True

    def __init__(self, notary: Any, module: Any, slot: str, target: Target) -> None:
        self.notary = notary
        self.module = module
        self.slot = slot
        self.target = target
        self.original = module.__dict__.get(slot) or getattr(module, slot)

    def __call__(self, *args, **kwargs):
        if self.slot != "generate":
            # A shallow copy or a DataParallel replica shares the instance dictionary but is not
            # the module that was attached: it runs as itself, unrecorded.
            caller = sys._getframe(1).f_locals.get("self", self.module)
            if caller is not self.module:
                return plain_method(caller, self.slot)(*args, **kwargs)
        notary = self.notary
        if notary._is_inside() or notary._passes_training(unwrap(self.module)):
            return self.original(*args, **kwargs)
        return record_call(notary, self.target, self.original, args, kwargs)

    def __deepcopy__(self, memo):
        return plain_method(memo[id(self.module)], self.slot)

    def __reduce__(self):
        return plain_method, (self.module, self.slot)


def plain_method(module: Any, slot: str) -> Any:
    """The method a module's class defines, bound to the module: what a copy gets instead of a
    recorder (None for a compiled call, which copies do not keep)."""
    function = getattr(type(module), slot, None)
    return types.MethodType(function, module) if function is not None else None


def record_call(notary: Any, target: Target, original: Any, args: tuple, kwargs: dict) -> Any:
    """Run ``original`` as one recorded call of ``target``."""
    call = notary._begin(target, args, kwargs)
    if call is None:
        return original(*args, **kwargs)
    try:
        with notary._running():
            result = original(*args, **kwargs)
    except BaseException as error:
        notary._finish(call, call.raised, error)
        raise
    notary._finish(call, call.returned, result)
    return result


def attach(notary: Any, module: Any, name: str | None) -> None:
    """Put recorders on a module; nothing where this notary's are there already."""
    for slot in _SLOTS:
        current = module.__dict__.get(slot)
        if isinstance(current, Recorder) and current.notary is notary:
            continue
        if slot == "_compiled_call_impl" and current is None:
            continue
        if slot == "generate" and not callable(getattr(module, "generate", None)):
            continue
        target = module_target(module, name, "generate" if slot == "generate" else "forward")
        module.__dict__[slot] = Recorder(notary, module, slot, target)


def detach(notary: Any, module: Any) -> bool:
    """Take this notary's recorders off a module; whether there were any."""
    found = False
    for slot in _SLOTS:
        current = module.__dict__.get(slot)
        if isinstance(current, Recorder) and current.notary is notary:
            found = True
            original = current.original
            if isinstance(original, types.MethodType) and original.__self__ is module:
                del module.__dict__[slot]
            else:
                module.__dict__[slot] = original
    return found


def module_target(module: Any, name: str | None, method: str) -> Target:
    """The target that calls of a module (looked at below its wrappers) are recorded under."""
    inner = unwrap(module)
    target = Target(getattr(inner, method), inner, name or type(inner).__name__)
    target.code = CodeFacts.of_module(inner, name)
    if method != "forward":
        target.code.name += f".{method}"
    return target


_block: ContextVar[tuple[Any, int] | None] = ContextVar("torchnotary_block", default=None)
_blocks_lock = threading.Lock()
_open_blocks = 0
_plain_call: Any = None
_targets: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def enter_block(notary: Any) -> Any:
    """Begin recording every outermost module call of this thread; returns a token to leave by."""
    global _open_blocks, _plain_call
    import torch

    with _blocks_lock:
        if _open_blocks == 0:
            _plain_call = torch.nn.Module.__call__
            torch.nn.Module.__call__ = _observed_call
        _open_blocks += 1
    return _block.set((notary, threading.get_ident()))


def leave_block(token: Any) -> None:
    global _open_blocks
    import torch

    _block.reset(token)
    with _blocks_lock:
        _open_blocks -= 1
        if _open_blocks == 0:
            torch.nn.Module.__call__ = _plain_call


def _observed_call(self, *args, **kwargs):
    block = _block.get()
    if block is None or block[1] != threading.get_ident():
        return _plain_call(self, *args, **kwargs)
    notary = block[0]
    if notary._is_inside() or notary._passes_training(unwrap(self)):
        return _plain_call(self, *args, **kwargs)
    target = _targets.get(self)
    if target is None:
        target = _targets[self] = module_target(self, None, "forward")
    return record_call(notary, target, types.MethodType(_plain_call, self), args, kwargs)
