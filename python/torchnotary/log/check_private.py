"""What ``log check`` asks the private store of a log: that it belongs to the log, whole."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event

from ..errors import LogCorrupt
from .check_files import wrong_files
from .private import JOINED_IDS, PrivateReader, database_path
from .store import LogReader

_PAGE = 4096
_LOGGED = "SELECT number, entry, record_id FROM records WHERE number >= ? AND number < ?"

# What is wrong, the entry's index and the record's id, as far as they are known.
Wrong = tuple[str, "int | None", "bytes | None"]


def wrong_private_parts(path: Path, given_up: Event) -> list[Wrong]:
    """What is wrong with the private store of the log in ``path``; not all where it is given up."""
    wrong: list[Wrong] = []
    if not database_path(path).exists():
        return wrong
    with LogReader.open(path) as log:
        # The log is read first: what is kept for records that come later is nothing to check.
        log.query("BEGIN")
        records = log.record_count()
        with PrivateReader.open(path) as private:
            for found in _steps(log, records, private):
                wrong += found
                if given_up.is_set():
                    break
    return wrong


def _steps(log: LogReader, records: int, private: PrivateReader) -> Iterator[list[Wrong]]:
    """What each step finds, none of which takes long."""
    yield [
        ("its private secret or digests are damaged", *_place(log, number))
        for number in private.misshapen()
    ]
    for first in range(0, min(private.last_number() + 1, records), _PAGE):
        yield list(_wrong_records(log, private, first, first + _PAGE))
    yield [
        (f"its private file {name} is missing", *_place(log, number))
        for number, name in private.dangling()
    ]
    last = 0
    while files := private.files(last, _PAGE):
        for file, sha256 in files:
            yield _wrong_content(log, private, file, sha256)
        last = files[-1][0]


def _wrong_records(
    log: LogReader, private: PrivateReader, first: int, last: int
) -> Iterator[Wrong]:
    yield from wrong_files(log, private, first, last)
    if private.joined_ids(first, last) == log.query(JOINED_IDS, first, last)[0]:
        return
    theirs = private.ids(first, last)
    for number, index, record_id in log.query(_LOGGED, first, last):
        if theirs.get(number, record_id) != record_id:
            yield "its private parts are another record's", index, record_id


def _wrong_content(log: LogReader, private: PrivateReader, file: int, sha256: bytes) -> list[Wrong]:
    try:
        private.content(file, sha256)
    except LogCorrupt:
        return [
            (f"its private file {name} is damaged", *_place(log, number))
            for number, name in private.users(file)
        ]
    return []


def _place(log: LogReader, number: int) -> tuple[int | None, bytes | None]:
    """The entry and the id of a record, as far as they are known."""
    rows = log.query("SELECT entry, record_id FROM records WHERE number = ?", number)
    return rows[0] if rows else (None, None)
