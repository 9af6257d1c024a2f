"""Seeing calls of modules: ``nn.Module.__call__`` replaced while a block or a trace asks for it.

A layer is what stands in for it: ``block`` (``with notary:``) outside, ``trace`` below that,
``exact`` below both, and torch's own below all. Each is there while somebody holds it open; traces
and exact profiles hold theirs as long as their notary lives, since replacing the method of a class
makes Python forget what it knows of its subclasses.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

_lock = threading.RLock()
_holders = {"block": 0, "trace": 0, "exact": 0}
_layers: dict[str, Callable] = {}
_plain_call: Any = None
_plain_start: Any = None
_below_block: Any = None
_below_trace: Any = None


def renew_lock() -> None:
    """A forked child may have inherited the lock held by a thread it does not have."""
    global _lock
    _lock = threading.RLock()


def hold(layer: str, call: Callable, start: Callable | None = None) -> None:
    """Have ``call`` stand in for ``nn.Module.__call__`` as this layer, and ``start`` for
    ``threading.Thread.start``, until every holder has released it."""
    global _plain_call, _plain_start
    import torch

    with _lock:
        if not any(_holders.values()):
            _plain_call = torch.nn.Module.__call__
            _plain_start = threading.Thread.start
        _holders[layer] += 1
        _layers[layer] = call
        if start is not None:
            threading.Thread.start = start
        _install(torch.nn.Module)


def release(layer: str) -> None:
    """Give a hold back; the last one leaves torch as it was."""
    import torch

    with _lock:
        _holders[layer] -= 1
        if layer == "trace" and _holders["trace"] == 0:
            threading.Thread.start = _plain_start
        _install(torch.nn.Module)


def is_held(layer: str) -> bool:
    """Whether anybody holds the layer."""
    return _holders[layer] > 0


def _install(module_class: Any) -> None:
    global _below_block, _below_trace
    _below_trace = _layers["exact"] if _holders["exact"] else _plain_call
    _below_block = _layers["trace"] if _holders["trace"] else _below_trace
    module_class.__call__ = _layers["block"] if _holders["block"] else _below_block


def call_below_block(module: Any, *args, **kwargs) -> Any:
    """A module's call as it is without the block."""
    return _below_block(module, *args, **kwargs)


def call_below_trace(module: Any, *args, **kwargs) -> Any:
    """A module's call as it is without the block and without traces."""
    return _below_trace(module, *args, **kwargs)


def plain_call(module: Any, *args, **kwargs) -> Any:
    """A module's call as it is without any layer."""
    return _plain_call(module, *args, **kwargs)


def beneath(call: Callable) -> Callable:
    """What stands below ``call`` where it is a layer of these, else itself."""
    return _plain_call if call in _layers.values() else call


def plain_start(thread: threading.Thread) -> None:
    """A thread's start as Python has it."""
    _plain_start(thread)
