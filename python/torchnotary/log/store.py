"""One log's entries, tree nodes, records and checkpoints in SQLite, appended in one transaction.

An entry is what was signed: one record's payload, or a batch statement over many records. The
leaf and the nodes stay for ever; payloads, signatures, labels and names can be erased.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from struct import Struct
from typing import Any

import msgspec

from .. import merkle
from .._core import sha256_lines
from ..errors import LogCorrupt, NotaryError
from ..keys import PublicKey
from ..statement.batch import BatchPart, record_line
from ..statement.envelope import Envelope
from . import database, tree
from .checkpoint import origin_of
from .leaf import entry_leaves, leaf_hash

APPLICATION_ID = 0x746E4C31
# An entry's payload is there for batches only: that of a single record is in its record. Records
# are numbered in the order of their entries, so those of a batch are count ones from first on.
# Ids are random, so their index is cut into buckets of consecutive records, to be written in
# one place; a prefix is an id's first 8 bytes.
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) WITHOUT ROWID;
CREATE TABLE entries (idx INTEGER PRIMARY KEY, leaf BLOB NOT NULL, signer INTEGER, first INTEGER,
                      count INTEGER, signature BLOB, payload BLOB);
CREATE TABLE nodes (position INTEGER PRIMARY KEY, hash BLOB NOT NULL);
CREATE TABLE checkpoints (size INTEGER PRIMARY KEY, note TEXT NOT NULL);
CREATE TABLE signers (id INTEGER PRIMARY KEY, spki BLOB NOT NULL UNIQUE);
CREATE TABLE records (number INTEGER PRIMARY KEY, entry INTEGER NOT NULL, record_id BLOB NOT NULL,
                      time TEXT NOT NULL, name TEXT NOT NULL, payload BLOB);
CREATE INDEX records_by_time ON records (time);
CREATE TABLE ids (bucket INTEGER, prefix INTEGER, number INTEGER,
                  PRIMARY KEY (bucket, prefix, number)) WITHOUT ROWID;
CREATE TABLE labels (key TEXT, value TEXT, number INTEGER, PRIMARY KEY (key, value, number))
    WITHOUT ROWID;
CREATE INDEX labels_by_record ON labels (number);
"""
_PAGE = 1000
# Tree positions must fit SQLite's integers.
_MAX_ENTRIES = 2**61
BUCKET_BITS = 15
_PREFIX = Struct(">q24x")
_ROW = (
    "SELECT r.number, r.entry, r.record_id, r.time, r.name, r.payload, s.spki, e.first, e.count,"
    " e.signature, e.payload FROM records r LEFT JOIN entries e ON e.idx = r.entry"
    " LEFT JOIN signers s ON s.id = e.signer"
)
_BY_PREFIX = (
    "WITH RECURSIVE buckets(n) AS (SELECT min(bucket) FROM ids UNION ALL"
    " SELECT (SELECT min(bucket) FROM ids WHERE bucket > n) FROM buckets WHERE n IS NOT NULL)"
    " SELECT r.record_id, r.number FROM buckets b"
    " JOIN ids i ON i.bucket = b.n AND i.prefix BETWEEN ? AND ?"
    " JOIN records r ON r.number = i.number WHERE r.record_id BETWEEN ? AND ?"
)


class Ambiguous(NotaryError):
    """The beginning of an id with which more than one record begins."""

    @classmethod
    def of(cls, record_id: str) -> Ambiguous:
        return cls(f"two records begin with {record_id}", next_step="give more digits of the id")


# What is made for every record and waits in the queue is unknown to the cyclic garbage collector
# (``gc=False``: none of it refers back): thousands of objects that live on for a while make it go
# through all others of the process, torch's included, once a second.
class Item(msgspec.Struct, gc=False):
    """A record to append: its statement, and what it can be found by.

    ``record_id``, the statement's SHA-256, is not asked for: it is computed.
    """

    payload: bytes
    time: str
    name: str
    labels: Mapping[str, str]
    record_id: bytes = b""

    def __post_init__(self) -> None:
        self.record_id = hashlib.sha256(self.payload).digest()


