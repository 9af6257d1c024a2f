"""Recording modules in place: ``attach`` on one module, ``with notary:`` on every outermost one.

Both sit where ``nn.Module.__call__`` looks up its implementation, outside all hooks, so that a
record shows what the caller got, exceptions included. ``attach`` puts recorders on the instance
(``_call_impl``, and ``generate`` where there is one); copies, pickles and replicas of the module
leave them behind. ``with notary:`` replaces ``nn.Module.__call__`` while any block is open.
"""

from __future__ import annotations

import threading
import types
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from ..sealing import seal as seal_memory
from ..sealing import unseal
from ..structure import unwrap
from . import module_calls
from .aside import is_traced
from .pause import is_paused
from .subjects import is_module
from .target import ModuleTarget
from .tracing import call_hidden, hidden_by

_SLOTS = ("_call_impl", "_compiled_call_impl", "generate")


class Recorder:
    """Stands on a module instance in place of one of its methods and records calls of it.

    ``inner`` is what stood on the instance before (another notary's recorder, a compiled call);
    None where the class's own method is meant. The module is held weakly: it holds this.
    """

    __torchnotary_recorder__ = True

    def __init__(self, notary: Any, module: Any, slot: str, target: ModuleTarget) -> None:
        self.notary = notary
        self.slot = slot
        self.target = target
        self.seals = False
        self.inner = module.__dict__.get(slot)
        if self.inner is None and not hasattr(type(module), slot):
            self.inner = getattr(module, slot)  # found elsewhere: a compiled module's own
        self._module = weakref.ref(module)

    @property
    def original(self) -> Callable:
        return self.inner or getattr(type(self._module()), self.slot).__get__(self._module())

    @property
    def __wrapped__(self) -> Callable:
        return self.original

    def __call__(self, *args, **kwargs):
        original = self.original
        if is_traced():
            return original(*args, **kwargs)
        notary = self.notary
        module = self._module()
        if notary._is_inside() or notary._passes_training(unwrap(module)):
            return original(*args, **kwargs)
        hidden = module if self.slot != "generate" else None
        return record_call(notary, self.target, original, args, kwargs, hidden)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name in ("_module", "inner", "slot"):
            raise AttributeError(name)
        return getattr(self.original, name)

    def __deepcopy__(self, memo):
        return None  # reached only by classes that copy their own dictionary; see Departure

    def __reduce__(self):
        return (type(None), ())


class Departure:
    """Keeps recorders from leaving with a copy: stands for ``__getstate__`` (copies and pickles)
    or ``_replicate_for_data_parallel`` on an attached instance."""

    __torchnotary_recorder__ = True

    def __init__(self, module: Any, slot: str) -> None:
        self._module = weakref.ref(module)
        self._slot = slot

    def __call__(self, *args):
        module = self._module()
        result = getattr(type(module), self._slot, _plain_state)(module, *args)
        if self._slot == "__getstate__":
            return strip(dict(result)) if isinstance(result, dict) else result
        strip(result.__dict__)
        return result


def _plain_state(module: Any) -> dict[str, Any]:
    return module.__dict__  # before Python 3.11 objects have no __getstate__ of their own


def strip(attributes: dict[str, Any]) -> dict[str, Any]:
    """An instance dictionary without what ``attach`` put there."""
    for name in [k for k, v in attributes.items() if hasattr(type(v), "__torchnotary_recorder__")]:
        value = attributes.pop(name)
        while isinstance(value, Recorder):
            value = value.inner
        if value is not None and name == "_compiled_call_impl":
            attributes[name] = value
    return attributes


def record_call(
    notary: Any,
    target: ModuleTarget,
    original: Any,
    args: tuple,
    kwargs: dict,
    hidden: Any = None,
) -> Any:
    """Run ``original``, which torch does not trace, as one recorded call of ``target``. ``hidden``
    is the module where ``original`` enters it past ``nn.Module.__call__``: a trace is told here if
    its operators cannot be seen."""
    call = None if is_paused() else notary._start(target, args, kwargs)
    if call is None:
        return original(*args, **kwargs)
    try:
        with notary._running(call):
            if call.tracing is not None and hidden_by(hidden) is not None:
                result = call_hidden(hidden, original, args, kwargs, is_root=True)
            else:
                result = original(*args, **kwargs)
    except BaseException as error:
        notary._finish(call, call.raised, error)
        raise
    notary._finish(call, call.returned, result)
    return result


