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
_ENTRIES = (
    "SELECT count(*), CAST(group_concat(leaf, char(10)) AS BLOB), group_concat(idx),"
    " group_concat(signer), group_concat(first), group_concat(count), group_concat(hex(signature)),"
    " CAST(group_concat(ifnull(payload, ''), char(10)) AS BLOB)"
    " FROM (SELECT * FROM entries WHERE idx >= ? ORDER BY idx LIMIT ?)"
)
_RECORDS = (
    "SELECT count(*), group_concat(number), group_concat(entry),"
    " group_concat(hex(record_id), ''), group_concat(time),"
    " CAST(group_concat(payload, char(10)) AS BLOB)"
    " FROM (SELECT * FROM records WHERE number >= ? AND number < ? ORDER BY number)"
)
_NODES = (
    "SELECT count(*), group_concat(hex(hash), '')"
    " FROM (SELECT hash FROM nodes WHERE position >= ? AND position < ? ORDER BY position)"
)
_LABELS = "SELECT number, key, value FROM labels WHERE number >= ? AND number < ?"


class Columns(NamedTuple):
    """Entries ``first`` and after, and their records ``number`` and after.

    ``statements`` are those of batches, empty for an entry of one record; ``record_ids`` and
    ``nodes`` are 32 bytes each in one; ``labels`` are by number of the record.
    """

    first: int
    number: int
    leaves: list[bytes]
    signers: list[str]
    counts: list[int]
    signatures: list[bytes]
    statements: list[bytes]
    record_ids: bytes
    times: list[str]
    payloads: list[bytes]
    nodes: bytes
    labels: dict[int, dict[str, str]]


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


def _read(log: LogReader, first: int, number: int, limit: int) -> Columns | None:
    entries = log.query(_ENTRIES, first, limit)[0]
    counts = list(map(int, entries[5].split(",")))
    ends = list(accumulate(counts, initial=number))
    size = max(1, sum(end <= number + PAGE_RECORDS for end in ends) - 1)
    leaves = _column(entries[1], b"\n", entries[0])
    columns = [_column(text, ",", entries[0]) for text in (*entries[2:5], *entries[6:7])]
    statements = _column(entries[7], b"\n", entries[0])
    indices, signers, firsts, signatures = columns
    if (
        len(counts) != entries[0]
        or min(counts) < 1
        or indices != list(map(str, range(first, first + entries[0])))
        or firsts != list(map(str, ends[:-1]))
    ):
        return None
    last = ends[size]
    total, numbers, owners, ids, times, payloads = log.query(_RECORDS, number, last)[0]
    owned = [str(first + place) for place in range(size) for _ in range(counts[place])]
    if total != last - number or numbers.split(",") != list(map(str, range(number, last))):
        return None
    if owners.split(",") != owned or len(ids) != 64 * total:
        return None
    begin, end = tree.node_count(first), tree.node_count(first + size)
    stored, nodes = log.query(_NODES, begin, end)[0]
    return Columns(
        first,
        number,
        leaves[:size],
        signers[:size],
        counts[:size],
        list(map(bytes.fromhex, signatures[:size])),
        statements[:size],
        bytes.fromhex(ids),
        _column(times, ",", total),
        _column(payloads, b"\n", total),
        bytes.fromhex(nodes or "") if stored == end - begin else b"",
        read_labels(log, number, last),
    )


def _column(joined, separator, count: int) -> list:
    """The values of a column; ValueError where there are not ``count`` of them."""
    values = joined.split(separator)
    if len(values) != count:
        raise ValueError("a value is missing, or holds the separator")
    return values
