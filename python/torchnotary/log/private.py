"""The log's private store: secrets, unsalted digests and files of records, never published.

It lies in a folder only its owner may enter, overwrites what it deletes, and keeps a file that
many records share (a manifest) once, by its SHA-256.
"""

from __future__ import annotations

import hashlib
import sqlite3
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import msgspec

from ..errors import LogCorrupt
from . import database

APPLICATION_ID = 0x746E5031
# A file is kept in parts, because SQLite holds at most 1 GB in one value.
PART_BYTES = 16 * 2**20
_PARTS_A_FILE = 2**16
_SHARED_FILES = 16
_SCHEMA = """
CREATE TABLE records (number INTEGER PRIMARY KEY, record_id BLOB NOT NULL, secret BLOB NOT NULL,
                      digests BLOB NOT NULL);
CREATE TABLE files (id INTEGER PRIMARY KEY, sha256 BLOB NOT NULL UNIQUE, size INTEGER NOT NULL);
CREATE TABLE parts (id INTEGER PRIMARY KEY, data BLOB NOT NULL);
CREATE TABLE record_files (number INTEGER, name TEXT, file INTEGER NOT NULL,
                           PRIMARY KEY (number, name)) WITHOUT ROWID;
CREATE INDEX record_files_by_file ON record_files (file);
"""


class PrivateParts(msgspec.Struct, frozen=True, gc=False):
    """What a record keeps for its maker: the 32-byte secret its salts derive from, its unsalted
    digests (as the recorder encodes them), files by name, and the kept tensors as ``evidence``.
    """

    secret: bytes
    digests: bytes = b""
    files: Mapping[str, bytes] = MappingProxyType({})
    evidence: bytes | None = None

    @property
    def nbytes(self) -> int:
        files = sum(map(len, self.files.values())) if self.files else 0
        return len(self.digests) + files + len(self.evidence or b"")


# Of a log as of its private store.
JOINED_IDS = (
    "SELECT count(*), CAST(group_concat(record_id, '') AS BLOB) FROM records"
    " WHERE number >= ? AND number < ?"
)


@dataclass(frozen=True)
class PrivateEntry:
    """The private parts of one stored record; files are read when they are asked for."""

    path: Path
    record_id: str
    number: int
    secret: bytes
    digests: bytes
    names: tuple[str, ...]

    def file(self, name: str) -> bytes | None:
        """The file ``name`` checked against its SHA-256, or None where the record has none."""
        if name not in self.names:
            return None
        with PrivateReader.open(self.path) as store:
            return store.file(self.number, name)

    @property
    def evidence(self) -> bytes | None:
        return self.file("evidence.safetensors")


