"""Whether the records of each stream follow each other: sequence numbers and previous ids.

A *stream* is the chain of records that one notary makes in one process. It may go on in the
folder's next log, so one `Streams` sees the logs of a folder in their order.
"""

from __future__ import annotations

import msgspec


class Chained(msgspec.Struct, gc=False):
    """What the ``record`` section of a statement says of its place in a stream."""

    labels: dict[str, str]
    stream: str | None = None
    seq: int = 0
    previous: str | None = None


class Times(msgspec.Struct, gc=False):
    start: str
    end: str


class Code(msgspec.Struct, gc=False):
    callable: str | None = None


class Predicate(msgspec.Struct, gc=False):
    record: Chained
    time: Times
    code: Code | None = None

    @property
    def name(self) -> str | None:
        """The callable, by which the record is listed."""
        return None if self.code is None else self.code.callable


class Said(msgspec.Struct, gc=False):
    """The part of an inference record that a log is listed and checked by."""

    predicate: Predicate


class Streams:
    """The last record of every stream met so far."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[int, bytes]] = {}
        # From here on a record may follow one whose statement is not there to be read.
        self.has_gaps = False

    def follows(self, chained: Chained, record_id: bytes) -> bool:
        """Takes a record that plainly follows the last one of its stream; False for any other."""
        last = self._last.get(chained.stream)
        if last is None or chained.seq != last[0] + 1 or chained.previous != last[1].hex():
            return False
        self._last[chained.stream] = (chained.seq, record_id)
        return True

    def follow(self, chained: Chained, record_id: bytes) -> str | None:
        """Takes the next record of a stream; says what is wrong with its place in it."""
        last = self._last.get(chained.stream)
        self._last[chained.stream] = (chained.seq, record_id)
        if last is None:
            if (chained.seq == 0) == (chained.previous is None):
                return None
            return "its sequence number and its predecessor do not go together"
        seq, previous = last
        if chained.seq == seq + 1 and chained.previous == previous.hex():
            return None
        if self.has_gaps and chained.seq > seq + 1:
            return None
        if chained.seq == seq + 1:
            return "it does not name the record before it in its stream"
        if chained.seq <= seq:
            return f"its sequence number {chained.seq} comes after {seq} in its stream"
        if chained.seq == seq + 2:
            return f"record {seq + 1} of its stream is missing before it"
        return f"records {seq + 1} to {chained.seq - 1} of its stream are missing before it"
