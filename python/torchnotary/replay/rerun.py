"""One call run again under a record's conditions, everything restored afterwards."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ..capture.pause import pause
from ..capture.wrappers import resume, stepwise
from ..determinism import determinism_scope
from ..exact import PROFILE, exact_scope
from ..leaves import Leaf, class_name, flatten_output
from ..random_states import in_force
from ..statement.record import Record
from .subject import Subject

if TYPE_CHECKING:
    from ..capture.tracing import Tracing

MAX_THREADS = 1024
SCOPES = {"deterministic": determinism_scope, PROFILE: exact_scope}


@dataclass
class Outcome:
    """How a call ended: its leaves, ``status`` and the exception's class name where it raised."""

    leaves: list[Leaf] = field(default_factory=list)
    status: str = "returned"
    exception: str | None = None
    error: Exception | None = None


def rerun(
    record: Record,
    subject: Subject,
    args: tuple,
    kwargs: dict[str, Any],
    *,
    keep: bool,
    items: int,
    tracing: Tracing | None = None,
) -> Outcome:
    """Calls ``subject`` under the record's profile, thread count and random states, and traces it
    where ``tracing`` is given.

    ``keep`` keeps the values of the leaves; ``items`` is how many items to take from a generator
    whose consumer stopped early.
    """
    run = Run(keep, tracing)
    with conditions(record):
        run.call(subject, args, kwargs, record.predicate["execution"]["outcome"], items)
    return run.outcome


@contextmanager
def conditions(record: Record) -> Iterator[None]:
    """The record's profile, threads and random states inside the block, and no recording; what was
    there before afterwards, on every way out."""
    execution = record.predicate["execution"]
    threads = execution.get("threads")
    with ExitStack() as stack:
        stack.enter_context(pause())
        if execution.get("torch") is None:
            stack.enter_context(in_force(record.random_states))
            yield  # recorded without torch, so it has no settings of torch's either
            return
        import torch

        stack.enter_context(in_force(record.random_states))
        stack.callback(torch.set_num_threads, torch.get_num_threads())
        if execution.get("profile") != PROFILE:  # whose bits no number of threads changes
            set_threads(threads)
        scope = SCOPES.get(execution.get("profile"))
        if scope is not None:
            stack.enter_context(scope())
        yield


def set_threads(threads: Any) -> None:
    """Sets torch's thread count to a recorded one; to none that is out of reach: OpenMP ends the
    process where the system refuses it a thread, and a record may ask for any."""
    import torch

    if type(threads) is int and 0 < threads <= max(MAX_THREADS, os.cpu_count() or 1):
        torch.set_num_threads(threads)


def items_of(paths: Iterable[str]) -> int:
    """How many items a recorded generator yielded, by the paths of its outputs."""
    numbers = [path[len("output[") :].partition("]")[0] for path in paths]
    return max((int(number) + 1 for number in numbers if number.isdigit()), default=0)


class Run:
    """One call run again under the conditions in force, and its ``outcome``. ``keep`` keeps the
    values of its leaves; with ``tracing`` it is traced, the paths of its inputs led by ``prefix``.
    """

    def __init__(self, keep: bool, tracing: Tracing | None = None, prefix: str = "") -> None:
        self.outcome = Outcome()
        self._keep = keep
        self._tracing = tracing
        self._prefix = prefix

    def call(
        self, subject: Subject, args: tuple, kwargs: dict[str, Any], end: Any, items: int
    ) -> None:
        """Calls ``subject``; ``end`` is the recorded outcome, ``items`` how many items to take from
        a generator whose consumer stopped early."""
        if self._tracing is not None:
            arguments = subject.bound(args, kwargs)
            self._tracing.begin_call(arguments, self._prefix, in_module=subject.is_module)
        try:
            with self._stretch():
                result = subject.call(*args, **kwargs)
            self._collect(result, items, end)
        except Exception as error:
            self.outcome.status, self.outcome.exception = "raised", class_name(error)
            self.outcome.error = error

    def _stretch(self) -> AbstractContextManager:
        """What a stretch of the call's own execution runs inside."""
        return self._tracing.running() if self._tracing is not None else nullcontext()

    def _collect(self, result: Any, items: int, recorded: Any) -> None:
        """The leaves of a result, of what it awaits, or of the items it yields."""
        closed = isinstance(recorded, dict) and recorded.get("status") == "closed"
        if inspect.isgenerator(result):
            self._drain(result, items if closed else None)
        elif inspect.isasyncgen(result):
            _run(self._drain_async(result, items if closed else None))
        elif inspect.iscoroutine(result):
            self._add("output", _run(self._awaited(result)))
        else:
            self._add("output", result)

    async def _awaited(self, coroutine: Any) -> Any:
        return await stepwise(self._stretch, coroutine)

    def _drain(self, generator: Any, items: int | None) -> None:
        count = 0
        while items is None or count < items:
            try:
                with self._stretch():
                    item = next(generator)
            except StopIteration as stop:
                if stop.value is not None:
                    self._add("output.return", stop.value)
                return
            self._add(f"output[{count}]", item)
            count += 1
        with self._stretch():
            generator.close()
        self.outcome.status = "closed"

    async def _drain_async(self, generator: Any, items: int | None) -> None:
        count = 0
        try:
            while items is None or count < items:
                try:
                    item = await self._awaited(resume(generator.__anext__))
                except StopAsyncIteration:
                    return
                self._add(f"output[{count}]", item)
                count += 1
            self.outcome.status = "closed"
        finally:
            await generator.aclose()

    def _add(self, path: str, value: Any) -> None:
        for leaf in flatten_output(value, keep=self._keep):
            leaf.path = path + leaf.path[len("output") :]
            self.outcome.leaves.append(leaf)


def _run(awaitable: Any) -> Any:
    """The result of a coroutine; on a thread of its own where a loop already runs here, as in a
    notebook."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(awaitable)
    import contextvars

    context, found = contextvars.copy_context(), {}

    def run() -> None:
        try:
            found["value"] = context.run(asyncio.run, awaitable)
        except BaseException as error:
            found["error"] = error

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if "error" in found:
        raise found["error"]
    return found["value"]
