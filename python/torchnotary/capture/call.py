"""One recorded call: everything a record needs that must be taken on the caller's path.

Inputs are hashed before the call and outputs right after it, since either may change later;
salting, JSON, signing and storing happen on the writer's thread (see :mod:`.job`).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from ..leaves import Leaf, class_name, flatten_arguments, flatten_output
from ..random_states import drawn, random_states
from .models import CommittedModel
from .subjects import is_module
from .surroundings import CodeFacts, execution_now


class Call:
    """What is known of a call, filled in before, during and after it."""

    __slots__ = (
        "broken",
        "code",
        "drew",
        "execution",
        "ended",
        "exception",
        "group",
        "inputs",
        "keep",
        "labels",
        "model",
        "nonce",
        "outputs",
        "random_after",
        "random_before",
        "secret",
        "started",
        "status",
        "tracing",
        "training",
    )

    count = 1  # of calls that go with it where it gets no record

    def __init__(
        self,
        code: CodeFacts,
        model: CommittedModel | None,
        arguments: Mapping[str, Any],
        *,
        profile: str,
        around: dict[str, str],
        keep: bool,
        nonce: bytes | None,
        labels: Mapping[str, str],
    ) -> None:
        self.code = code
        self.model = model
        self.keep = keep
        self.nonce = nonce
        self.labels = labels
        self.outputs: list[Leaf] = []
        self.exception: str | None = None
        self.broken: Exception | None = None
        self.group: Any = None  # the calls it shares a record with: see group.py
        self.status = "running"
        self.secret: bytes | None = None  # of the record, where it is needed before that is made
        self.tracing: Any = None
        self.drew: dict[str, bytes] | None = None  # random states, once it is known which
        self.inputs = flatten_arguments(arguments, keep=keep, leave_out=is_module)
        self.training = model.training() if model is not None else False
        self.execution = execution_now(profile, around)
        self.random_before = random_states()
        self.started = time.time_ns()

    def add_output(self, path: str, value: Any) -> None:
        """Hash one part of the result (a generator's item) as it passes."""
        leaves = flatten_output(value, keep=self.keep)
        for leaf in leaves:
            leaf.path = path + leaf.path[len("output") :]
        self.outputs += leaves

    def returned(self, value: Any) -> None:
        self._end("returned")
        self.outputs = flatten_output(value, keep=self.keep)

    def exhausted(self, status: str) -> None:
        """A generator ended: ``returned``, or ``closed`` by its consumer before its end."""
        self._end(status)

    def raised(self, error: BaseException) -> None:
        self._end("raised")
        self.exception = class_name(error)

    def _end(self, status: str) -> None:
        self.ended = time.time_ns()
        self.random_after = random_states()
        self.status = status

    def drawn_states(self) -> dict[str, bytes]:
        """The random states the call drew from, as they were before it."""
        if self.drew is None:
            self.drew = drawn(self.random_before, self.random_after)
            self.random_before = self.random_after = None
        return self.drew
