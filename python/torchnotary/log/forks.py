"""Fork safety: a fork waits until no thread is inside the store, and the child starts afresh.

SQLite's locks and connections must not cross a fork, and a child may not even close what its
parent opened. So the store is entered through the gate, and what a forked child inherited is
never touched, collected or closed in it again.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any


class _Gate:
    """Entered by any number of threads at once; closed, once they have left, while forking."""

    def __init__(self) -> None:
        self._condition = threading.Condition(threading.Lock())
        self._inside = 0

    def __enter__(self) -> None:
        with self._condition:
            self._inside += 1

    def __exit__(self, *_: object) -> None:
        with self._condition:
            self._inside -= 1
            self._condition.notify_all()

    def close(self) -> None:
        self._condition.acquire()
        while self._inside:
            self._condition.wait()

    def open(self) -> None:
        self._condition.release()


gate = _Gate()
_in_child: list[Callable[[], None]] = []


def in_child(callback: Callable[[], None]) -> None:
    """Calls ``callback`` first thing in every forked child, when it is the only thread."""
    _in_child.append(callback)


def never_collect(*inherited: Any) -> None:
    """Keeps objects for ever, also while the interpreter is taken down."""
    import ctypes

    for item in inherited:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(item))


def _after_in_child() -> None:
    gate.__init__()
    for callback in _in_child:
        callback()


os.register_at_fork(before=gate.close, after_in_parent=gate.open, after_in_child=_after_in_child)
