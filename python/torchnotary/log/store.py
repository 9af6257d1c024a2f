"""One log's entries, tree nodes and checkpoints in SQLite, appended in one transaction.

The leaf and the nodes stay for ever; envelopes, labels and names lie in tables of their own,
since they alone can be erased.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import LogCorrupt, NotaryError
from ..keys import PublicKey
from ..statement.envelope import Envelope
from . import database, tree
from .checkpoint import origin_of
from .leaf import entry_leaf, leaf_hash

APPLICATION_ID = 0x746E4C31
_SCHEMA = """
CREATE TABLE meta (key TEXT PRIMARY KEY, value ANY) WITHOUT ROWID;
CREATE TABLE entries (idx INTEGER PRIMARY KEY, leaf BLOB NOT NULL);
CREATE TABLE nodes (position INTEGER PRIMARY KEY, hash BLOB NOT NULL);
CREATE TABLE checkpoints (size INTEGER PRIMARY KEY, note TEXT NOT NULL);
CREATE TABLE signers (id INTEGER PRIMARY KEY, spki BLOB NOT NULL UNIQUE);
CREATE TABLE records (idx INTEGER PRIMARY KEY, record_id BLOB NOT NULL, signer INTEGER NOT NULL,
                      time TEXT NOT NULL, name TEXT NOT NULL);
CREATE INDEX records_by_id ON records (record_id);
CREATE INDEX records_by_time ON records (time);
CREATE TABLE labels (key TEXT, value TEXT, idx INTEGER, PRIMARY KEY (key, value, idx))
    WITHOUT ROWID;
