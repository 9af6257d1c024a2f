"""Functions of torch's that do otherwise while a thread computes by exact/1.

``nn.MultiheadAttention`` and ``nn.TransformerEncoderLayer`` ask
``torch.backends.mha.get_fastpath_enabled`` whether they may call one operator for all they do, for
which exact/1 has no rule. And printing a tensor takes operators of float64, which are no part of
any result: it is done as torch does it, seen by neither the profile nor a trace.

A function belongs to the process, a profile to a thread: on other threads they do what they did.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.RLock()
_scopes = 0  # open ones, of all threads
_replaced: list[tuple[Any, str, Callable[..., Any]]] = []


@contextmanager
def torch_functions(extension: Any) -> Iterator[None]:
    """Inside the block, let torch's modules take no fused path on threads that are under exact/1,
    and tensors be printed there as elsewhere; ``extension`` is ``_torch``."""
    _begin(extension)
    try:
        yield
    finally:
        _end()


def _begin(extension: Any) -> None:
    import torch

    global _scopes
    with _lock:
        _scopes += 1
        if _scopes > 1:
            return
        is_exact, unseen = extension.is_exact, extension.call_unseen
        enabled = _replace(
            torch.backends.mha, "get_fastpath_enabled", lambda: not is_exact() and enabled()
        )
        printed = _replace(
            torch._tensor_str,
            "_str",
            lambda *tensor, **options: (
                unseen(printed, *tensor, **options) if is_exact() else printed(*tensor, **options)
            ),
        )


def _replace(module: Any, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    before = getattr(module, name)
    _replaced.append((module, name, before))
    setattr(module, name, function)
    return before


def _end() -> None:
    global _scopes
    with _lock:
        _scopes -= 1
        if _scopes == 0:
            while _replaced:
                setattr(*_replaced.pop())