class Entry(msgspec.Struct, frozen=True, gc=False):
    """What was signed: one record (whose payload the envelope has), or a batch of them."""

    envelope: Envelope
    signer: PublicKey
    items: Sequence[Item]

    @classmethod
    def single(
        cls,
        envelope: Envelope,
        signer: PublicKey,
        time: str,
        name: str,
        labels: Mapping[str, str] | None = None,
    ) -> Entry:
        """The entry of a record that is signed by itself."""
        return cls(envelope, signer, (Item(envelope.payload, time, name, labels or {}),))


@dataclass(frozen=True)
class StoredEntry:
    """Record ``number`` of the log ``log`` (its folder), in the log's entry ``index``.

    ``payload`` and ``envelope`` are None once they were erased. ``batch`` is the first number and
    the count of the records that the envelope was signed for together; None for one alone.
    """

    record_id: str
    index: int
    number: int
    log: Path
    payload: bytes | None
    envelope: Envelope | None
    batch: tuple[int, int] | None
    public_key: PublicKey
    log_public_key: PublicKey
    labels: dict[str, str]
    time: str
    name: str


class LogReader:
    """What anyone may ask one log, over a connection of its own."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._connection = connection
        meta = dict(self.query("SELECT key, value FROM meta"))
        try:
            self.public_key = PublicKey.from_spki(meta["spki"])
            self.origin = meta["origin"]
        except (KeyError, TypeError, NotaryError) as error:
            raise LogCorrupt(f"the log {path} does not say who it is: {error}") from None
        if self.origin != origin_of(self.public_key):
            raise LogCorrupt(
                f"the log {path} has another key's origin",
                expected=origin_of(self.public_key),
                actual=self.origin,
            )

    @classmethod
    def open(cls, path: Path) -> LogReader:
        """A reader of its own connection; close it, or use it as a context manager."""
        connection = database.open_reader(path / "log.sqlite", APPLICATION_ID, _SCHEMA)
        try:
            return cls(path, connection)
        except BaseException:
            connection.close()
            raise

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> LogReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def query(self, sql: str, *values: Any) -> list[tuple]:
        """All rows of one SELECT; a damaged file is LogCorrupt."""
        return database.read(self._connection, self.path, sql, values)

    def _one(self, sql: str, *values: Any) -> tuple | None:
        rows = self.query(sql, *values)
        return rows[0] if rows else None

    def size(self) -> int:
        """How many entries the log holds (a checkpoint may cover fewer)."""
        last = self._one("SELECT coalesce(max(idx), -1) FROM entries")[0]
        if not -1 <= last < _MAX_ENTRIES:
            raise LogCorrupt(
                f"the log {self.path} has an entry at an index no log reaches",
                expected=f"below {_MAX_ENTRIES}",
                actual=last,
                next_step="torchnotary log check",
            )
        return last + 1

    def record_count(self) -> int:
        """How many records the entries are of."""
        return self._one("SELECT coalesce(max(number), -1) FROM records")[0] + 1

    def read_node(self, level: int, index: int) -> bytes:
        if level == 0:
            return leaf_hash(self.leaf(index))
        row = self._one("SELECT hash FROM nodes WHERE position = ?", tree.position(level, index))
        if row is None or type(row[0]) is not bytes or len(row[0]) != 32:
            raise LogCorrupt(
                f"the log {self.path} lacks the node of level {level}, index {index}",
                next_step="torchnotary log check",
            )
        return row[0]

    def root(self, size: int) -> bytes:
        return tree.root(self.read_node, size)

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        return tree.inclusion_proof(self.read_node, index, size)

    def consistency_proof(self, size1: int, size2: int) -> list[bytes]:
        return tree.consistency_proof(self.read_node, size1, size2)

    def leaf(self, index: int) -> bytes:
        row = self._one("SELECT leaf FROM entries WHERE idx = ?", index)
        if row is None or type(row[0]) is not bytes:
            raise LogCorrupt(f"the log {self.path} lacks entry {index}")
        return row[0]

    def checkpoint(self) -> tuple[int, str] | None:
        """Size and note of the largest checkpoint that was signed."""
        row = self._one("SELECT size, note FROM checkpoints ORDER BY size DESC LIMIT 1")
        if row is not None and type(row[1]) is not str:
            raise LogCorrupt(
                f"the log {self.path} keeps a checkpoint of size {row[0]} that is not text",
                next_step="torchnotary log check",
            )
        return row

    def find(self, record_id: str) -> StoredEntry | None:
        """The record of this id, or of this unambiguous beginning of one (8 digits or more)."""
        low = bytes.fromhex(record_id + "0" * (64 - len(record_id)))
        high = bytes.fromhex(record_id + "f" * (64 - len(record_id)))
        found: dict[bytes, int] = {}
        # A prefix is signed for SQLite, so a range of ids can be two of them.
        for first, end in _signed_ranges(low, high):
            for found_id, number in self.query(_BY_PREFIX, first, end, low, high):
                found[found_id] = min(number, found.get(found_id, number))
        if not found:
            return None
        if len(found) > 1:
            raise Ambiguous.of(record_id)
        ((_, number),) = found.items()
        return self._stored(self._one(f"{_ROW} WHERE r.number = ?", number))

    def records(self, labels: Mapping[str, str], since: str | None) -> Iterator[StoredEntry]:
        """Records that carry all ``labels``, from ``since`` (in the form it was stored) on."""
        where, values = ["r.number > ?"], []
        for key, value in labels.items():
            where.append("r.number IN (SELECT number FROM labels WHERE key = ? AND value = ?)")
            values += [key, value]
        if since is not None:
            where.append("r.time >= ?")
            values.append(since)
        # By pages, so that a long list needs little memory and holds no transaction open.
        sql = f"{_ROW} WHERE {' AND '.join(where)} ORDER BY r.number LIMIT {_PAGE}"
        last = -1
        while rows := self.query(sql, last, *values):
            yield from map(self._stored, rows)
            last = rows[-1][0]

    def batch_part(self, stored: StoredEntry) -> BatchPart | None:
        """The record's place in its batch, with the proof of it; None for one signed alone."""
        if stored.batch is None:
            return None
        first, count = stored.batch
        rows = self.query(
            "SELECT record_id FROM records WHERE number >= ? AND number < ? ORDER BY number",
            first,
            first + count,
        )
        place = stored.number - first
        if len(rows) != count or rows[place][0].hex() != stored.record_id:
            raise LogCorrupt(
                f"entry {stored.index} of the log {self.path} lacks records of its batch",
                expected=count,
                actual=len(rows),
                next_step="torchnotary log check",
            )
        lines = [record_line(record_id.hex()) for (record_id,) in rows]
        return BatchPart(stored.payload, place, tuple(merkle.inclusion_proof(lines, place)))

    def _stored(self, row: tuple) -> StoredEntry:
        number, index, record_id, time, name, payload, spki, first, count, signature, signed = row
        try:
            if spki is None:
                raise LogCorrupt(f"the signer of the record {record_id.hex()} is lost")
            signer = PublicKey.from_spki(spki)
            envelope = None
            if signature is not None and payload is not None:
                own = payload if signed is None else signed
                envelope = Envelope(own, ((signer.fingerprint, signature),))
            return StoredEntry(
                record_id=record_id.hex(),
                index=index,
                number=number,
                log=self.path,
                payload=payload,
                envelope=envelope,
                batch=None if signed is None else (first, count),
                public_key=signer,
                log_public_key=self.public_key,
                labels=dict(self.query("SELECT key, value FROM labels WHERE number = ?", number)),
                time=time,
                name=name,
            )
        except (NotaryError, AttributeError, TypeError, ValueError) as error:
            raise LogCorrupt(
                f"record {number} of the log {self.path} is damaged: {error}",
                next_step="torchnotary log check",
            ) from None


