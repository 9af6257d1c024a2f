"""The traces of recorded calls and of calls run again: lines, digests, and tensors where kept."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..statement.kept import Kept
from ..statement.lines import scan_file
from ..statement.record import Record
from ..statement.trace import LEVELS, Item, TraceLine, split_digests, trace_lines
from ..verifier.trees import recorded_trace

if TYPE_CHECKING:
    from ..capture.tracing import Tracing

KEPT, KEPT_INDEX = "trace.kept", "trace.kept.index"


@dataclass(frozen=True)
class Trace:
    """A call's trace with its unsalted digests (a line that is not opened has none); ``load`` reads
    the values of its outputs, where they were kept."""

    lines: list[TraceLine]
    digests: list[list[bytes]]
    load: Callable[[], Kept | None] = lambda: None

    @cached_property
    def kept(self) -> Kept | None:
        """The values of the outputs by line and output; None where they were not kept."""
        return self.load()

    def digest(self, item: Item, line: int) -> bytes | None:
        held = self.digests[line]
        return held[item.slot] if held and item.slot is not None else None


def trace_of(record: Record) -> Trace | None:
    """The trace of a record, where it has one whose lines and digests are at hand."""
    lines, digests = recorded_trace(record), record.digests("trace")
    if lines is None or digests is None or len(digests) != len(lines) or not any(digests):
        return None
    for line, held in zip(lines, digests, strict=True):
        if held and len(held) != len(line.commitments):
            return None
    return Trace(lines, digests, lambda: _kept(record))


def level_of(record: Record) -> str | None:
    """The level a record was traced at; None where it has no trace."""
    if record.predicate["trace"] is None:
        return None
    facts = record.predicate["execution"].get("trace")
    return str(facts.get("level")) if isinstance(facts, dict) else ""


def _kept(record: Record) -> Kept | None:
    private = record.private
    if private is None or KEPT_INDEX not in private.names:
        return None
    return Kept.decode(private.file(KEPT), private.file(KEPT_INDEX))


def retrace(record: Record, models: Mapping[str, Any], *, prefixed: bool) -> Tracing | None:
    """A trace at the record's level, for calls that are about to be run again; ``models`` by name
    are what they run, and names begin with those where ``prefixed``. None where the record's own
    trace is not at hand.

    Raises NotaryError where tracing is not to be had here.
    """
    level = level_of(record)
    if level not in LEVELS or record.digests("trace") is None:
        return None
    from ..capture.models import CommittedModel
    from ..capture.tracing import hold_layer, start

    committed = None
    if models:
        committed = CommittedModel(models, None, prefixed=prefixed, stale=None, forget=_forget)
    private = record.private
    keep = private is not None and KEPT in private.names
    tracing = start(level, committed, secret=os.urandom(32), keep=keep)
    hold_layer(tracing)
    return tracing


def _forget(_: Any) -> None:
    """The models of a run live as long as it does."""


def trace_of_run(tracing: Tracing) -> Trace | None:
    """The trace of a call that was run again; None where it has no line. Raises NotaryError where
    it is not whole."""
    traced = tracing.finish()
    if not traced.size:
        return None
    values = [value for _, value in scan_file(bytes(traced.data))]
    digests = [_cut(line) for line in split_digests(bytes(traced.digests))]
    return Trace(trace_lines(values), digests, lambda: traced.kept)


def _cut(joined: bytes) -> list[bytes]:
    return [joined[i : i + 32] for i in range(0, len(joined), 32)]
