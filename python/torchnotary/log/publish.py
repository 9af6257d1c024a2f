"""Publishing logs as static files that any web server can serve, and checking what was published.

In the folder each log has one of its own, laid out as C2SP tlog-tiles says; logs.jsonl beside
them names the logs and their keys. Only leaves, hashes and checkpoints are published. All of it
is made from the store alone, so that a deleted folder is made again byte by byte; a checkpoint
appears once everything it needs is durable.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from .. import folders
from ..errors import CheckpointConflict, LogCorrupt, MalformedRecord, NotaryError
from ..files import read_regular
from ..statement.container import write_atomically
from . import cosigned
from .checkpoint import MAX_NOTE_BYTES, Checkpoint
from .claim import log_folders
from .leaf import leaf_hash
from .sources import last_checkpoint
from .store import LogReader
from .tiles import INDEX_NAME, WIDTH, Tile, encode_bundle, encode_index, read_index, widths

_LEVEL_BITS = 8
_SIGNED_WIDTHS = "SELECT DISTINCT size / ? FROM checkpoints WHERE size > ? AND size <= ?"


@dataclass(frozen=True)
class Published:
    """What is published of one log: how many entries, and how many files were written now."""

    name: str
    origin: str
    size: int
    files: int


def publish(logs: Path, folder: Path) -> list[Published]:
    """Brings ``folder`` up to the last checkpoint of every log in ``logs``.

    Raises CheckpointConflict, and changes nothing of that log, where something else or more of
    it is published already; NotaryError for a folder in which the logs themselves lie.
    """
    paths = log_folders(logs)
    _require_apart(folder, paths)
    folders.make(folder)
    done, keys = [], {}
    with folders.locked(folder):
        if (folder / INDEX_NAME).exists():
            with _damaged_unless_read(folder / INDEX_NAME):
                keys = read_index(folder)
        for path in paths:
            with LogReader.open(path) as log:
                if log.checkpoint() is None:
                    continue
                done.append(_publish_log(log, last_checkpoint(log), folder / path.name))
                keys[path.name] = log.public_key
        if not done:
            raise NotaryError(
                f"no log in {logs} has a signed checkpoint", next_step="record something first"
            )
        _write_new(folder / INDEX_NAME, encode_index(list(keys.items())))
    return done


def check_published(logs: Path, folder: Path) -> Iterator[str]:
    """Every difference between what is published of the logs in ``logs`` and their stores, the
    first in reading order first; a log that only grew since is no difference."""
    if not (folder / INDEX_NAME).exists():
        yield f"{INDEX_NAME} is missing"
        return
    try:
        keys = read_index(folder)
    except (OSError, NotaryError) as error:
        yield f"{INDEX_NAME}: {_reason(error)}"
        return
    for path in log_folders(logs):
        with LogReader.open(path) as log:
            if path.name in keys:
                yield from (f"{path.name}/{what}" for what in _differences(log, folder / path.name))
                if keys.pop(path.name) != log.public_key:
                    yield f"{INDEX_NAME} gives {path.name} another key"
            elif log.checkpoint() is not None:
                yield f"{path.name} is not published"
    yield from (f"{name} is no log of {logs}" for name in keys)


def _require_apart(folder: Path, logs: list[Path]) -> None:
    """What is published is for everybody; the logs hold what is private."""
    public = folder.resolve()
    for log in logs:
        if public == log.parent.resolve() or public.is_relative_to(log.resolve()):
            raise NotaryError(
                f"{folder} is where the log {log} itself lies, private parts included",
                next_step="publish it in a folder of its own",
            )


@contextmanager
def _damaged_unless_read(path: Path) -> Iterator[None]:
    """Names a published file that is not what was published, and how it is made again."""
    try:
        yield
    except MalformedRecord as error:
        raise MalformedRecord(
            f"{path} is damaged: {error.reason}",
            expected=error.expected,
            actual=error.actual,
            next_step="delete it, then publish again",
        ) from None


def _publish_log(log: LogReader, last: tuple[int, str], home: Path) -> Published:
    size, note = last
    if Checkpoint.verify(note, log.public_key).root != log.root(size):
        raise LogCorrupt(
            f"the log {log.path} contradicts its last checkpoint", next_step="torchnotary log check"
        )
    _require_extension(log, size, home)
    folders.make(home)
    written = 0
    for tile in expected_tiles(log, size):
        target = home / tile.path
        if target.exists():
            continue
        folders.make(target.parent)
        write_atomically(target, content(log, tile))
        written += 1
        if tile.width == WIDTH:
            shutil.rmtree(target.with_name(target.name + ".p"), ignore_errors=True)
    # Last, so that whoever reads it finds everything it covers.
    written += _write_new(home / "checkpoint", note.encode())
    return Published(home.name, log.origin, size, written)


def _require_extension(log: LogReader, size: int, home: Path) -> None:
    if not (home / "checkpoint").exists():
        return
    note = read_regular(home / "checkpoint", MAX_NOTE_BYTES).decode("utf-8", "replace")
    with _damaged_unless_read(home / "checkpoint"):
        published = Checkpoint.verify(note, log.public_key)
    root = log.root(published.size) if published.size <= size else None
    if root != published.root:
        raise CheckpointConflict(
            f"{home} has a checkpoint that this log does not extend",
            expected=f"an extension of size {published.size}, root {published.root.hex()}",
            actual=f"size {size}" if root is None else f"root {root.hex()} at that size",
            next_step="keep both: torchnotary log check says whether this log was cut or changed",
        )


def expected_tiles(log: LogReader, size: int) -> Iterator[Tile]:
    """The tiles and bundles of a log of ``size`` entries: every full one, and those partial ones
    beside them that some checkpoint of the log needs."""
    for level, hashes in [(None, size), *enumerate(widths(size))]:
        full = hashes // WIDTH
        yield from (Tile(level, index, WIDTH) for index in range(full))
        span = WIDTH ** (level or 0)
        signed = log.query(_SIGNED_WIDTHS, span, full * WIDTH * span, size)
        for width in sorted({hashes, *(row[0] for row in signed)}):
            if width > full * WIDTH:
                yield Tile(level, full, width - full * WIDTH)


def content(log: LogReader, tile: Tile) -> bytes:
    """The bytes of a tile or an entry bundle, from the store."""
    first = tile.index * WIDTH
    if tile.level:
        level = tile.level * _LEVEL_BITS
        return b"".join(log.read_node(level, first + i) for i in range(tile.width))
    leaves = _leaves(log, first, tile.width)
    if tile.level is None:
        return encode_bundle(leaves)
    return b"".join(leaf_hash(leaf) for leaf in leaves)


def _leaves(log: LogReader, first: int, count: int) -> list[bytes]:
    rows = log.query(
        "SELECT leaf FROM entries WHERE idx >= ? AND idx < ? ORDER BY idx", first, first + count
    )
    if len(rows) != count or any(type(leaf) is not bytes for (leaf,) in rows):
        raise LogCorrupt(
            f"the log {log.path} lacks entries from {first} on", next_step="torchnotary log check"
        )
    return [leaf for (leaf,) in rows]


def _differences(log: LogReader, home: Path) -> Iterator[str]:
    try:
        note = read_regular(home / "checkpoint", MAX_NOTE_BYTES).decode("utf-8", "replace")
        published, _ = cosigned.verified(log, note)
    except (OSError, NotaryError) as error:
        yield f"checkpoint: {_reason(error)}"
        return
    size = published.size
    if size > log.size() or log.root(size) != published.root:
        yield f"checkpoint: the log does not extend it (size {size})"
        return
    for tile in expected_tiles(log, size):
        if not (home / tile.path).exists():
            yield f"{tile.path} is missing"
    for name in _files(home):
        if name != "checkpoint" and not _is_as_stored(log, size, home / name, name):
            yield f"{name} is not what the log has"


def _files(home: Path) -> Iterator[str]:
    """The names of all files below ``home``, sorted within each folder."""
    for folder, inner, names in os.walk(home):
        inner.sort()
        for name in sorted(names):
            yield (Path(folder) / name).relative_to(home).as_posix()


def _is_as_stored(log: LogReader, size: int, path: Path, name: str) -> bool:
    tile = Tile.from_path(name)
    if tile is None or tile.index * WIDTH + tile.width > size // WIDTH ** (tile.level or 0):
        return False
    try:
        return read_regular(path, path.stat().st_size) == content(log, tile)
    except OSError:  # a link to nowhere, a pipe, a file that may not be read
        return False


def _reason(error: OSError | NotaryError) -> str:
    return error.reason if isinstance(error, NotaryError) else str(error.strerror)


def _write_new(path: Path, data: bytes) -> int:
    """Writes a file unless it holds these bytes already; how many were written."""
    if path.exists() and read_regular(path, path.stat().st_size) == data:
        return 0
    write_atomically(path, data)
    return 1
