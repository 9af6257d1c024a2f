"""``with notary.group():`` – the calls of a block, put together into one record.

A record has one state of each model, one nonce and one set of labels. A call that would need
another one, and one beyond what a record holds, begins the group's next record.
"""

from __future__ import annotations

import threading
import weakref
from collections.abc import Mapping
from functools import cached_property
from typing import Any

from ..group_paths import path_in
from ..leaves import Leaf
from ..statement.predicate import MAX_CALLS
from .call import Call
from .group_facts import GroupedCode, RandomStates
from .group_models import GroupedModels
from .moment import current_task

MAX_LEAVES = 2**18
MAX_KEPT_BYTES = 2**28


class Group:
    """An open block: the task that opened it, else its thread, and the calls made there so far.

    ``stream`` is the stream of records they go to: a forked child has another, and no part in it.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self._thread = threading.get_ident()
        task = current_task()
        self._task = weakref.ref(task) if task is not None else None
        self._calls: GroupedCalls | None = None
        self._is_open = True

    def is_here(self) -> bool:
        """Whether a call made now, on this thread and task, is part of the group."""
        return (
            self._is_open
            and threading.get_ident() == self._thread
            and (self._task is None or current_task() is self._task())
        )

    def make_room(self, call: Call) -> GroupedCalls | None:
        """End the record in the making where it cannot be one of ``call`` too; returns its calls if
        none of them still runs."""
        if self._calls is None or self._calls.takes(call):
            return None
        return self._end_record()

    def add(self, call: Call) -> None:
        """Make a call that begins part of the group."""
        if self._calls is None:
            self._calls = GroupedCalls(self.stream)
        self._calls.add(call)

    def leave(self) -> GroupedCalls | None:
        """End the group; returns its calls if there are any and none still runs: else the one that
        ends last completes the record."""
        self._is_open = False
        return self._end_record()

    def _end_record(self) -> GroupedCalls | None:
        calls, self._calls = self._calls, None
        return calls if calls is not None and calls.close() else None


class GroupedCalls:
    """Calls of a group that share a record; to the writer's job they are the one call it is of.

    What is kept once a record (its secret, its trace) belongs here and not to the calls. A call
    may end on any thread, where a garbage collection closes a generator, even amid these methods:
    so they rely on single steps of built-in types instead of a lock.
    """

    def __init__(self, stream: Any) -> None:
        self.stream = stream
        self.calls: list[Call] = []
        self._running: set[Call] = set()
        self._models = GroupedModels()
        self._random = RandomStates()
        self._leaves = 0
        self._kept_bytes = 0
        self._is_open = True
        self._unclaimed = [self]
        self.secret: bytes | None = None
        self.tracing: Any = None

    # While the block is open

    def takes(self, call: Call) -> bool:
        """Whether a record of these calls can be one of ``call`` too."""
        return (
            len(self.calls) < MAX_CALLS
            and self._leaves + len(call.inputs) <= MAX_LEAVES
            and self._kept_bytes < MAX_KEPT_BYTES
            and self.nonce == call.nonce
            and self.labels == call.labels
            and self._models.takes(call.model)
            and self._trace_takes(call)
        )

    def _trace_takes(self, call: Call) -> bool:
        """A trace is of one model, whose names its lines have, and numbers calls as they begin:
        one that turns out broken is the last of its record."""
        if self.tracing is None:
            return True
        return call.model is self.calls[0].model and not any(one.broken for one in self.calls)

    def prefix(self, call: Call) -> str:
        """What the paths of a call's values begin with in its record."""
        return path_in(self.calls.index(call), "")

    def add(self, call: Call) -> None:
        self._models.add(call.model)
        self._random.begins(call, alone=not self._running)
        self._weigh(call.inputs, call.keep)
        self._running.add(call)
        self.calls.append(call)
        call.group = self

    def has_ended(self, call: Call) -> bool:
        """Note that a call ended; True where the record waited for nothing else."""
        if call.broken is None:
            self._weigh(call.outputs, call.keep)
            self._random.ended(call)
        self._running.discard(call)
        return self._is_complete()

    def close(self) -> bool:
        """Take no further calls; True where none runs any more, so that the record can be made."""
        self._is_open = False
        return self._is_complete()

    def _weigh(self, leaves: list[Leaf], keep: bool) -> None:
        self._leaves += len(leaves)
        if keep:
            self._kept_bytes += sum(leaf.nbytes for leaf in leaves)

    def _is_complete(self) -> bool:
        """True once: when the record can be made."""
        if self._is_open or self._running:
            return False
        try:
            self._unclaimed.pop()
        except IndexError:
            return False
        self.calls = [call for call in self.calls if call.broken is None]
        return bool(self.calls)

    # What the writer's job asks of a call

    broken = None

    @property
    def count(self) -> int:
        return len(self.calls)

    @property
    def nonce(self) -> bytes | None:
        return self.calls[0].nonce

    @property
    def labels(self) -> Mapping[str, str]:
        return self.calls[0].labels

    @property
    def keep(self) -> bool:
        return self.calls[0].keep

    @cached_property
    def inputs(self) -> list[Leaf]:
        return self._numbered("inputs")

    @cached_property
    def outputs(self) -> list[Leaf]:
        return self._numbered("outputs")

    @cached_property
    def model(self) -> Any:
        return self._models.merged()

    @cached_property
    def code(self) -> GroupedCode:
        return GroupedCode([call.code for call in self.calls])

    @property
    def started(self) -> int:
        return self.calls[0].started

    @property
    def ended(self) -> int:
        return max(call.ended for call in self.calls)

    def drawn_states(self) -> list[list[Any]]:
        """The random states that calls drew from, each with the number of its call; those that
        go on where the calls before left off are left out."""
        states = ((number, call.drawn_states()) for number, call in enumerate(self.calls))
        return [[number, drawn] for number, drawn in states if drawn]

    def _numbered(self, tree: str) -> list[Leaf]:
        return [
            leaf.at(path_in(number, leaf.path))
            for number, call in enumerate(self.calls)
            for leaf in getattr(call, tree)
        ]
