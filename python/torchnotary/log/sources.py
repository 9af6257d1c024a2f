"""Finding the log that somebody means: one in a folder, one that was published, one by origin."""

from __future__ import annotations

from pathlib import Path

from ..errors import NotaryError
from . import cosigned
from .checkpoint import Checkpoint
from .claim import log_folders
from .proofs import ConsistencyProof
from .reader import known_logs
from .store import LogReader
from .tiles import INDEX_NAME, PublishedLog, read_index


def log_paths(path: Path) -> list[Path]:
    """The logs that ``path`` stands for, published or not: itself, or those in it in the order
    they were begun."""
    if (path / "log.sqlite").is_file() or (path / "checkpoint").is_file():
        return [path]
    if (path / INDEX_NAME).is_file():
        return [path / name for name in read_index(path)]
    return log_folders(path)


def open_log(path: Path) -> LogReader | PublishedLog:
    """The one log that ``path`` stands for (see `log_paths`); NotaryError where there is none, or
    several to choose from."""
    found = log_paths(path)
    if len(found) != 1:
        raise NotaryError(
            f"there are {len(found)} logs in {path}" if found else f"there is no log in {path}",
            next_step=" or ".join(f"name {log}" for log in found) or "name a log's folder",
        )
    is_store = (found[0] / "log.sqlite").is_file()
    return LogReader.open(found[0]) if is_store else PublishedLog.open(found[0])


def log_of(origin: str, folder: Path | None = None) -> LogReader | PublishedLog:
    """The log of this origin in ``folder``, published or not, or in any folder this user wrote."""
    for path in known_logs() if folder is None else log_paths(folder):
        try:
            log = open_log(path)
        except NotaryError:
            continue  # another one may be the log; `log check` says what is wrong with this one
        if log.origin == origin:
            return log
        log.close()
    raise NotaryError(
        f"no log {'of yours' if folder is None else f'in {folder}'} is {origin}",
        next_step="name its folder: --log LOG",
    )


def last_checkpoint(log: LogReader | PublishedLog) -> tuple[int, str]:
    """Size and note of the log's last checkpoint, with the cosignatures it has got.

    NotaryError where nothing is signed yet.
    """
    last = log.checkpoint()
    if last is None:
        raise NotaryError(
            f"the log {log.path} has no signed checkpoint", next_step="record something first"
        )
    kept = None if isinstance(log, PublishedLog) else cosigned.at(log, last[0])
    return last if kept is None else (kept.size, kept.note)


def extension(log: LogReader | PublishedLog, old_size: int, note: str) -> ConsistencyProof:
    """The proof that the log's checkpoint ``note`` extends the ``old_size`` entries it once had.

    Where it is smaller than that there is no proof, and none that verifies is returned.
    """
    size = Checkpoint.verify(note, log.public_key).size
    provable = 0 < old_size <= size
    hashes = log.consistency_proof(old_size, size) if provable else ()
    return ConsistencyProof(old_size, tuple(hashes), note)