class LogStore(LogReader):
    """One log, for the process that holds its lock."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        super().__init__(path, connection)
        self._frontier = tree.Frontier.load(self.size(), self.read_node)
        self._records = self.record_count()
        self._signers: dict[PublicKey, int] = {}

    @classmethod
    def create(cls, path: Path, key: PublicKey) -> None:
        """Makes the empty log that ``key`` will sign in the folder ``path``."""
        database.create(path / "log.sqlite", APPLICATION_ID, _SCHEMA)
        connection = database.open_writer(path / "log.sqlite", APPLICATION_ID, _SCHEMA)
        try:
            meta = [("origin", origin_of(key)), ("spki", key.spki)]
            connection.executemany("INSERT INTO meta VALUES (?, ?)", meta)
        finally:
            connection.close()

    @classmethod
    def open(cls, path: Path) -> LogStore:
        connection = database.open_writer(path / "log.sqlite", APPLICATION_ID, _SCHEMA)
        try:
            return cls(path, connection)
        except BaseException:
            connection.close()
            raise

    def head(self) -> tuple[int, bytes]:
        """Size and root of what is durable."""
        return self._frontier.size, self._frontier.root()

    def append(self, entries: Iterable[Entry]) -> int:
        """Appends entries durably, all or none; returns the first one's index."""
        frontier, rows = self._frontier.copy(), _Rows(self._records)
        with self._transaction():
            rows.add(frontier, [(entry, self._signer_id(entry.signer)) for entry in entries])
            rows.write(self._connection)
        first, self._frontier = self._frontier.size, frontier
        self._records = rows.next_number
        return first

    def append_leaf(self, leaf: bytes) -> int:
        """Appends a leaf that is no record (a predecessor's checkpoint); returns its index."""
        frontier, rows = self._frontier.copy(), _Rows(self._records)
        with self._transaction():
            rows.add_leaves(frontier, leaf, [(None, None, None, None, None)])
            rows.write(self._connection)
        index, self._frontier = self._frontier.size, frontier
        return index

    @property
    def next_number(self) -> int:
        """The number that the next record gets."""
        return self._records

    def put_checkpoint(self, size: int, note: str) -> None:
        """Keeps a signed checkpoint. It need not be durable: signing again gives the same bytes."""
        self._connection.execute("PRAGMA synchronous=NORMAL")
        try:
            self._connection.execute(
                "INSERT OR REPLACE INTO checkpoints VALUES (?, ?)", (size, note)
            )
        finally:
            self._connection.execute("PRAGMA synchronous=FULL")

    # What is being erased is noted, so that a process that dies before no byte of it is left is
    # followed by one that goes on.
    def begin_erasing(self) -> None:
        self._connection.execute("INSERT OR REPLACE INTO meta VALUES ('erasing', 1)")

    def is_erasing(self) -> bool:
        """Whether bytes of records that were erased may be left in the files."""
        return self._one("SELECT 1 FROM meta WHERE key = 'erasing'") is not None

    def old_records(self, before: str, after: int, count: int) -> list[int]:
        """The numbers of the next ``count`` records from before a time that are not erased."""
        sql = (
            "SELECT number FROM records WHERE number > ? AND time < ? AND payload IS NOT NULL"
            " ORDER BY number LIMIT ?"
        )
        return [number for (number,) in self.query(sql, after, before, count)]

    def erase(self, before: str) -> int:
        """Erases statement, name and labels of the records from before a time, and signatures that
        are over no other; returns of how many records. Their bytes go with :meth:`compact`."""
        old = "SELECT number FROM records WHERE time < ? AND payload IS NOT NULL"
        with self._transaction():
            self._connection.execute(f"DELETE FROM labels WHERE number IN ({old})", (before,))
            erased = self._connection.execute(
                "UPDATE records SET payload = NULL, name = '' WHERE time < ? AND payload NOT NULL",
                (before,),
            ).rowcount
            self._connection.execute(
                "UPDATE entries SET signature = NULL WHERE signature IS NOT NULL AND NOT EXISTS"
                " (SELECT 1 FROM records WHERE number >= first AND number < first + count"
                " AND payload IS NOT NULL)"
            )
        return erased

    def compact(self) -> None:
        """Leaves no byte of what was erased in the log's files; LogInUse while others read it."""
        database.compact(self._connection, self.path)

    def end_erasing(self) -> None:
        self._connection.execute("DELETE FROM meta WHERE key = 'erasing'")

    def _signer_id(self, key: PublicKey) -> int:
        known = self._signers.get(key)
        if known is None:
            self._connection.execute("INSERT OR IGNORE INTO signers (spki) VALUES (?)", (key.spki,))
            known = self._one("SELECT id FROM signers WHERE spki = ?", key.spki)[0]
            self._signers[key] = known
        return known

    def _transaction(self):
        return database.transaction(self._connection, self._signers.clear)


