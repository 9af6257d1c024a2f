"""Reading a log folder: all its logs as one, from any process, beside the writers."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from .. import folders
from ..errors import NotaryError
from ..statement.bundle import Bundle
from ..statement.lines import brief
from . import cosigned, registry
from .claim import log_folders
from .private import PrivateEntry, PrivateReader, database_path
from .proofs import TlogProof
from .store import Ambiguous, LogReader, StoredEntry


class LogFolder:
    """A folder of logs; nothing in it is changed, and it need not exist."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def logs(self) -> list[Path]:
        """The folders of its logs in the order they were begun."""
        return log_folders(self.path)

    def find(self, record_id: str) -> StoredEntry | None:
        """The record with this id, or with an id that begins so (8 digits or more)."""
        wanted = _record_id(record_id)
        found, error = _find(reversed(self.logs()), wanted)
        if found is None and error is not None:
            raise error
        return found

    def bundle(self, record_id: str) -> dict[str, Any]:
        """The bundle.json of a record, proven under the latest checkpoint that witnesses
        cosigned, or that its log signed where none of those covers it."""
        found = self.find(record_id)
        if found is None:
            raise NotaryError(
                f"no log in {self.path} has the record {brief(record_id)}",
                next_step="torchnotary log list",
            )
        with LogReader.open(found.log) as log:
            return _bundle(log, found)

    def private(self, record_id: str) -> PrivateEntry | None:
        """What the maker of a record keeps of it, or None where it is not (or no longer) here."""
        found = self.find(record_id)
        return None if found is None else private_entry(found)

    def list(
        self, labels: Mapping[str, str] | None = None, since: str | None = None
    ) -> Iterator[StoredEntry]:
        """Records with all ``labels`` from ``since`` on (ISO 8601, UTC if it says nothing else)."""
        start = None if since is None else normal_time(since)
        for path in self.logs():
            with LogReader.open(path) as log:
                yield from log.records(labels or {}, start)


def find_anywhere(record_id: str) -> StoredEntry | None:
    """The record in any log folder this user has written; logs that cannot be read are skipped
    (``log check`` names what is wrong with them).
    """
    return _find(known_logs(), _record_id(record_id))[0]


def _find(logs: Iterable[Path], wanted: str) -> tuple[StoredEntry | None, NotaryError | None]:
    """The record that ``wanted`` names in the first log that has it, and what kept a log from
    being read; Ambiguous where several records begin so, in one log or in two."""
    found, unread = None, None
    for path in logs:
        try:
            with LogReader.open(path) as log:
                here = log.find(wanted)
        except Ambiguous:
            raise
        except NotaryError as error:
            unread = unread or error
            continue
        if found is None:
            found = here
        elif here is not None and here.record_id != found.record_id:
            raise Ambiguous.of(wanted)
        if found is not None and len(wanted) == 64:
            break
    return found, unread


def known_logs() -> list[Path]:
    """Every log of the default folder, then of the others this user has written; in each the
    latest first."""
    return [path for folder in _folders() for path in reversed(log_folders(folder))]


def private_anywhere(record_id: str) -> PrivateEntry | None:
    """What this user keeps of a record, in whichever log folder it lies; None where nothing."""
    found = find_anywhere(record_id)
    return None if found is None else private_entry(found)


def private_entry(entry: StoredEntry) -> PrivateEntry | None:
    """The private parts of a record that was found; None where its log has none of it."""
    if not database_path(entry.log).exists():
        return None
    with PrivateReader.open(entry.log) as store:
        return store.get(entry.number, entry.record_id)


def normal_time(text: str) -> str:
    """A time in the form the log keeps and sorts: UTC with microseconds and a Z."""
    try:
        parsed = datetime.fromisoformat(re.sub(r"[zZ]$", "+00:00", text.strip()))
        if parsed.tzinfo is None:
            parsed = parsed.replace(tzinfo=timezone.utc)
        utc = parsed.astimezone(timezone.utc).replace(tzinfo=None)
        # Not strftime, which writes the year 226 with three digits, to be sorted behind 2026.
        return utc.isoformat(timespec="microseconds") + "Z"
    except (ValueError, OverflowError):
        raise NotaryError(
            f"not a time: {brief(text)}", next_step="write it as 2026-11-21 or 2026-11-21T10:02:03Z"
        ) from None


def _bundle(log: LogReader, entry: StoredEntry) -> dict[str, Any]:
    if entry.envelope is None:
        raise NotaryError(
            f"the record {entry.record_id} was erased from its log",
            next_step="use a copy that was saved before",
        )
    checkpoint = log.checkpoint()
    if checkpoint is None or checkpoint[0] <= entry.index:
        raise NotaryError(
            f"the record {entry.record_id} is stored, but no signed checkpoint covers it yet",
            next_step="record once more in this folder: that signs what a crash left unsigned",
        )
    size, note = checkpoint
    kept = cosigned.covering(log, entry.index)
    if kept is not None:
        size, note = kept.size, kept.note
    proof = TlogProof(entry.index, tuple(log.inclusion_proof(entry.index, size)), note)
    bundle = Bundle(
        entry.envelope,
        entry.public_key.spki,
        entry.log_public_key.spki,
        proof.to_text(),
        log.batch_part(entry),
        witnesses=() if kept is None else tuple((w.name, w.key.spki) for w in kept.witnesses),
    )
    return bundle.to_json()


def _record_id(text: str) -> str:
    wanted = text.strip().lower()
    if not re.fullmatch(r"[0-9a-f]{8,64}", wanted):
        raise NotaryError(
            f"not a record id: {brief(text)}", next_step="give 8 to 64 of its hex digits"
        )
    return wanted


def _folders() -> list[Path]:
    found = registry.known_folders()
    default = folders.default_log()
    return [default, *(folder for folder in found if folder != default)]
