"""torch's fused transformer layers, off while a thread computes by exact/1.

``nn.MultiheadAttention`` and ``nn.TransformerEncoderLayer`` ask
``torch.backends.mha.get_fastpath_enabled`` whether they may call one operator for all they do, for
which exact/1 has no rule. That answer belongs to the process, a profile to a thread.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

_lock = threading.Lock()
_scopes = 0  # open ones, of all threads
_replaced: Callable[[], bool] | None = None


@contextmanager
def fast_paths_off(is_exact: Callable[[], bool]) -> Iterator[None]:
    """Inside the block, let torch's modules take their fused paths only on threads that are not
    under exact/1; the others do as the user said."""
    import torch

    _begin(torch.backends.mha, is_exact)
    try:
        yield
    finally:
        _end(torch.backends.mha)


def _begin(mha: Any, is_exact: Callable[[], bool]) -> None:
    global _scopes, _replaced
    with _lock:
        _scopes += 1
        if _scopes > 1:
            return
        enabled = _replaced = mha.get_fastpath_enabled
        mha.get_fastpath_enabled = lambda: not is_exact() and enabled()


def _end(mha: Any) -> None:
    global _scopes, _replaced
    with _lock:
        _scopes -= 1
        if _scopes == 0:
            mha.get_fastpath_enabled = _replaced
            _replaced = None
