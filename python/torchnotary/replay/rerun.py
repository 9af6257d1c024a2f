"""One call run again under a record's conditions, everything restored afterwards."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

from ..capture.pause import pause
from ..leaves import Leaf, class_name, flatten_output
from ..random_states import in_force
from ..statement.record import Record
from .subject import Subject

MAX_THREADS = 1024


@dataclass
class Outcome:
    """How a call ended: its leaves, ``status`` and the exception's class name where it raised."""

    leaves: list[Leaf] = field(default_factory=list)
    status: str = "returned"
    exception: str | None = None
    error: Exception | None = None


def rerun(
    record: Record, subject: Subject, args: tuple, kwargs: dict[str, Any], *, keep: bool, items: int
) -> Outcome:
    """Calls ``subject`` under the record's profile, thread count and random states.

    ``keep`` keeps the values of the leaves; ``items`` is how many items to take from a generator
    whose consumer stopped early.
    """
    with conditions(record):
        return run_here(
            subject, args, kwargs, record.predicate["execution"]["outcome"], keep=keep, items=items
        )


def run_here(
    subject: Subject, args: tuple, kwargs: dict[str, Any], end: Any, *, keep: bool, items: int
) -> Outcome:
    """Calls ``subject`` under the conditions in force; ``end`` is the recorded outcome."""
    outcome = Outcome()
    try:
        _collect(subject.call(*args, **kwargs), outcome, keep, items, end)
    except Exception as error:
        outcome.status, outcome.exception, outcome.error = "raised", class_name(error), error
    return outcome


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
        set_threads(threads)
        if execution.get("profile") == "deterministic":
            from ..determinism import determinism_scope

            stack.enter_context(determinism_scope())
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


def _collect(result: Any, outcome: Outcome, keep: bool, items: int, recorded: Any) -> None:
    """The leaves of a result, of what it awaits, or of the items it yields."""
    closed = isinstance(recorded, dict) and recorded.get("status") == "closed"
    if inspect.isgenerator(result):
        _drain(result, outcome, keep, items if closed else None)
    elif inspect.isasyncgen(result):
        _run(_drain_async(result, outcome, keep, items if closed else None))
    elif inspect.iscoroutine(result):
        outcome.leaves += flatten_output(_run(result), keep=keep)
    else:
        outcome.leaves += flatten_output(result, keep=keep)


def _drain(generator: Any, outcome: Outcome, keep: bool, items: int | None) -> None:
    count = 0
    while items is None or count < items:
        try:
            item = next(generator)
        except StopIteration as stop:
            if stop.value is not None:
                _add(outcome, "output.return", stop.value, keep)
            return
        _add(outcome, f"output[{count}]", item, keep)
        count += 1
    generator.close()
    outcome.status = "closed"


async def _drain_async(generator: Any, outcome: Outcome, keep: bool, items: int | None) -> None:
    count = 0
    try:
        while items is None or count < items:
            try:
                item = await generator.__anext__()
            except StopAsyncIteration:
                return
            _add(outcome, f"output[{count}]", item, keep)
            count += 1
        outcome.status = "closed"
    finally:
        await generator.aclose()


def _add(outcome: Outcome, path: str, value: Any, keep: bool) -> None:
    for leaf in flatten_output(value, keep=keep):
        leaf.path = path + leaf.path[len("output") :]
        outcome.leaves.append(leaf)


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
