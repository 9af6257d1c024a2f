"""Checkpoints: a log's size and root as a signed note (C2SP tlog-checkpoint, signed-note v1)."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from ..errors import MalformedRecord, VerificationFailed
from ..keys import PublicKey, SigningKey
from ..statement.envelope import decode_base64, encode_base64
from ..statement.lines import brief

MAX_NOTE_BYTES = 256 * 2**10
MAX_SIGNATURES = 64
ED25519 = b"\x01"
_DASH = "\u2014"
_NAME = re.compile(r"[^\s+]+")
_DECIMAL = re.compile(r"0|[1-9][0-9]{0,18}")
_VKEY = re.compile(r"([^\s+\ud800-\udfff]+)\+([0-9a-f]{8})\+([0-9A-Za-z+/=]+)")


def origin_of(key: PublicKey) -> str:
    """The origin of the log that ``key`` signs; it names the key, so no two logs share it."""
    return f"torchnotary.log/{key.fingerprint[:32]}"


def key_id(name: str, key: PublicKey, kind: bytes = ED25519) -> bytes:
    """The 4 bytes by which a note's signature line names a key for one kind of signature."""
    return hashlib.sha256(name.encode() + b"\n" + kind + key.raw).digest()[:4]


def vkey(name: str, key: PublicKey, kind: bytes = ED25519) -> str:
    """The verifier key of signed-note, by which people share a key and the name it signs under."""
    return f"{name}+{key_id(name, key, kind).hex()}+{encode_base64(kind + key.raw)}"


def parse_vkey(text: str, kind: bytes = ED25519) -> tuple[str, PublicKey]:
    """Name and key of a verifier key; MalformedRecord for anything but its one spelling."""
    found = _VKEY.fullmatch(text)
    if not found:
        raise MalformedRecord("not a verifier key", expected="NAME+ID+KEY", actual=brief(text))
    name, named_id, encoded = found.groups()
    typed = decode_base64(encoded, "the verifier key", 33)
    if typed[:1] != kind:
        raise MalformedRecord(
            "a verifier key for another kind of signature",
            expected=kind.hex(),
            actual=typed[:1].hex(),
        )
    key = PublicKey(typed[1:])
    if key_id(name, key, kind).hex() != named_id:
        raise MalformedRecord(
            "the verifier key's id is not the one of its name and key",
            expected=key_id(name, key, kind).hex(),
            actual=named_id,
        )
    return name, key


@dataclass(frozen=True)
class SignedNote:
    """A note's text (with its final newline) and its signatures as (name, key id, signature)."""

    text: str
    signatures: tuple[tuple[str, bytes, bytes], ...]

    @classmethod
    def parse(cls, note: str) -> SignedNote:
        """The note as it is written; nothing in it is believed yet."""
        if len(note) > MAX_NOTE_BYTES:
            raise MalformedRecord(
                "the note is too large", expected=f"at most {MAX_NOTE_BYTES}", actual=len(note)
            )
        if re.search(r"[\x00-\x09\x0b-\x1f\ud800-\udfff]", note):
            raise MalformedRecord("the note holds a control character or is not UTF-8 text")
        text, blank, rest = note.rpartition("\n\n")
        if not blank or not rest.endswith("\n"):
            raise MalformedRecord("the note does not end with a blank line and signatures")
        lines = rest[:-1].split("\n")
        if len(lines) > MAX_SIGNATURES:
            raise MalformedRecord(
                "the note has too many signatures", expected=MAX_SIGNATURES, actual=len(lines)
            )
        return cls(text + "\n", tuple(_parse_line(line) for line in lines))

    def verify(self, name: str, key: PublicKey, *, alone: bool = False) -> str:
        """The text, once ``key`` under ``name`` is known to have signed it.

        Other keys' lines are ignored, as signed-note asks; with ``alone`` there must be none.
        """
        expected = key_id(name, key)
        own = [sig for who, key_hash, sig in self.signatures if (who, key_hash) == (name, expected)]
        if not own:
            raise VerificationFailed(
                "the note is not signed by the log's key",
                expected=f"{name}+{expected.hex()}",
                actual=brief(", ".join(f"{who}+{kid.hex()}" for who, kid, _ in self.signatures)),
            )
        if len(own) > 1 or (alone and len(self.signatures) > 1):
            raise MalformedRecord(
                "the note has signature lines nobody checks",
                expected=1,
                actual=len(self.signatures),
            )
        key.verify(own[0], self.text.encode())
        return self.text


@dataclass(frozen=True)
class Checkpoint:
    """The log ``origin`` had ``size`` entries and the RFC 9162 root ``root`` (32 bytes)."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """What is signed: origin, size and root, a line each."""
        return f"{self.origin}\n{self.size}\n{encode_base64(self.root)}\n"

    def sign(self, key: SigningKey) -> str:
        """The checkpoint as a note signed by the log's key under the log's origin."""
        own_id = key_id(self.origin, key.public)
        return f"{self.text}\n{signature_line(self.origin, own_id, key.sign(self.text.encode()))}"

    @classmethod
    def parse(cls, text: str) -> Checkpoint:
        """The checkpoint of a note's text: three lines, no extension lines."""
        lines = text.split("\n")
        if len(lines) != 4 or lines[3] or not all(lines[:3]):
            raise MalformedRecord("a checkpoint has three lines: origin, size and root")
        origin, size, root = lines[:3]
        if not _DECIMAL.fullmatch(size):
            raise MalformedRecord("the checkpoint's size is not a decimal", actual=brief(size))
        digest = decode_base64(root, "the checkpoint's root", 32)
        if len(digest) != 32:
            raise MalformedRecord("the checkpoint's root has 32 bytes", actual=len(digest))
        return cls(origin, int(size), digest)

    @classmethod
    def verify(cls, note: str, key: PublicKey, *, alone: bool = False) -> Checkpoint:
        """The checkpoint ``note`` holds, signed by ``key``, whose log its origin must name.

        ``alone`` refuses any other signature line: in a record every line must be checked.
        """
        signed = SignedNote.parse(note)
        origin = origin_of(key)
        checkpoint = cls.parse(signed.verify(origin, key, alone=alone))
        if checkpoint.origin != origin:
            raise VerificationFailed(
                "the checkpoint is another log's", expected=origin, actual=brief(checkpoint.origin)
            )
        return checkpoint


def signature_line(name: str, key_hash: bytes, signature: bytes) -> str:
    """The line, with its end, by which a key signs a note."""
    return f"{_DASH} {name} {encode_base64(key_hash + signature)}\n"


def _parse_line(line: str) -> tuple[str, bytes, bytes]:
    dash, _, rest = line.partition(" ")
    name, _, encoded = rest.partition(" ")
    if dash != _DASH or not _NAME.fullmatch(name):
        raise MalformedRecord("not a signature line of a note", actual=brief(line))
    data = decode_base64(encoded, "the note's signature", 8192)
    if len(data) < 5:
        raise MalformedRecord("a note's signature has more than 4 bytes", actual=len(data))
    return name, data[:4], data[4:]
