"""Which log of a folder this process may write: one it can lock and has the token of, or the next.

A folder holds one log per writer (``0001-<8 digits of its key>`` and so on), because SQLite
cannot share a network volume and no history may be signed twice. Whoever cannot lock a log, or
lacks its key or a token that fits, leaves it and begins the next, whose first entry is the last
checkpoint of the one before.
"""

from __future__ import annotations

import fcntl
import os
import re
import shutil
import sqlite3
from dataclasses import dataclass
from pathlib import Path

from .. import folders
from ..errors import NotaryError
from ..keys import SigningKey
from ..statement.container import sync_folder
from . import registry
from .checkpoint import Checkpoint, origin_of
from .leaf import predecessor_leaf
from .private import PrivateStore
from .store import LogReader, LogStore
from .token import Custody

_LOG_NAME = re.compile(r"([0-9]{4,9})-[0-9a-f]{8}")


def log_folders(folder: Path) -> list[Path]:
    """The logs in ``folder`` in the order they were begun; half-made ones are left out."""
    try:
        names = os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    found = [
        (int(match[1]), name)
        for name in names
        if (match := _LOG_NAME.fullmatch(name)) and (folder / name / "log.sqlite").is_file()
    ]
    return [folder / name for _, name in sorted(found)]


@dataclass
class Claim:
    """A log this process alone may append to and sign."""

    path: Path
    store: LogStore
    private: PrivateStore
    custody: Custody
    lock: int

    def is_intact(self) -> bool:
        """Whether the open files still are the ones at ``path`` (nobody moved or removed them)."""
        try:
            status = os.stat(self.path / "lock")
        except OSError:
            return False
        held = os.fstat(self.lock)
        return (status.st_dev, status.st_ino) == (held.st_dev, held.st_ino)

    def release(self) -> None:
        """Closes the stores and gives the lock back."""
        try:
            self.store.close()
            self.private.close()
        finally:
            os.close(self.lock)


def claim(folder: Path) -> Claim:
    """A log in ``folder``, created with the folder if need be; NotaryError where it cannot be."""
    try:
        folders.make(folder)
        existing = log_folders(folder)
        for path in existing:
            claimed = _claim_existing(path)
            if claimed is not None:
                registry.remember(folder)
                return claimed
        claimed = _begin_next(folder, existing)
    except OSError as error:
        raise NotaryError(
            f"no log can be written in {folder}: {error.strerror or error}",
            next_step="free space or name another folder (TORCHNOTARY_LOG)",
        ) from error
    registry.remember(folder)
    return claimed


def _claim_existing(path: Path) -> Claim | None:
    """The log at ``path`` if it is free and ours to go on with; whatever else it is, None.

    A log that cannot be opened or signed on is left for ``log check``: recording goes on.
    """
    if Custody.find(path) is None:
        return None
    try:
        lock = lock_log(path)
    except OSError:
        return None
    if lock is None:
        return None
    opened: list[LogStore | PrivateStore] = []
    try:
        claimed = _go_on(path, lock, opened)
    except (NotaryError, OSError, sqlite3.Error):
        claimed = None
    if claimed is None:
        for store in opened:
            store.close()
        os.close(lock)
    return claimed


def _go_on(path: Path, lock: int, opened: list[LogStore | PrivateStore]) -> Claim | None:
    # Under the lock nobody else moves the token, so it is read again.
    custody = Custody.find(path)
    if custody is None:
        return None
    store = LogStore.open(path)
    opened.append(store)
    private = PrivateStore.open(path)
    opened.append(private)
    if not _continues(store, custody):
        return None
    private.forget_from(store.next_number)
    # A log whose token cannot be written cannot be signed on, and this is the time to know.
    custody.advance(*store.head())
    return Claim(path, store, private, custody, lock)


def _continues(store: LogStore, custody: Custody) -> bool:
    """Whether the store holds all that was ever signed for it, unchanged.

    It may hold more: what was durable when a writer died before it advanced the token.
    """
    token = custody.token()
    if store.origin != custody.origin or token is None or token.size > store.size():
        return False
    return store.root(token.size).hex() == token.root


def _begin_next(folder: Path, existing: list[Path]) -> Claim:
    key = SigningKey.generate()
    number = 1 + max((int(path.name.partition("-")[0]) for path in existing), default=0)
    prefix = origin_of(key.public).rpartition("/")[2][:8]
    path = folder / f"{number:04d}-{prefix}"
    # Readers come at any time, so a log appears under its name only once it is whole.
    unfinished = folder / f".{path.name}"
    unfinished.mkdir(mode=0o755)
    lock = lock_log(unfinished)
    if lock is None:
        raise NotaryError(f"the new log {path} is locked by another process", next_step="try again")
    opened: list[LogStore | PrivateStore] = []
    try:
        PrivateStore.create(unfinished)
        LogStore.create(unfinished, key.public)
        unfinished.rename(path)
        store = LogStore.open(path)
        opened.append(store)
        private = PrivateStore.open(path)
        opened.append(private)
        note = _last_checkpoint(existing)
        if note is not None:
            store.append_leaf(predecessor_leaf(note))
        custody = Custody.create(key, path, *store.head())
        for parent in (path / "private", path, folder, folder.parent):
            sync_folder(parent)
    except BaseException:
        # Nothing was signed for it; on a full disk every attempt would leave another behind.
        for closing in opened:
            closing.close()
        for made in (unfinished, path):
            shutil.rmtree(made, ignore_errors=True)
        os.close(lock)
        raise
    return Claim(path, store, private, custody, lock)


def _last_checkpoint(existing: list[Path]) -> str | None:
    """The last checkpoint of the latest log that signed one."""
    for path in reversed(existing):
        try:
            with LogReader.open(path) as log:
                last = log.checkpoint()
                if last is not None:
                    Checkpoint.verify(last[1], log.public_key)
                    return last[1]
        except NotaryError:
            continue
    return None


def lock_log(path: Path) -> int | None:
    """A descriptor that holds the log's lock, or None while another process (or this) holds it."""
    descriptor = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor
