"""The traces of recorded calls and of calls run again: lines, digests, and tensors where kept."""

from __future__ import annotations

from dataclasses import dataclass

from ..statement.kept import Kept
from ..statement.record import Record
from ..statement.trace import Item, TraceLine
from ..verifier.trees import recorded_trace

KEPT, KEPT_INDEX = "trace.kept", "trace.kept.index"


@dataclass(frozen=True)
class Trace:
    """A call's trace with its unsalted digests (a line that is not opened has none), and the values
    of its outputs where they were kept."""

    lines: list[TraceLine]
    digests: list[list[bytes]]
    level: str
    kept: Kept | None = None

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
    return Trace(lines, digests, level_of(record) or "", _kept(record))


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
