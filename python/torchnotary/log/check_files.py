"""Whether the line files kept for records are those that their statements speak of."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import msgspec

from .private import PrivateReader
from .store import LogReader

_RECORDS = (
    "SELECT number, entry, record_id, payload FROM records WHERE number >= ? AND number < ?"
    " AND payload IS NOT NULL ORDER BY number"
)


class _Subject(msgspec.Struct, gc=False):
    name: str
    digest: dict[str, str]


class _Said(msgspec.Struct, gc=False):
    subject: list[_Subject] = []


_decoder = msgspec.json.Decoder(_Said)


def wrong_files(
    log: LogReader, private: PrivateReader, first: int, last: int
) -> Iterator[tuple[str, int, bytes]]:
    """What is wrong, and entry and id, of each of the records ``first`` to ``last`` - 1 that has
    private parts but not the files that it was signed with.

    Where none of them has a file, only the first is asked whether it should: a log of records
    without files is checked at the speed of its entries.
    """
    kept = private.file_digests(first, last)
    last = last if kept else first + 1
    ours = private.ids(first, last)
    for number, entry, record_id, payload in log.query(_RECORDS, first, last):
        if number not in ours or type(payload) is not bytes:
            continue
        if hashlib.sha256(payload).digest() != record_id:
            continue  # a statement that is not the record's was named elsewhere, and says nothing
        own = kept.get(number, {})
        for subject in _subjects(payload):
            if subject.name not in own:
                yield f"its private file {subject.name} is missing", entry, record_id
                continue
            digest = own[subject.name]  # None where the file is missing, which is named elsewhere
            if digest is not None and digest.hex() != subject.digest.get("sha256"):
                yield f"its private file {subject.name} is not the signed one", entry, record_id


def _subjects(payload: bytes) -> list[_Subject]:
    try:
        return _decoder.decode(payload).subject
    except msgspec.DecodeError:
        return []  # no inference record, or a damaged one, which is named elsewhere
