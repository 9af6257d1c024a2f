"""A policy: which signers, logs, witnesses, models and times count, and which steps must pass."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from .. import folders
from ..errors import MalformedPolicy, MalformedRecord, NotaryError
from ..files import read_regular
from ..keys import PublicKey, as_fingerprint
from ..log.checkpoint import MAX_NOTE_BYTES, Checkpoint, SignedNote, parse_vkey
from ..log.revocation import Revocation
from ..log.witness import WitnessKey
from ..statement.lines import brief

if TYPE_CHECKING:
    from .policy_file import PolicyFile

_UNITS = {"d": "days", "h": "hours", "m": "minutes"}


@dataclass(frozen=True)
class Policy:
    """What a record is held against; a field that is None (or empty, where it must be met by
    something) restricts nothing.

    ``signers`` and ``log_keys`` are fingerprints, ``models`` hexadecimal weights roots; ``quorum``
    of the ``witnesses`` must have cosigned; ``checkpoint`` is the text of a signed note; with
    ``nonce`` True the record must carry the caller's, with text that one. A call must be in a
    checkpoint that its log shows to witnesses ``max_delay`` after it ended.
    """

    signers: frozenset[str] | None = None
    origins: frozenset[str] | None = None
    required: frozenset[str] = frozenset()
    log_keys: frozenset[str] | None = None
    witnesses: tuple[WitnessKey, ...] = ()
    quorum: int = 0
    checkpoint: str | None = None
    models: frozenset[str] | None = None
    profiles: frozenset[str] | None = None
    max_age: timedelta | None = None
    max_delay: timedelta = timedelta(days=1)
    nonce: str | bool = False
    revoked: tuple[Revocation, ...] = ()
    name: str | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        if self.witnesses and not 1 <= self.quorum <= len(self.witnesses):
            raise MalformedPolicy(
                "a quorum that nobody meets, or everybody",
                expected=f"1 to {len(self.witnesses)}",
                actual=self.quorum,
                next_step="say how many of the witnesses must have cosigned",
            )

    @classmethod
    def load(cls, source: Policy | str | os.PathLike[str]) -> Policy:
        """Reads a TOML policy; paths in it are relative to its folder.

        Raises `OSError` where the file cannot be opened and `MalformedPolicy` where it is not a
        policy or larger than 64 KiB; a `Policy` is returned as it is.
        """
        if isinstance(source, Policy):
            return source
        from . import policy_file

        path = Path(source)
        try:
            data = read_regular(path, policy_file.MAX_BYTES)
        except MalformedRecord as error:
            raise policy_file.too_large(path, error.actual) from None
        return cls.parse(data, folder=path.parent, name=str(path))

    @classmethod
    def parse(cls, data: bytes, *, folder: Path | None = None, name: str = "policy") -> Policy:
        """Reads the text of a TOML policy; raises `MalformedPolicy`."""
        from . import policy_file

        return _Reader(policy_file.read(data, name), folder or Path(), name).policy()


ANY = Policy()  # what is asked where no policy is given


class _Reader:
    """What the fields of one policy file mean: keys and checkpoints read, the rest compared."""

    def __init__(self, fields: PolicyFile, folder: Path, name: str) -> None:
        import msgspec

        self.given = msgspec.structs.asdict(fields)
        self.given = {k: v for k, v in self.given.items() if v is not msgspec.UNSET}
        self.folder = folder
        self.name = name

    def policy(self) -> Policy:
        read = {
            "signers": self.keys,
            "log_keys": self.log_keys,
            "witnesses": self.witnesses,
            "quorum": self.quorum,
            "checkpoint": self.checkpoint,
            "max_age": self.duration,
            "max_delay": self.duration,
            "nonce": self.nonce,
            "revoked": self.revoked,
        }
        fields = {field: read.get(field, self.texts)(field) for field in self.given}
        if "witnesses" in fields:
            fields.setdefault("quorum", len(fields["witnesses"]))
        return Policy(**fields, name=self.name)

    def wrong(self, field: str, cause: str) -> NotaryError:
        from .policy_file import wrong

        return wrong(self.name, field, cause)

    def texts(self, field: str) -> frozenset[str]:
        return frozenset(self.given[field])

    def keys(self, field: str) -> frozenset[str]:
        return frozenset(self.key(field, text) for text in self.given[field])

    def log_keys(self, field: str) -> frozenset[str]:
        return frozenset(self.log_key(field, text) for text in self.given[field])

    def log_key(self, field: str, text: str) -> str:
        """The fingerprint of a log's key, which its verifier key names too."""
        if not _is_vkey(text):
            return self.key(field, text)
        try:
            return parse_vkey(text)[1].fingerprint
        except NotaryError as error:
            raise self.wrong(field, _cause(error)) from error

    def key(self, field: str, text: str) -> str:
        """A fingerprint is one, whatever files there are; a file of such a name is ./name."""
        try:
            if fingerprint := as_fingerprint(text):
                return fingerprint
            pem = "-----BEGIN" in text
            return PublicKey.parse(text if pem else self.path(text)).fingerprint
        except (NotaryError, OSError) as error:
            raise self.wrong(field, f"a key cannot be read: {_cause(error)}") from error

    def witnesses(self, field: str) -> tuple[WitnessKey, ...]:
        try:
            found = tuple(WitnessKey.from_vkey(self.vkey(text)) for text in self.given[field])
        except (NotaryError, OSError) as error:
            raise self.wrong(field, _cause(error)) from error
        by_key: dict[PublicKey, str] = {}
        for witness in found:
            if witness.key in by_key:
                names = f"{by_key[witness.key]} and {witness.name}"
                raise self.wrong(field, f"{brief(names)} have one key, which would count twice")
            by_key[witness.key] = witness.name
        if not found:
            raise self.wrong(field, "an empty list of witnesses sees nothing")
        return found

    def vkey(self, text: str) -> str:
        """A verifier key, or what the file of this name holds."""
        if _is_vkey(text):
            return text
        return read_regular(self.path(text), MAX_NOTE_BYTES).decode("utf-8", "replace").strip()

    def quorum(self, field: str) -> int:
        quorum, witnesses = self.given[field], self.given.get("witnesses", [])
        if quorum > len(witnesses):
            raise self.wrong(field, f"{quorum} of {len(witnesses)} witnesses can never be met")
        return quorum

    def checkpoint(self, field: str) -> str:
        text = self.given[field]
        try:
            if "\n" not in text:
                data = read_regular(self.path(text), MAX_NOTE_BYTES)
                text = data.decode("utf-8", "replace")
            Checkpoint.parse(SignedNote.parse(text).text)
        except (NotaryError, OSError) as error:
            raise self.wrong(field, _cause(error)) from error
        return text

    def revoked(self, field: str) -> tuple[Revocation, ...]:
        try:
            return tuple(Revocation.load(self.path(text)) for text in self.given[field])
        except (NotaryError, OSError) as error:
            raise self.wrong(field, _cause(error)) from error

    def duration(self, field: str) -> timedelta:
        text = self.given[field]
        return timedelta(**{_UNITS[text[-1]]: int(text[:-1])})

    def nonce(self, field: str) -> str | bool:
        nonce = self.given[field]
        if nonce is True:
            return True
        try:
            if nonce and bytes.fromhex(nonce):
                return bytes.fromhex(nonce).hex()
        except ValueError:
            pass
        raise self.wrong(field, "it challenges nobody" if not nonce else "it is not hexadecimal")

    def path(self, text: str) -> Path:
        return self.folder / folders.expand(text)


def _is_vkey(text: str) -> bool:
    """Whether ``text`` is meant as a verifier key, whose parts two plus signs divide."""
    return text.count("+") >= 2 and "-----BEGIN" not in text


def _cause(error: NotaryError | OSError) -> str:
    """Why something named in a policy cannot be used; what to do next is for the policy to say."""
    if isinstance(error, OSError):
        return f"{error.filename}: {error.strerror}"
    compared = error.expected is not None or error.actual is not None
    values = f" (expected {error.expected}, got {error.actual})" if compared else ""
    return error.reason + values
