"""``log prune``: erases what old records say for good; their place in the tree, by which it still
checks, stays.

Statement, signature, name, labels and private parts go. Which record it was (the SHA-256 of its
statement, as the leaf has it) and its time stay, so a copy that was saved before is still proven.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

from ..errors import LogInUse, NotaryError
from .claim import lock_log, log_folders
from .private import PrivateStore, database_path
from .store import LogStore

_PAGE = 10_000


def prune_folder(folder: Path, before: str) -> int:
    """Erases the records of all logs in ``folder`` that are from before a time (in the form the log
    keeps it); returns how many.

    A log that somebody writes is left as it is, and once the others are pruned named by LogInUse.
    NotaryError where there is no log.
    """
    paths = log_folders(folder)
    if not paths:
        raise NotaryError(f"there is no log in {folder}", next_step="name a log folder")
    erased, written = 0, []
    for path in paths:
        lock = lock_log(path)
        if lock is None:
            written.append(path.name)
            continue
        try:
            erased += _prune(path, before)
        except sqlite3.Error as error:
            raise NotaryError(
                f"the log {path} could not be pruned: {error}",
                next_step="have as much space as the log takes free, also for temporary files, and"
                " prune again",
            ) from error
        finally:
            os.close(lock)
    if written:
        raise LogInUse(
            f"{', '.join(written)} in {folder} cannot be pruned while records are written to it"
            f" ({erased} records were erased from other logs)",
            next_step="close the notary or end the process that writes it, and prune again",
        )
    return erased


def _prune(path: Path, before: str) -> int:
    with LogStore.open(path) as log:
        if not log.is_erasing() and not log.old_records(before, -1, 1):
            return 0
        log.begin_erasing()
        # Secrets go first: as long as the statements stay, the next try finds what is left.
        if database_path(path).exists():
            with PrivateStore.open(path) as private:
                after = -1
                while numbers := log.old_records(before, after, _PAGE):
                    private.erase(numbers)
                    after = numbers[-1]
                private.compact()
        erased = log.erase(before)
        log.compact()
        log.end_erasing()
        return erased