class _Rows:
    """The rows of one transaction, gathered so that each table is written at once: the values of
    all rows of a table in one list."""

    def __init__(self, next_number: int) -> None:
        self.next_number = next_number
        self._entries: list[Any] = []
        self._nodes: list[Any] = []
        self._records: list[Any] = []
        self._ids: list[Any] = []
        self._labels: list[Any] = []

    def add(self, frontier: tree.Frontier, entries: Sequence[tuple[Entry, int]]) -> None:
        """Entries, each with its signer's id in the store."""
        if not entries:
            return
        index, number, records = frontier.size, self.next_number, self._records
        payloads, signatures, signers, columns, ids = [], [], [], [], []
        for entry, signer in entries:
            envelope, items = entry.envelope, entry.items
            ((_, signature),) = envelope.signatures
            if envelope.payload is items[0].payload:
                signed = None
                payloads.append(items[0].record_id)
            else:
                signed = envelope.payload
                payloads.append(bytes.fromhex(envelope.record_id))
            signatures.append(signature)
            signers.append(entry.signer.fingerprint)
            columns.append((signer, number, len(items), signature, signed))
            for item in items:
                record_id = item.record_id
                ids.append(record_id)
                records += (number, index, record_id, item.time, item.name, item.payload)
                for key, value in item.labels.items():
                    self._labels += (key, value, number)
                number += 1
            index += 1
        # In the order of the index, which is written at fewer places then.
        self._ids += chain.from_iterable(sorted(id_rows(self.next_number, ids)))
        self.next_number = number
        leaves = entry_leaves(b"".join(payloads), signatures, "".join(signers))
        self.add_leaves(frontier, leaves, columns)

    def add_leaves(
        self, frontier: tree.Frontier, leaves: bytes, columns: Sequence[tuple[Any, ...]]
    ) -> None:
        """Leaves, a newline between them, each with the other columns of its entry."""
        index = frontier.size
        first = tree.node_count(index)
        for leaf, column in zip(leaves.split(b"\n"), columns, strict=True):
            self._entries += (index, leaf, *column)
            index += 1
        nodes = frontier.extend(sha256_lines(leaves, b"\0"))
        self._nodes += chain.from_iterable(enumerate(nodes, start=first))

    def write(self, connection: sqlite3.Connection) -> None:
        database.insert(connection, "entries", 7, self._entries)
        database.insert(connection, "nodes", 2, self._nodes)
        database.insert(connection, "records", 6, self._records)
        database.insert(connection, "ids", 3, self._ids)
        database.insert(connection, "labels", 3, self._labels)


def id_rows(first: int, record_ids: Sequence[bytes]) -> list[tuple[int, int, int]]:
    """By what the records from number ``first`` on are found by their ids: bucket, prefix, number.

    A prefix is an id's first 8 bytes as the signed integer that SQLite keeps.
    """
    prefixes = _PREFIX.iter_unpack(b"".join(record_ids))
    return [
        (number >> BUCKET_BITS, prefix, number)
        for number, (prefix,) in enumerate(prefixes, start=first)
    ]


def _signed_ranges(low: bytes, high: bytes) -> list[tuple[int, int]]:
    """The prefixes of the ids from ``low`` to ``high``, as ranges of signed integers."""
    (first,), (last,) = _PREFIX.unpack_from(low), _PREFIX.unpack_from(high)
    if first <= last:
        return [(first, last)]
    return [(first, 2**63 - 1), (-(2**63), last)]
