"""Whether calls pass unrecorded here: a reproduction runs recorded callables without recording."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_paused: ContextVar[bool] = ContextVar("torchnotary_paused", default=False)


def is_paused() -> bool:
    """Whether this thread or task stands inside a `pause`."""
    return _paused.get()


@contextmanager
def pause() -> Iterator[None]:
    """Calls of recorded callables pass unrecorded on this thread or task in the block."""
    token = _paused.set(True)
    try:
        yield
    finally:
        _paused.reset(token)
