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
# group_concat joins blobs byte by byte, in the order of the rows; a value that is NULL is left out.
# Of all that SQLite stores only a blob is not less than the empty one.
_ENTRIES = (
    "SELECT count(*), min(idx), max(idx), min(first - idx), max(first - idx), min(count),"
    " max(count), count(payload),"
    " CAST(group_concat(leaf, char(10)) AS BLOB), CAST(group_concat(signature, '') AS BLOB),"
    " min(length(signature)), max(length(signature)), min(signer), max(signer), count(signer),"
    " sum(leaf >= x'' AND signature >= x'') FROM entries WHERE idx >= ? AND idx < ?"
)
_BATCHES = (
    "SELECT group_concat(first), group_concat(count),"
    " CAST(group_concat(ifnull(payload, x''), char(10)) AS BLOB), sum(ifnull(payload, x'') >= x'')"
    " FROM entries WHERE idx >= ? AND idx < ?"
)
_LENGTHS = (
    "SELECT group_concat(length(signature)), group_concat(signer) FROM entries"
    " WHERE idx >= ? AND idx < ?"
)
_RECORDS = (
    "SELECT count(*), min(number), max(number), min(entry - number), max(entry - number),"
    " CAST(group_concat(record_id, '') AS BLOB), group_concat(time), group_concat(name, char(10)),"
    " CAST(group_concat(payload, char(10)) AS BLOB),"
    " sum(payload >= x'' AND record_id >= x'')"
    " FROM records WHERE number >= ? AND number < ?"
)
_OWNERS = (
    "SELECT entry, min(number), count(*) FROM records WHERE number >= ? AND number < ?"
    " GROUP BY entry ORDER BY entry"
)
_NODES = (
    "SELECT CAST(group_concat(hash, '') AS BLOB) FROM nodes WHERE position >= ? AND position < ?"
)
_NOTES = "SELECT size, note FROM checkpoints WHERE size > ? AND size <= ?"
_LABELS = "SELECT number, key, value FROM labels WHERE number >= ? AND number < ?"


class Columns(NamedTuple):
    """Entries ``first`` and after, and their records ``number`` and after.

    ``batches`` has (count of records, statement) of every entry, the statement empty where the
    entry is of one record; None where all are. ``signers`` is one where they are all by the same.
    ``leaves`` and ``payloads`` have a newline between values; ``record_ids`` and ``nodes`` are 32
    bytes each in one; ``labels`` are by number of the record, ``notes`` those of the checkpoints at
    these entries by size.
    """

    first: int
    number: int
    size: int
    batches: list[tuple[int, bytes]] | None
    signers: list[int] | int
    leaves: bytes
    signatures: list[bytes]
    record_ids: bytes
    times: list[str]
    names: list[str]
    payloads: bytes
    nodes: bytes
    labels: dict[int, dict[str, str]]
    notes: dict[int, str]


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


def read_notes(log: LogReader, first: int, last: int) -> dict[int, str]:
    """The notes of the checkpoints of more than ``first`` and up to ``last`` entries, by size."""
    return dict(log.query(_NOTES, first, last))


def _read(log: LogReader, first: int, number: int, limit: int) -> Columns:
    (row,) = log.query(_ENTRIES, first, first + limit)
    (size, low, high, *numbering, fewest, most, statements), signed = row[:8], row[8:]
    _require(size > 0 and (low, high) == (first, first + size - 1))
    batches, last = None, number + size
    if statements or fewest != 1 or most != 1:
        batches = _batches(log, first, number, size)
        counts = [count for count, _ in batches]
        ends = list(accumulate(counts, initial=number))
        fitting = max(1, sum(end <= number + PAGE_RECORDS for end in ends) - 1)
        if fitting < size:
            return _read(log, first, number, fitting)
        last = ends[-1]
        owners = list(zip(range(first, first + size), ends, counts, strict=False))
        _require(log.query(_OWNERS, number, last) == owners)
    else:
        _require(numbering == [number - first] * 2)
    (records,) = log.query(_RECORDS, number, last)
    total, low, high, *owning, ids, times, names, payloads, whole = records
    _require(total == whole == last - number and (low, high) == (number, last - 1))
    _require(len(ids) == 32 * total and (batches or owning == [first - number] * 2))
    leaves, signatures, signers = _signed(log, first, size, signed)
    begin, end = tree.node_count(first), tree.node_count(first + size)
    (nodes,) = log.query(_NODES, begin, end)[0]
    times, names = times.split(","), names.split("\n")
    _require(len(times) == len(names) == total)
    return Columns(
        first,
        number,
        size,
        batches,
        signers,
        leaves,
        signatures,
        ids,
        times,
        names,
        payloads,
        nodes or b"",
        read_labels(log, number, last),
        read_notes(log, first, first + size),
    )


def _batches(log: LogReader, first: int, number: int, size: int) -> list[tuple[int, bytes]]:
    firsts, counts, statements, whole = log.query(_BATCHES, first, first + size)[0]
    counts = _integers(counts, size)
    _require(min(counts) > 0)
    _require(_integers(firsts, size) == list(accumulate(counts, initial=number))[:-1])
    statements = statements.split(b"\n")
    _require(whole == len(statements) == size)
    return list(zip(counts, statements, strict=True))


def _signed(
    log: LogReader, first: int, size: int, row: tuple
) -> tuple[bytes, list[bytes], list[int] | int]:
    """Leaves, signatures and signers."""
    leaves, signatures, shortest, longest, signer, last_signer, signers, whole = row
    _require(whole == signers == size)
    if shortest == longest and signer == last_signer:
        ends = range(shortest, len(signatures) + 1, shortest)
        return leaves, [signatures[end - shortest : end] for end in ends], signer
    lengths, signers = log.query(_LENGTHS, first, first + size)[0]
    return leaves, _pieces(signatures, _integers(lengths, size)), _integers(signers, size)


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
