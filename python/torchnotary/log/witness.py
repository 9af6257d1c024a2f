"""Cosignatures: a witness says when it saw a checkpoint, and that it saw nothing against it.

C2SP tlog-cosignature, ``cosignature/v1`` (Ed25519): one more signature line of the checkpoint's
note, over the time and the checkpoint's text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

from ..errors import MalformedRecord, VerificationFailed
from ..keys import SIGNATURE_BYTES, PublicKey, SigningKey
from ..statement.lines import brief
from .checkpoint import Checkpoint, SignedNote, key_id, parse_vkey, signature_line, vkey

MAX_NAME_CHARACTERS = 256
COSIGNATURE_V1 = b"\x04"
_TIME_BYTES = 8
_MAX_TIME = 2**63 - 1
_NAME = re.compile(rf"[^\s+\x00-\x1f\x7f\ud800-\udfff]{{1,{MAX_NAME_CHARACTERS}}}")


@dataclass(frozen=True)
class WitnessKey:
    """A witness's name, a URL without its scheme such as ``witness.example/w1``, and its key."""

    name: str
    key: PublicKey

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise MalformedRecord(
                "not the name of a witness",
                expected=f"up to {MAX_NAME_CHARACTERS} characters without spaces or +",
                actual=brief(self.name),
                next_step="name it like a URL without its scheme: witness.example/w1",
            )

    def vkey(self) -> str:
        """The signed-note verifier key, by which people share this witness."""
        return vkey(self.name, self.key, COSIGNATURE_V1)

    @classmethod
    def from_vkey(cls, text: str) -> WitnessKey:
        """The witness of a verifier key; MalformedRecord for anything but its one spelling."""
        return cls(*parse_vkey(text, COSIGNATURE_V1))

    def key_id(self) -> bytes:
        """The 4 bytes by which signature lines name this witness."""
        return key_id(self.name, self.key, COSIGNATURE_V1)

    def verify(self, note: SignedNote) -> int:
        """The POSIX time (seconds) of this witness's cosignature on ``note``.

        Raises VerificationFailed where it is absent or wrong, MalformedRecord where it stands
        twice or is not of its form.
        """
        data = self._data(note)
        if len(data) != _TIME_BYTES + SIGNATURE_BYTES:
            raise MalformedRecord(
                "a cosignature is a time and a signature",
                expected=f"{_TIME_BYTES + SIGNATURE_BYTES} bytes",
                actual=len(data),
            )
        time = int.from_bytes(data[:_TIME_BYTES], "big")
        if time > _MAX_TIME:
            raise MalformedRecord("a cosignature of no time", expected=_MAX_TIME, actual=time)
        self.key.verify(data[_TIME_BYTES:], _message(note.text, time))
        return time

    def line(self, note: SignedNote) -> str:
        """The witness's signature line of ``note``; VerificationFailed where there is none."""
        return signature_line(self.name, self.key_id(), self._data(note))

    def _data(self, note: SignedNote) -> bytes:
        line = (self.name, self.key_id())
        own = [data for name, kid, data in note.signatures if (name, kid) == line]
        if not own:
            raise VerificationFailed(
                "the checkpoint is not cosigned by this witness",
                expected=f"{self.name}+{self.key_id().hex()}",
                actual=brief(", ".join(f"{who}+{kid.hex()}" for who, kid, _ in note.signatures)),
            )
        if len(own) > 1:
            raise MalformedRecord(
                "a witness cosigned the checkpoint twice", expected=1, actual=len(own)
            )
        return own[0]


class Cosigned(NamedTuple):
    """That ``witness`` cosigned a checkpoint at ``time`` (POSIX seconds, by its clock)."""

    witness: WitnessKey
    time: int


def cosign(note: str, name: str, key: SigningKey, time: int) -> str:
    """The note with one more signature line: that ``key``'s witness saw it at ``time``.

    Whether it may be cosigned is for the witness to know (`witnessing`).
    """
    if not 0 <= time <= _MAX_TIME:
        raise MalformedRecord("a cosignature of no time", expected=_MAX_TIME, actual=time)
    witness = WitnessKey(name, key.public)
    data = time.to_bytes(_TIME_BYTES, "big") + key.sign(_message(SignedNote.parse(note).text, time))
    return note + signature_line(name, witness.key_id(), data)


def verify_every_line(
    note: str, log_key: PublicKey, witnesses: Iterable[WitnessKey]
) -> tuple[Checkpoint, tuple[Cosigned, ...]]:
    """The checkpoint and its cosignatures, where each of ``witnesses`` cosigned it and no
    signature line is anybody else's, so that no bit of the note goes unchecked.

    Raises VerificationFailed or MalformedRecord.
    """
    signed = SignedNote.parse(note)
    checkpoint = Checkpoint.verify(note, log_key)
    cosigned = tuple(Cosigned(witness, witness.verify(signed)) for witness in witnesses)
    known = {(checkpoint.origin, key_id(checkpoint.origin, log_key))}
    known.update((witness.name, witness.key_id()) for witness, _ in cosigned)
    for name, kid, _ in signed.signatures:
        if (name, kid) not in known:
            raise MalformedRecord(
                "the note has signature lines nobody checks", actual=f"{name}+{kid.hex()}"
            )
    return checkpoint, cosigned


def _message(text: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{text}".encode()