def attach(notary: Any, module: Any, name: str | None, seal: bool) -> None:
    """Put recorders on a module, whose memory is sealed first where ``seal``; nothing where this
    notary's are there already."""
    if seal:
        seal_memory(module)
    for slot in _SLOTS:
        if not _can_be_recorded(module, slot) or _find(notary, module, slot):
            continue
        target = module_target(module, name, "generate" if slot == "generate" else "forward")
        module.__dict__[slot] = Recorder(notary, module, slot, target)
    for slot in ("__getstate__", "_replicate_for_data_parallel"):
        module.__dict__.setdefault(slot, Departure(module, slot))
    if seal:
        _find(notary, module, "_call_impl")[1].seals = True


def _can_be_recorded(module: Any, slot: str) -> bool:
    if slot == "_compiled_call_impl":
        return module.__dict__.get(slot) is not None
    if slot == "generate":
        method = getattr(module, slot, None)
        return callable(method) and not is_module(method)
    return True


def _find(notary: Any, module: Any, slot: str) -> tuple[Recorder | None, Recorder] | None:
    """This notary's recorder in a slot, and the recorder that stands before it."""
    before, current = None, module.__dict__.get(slot)
    while isinstance(current, Recorder):
        if current.notary is notary:
            return before, current
        before, current = current, current.inner
    return None


def detach(notary: Any, module: Any) -> None:
    """Take this notary's recorders off a module; other notaries' stay. What it sealed becomes
    ordinary memory, unless another one sealed it too."""
    sealed = False
    for slot in _SLOTS:
        found = _find(notary, module, slot)
        if found is None:
            continue
        before, recorder = found
        sealed = sealed or recorder.seals
        if before is not None:
            before.inner = recorder.inner
        elif recorder.inner is None or slot == "generate" and not _stood_on(recorder):
            del module.__dict__[slot]
        else:
            module.__dict__[slot] = recorder.inner
    if not any(isinstance(module.__dict__.get(slot), Recorder) for slot in _SLOTS):
        for slot in ("__getstate__", "_replicate_for_data_parallel"):
            if isinstance(module.__dict__.get(slot), Departure):
                del module.__dict__[slot]
    if sealed and not _is_sealed_by_others(module):
        unseal(module)


def _is_sealed_by_others(module: Any) -> bool:
    recorder = module.__dict__.get("_call_impl")
    while isinstance(recorder, Recorder) and not recorder.seals:
        recorder = recorder.inner
    return isinstance(recorder, Recorder)


def _stood_on(recorder: Recorder) -> bool:
    """Whether what a recorder replaced had been put on the instance, not found through it."""
    return hasattr(type(recorder._module()), recorder.slot) or isinstance(recorder.inner, Recorder)


def module_target(module: Any, name: str | None, method: str) -> ModuleTarget:
    """The target that calls of a module (looked at below its wrappers) are recorded under."""
    return ModuleTarget(unwrap(module), method, name)


_block: ContextVar[tuple[Any, int] | None] = ContextVar("torchnotary_block", default=None)
_targets: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()


def enter_block(notary: Any) -> Any:
    """Begin recording every outermost module call of this thread; returns a token to leave by."""
    module_calls.hold("block", _observed_call)
    return _block.set((notary, threading.get_ident()))


def leave_block(token: Any) -> None:
    """End a block; ``token`` is None where it is left in another context than it was entered in."""
    try:
        if token is not None:
            _block.reset(token)
    finally:
        module_calls.release("block")


def _observed_call(self, *args, **kwargs):
    block = _block.get()
    if block is None or block[1] != threading.get_ident() or is_traced():
        return module_calls.call_below_block(self, *args, **kwargs)
    notary = block[0]
    if notary._is_inside() or notary._passes_training(unwrap(self)):
        return module_calls.call_below_block(self, *args, **kwargs)
    target = _targets.get(self)
    if target is None:
        target = _targets[self] = module_target(self, None, "forward")
    return record_call(
        notary, target, types.MethodType(module_calls.call_below_block, self), args, kwargs
    )
