"""Where a thread or task stands in its recorded calls: its last record, the stretch it is in."""

from __future__ import annotations

import asyncio
import sys
import threading
import weakref
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any


class Stretch:
    """One stretch of a recorded call's own execution: marks it, applies the profile's scope, and
    traces it where the call is traced."""

    __slots__ = ("_inside", "_open", "_scope", "_token", "_tracing", "running")

    def __init__(self, inside: ContextVar, scope: Callable | None, tracing: Any = None) -> None:
        self._inside = inside
        self._scope = scope
        self._tracing = tracing
        self.running = False

    def __enter__(self) -> None:
        self._open = self._scope() if self._scope is not None else None
        if self._open is not None:
            self._open.__enter__()
        self.running = True
        self._token = self._inside.set(self)
        if self._tracing is not None:
            self._tracing.__enter__()

    def __exit__(self, *exception: Any) -> None:
        if self._tracing is not None:
            self._tracing.__exit__(*exception)
        # A task begun in this stretch inherits the mark; it must not outlive the stretch there.
        self.running = False
        self._inside.reset(self._token)
        if self._open is not None:
            self._open.__exit__(*exception)


class LastRecords:
    """The last record of each asyncio task, and of each thread outside of tasks.

    A notebook runs every cell in a task of its own, so a thread also remembers the last record of
    a task that has ended.
    """

    def __init__(self) -> None:
        self._tasks: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()
        self._thread = threading.local()

    def set(self, record: Any) -> None:
        task = current_task()
        if task is not None:
            self._tasks[task] = record
        self._thread.entry = (record, weakref.ref(task) if task is not None else None)

    def get(self) -> Any:
        task = current_task()
        if task is not None and task in self._tasks:
            return self._tasks[task]
        record, maker = getattr(self._thread, "entry", (None, None))
        running = maker() if maker is not None else None
        return None if running is not None and not running.done() else record


def current_task() -> Any:
    """The asyncio task that runs on this thread; None outside of one."""
    if "asyncio" not in sys.modules or asyncio._get_running_loop() is None:
        return None
    return asyncio.current_task()
