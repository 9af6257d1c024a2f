"""Opening the log's SQLite files: durable for their one writer, read-only for everyone else."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import quote

from ..errors import LogCorrupt, LogInUse, NotaryError
from .forks import gate

VERSION = 2
# Five records of 1.5 kB fill a page; pages of SQLite's default size would waste a fifth.
PAGE_BYTES = 8192
# Of journal, between two copies of it into the database: pages written often are copied once.
_JOURNAL_PAGES = 4096
# How long another connection is waited for.
BUSY_MILLISECONDS = 5000
_ROWS_A_STATEMENT = (512, 64, 8, 1)
_CHECK = "torchnotary log check"
_TABLES = "SELECT type, name, tbl_name, sql FROM sqlite_master"
_MAX_TABLES = 100


def create(path: Path, application_id: int, schema: str, *, private: bool = False) -> None:
    """Makes an empty database; ``private`` ones are readable by their owner only."""
    mode = 0o600 if private else 0o644
    # SQLite gives its -wal and -shm files the mode of the database.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode))
    connection = _connect(path, "mode=rw")
    try:
        connection.executescript(
            f"PRAGMA page_size={PAGE_BYTES};"  # first: whatever is written fixes it
            f"PRAGMA application_id={application_id}; PRAGMA user_version={VERSION};"
            f"PRAGMA journal_mode=WAL; BEGIN; {schema} COMMIT;"
        )
    finally:
        connection.close()


def open_writer(
    path: Path, application_id: int, schema: str, *, secure_delete: bool = False
) -> sqlite3.Connection:
    """The connection of the one writer: a commit that returned survives a power loss."""
    connection = _connect(path, "mode=rw")
    try:
        connection.execute(f"PRAGMA busy_timeout={BUSY_MILLISECONDS}")
        connection.execute("PRAGMA synchronous=FULL")
        connection.execute("PRAGMA fullfsync=ON")
        connection.execute("PRAGMA cache_size=-8000")
        connection.execute(f"PRAGMA wal_autocheckpoint={_JOURNAL_PAGES}")
        connection.execute(f"PRAGMA secure_delete={'ON' if secure_delete else 'OFF'}")
        _check_format(connection, path, application_id, schema)
    except BaseException:
        connection.close()
        raise
    return connection


def open_reader(path: Path, application_id: int, schema: str) -> sqlite3.Connection:
    """A read-only connection, which works beside the writer and on read-only media.

    There SQLite cannot make the shared memory that reading beside a writer needs, so the file
    is opened as immutable; that is right only where no writer left a journal behind.
    """
    try:
        with gate:
            return _open_reader(path, "mode=ro", application_id, schema)
    except sqlite3.OperationalError as error:
        if not path.is_file() or os.access(path.parent, os.W_OK):
            raise NotaryError(f"the log {path} cannot be opened: {error}") from None
        journal = path.with_name(path.name + "-wal")
        if journal.exists() and journal.stat().st_size:
            raise NotaryError(
                f"the log {path} was left open and cannot be read where nothing can be written",
                next_step="copy its folder to where you can write",
            ) from None
        return _open_reader(path, "mode=ro&immutable=1", application_id, schema)


def _connect(path: Path, how: str) -> sqlite3.Connection:
    uri = f"file:{quote(os.fsencode(path))}?{how}"
    return sqlite3.connect(uri, uri=True, isolation_level=None, check_same_thread=False)


def _open_reader(path: Path, how: str, application_id: int, schema: str) -> sqlite3.Connection:
    connection = _connect(path, how)
    try:
        # A log may come from a stranger: its schema must not run functions of ours.
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
        connection.execute(f"PRAGMA busy_timeout={BUSY_MILLISECONDS}")
        _check_format(connection, path, application_id, schema)
    except BaseException:
        connection.close()
        raise
    return connection


def _check_format(
    connection: sqlite3.Connection, path: Path, application_id: int, schema: str
) -> None:
    try:
        found = connection.execute("PRAGMA application_id").fetchone()[0]
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        tables = connection.execute(_TABLES).fetchmany(_MAX_TABLES)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        raise LogCorrupt(f"{path} is not a log: {error}") from None
    if found != application_id:
        raise LogCorrupt(f"{path} is not a log", expected=application_id, actual=found)
    if version != VERSION:
        raise LogCorrupt(
            f"{path} has a format this version does not know",
            expected=VERSION,
            actual=version,
            next_step="use the torchnotary that wrote it",
        )
    # A view, a trigger or a column of another type could answer whatever a stranger likes.
    if set(tables) != _tables_of(schema):
        raise LogCorrupt(f"{path} has other tables than a log", next_step=_CHECK)


@cache
def _tables_of(schema: str) -> frozenset[tuple]:
    """What SQLite says of a database that was just made with ``schema``."""
    connection = sqlite3.connect(":memory:")
    try:
        connection.executescript(schema)
        return frozenset(connection.execute(_TABLES).fetchall())
    finally:
        connection.close()


def read(
    connection: sqlite3.Connection, path: Path, sql: str, values: Iterable[Any] = ()
) -> list[tuple]:
    """All rows of one SELECT; what SQLite says about a damaged file becomes LogCorrupt."""
    try:
        with gate:
            return connection.execute(sql, tuple(values)).fetchall()
    except sqlite3.OperationalError as error:
        raise NotaryError(f"the log {path} cannot be read: {error}") from error
    except (sqlite3.Error, OverflowError) as error:
        raise LogCorrupt(f"the log {path} is damaged: {error}", next_step=_CHECK) from error


def insert(connection: sqlite3.Connection, table: str, width: int, values: list[Any]) -> None:
    """Inserts rows of ``width`` values, all in one list. Many go by a statement: each statement
    lets go of the interpreter and has to win it back."""
    start = 0
    for count in _ROWS_A_STATEMENT:
        size = width * count
        if len(values) - start < size:
            continue
        row = f"({','.join('?' * width)})"
        sql = f"INSERT INTO {table} VALUES {','.join([row] * count)}"
        while len(values) - start >= size:
            connection.execute(sql, values[start : start + size])
            start += size


def compact(connection: sqlite3.Connection, path: Path) -> None:
    """Writes the database anew, so that no byte of what was deleted is left in it or its journal.

    A page that was split keeps copies of its rows where nothing is stored any more, so
    secure_delete alone is not enough. LogInUse where a reader keeps the journal from being emptied.
    """
    connection.execute("VACUUM")
    busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy:
        raise LogInUse(
            f"the log {path} is being read: bytes of what was erased are left in its files",
            next_step="end what reads it and prune again",
        )


@contextmanager
def transaction(connection: sqlite3.Connection, on_rollback=lambda: None) -> Iterator[None]:
    """All that is written inside, durably, or nothing."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite may have rolled back already (disk full), and then there is nothing to undo.
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        on_rollback()
        raise