CREATE INDEX labels_by_entry ON labels (idx);
CREATE TABLE envelopes (idx INTEGER PRIMARY KEY, payload BLOB NOT NULL, signature BLOB NOT NULL);
"""
_PAGE = 1000
# Tree positions, about twice the index, must fit SQLite's integers.
_MAX_ENTRIES = 2**61
_ROW = (
    "SELECT r.idx, r.record_id, r.time, r.name, s.spki, e.payload, e.signature"
    " FROM records r JOIN signers s ON s.id = r.signer LEFT JOIN envelopes e ON e.idx = r.idx"
)


class Ambiguous(NotaryError):
    """The beginning of an id with which more than one record begins."""

    @classmethod
    def of(cls, record_id: str) -> Ambiguous:
        return cls(f"two records begin with {record_id}", next_step="give more digits of the id")


@dataclass(frozen=True)
class Entry:
    """A record to append: its envelope, who signed it, and what it can be found by."""

    envelope: Envelope
    signer: PublicKey
    time: str
    name: str
    labels: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StoredEntry:
    """A record in the log ``log`` (its folder); ``envelope`` is None once it was erased."""

    record_id: str
    index: int
    log: Path
    envelope: Envelope | None
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

    def read_node(self, level: int, index: int) -> bytes:
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
        ids = self.query(
            "SELECT DISTINCT record_id FROM records WHERE record_id BETWEEN ? AND ? LIMIT 2",
            low,
            high,
        )
        if not ids:
            return None
        if len(ids) > 1:
            raise Ambiguous.of(record_id)
        row = self._one(f"{_ROW} WHERE r.record_id = ? ORDER BY r.idx LIMIT 1", ids[0][0])
        if row is None:
            raise LogCorrupt(
                f"the log {self.path} has lost the signer of the record {ids[0][0].hex()}",
                next_step="torchnotary log check",
            )
        return self._stored(row)

    def records(self, labels: Mapping[str, str], since: str | None) -> Iterator[StoredEntry]:
        """Records that carry all ``labels``, from ``since`` (in the form it was stored) on."""
        where, values = ["r.idx > ?"], []
        for key, value in labels.items():
            where.append("r.idx IN (SELECT idx FROM labels WHERE key = ? AND value = ?)")
            values += [key, value]
        if since is not None:
            where.append("r.time >= ?")
            values.append(since)
        # By pages, so that a long list needs little memory and holds no transaction open.
        sql = f"{_ROW} WHERE {' AND '.join(where)} ORDER BY r.idx LIMIT {_PAGE}"
        last = -1
        while rows := self.query(sql, last, *values):
            yield from map(self._stored, rows)
            last = rows[-1][0]

    def _stored(self, row: tuple) -> StoredEntry:
        index, record_id, time, name, spki, payload, signature = row
        try:
            signer = PublicKey.from_spki(spki)
            envelope = None
            if payload is not None:
                envelope = Envelope(payload, ((signer.fingerprint, signature),))
            return StoredEntry(
                record_id=record_id.hex(),
                index=index,
                log=self.path,
                envelope=envelope,
                public_key=signer,
                log_public_key=self.public_key,
                labels=dict(self.query("SELECT key, value FROM labels WHERE idx = ?", index)),
                time=time,
                name=name,
            )
        except (NotaryError, AttributeError, TypeError, ValueError) as error:
            raise LogCorrupt(
                f"entry {index} of the log {self.path} is damaged: {error}",
                next_step="torchnotary log check",
            ) from None


class LogStore(LogReader):
    """One log, for the process that holds its lock."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        super().__init__(path, connection)
        self._frontier = tree.Frontier.load(self.size(), self.read_node)
        self._signers: dict[bytes, int] = {}

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
        """Appends records durably, all or none; returns the first one's index."""
        frontier, rows = self._frontier.copy(), _Rows()
        with self._transaction():
            for entry in entries:
                leaf = entry_leaf(entry.envelope, entry.signer.fingerprint)
                index = rows.add_leaf(frontier, leaf)
                rows.add_record(index, entry, self._signer_id(entry.signer))
            rows.write(self._connection)
        first, self._frontier = self._frontier.size, frontier
        return first

    def append_leaf(self, leaf: bytes) -> int:
        """Appends a leaf that is no record (a predecessor's checkpoint); returns its index."""
        frontier, rows = self._frontier.copy(), _Rows()
        with self._transaction():
            index = rows.add_leaf(frontier, leaf)
            rows.write(self._connection)
        self._frontier = frontier
        return index

    def put_checkpoint(self, size: int, note: str) -> None:
        """Keeps a signed checkpoint. It need not be durable: signing again gives the same bytes."""
        self._connection.execute("PRAGMA synchronous=NORMAL")
        try:
            self._connection.execute(
                "INSERT OR REPLACE INTO checkpoints VALUES (?, ?)", (size, note)
            )
        finally:
            self._connection.execute("PRAGMA synchronous=FULL")

    def _signer_id(self, key: PublicKey) -> int:
        if key.raw not in self._signers:
            self._connection.execute("INSERT OR IGNORE INTO signers (spki) VALUES (?)", (key.spki,))
            row = self._one("SELECT id FROM signers WHERE spki = ?", key.spki)
            self._signers[key.raw] = row[0]
        return self._signers[key.raw]

    def _transaction(self):
        return database.transaction(self._connection, self._signers.clear)


class _Rows:
    """The rows of one transaction, gathered so that each table is written by one statement."""

    def __init__(self) -> None:
        self._leaves: list[tuple] = []
        self._nodes: list[tuple] = []
        self._records: list[tuple] = []
        self._labels: list[tuple] = []
        self._envelopes: list[tuple] = []

    def add_leaf(self, frontier: tree.Frontier, leaf: bytes) -> int:
        index = frontier.size
        first = tree.node_count(index)
        self._leaves.append((index, leaf))
        self._nodes.extend(enumerate(frontier.append(leaf_hash(leaf)), start=first))
        return index

    def add_record(self, index: int, entry: Entry, signer: int) -> None:
        record_id = bytes.fromhex(entry.envelope.record_id)
        ((_, signature),) = entry.envelope.signatures
        self._records.append((index, record_id, signer, entry.time, entry.name))
        self._envelopes.append((index, entry.envelope.payload, signature))
        self._labels.extend((key, value, index) for key, value in entry.labels.items())

    def write(self, connection: sqlite3.Connection) -> None:
        connection.executemany("INSERT INTO entries VALUES (?, ?)", self._leaves)
        connection.executemany("INSERT INTO nodes VALUES (?, ?)", self._nodes)
        connection.executemany("INSERT INTO records VALUES (?, ?, ?, ?, ?)", self._records)
        connection.executemany("INSERT INTO envelopes VALUES (?, ?, ?)", self._envelopes)
        connection.executemany("INSERT INTO labels VALUES (?, ?, ?)", self._labels)
