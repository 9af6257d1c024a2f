"""The entries of one log, page by page: digests by columns, and entry by entry where they differ.

All leaves, all record ids and all nodes of a page are compared at once. Only a page that differs
somewhere is gone through again to say where.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import msgspec

from .. import merkle
from .._core import sha256_lines, sha256_many
from ..errors import LogCorrupt, NotaryError
from ..hashing import thread_count
from ..keys import PublicKey
from ..statement.batch import MAX_RECORDS, BatchStatement, record_line
from ..statement.envelope import Envelope
from ..statement.lines import brief, parse_object
from .check_columns import PAGE_RECORDS, Columns, read_columns, read_labels, read_notes
from .check_ids import IdSums
from .leaf import entry_leaf, entry_leaves
from .store import LogReader
from .streams import Predicate, Said, Streams

_ENTRIES = (
    "SELECT idx, leaf, signer, first, count, signature, payload FROM entries"
    " WHERE idx >= ? ORDER BY idx LIMIT ?"
)
_RECORDS = (
    "SELECT number, entry, record_id, time, name, payload FROM records"
    " WHERE number >= ? AND number < ? ORDER BY number"
)
_NONE: dict[str, str] = {}
_TEXT = "text is stored where bytes belong"
_decoder = msgspec.json.Decoder(Said)
_said_lines = _decoder.decode_lines

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
    """Consecutive entries from ``first`` on: the hashes of their leaves, 32 bytes each, the nodes
    that are stored for them, which may be missing or wrong, and the notes of the checkpoints at
    them by size."""

    first: int
    leaf_hashes: bytes
    nodes: bytes
    notes: dict[int, str]

    @property
    def size(self) -> int:
        return len(self.leaf_hashes) // 32


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
        self.ids = IdSums()
        self.is_complete = False

    def pages(self) -> Iterator[Page]:
        """Pages until the end, or up to an entry that is missing or has no bytes, after which no
        other has a place in the tree."""
        size, limit = 0, PAGE_RECORDS
        with ThreadPoolExecutor(1, "torchnotary-check") as reading:
            ahead = reading.submit(read_columns, self._log, size, self.records, limit)
            while True:
                columns = ahead.result()
                if columns is None:
                    page = self._page_by_rows(size)
                    if page is None:
                        return
                else:
                    number = columns.number + len(columns.times)
                    # SQLite reads the next page while this one is checked.
                    limit = max(1, min(PAGE_RECORDS, 2 * columns.size))
                    after = size + columns.size
                    ahead = reading.submit(read_columns, self._log, after, number, limit)
                    page = self._page_by_columns(columns)
                    if page is None:
                        ahead.result()
                        page = self._page_by_rows(size, columns.size)
                        if page is None:
                            return
                size += page.size
                if columns is None:
                    ahead = reading.submit(read_columns, self._log, size, self.records, limit)
                yield page

    # By columns

    def _page_by_columns(self, columns: Columns) -> Page | None:
        """The page if all that it stores makes its leaves; what is listed is checked as well."""
        digests = sha256_lines(columns.payloads, threads=thread_count())
        try:
            if digests != columns.record_ids or columns.leaves != self._leaves(columns):
                return None
        except (NotaryError, TypeError, ValueError):
            return None
        self.records = columns.number + len(columns.times)
        self.ids.add(columns.number, digests)
        self._check_listings(columns)
        hashes = sha256_lines(columns.leaves, b"\0", threads=thread_count())
        return Page(columns.first, hashes, columns.nodes, columns.notes)

    def _leaves(self, columns: Columns) -> bytes:
        """The leaves that the entries should have; ValueError for a batch of other records."""
        payloads = columns.record_ids
        if columns.batches is not None:
            payloads = b"".join(_signed_digests(columns.record_ids, columns.batches))
        if isinstance(columns.signers, int):
            signers = self._signer(columns.signers) * columns.size
        else:
            signers = "".join(map(self._signer, columns.signers))
        return entry_leaves(payloads, columns.signatures, signers)

    def _check_listings(self, columns: Columns) -> None:
        owners = range(columns.first, columns.first + columns.size)
        if columns.batches is not None:
            pairs = zip(owners, columns.batches, strict=True)
            owners = [owner for owner, (count, _) in pairs for _ in range(count)]
        try:
            said = _said_lines(columns.payloads)
        except msgspec.DecodeError:
            said = map(_said, columns.payloads.split(b"\n"))
        number, labels, ids = columns.number, columns.labels, columns.record_ids
        follows = self._streams.follows
        listed = zip(owners, columns.times, columns.names, said, strict=True)
        for place, (entry, time, name, one) in enumerate(listed):
            if one is None:
                continue
            predicate = one.predicate
            record, code = predicate.record, predicate.code
            record_id = ids[32 * place : 32 * place + 32]
            shown = labels.get(number + place, _NONE) if labels else _NONE
            # What is right is passed over here, at the cost of a few comparisons.
            if (
                predicate.time.start == time
                and record.labels == shown
                and (code is None or code.callable == name)
                and follows(record, record_id)
            ):
                continue
            self._check_listing(entry, record_id, (time, name), predicate, shown)

    # By rows

    def _page_by_rows(self, first: int, limit: int = PAGE_RECORDS) -> Page | None:
        """The next entries, one after the other; None at the end of what can be checked."""
        rows = [EntryRow(*row) for row in self._log.query(_ENTRIES, first, limit)]
        if not rows:
            self.is_complete = True
            return None
        there = _without_gap(rows, first)
        if not there:
            self._problem("this entry is missing: no later one is checked", first, None)
            return None
        page, records = self._with_records(there)
        self._go_through(page, records)
        leaves = [_bytes_or_none(row.leaf) for row in page]
        if None in leaves:
            return None  # named already
        notes = read_notes(self._log, first, first + len(page))
        return Page(first, sha256_many(leaves, b"\0"), b"", notes)

    def _with_records(self, rows: list[EntryRow]) -> tuple[list[EntryRow], list[RecordRow]]:
        """As many of the entries as have a page of records, and these."""
        first = last = self.records
        for place, row in enumerate(rows):
            if row.first is None:
                continue
            count = row.count if row.count in range(1, MAX_RECORDS + 1) else 1
            if last - first + count > PAGE_RECORDS and last > first:
                rows = rows[:place]
                break
            last += count
        self.records = last
        records = [RecordRow(*row) for row in self._log.query(_RECORDS, first, last)]
        for record in records:
            if type(record.record_id) is bytes and len(record.record_id) == 32:
                self.ids.add(record.number, record.record_id)
        return rows, records

    def _signer(self, signer: int | None) -> str | None:
        if signer not in self._signers:
            rows = self._log.query("SELECT spki FROM signers WHERE id = ?", signer)
            self._signers[signer] = PublicKey.from_spki(rows[0][0]).fingerprint if rows else None
        return self._signers[signer]

    def _check_listing(
        self,
        entry: int,
        record_id: bytes,
        listed_by: tuple[str, str],
        said: Predicate,
        labels: dict[str, str],
    ) -> None:
        """What a record is listed by (time and name, and labels), and its place in its stream."""
        time, name = listed_by
        if said.record.labels != labels:
            listed = f"other labels than it was signed with: {brief(labels)}"
            self._problem(f"it is listed under {listed}", entry, record_id)
        if time != said.time.start and time != said.time.end:
            listed = f"another time than it was signed with: {brief(time)}"
            self._problem(f"it is listed under {listed}", entry, record_id)
        if said.name is not None and name != said.name:
            listed = f"another name than it was signed with: {brief(name)}"
            self._problem(f"it is listed under {listed}", entry, record_id)
        if said.record.stream is not None:
            wrong = self._streams.follow(said.record, record_id)
            if wrong is not None:
                self._problem(wrong, entry, record_id)

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
        if records:
            labels = read_labels(self._log, records[0].number, records[-1].number + 1)
            for record in records:
                self._check_record(record, labels.get(record.number, _NONE))

    def _check_record(self, record: RecordRow, labels: dict[str, str]) -> None:
        if record.payload is None:
            self.erased += 1
            self._streams.has_gaps = True
            if record.name != "" or labels:
                what = "it was erased, but a name or labels are left"
                self._problem(what, record.entry, record.record_id)
        elif type(record.payload) is bytes and type(record.record_id) is bytes:
            said = _said(record.payload)
            if said is not None:
                listed_by = (record.time, record.name)
                place = (record.entry, record.record_id, listed_by)
                self._check_listing(*place, said.predicate, labels)

    def _check_entry(self, row: EntryRow, records: Sequence[RecordRow]) -> None:
        try:
            said = parse_object(_bytes(row.leaf), "the leaf")
        except NotaryError as error:
            raise LogCorrupt(f"its leaf is damaged: {error.reason}") from None
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
            _check_leftover(row, said)
            return
        self._check_leaf(row, said, record.payload, signer, record.record_id)

    def _check_batch(
        self, row: EntryRow, records: Sequence[RecordRow], said: dict, signer: str
    ) -> None:
        if row.signature is None and all(record.payload is None for record in records):
            if said.get("payload") != hashlib.sha256(_bytes(row.payload)).hexdigest():
                raise LogCorrupt("its statement is not the one its leaf names")
        else:
            self._check_leaf(row, said, row.payload, signer, None)
        for record in records:
            if record.payload is not None:
                digest = hashlib.sha256(_bytes(record.payload)).digest()
                if digest != record.record_id:
                    what = "its statement is not the one its id names"
                    self._problem(what, row.index, record.record_id)
                elif type(record.payload) is str:
                    self._problem(_TEXT, row.index, record.record_id)
        numbers = [record.number for record in records]
        ids = [record.record_id.hex() for record in records]
        if (
            type(row.first) is not int
            or len(numbers) != row.count
            or numbers != list(range(row.first, row.first + len(numbers)))
            or not _signs(_bytes(row.payload), ids)
        ):
            raise LogCorrupt("its records are not those that were signed together")

    def _check_leaf(
        self, row: EntryRow, said: dict, payload: object, signer: str, record_id: bytes | None
    ) -> None:
        """The leaf against what it was made of."""
        if row.signature is None:
            raise LogCorrupt("its signature is missing")
        envelope = Envelope(_bytes(payload), ((signer, _bytes(row.signature)),))
        if entry_leaf(envelope, signer) != row.leaf:
            self._problem(_difference(said, envelope, signer), row.index, record_id)
        elif str in (type(payload), type(row.signature)):
            self._problem(_TEXT, row.index, record_id)


def _said(payload: bytes) -> Said | None:
    """What an inference record says of itself; None for another statement, or a damaged one."""
    try:
        return _decoder.decode(payload)
    except msgspec.DecodeError:
        return None


def _signed_digests(record_ids: bytes, batches: list[tuple[int, bytes]]) -> Iterator[bytes]:
    """The SHA-256 of what each entry signs; ValueError for a batch of other records."""
    at = 0
    for count, statement in batches:
        ids = record_ids[32 * at : 32 * (at + count)]
        at += count
        if count == 1 and not statement:
            yield ids
            continue
        named = ids.hex()
        if not _signs(statement, [named[n : n + 64] for n in range(0, len(named), 64)]):
            raise ValueError("a batch of other records")
        yield hashlib.sha256(statement).digest()


def _signs(statement: bytes, record_ids: Sequence[str]) -> bool:
    """Whether a batch statement is over these records; MalformedRecord where it is none."""
    signed = BatchStatement.parse(statement).records
    lines = [record_line(record_id) for record_id in record_ids]
    return signed.size == len(lines) and signed.root == merkle.root(lines).hex()


def _check_leftover(row: EntryRow, said: dict) -> None:
    """Raises LogCorrupt where what is left of an erased record is not what it was."""
    if type(row.leaf) is str:
        raise LogCorrupt(_TEXT)
    if row.signature is not None:
        if said.get("signature") != hashlib.sha256(_bytes(row.signature)).hexdigest():
            raise LogCorrupt("its signature is not the one its leaf names")


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
