"""Revocation of a record key by checkpoint: what it signed counts only where it was in a log
before, not by any date, since whoever stole the key can write any date.

    {"checkpoints":[NOTE,…],"key":FINGERPRINT,"type":"revocation/1"}

One canonical line. A record by the key counts only as an entry below the size of the checkpoint
listed for its log; in a log without one it does not count.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from ..errors import MalformedRecord
from ..files import read_regular
from ..keys import PublicKey
from ..keys.files import replace_private_file
from ..keys.keyring import revocation_path
from ..statement.lines import brief, canonical, parse_object
from .checkpoint import Checkpoint, SignedNote

TYPE = "revocation/1"
MAX_BYTES = 2**20
MAX_CHECKPOINTS = 256
_FINGERPRINT = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Revocation:
    """Of the records by the key ``fingerprint`` those count that ``checkpoints`` (signed notes, one
    a log, in the order of their origins) cover."""

    fingerprint: str
    checkpoints: tuple[str, ...] = ()

    @classmethod
    def of(cls, fingerprint: str, notes: list[str]) -> Revocation:
        """The revocation with checkpoints in any order; MalformedRecord for two of one log."""
        return cls(fingerprint, tuple(sorted(notes, key=lambda note: _parsed(note).origin)))

    def __post_init__(self) -> None:
        if not _FINGERPRINT.fullmatch(self.fingerprint):
            raise MalformedRecord(
                "not a fingerprint", expected="64 hex digits", actual=brief(self.fingerprint)
            )
        if len(self.checkpoints) > MAX_CHECKPOINTS:
            raise MalformedRecord(
                "a revocation lists too many checkpoints",
                expected=MAX_CHECKPOINTS,
                actual=len(self.checkpoints),
            )
        origins = [_parsed(note).origin for note in self.checkpoints]
        if origins != sorted(set(origins)):
            raise MalformedRecord(
                "a revocation lists one checkpoint a log, in the order of their origins",
                actual=brief(", ".join(origins)),
            )

    @cached_property
    def covered(self) -> dict[str, int]:
        """How many of a log's first entries still count, by the log's origin. Nobody has verified
        the checkpoints that say so; `checkpoint` does."""
        return {c.origin: c.size for c in map(_parsed, self.checkpoints)}

    def checkpoint(self, origin: str, log_key: PublicKey) -> Checkpoint | None:
        """The checkpoint listed for a log, None where there is none; VerificationFailed or
        MalformedRecord where ``log_key`` did not sign it."""
        for note in self.checkpoints:
            if _parsed(note).origin == origin:
                return Checkpoint.verify(note, log_key)
        return None

    def encode(self) -> bytes:
        """The line, with the newline that ends its file."""
        value: dict[str, Any] = {
            "checkpoints": list(self.checkpoints),
            "key": self.fingerprint,
            "type": TYPE,
        }
        return canonical(value) + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> Revocation:
        """The revocation of a file's bytes; MalformedRecord for anything but its one form."""
        if len(data) > MAX_BYTES or not data.endswith(b"\n"):
            raise MalformedRecord("not a revocation: too large, or no line", actual=len(data))
        value = parse_object(data[:-1], "the revocation", ("checkpoints", "key", "type"))
        notes, key = value["checkpoints"], value["key"]
        if value["type"] != TYPE:
            raise MalformedRecord(
                "not a revocation, or one of an unknown version",
                expected=TYPE,
                actual=brief(value["type"]),
            )
        if type(key) is not str or type(notes) is not list:
            raise MalformedRecord("a revocation is a key and a list of checkpoints")
        if not all(type(note) is str for note in notes):
            raise MalformedRecord("a checkpoint of a revocation is text")
        return cls(key, tuple(notes))

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> Revocation:
        """The revocation in a file: OSError where it cannot be opened, else as `decode`."""
        return cls.decode(read_regular(path, MAX_BYTES))


def revoke(revocation: Revocation) -> None:
    """Makes this the user's revocation of its key, in place of an earlier one."""
    replace_private_file(revocation_path(revocation.fingerprint), revocation.encode())


def own_revocation(fingerprint: str) -> Revocation | None:
    """The user's revocation of a key, None where there is none; MalformedRecord where its file is
    damaged or another key's."""
    path = revocation_path(fingerprint)
    try:
        found = Revocation.load(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    if found.fingerprint != fingerprint:
        raise MalformedRecord(
            f"the revocation {path} is not of the key its name says",
            expected=fingerprint,
            actual=found.fingerprint,
            next_step="revoke the key again: torchnotary keys revoke KEY",
        )
    return found


def _parsed(note: str) -> Checkpoint:
    return Checkpoint.parse(SignedNote.parse(note).text)
