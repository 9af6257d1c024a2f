"""A page of a log read by columns: SQLite puts each column together, without the interpreter.

What cannot be read so, because a value is missing or of another kind than it should be, is read row
by row instead, where it can be named (check_pages.py).
"""

from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

from ..errors import NotaryError
from . import tree
from .store import LogReader

PAGE_RECORDS = 4096
# group_concat joins blobs byte by byte; a value that is NULL is left out.
_ENTRIES = (
    "SELECT count(*), min(idx), max(idx), group_concat(count), group_concat(first),"
    " group_concat(signer), CAST(group_concat(leaf, char(10)) AS BLOB),"
    " CAST(group_concat(signature, '') AS BLOB), group_concat(length(signature)),"
    " CAST(group_concat(ifnull(payload, ''), char(10)) AS BLOB)"
    " FROM (SELECT * FROM entries WHERE idx >= ? ORDER BY idx LIMIT ?)"
)
_RECORDS = (
    "SELECT count(*), min(number), max(number), min(entry - number) || ',' || max(entry - number),"
    " CAST(group_concat(record_id, '') AS BLOB), group_concat(time),"
    " CAST(group_concat(payload, char(10)) AS BLOB), count(payload)"
    " FROM (SELECT * FROM records WHERE number >= ? AND number < ? ORDER BY number)"
)
_OWNERS = (
    "SELECT entry, min(number), count(*) FROM records WHERE number >= ? AND number < ?"
    " GROUP BY entry ORDER BY entry"
)
_NODES = (
    "SELECT CAST(group_concat(hash, '') AS BLOB)"
    " FROM (SELECT hash FROM nodes WHERE position >= ? AND position < ? ORDER BY position)"
)
_LABELS = "SELECT number, key, value FROM labels WHERE number >= ? AND number < ?"


class Columns(NamedTuple):
    """Entries ``first`` and after, and their records ``number`` and after.

    ``leaves``, ``statements`` (of batches; empty for an entry of one record) and ``payloads`` have
    a newline between values; ``record_ids`` and ``nodes`` are 32 bytes each in one; ``labels`` are
    by number of the record.
    """

    first: int
    number: int
    counts: list[int]
    signers: list[int]
    leaves: bytes
    signatures: list[bytes]
    statements: bytes
    record_ids: bytes
    times: list[str]
    payloads: bytes
    nodes: bytes
    labels: dict[int, dict[str, str]]

    @property
    def are_single(self) -> bool:
        """Whether every entry is of one record."""
        return len(self.counts) == len(self.times) and not self.statements.strip(b"\n")


def read_columns(log: LogReader, first: int, number: int, limit: int) -> Columns | None:
    """At most ``limit`` entries from ``first`` on, which have the records from ``number`` on.

    None where there are none, or where they cannot be read by columns.
    """
    try:
        return _read(log, first, number, limit)
    except (TypeError, ValueError, AttributeError, NotaryError):
        return None


def read_labels(log: LogReader, first: int, last: int) -> dict[int, dict[str, str]]:
    """The labels of records ``first`` to ``last`` - 1 by their numbers."""
    labels: dict[int, dict[str, str]] = {}
    for number, key, value in log.query(_LABELS, first, last):
        labels.setdefault(number, {})[key] = value
    return labels


def _read(log: LogReader, first: int, number: int, limit: int) -> Columns:
    (row,) = log.query(_ENTRIES, first, limit)
    size, low, high, counts, firsts, signers, leaves, signatures, lengths, statements = row
    _require(size > 0 and (low, high) == (first, first + size - 1))
    counts = _integers(counts, size)
    ends = list(accumulate(counts, initial=number))
    fitting = max(1, sum(end <= number + PAGE_RECORDS for end in ends) - 1)
    if fitting < size:
        return _read(log, first, number, fitting)
    _require(min(counts) > 0 and _integers(firsts, size) == ends[:-1])
    last = ends[-1]
    total, low, high, offsets, ids, times, payloads, present = log.query(_RECORDS, number, last)[0]
    _require(total == present == last - number and (low, high) == (number, last - 1))
    _require(len(ids) == 32 * total)
    if total == size:
        _require(offsets == f"{first - number},{first - number}")
    else:
        owners = list(zip(range(first, first + size), ends, counts, strict=False))
        _require(log.query(_OWNERS, number, last) == owners)
    begin, end = tree.node_count(first), tree.node_count(first + size)
    (nodes,) = log.query(_NODES, begin, end)[0]
    times = times.split(",")
    _require(len(times) == total)
    return Columns(
        first,
        number,
        counts,
        _integers(signers, size),
        leaves,
        _pieces(signatures, _integers(lengths, size)),
        statements,
        ids,
        times,
        payloads,
        nodes or b"",
        read_labels(log, number, last),
    )


def _integers(joined: str, count: int) -> list[int]:
    """A column of integers; ValueError where there are not ``count`` of them."""
    values = list(map(int, joined.split(",")))
    _require(len(values) == count)
    return values


def _pieces(joined: bytes, lengths: list[int]) -> list[bytes]:
    ends = list(accumulate(lengths, initial=0))
    _require(ends[-1] == len(joined))
    return [joined[start:end] for start, end in zip(ends, ends[1:], strict=False)]


def _require(condition: bool) -> None:
    if not condition:
        raise ValueError("the page has another shape than the writer gives it")
