"""The entries of one log, page by page: digests by columns, and entry by entry where they differ.

All leaves, all record ids and all nodes of a page are compared at once. Only a page that differs
somewhere is gone through again to say where.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import msgspec

from .. import merkle
from .._core import sha256_many
from ..errors import LogCorrupt, NotaryError
from ..hashing import thread_count
from ..keys import PublicKey
from ..statement.batch import BatchStatement, record_line
from ..statement.envelope import Envelope
from ..statement.lines import brief, parse_object
from .leaf import entry_leaf
from .store import LogReader
from .streams import Said, Streams

PAGE_ENTRIES = 4096
PAGE_RECORDS = 4096
_LEAF = '{"payload":"%s","signature":"%s","signer":"%s","type":"entry/1"}'
_ENTRIES = (
    "SELECT idx, leaf, signer, first, count, signature, payload FROM entries"
    f" WHERE idx >= ? ORDER BY idx LIMIT {PAGE_ENTRIES}"
)
_RECORDS = (
    "SELECT number, entry, record_id, time, name, payload FROM records"
    " WHERE number >= ? AND number < ? ORDER BY number"
)
_LABELS = "SELECT number, key, value FROM labels WHERE number >= ? AND number < ?"
_said = msgspec.json.Decoder(Said).decode

# Told of what is wrong: in words, the entry's index, and the record's id where it is known.
Problem = Callable[[str, "int | None", "bytes | None"], None]


class EntryRow(NamedTuple):
    index: int
    leaf: bytes
    signer: int | None
    first: int | None
    count: int | None
    signature: bytes | None
    payload: bytes | None


class RecordRow(NamedTuple):
    number: int
    entry: int
    record_id: bytes
    time: str
    name: str
    payload: bytes | None


class Page(NamedTuple):
    """Consecutive entries from ``first`` on: the hashes of their leaves, 32 bytes each."""

    first: int
    leaf_hashes: bytes


class EntryCheck:
    """Checks the entries of one log and their records, in order.

    ``problem`` is told what is wrong, ``predecessor`` is asked about a leaf that names another log.
    """

    def __init__(
        self,
        log: LogReader,
        streams: Streams,
        problem: Problem,
        predecessor: Callable[[int, dict], None],
    ) -> None:
        self._log = log
        self._streams = streams
        self._problem = problem
        self._predecessor = predecessor
        self._signers: dict[int | None, str | None] = {}
        self.records = 0
        self.erased = 0
        self.is_complete = False

    def pages(self) -> Iterator[Page]:
        """Pages until the end, or up to an entry that is missing or has no bytes, after which no
        other has a place in the tree."""
        size = 0
        while rows := [EntryRow(*row) for row in self._log.query(_ENTRIES, size)]:
            there = _without_gap(rows, size)
            page, records = self._with_records(there)
            if not self._agree(page, records):
                self._go_through(page, records)
            self._check_listing(records)
            leaves = [_bytes_or_none(row.leaf) for row in page]
            if None in leaves:
                return  # named already
            yield Page(size, sha256_many(leaves, b"\0"))
            size += len(page)
            if len(page) == len(there) < len(rows):
                self._problem("this entry is missing: no later one is checked", size, None)
                return
        self.is_complete = True

    def _with_records(self, rows: list[EntryRow]) -> tuple[list[EntryRow], list[RecordRow]]:
        """As many of the entries as have a page of records, and these."""
        first = last = self.records
        for place, row in enumerate(rows):
            if row.first is None:
                continue
            count = row.count if type(row.count) is int and row.count > 0 else 1
            if last - first + count > PAGE_RECORDS and last > first:
                rows = rows[:place]
                break
            last += count
        self.records = last
        return rows, [RecordRow(*row) for row in self._log.query(_RECORDS, first, last)]

    # A page at once

    def _agree(self, rows: Sequence[EntryRow], records: Sequence[RecordRow]) -> bool:
        """Whether all that the page stores is there and makes its leaves."""
        try:
            digests = sha256_many([record.payload for record in records], threads=thread_count())
            if b"".join([record.record_id for record in records]) != digests:
                return False
            signatures = sha256_many([row.signature for row in rows]).hex()
            named, leaves, at = digests.hex(), [], 0
            for place, row in enumerate(rows):
                if not self._owns(row, records[at : at + row.count]):
                    return False
                payload = named[64 * at : 64 * at + 64]
                if row.payload is not None:
                    payload = hashlib.sha256(row.payload).hexdigest()
                signature = signatures[64 * place : 64 * place + 64]
                leaves.append(_LEAF % (payload, signature, self._signer(row.signer)))
                at += row.count
            return at == len(records) and "\n".join(leaves).encode() == b"\n".join(
                [row.leaf for row in rows]
            )
        except (TypeError, ValueError, NotaryError):
            return False

    def _owns(self, row: EntryRow, records: Sequence[RecordRow]) -> bool:
        """Whether the records are those the entry was signed for."""
        if row.payload is None and row.count == 1 and len(records) == 1:
            return records[0].entry == row.index and records[0].number == row.first
        numbers = [(record.number, record.entry) for record in records]
        if numbers != [(row.first + place, row.index) for place in range(row.count)]:
            return False
        signed = BatchStatement.parse(row.payload).records
        lines = [record_line(record.record_id.hex()) for record in records]
        return signed.size == len(lines) and signed.root == merkle.root(lines).hex()

    def _signer(self, signer: int | None) -> str | None:
        if signer not in self._signers:
            rows = self._log.query("SELECT spki FROM signers WHERE id = ?", signer)
            self._signers[signer] = PublicKey.from_spki(rows[0][0]).fingerprint if rows else None
        return self._signers[signer]

    def _check_listing(self, records: Sequence[RecordRow]) -> None:
        """What records are listed by, and their places in their streams."""
        if not records:
            return
        labels: dict[int, dict[str, str]] = {}
        first, last = records[0].number, records[-1].number + 1
        for number, key, value in self._log.query(_LABELS, first, last):
            labels.setdefault(number, {})[key] = value
        none: dict[str, str] = {}
        for record in records:
            if record.payload is None:
                self.erased += 1
                self._streams.has_gaps = True
                continue
            try:
                said = _said(record.payload).predicate
            except (msgspec.DecodeError, TypeError, ValueError):
                continue  # not an inference record, or a payload that was named already
            chained, times = said.record, said.time
            shown = labels.get(record.number, none)
            if chained.labels != shown:
                self._tell(
                    record,
                    f"it is listed under other labels than it was signed with: {brief(shown)}",
                )
            if record.time != times.start and record.time != times.end:
                self._tell(
                    record,
                    "it is listed under another time than it was signed with: "
                    + brief(record.time),
                )
            if chained.stream is not None:
                wrong = self._streams.follow(chained, record.record_id)
                if wrong is not None:
                    self._tell(record, wrong)

    def _tell(self, record: RecordRow, what: str) -> None:
        self._problem(what, record.entry, record.record_id)

    # Entry by entry

    def _go_through(self, rows: Sequence[EntryRow], records: Sequence[RecordRow]) -> None:
        by_entry: dict[object, list[RecordRow]] = {}
        for record in records:
            by_entry.setdefault(record.entry, []).append(record)
        for row in rows:
            own = by_entry.pop(row.index, [])
            only = own[0].record_id if len(own) == 1 else None
            try:
                self._check_entry(row, own)
            except NotaryError as error:
                self._problem(error.reason, row.index, only)
            except (TypeError, AttributeError, ValueError, LookupError) as error:
                self._problem(f"the entry is damaged: {error}", row.index, only)
        for index, strays in by_entry.items():
            self._problem("a record stands at an entry that is not its own", index, strays[0][2])

    def _check_entry(self, row: EntryRow, records: Sequence[RecordRow]) -> None:
        said = parse_object(_bytes(row.leaf), "the leaf")
        if said.get("type") == "predecessor/1":
            self._predecessor(row.index, said)
            return
        if said.get("type") != "entry/1":
            raise LogCorrupt(f"the leaf is of an unknown type: {brief(said.get('type'))}")
        signer = self._signer(row.signer)
        if signer is None or not records:
            raise LogCorrupt("the entry has lost its record and signer")
        if row.payload is None:
            self._check_single(row, records, said, signer)
        else:
            self._check_batch(row, records, said, signer)

    def _check_single(
        self, row: EntryRow, records: Sequence[RecordRow], said: dict, signer: str
    ) -> None:
        if len(records) != 1 or records[0].number != row.first or row.count != 1:
            raise LogCorrupt("the entry of one record has another number of them")
        record = records[0]
        if said.get("payload") != record.record_id.hex():
            self._problem("its leaf names another record", row.index, record.record_id)
        if record.payload is None:
            if said.get("signer") != signer:
                raise LogCorrupt("its leaf names another signer")
            return
        self._check_leaf(row, said, _bytes(record.payload), signer, record.record_id)

    def _check_batch(
        self, row: EntryRow, records: Sequence[RecordRow], said: dict, signer: str
    ) -> None:
        self._check_leaf(row, said, _bytes(row.payload), signer, None)
        for record in records:
            if record.payload is not None:
                digest = hashlib.sha256(_bytes(record.payload)).digest()
                if digest != record.record_id:
                    self._tell(record, "its statement is not the one its id names")
        if not self._owns(row, records):
            raise LogCorrupt("its records are not those that were signed together")

    def _check_leaf(
        self, row: EntryRow, said: dict, payload: bytes, signer: str, record_id: bytes | None
    ) -> None:
        """The leaf against what it was made of; an erased signature is as good as its digest."""
        if row.signature is None:
            if said.get("payload") != hashlib.sha256(payload).hexdigest():
                raise LogCorrupt("its statement is not the one its leaf names")
            return
        envelope = Envelope(payload, ((signer, _bytes(row.signature)),))
        if entry_leaf(envelope, signer) != row.leaf:
            self._problem(_difference(said, envelope, signer), row.index, record_id)


def _without_gap(rows: list[EntryRow], first: int) -> list[EntryRow]:
    """The rows up to the first whose index is not the next one, from ``first`` on."""
    for place, row in enumerate(rows):
        if row.index != first + place:
            return rows[:place]
    return rows


def _bytes(value: object) -> bytes:
    """A stored value as bytes: SQLite lets a hand that edits it turn bytes into text, which is
    judged as such, or into a number, which is LogCorrupt."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if type(value) is not bytes:
        raise LogCorrupt(f"{type(value).__name__} is stored where bytes belong")
    return value


def _bytes_or_none(value: object) -> bytes | None:
    try:
        return _bytes(value)
    except LogCorrupt:
        return None


def _difference(said: dict, envelope: Envelope, signer: str) -> str:
    ((_, signature),) = envelope.signatures
    if said.get("payload") != envelope.record_id:
        return "its statement is not the one its leaf names"
    if said.get("signature") != hashlib.sha256(signature).hexdigest():
        return "its signature is not the one its leaf names"
    if said.get("signer") != signer:
        return "its signer is not the one its leaf names"
    return "its leaf is not in its one form"