class PrivateReader:
    """What the owner may ask the private store of one log (``path``: the log's folder)."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        self.path = path
        self._file_path = database_path(path)
        self._connection = connection

    @classmethod
    def open(cls, path: Path) -> PrivateReader:
        return cls(path, database.open_reader(database_path(path), APPLICATION_ID, _SCHEMA))

    def close(self) -> None:
        self._connection.close()

    def __enter__(self) -> PrivateReader:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _rows(self, sql: str, *values: object) -> list[tuple]:
        return database.read(self._connection, self._file_path, sql, values)

    def get(self, number: int, record_id: str) -> PrivateEntry | None:
        """What is kept of record ``number``; None where nothing, or where that is another one."""
        rows = self._rows(
            "SELECT secret, digests FROM records WHERE number = ? AND record_id = ?",
            number,
            bytes.fromhex(record_id),
        )
        if not rows:
            return None
        secret, digests = rows[0]
        if type(secret) is not bytes or type(digests) is not bytes:
            raise LogCorrupt(
                f"the private parts of record {number} in {self.path} are damaged",
                next_step="torchnotary log check",
            )
        named = self._rows("SELECT name FROM record_files WHERE number = ? ORDER BY name", number)
        names = tuple(name for (name,) in named)
        return PrivateEntry(self.path, record_id, number, secret, digests, names)

    def file(self, number: int, name: str) -> bytes:
        """A file of record ``number``; LogCorrupt where its SHA-256 is not what it was."""
        rows = self._rows(
            "SELECT f.id, f.sha256 FROM record_files r JOIN files f ON f.id = r.file"
            " WHERE r.number = ? AND r.name = ?",
            number,
            name,
        )
        if not rows:
            raise LogCorrupt(f"the private store {self.path} lacks {name} of record {number}")
        return self.content(*rows[0])

    def content(self, file: int, sha256: bytes) -> bytes:
        first = file * _PARTS_A_FILE
        parts = self._rows(
            "SELECT data FROM parts WHERE id >= ? AND id < ? ORDER BY id",
            first,
            first + _PARTS_A_FILE,
        )
        damaged = f"a file of the private store {self.path} is damaged"
        if type(sha256) is not bytes or not all(type(part) is bytes for (part,) in parts):
            raise LogCorrupt(damaged, next_step="torchnotary log check")
        data = b"".join(part for (part,) in parts)
        actual = hashlib.sha256(data).digest()
        if actual != sha256:
            raise LogCorrupt(
                damaged,
                expected=sha256.hex(),
                actual=actual.hex(),
                next_step="torchnotary log check",
            )
        return data

    def files(self, after: int, count: int) -> list[tuple[int, bytes]]:
        """The next ``count`` kept files as (id, SHA-256)."""
        return self._rows(
            "SELECT id, sha256 FROM files WHERE id > ? ORDER BY id LIMIT ?", after, count
        )

    def file_digests(self, first: int, last: int) -> dict[int, dict[str, bytes | None]]:
        """The SHA-256 of the files of records ``first`` to ``last`` - 1 by number and name, None
        where a file is missing."""
        sql = (
            "SELECT r.number, r.name, f.sha256 FROM record_files r"
            " LEFT JOIN files f ON f.id = r.file WHERE r.number >= ? AND r.number < ?"
        )
        found: dict[int, dict[str, bytes | None]] = {}
        for number, name, sha256 in self._rows(sql, first, last):
            found.setdefault(number, {})[name] = sha256
        return found

    def misshapen(self) -> list[int]:
        """The numbers of records whose secret or digests cannot be what they were."""
        sql = (
            "SELECT number FROM records WHERE typeof(secret) <> 'blob' OR length(secret) <> 32"
            " OR typeof(digests) <> 'blob' ORDER BY number"
        )
        return [number for (number,) in self._rows(sql)]

    def users(self, file: int) -> list[tuple[int, str]]:
        """The (number, name) under which records refer to a file."""
        return self._rows(
            "SELECT number, name FROM record_files WHERE file = ? ORDER BY number", file
        )

    def dangling(self) -> list[tuple[int, str]]:
        """The (number, name) of every file that a record refers to but nobody kept."""
        return self._rows(
            "SELECT number, name FROM record_files WHERE file NOT IN (SELECT id FROM files)"
            " ORDER BY number"
        )

    def joined_ids(self, first: int, last: int) -> tuple[int, bytes | None]:
        """How many of records ``first`` to ``last`` - 1 have parts here, and their ids in one."""
        return self._rows(JOINED_IDS, first, last)[0]

    def last_number(self) -> int:
        """The largest number of a record that has parts here, -1 where none has."""
        return self._rows("SELECT coalesce(max(number), -1) FROM records")[0][0]

    def ids(self, first: int, last: int) -> dict[int, bytes]:
        """The ids of those of the records ``first`` to ``last`` - 1 that have parts here."""
        sql = "SELECT number, record_id FROM records WHERE number >= ? AND number < ?"
        return dict(self._rows(sql, first, last))


class PrivateStore(PrivateReader):
    """The private store, for the process that holds the log's lock."""

    def __init__(self, path: Path, connection: sqlite3.Connection) -> None:
        super().__init__(path, connection)
        # Files seen more than once, by content: a manifest is the same bytes object in every
        # record, and Python keeps an object's hash.
        self._shared: dict[bytes, int] = {}

    @classmethod
    def create(cls, path: Path) -> None:
        database_path(path).parent.mkdir(mode=0o700)
        database.create(database_path(path), APPLICATION_ID, _SCHEMA, private=True)

    @classmethod
    def open(cls, path: Path) -> PrivateStore:
        file = database_path(path)
        return cls(path, database.open_writer(file, APPLICATION_ID, _SCHEMA, secure_delete=True))

    def put(self, parts: Iterable[tuple[int, bytes, PrivateParts]]) -> None:
        """Keeps the private parts of (number, record id, parts) durably, all or none."""
        with database.transaction(self._connection, self._shared.clear):
            records, files = [], []
            for number, record_id, part in parts:
                records += (number, record_id, part.secret, part.digests)
                for name, data in part.files.items():
                    files += (number, name, self._file(data))
                if part.evidence is not None:
                    files += (number, "evidence.safetensors", self._file(part.evidence))
            database.insert(self._connection, "records", 4, records)
            database.insert(self._connection, "record_files", 3, files)

    def forget_from(self, number: int) -> None:
        """Erases what was kept for records that never got into the log."""
        stale = self._rows("SELECT 1 FROM records WHERE number >= ? LIMIT 1", number)
        if not stale:
            return
        self._shared.clear()
        with database.transaction(self._connection):
            self._connection.execute("DELETE FROM records WHERE number >= ?", (number,))
            self._connection.execute("DELETE FROM record_files WHERE number >= ?", (number,))
            self._erase_unused_files()

    def erase(self, numbers: Sequence[int]) -> None:
        """Erases what is kept for these records, and the files that no other refers to."""
        self._shared.clear()
        with database.transaction(self._connection):
            rows = [(number,) for number in numbers]
            self._connection.executemany("DELETE FROM records WHERE number = ?", rows)
            self._connection.executemany("DELETE FROM record_files WHERE number = ?", rows)
            self._erase_unused_files()

    def compact(self) -> None:
        """Leaves no byte of what was erased in the files; LogInUse while others read them."""
        database.compact(self._connection, database_path(self.path))

    def _erase_unused_files(self) -> None:
        unused = self._rows("SELECT id FROM files WHERE id NOT IN (SELECT file FROM record_files)")
        for (file,) in unused:
            first = file * _PARTS_A_FILE
            self._connection.execute(
                "DELETE FROM parts WHERE id >= ? AND id < ?", (first, first + _PARTS_A_FILE)
            )
            self._connection.execute("DELETE FROM files WHERE id = ?", (file,))

    def _file(self, data: bytes) -> int:
        """The id of the file with these bytes, kept now if it is new."""
        known = self._shared.get(data)
        if known is not None:
            return known
        digest = hashlib.sha256(data).digest()
        rows = self._rows("SELECT id FROM files WHERE sha256 = ?", digest)
        if rows:
            return self._share(data, rows[0][0])
        file = self._connection.execute(
            "INSERT INTO files (sha256, size) VALUES (?, ?)", (digest, len(data))
        ).lastrowid
        for part, start in enumerate(range(0, len(data), PART_BYTES)):
            self._connection.execute(
                "INSERT INTO parts VALUES (?, ?)",
                (file * _PARTS_A_FILE + part, data[start : start + PART_BYTES]),
            )
        return file

    def _share(self, data: bytes, file: int) -> int:
        if len(data) <= PART_BYTES:
            if len(self._shared) >= _SHARED_FILES:
                del self._shared[next(iter(self._shared))]
            self._shared[data] = file
        return file


def database_path(path: Path) -> Path:
    """Where the private store of the log in ``path`` lies."""
    return path / "private" / "private.sqlite"
