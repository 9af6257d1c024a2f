"""Public keys: read from SPKI, PEM or a fingerprint, compared, and asked to verify."""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import re
from functools import cached_property
from types import ModuleType

from .. import folders
from ..errors import MalformedRecord, NotaryError, VerificationFailed
from . import ed25519, p256
from .files import read_pem

ALGORITHMS = (ed25519, p256)
_PEM = re.compile(
    rb"-----BEGIN PUBLIC KEY-----\s+([A-Za-z0-9+/=\s]+)-----END PUBLIC KEY-----(?:\s|$)"
)


class PublicKey:
    """A public key, named by its fingerprint (hex SHA-256 of its SPKI DER).

    ``point`` is the 32 bytes of an Ed25519 key, or with ``kind=p256`` the 64 of a P-256 point.
    """

    def __init__(self, point: bytes, kind: ModuleType = ed25519) -> None:
        if len(point) != kind.POINT_BYTES:
            raise MalformedRecord(
                f"a public key of {kind.NAME} has {kind.POINT_BYTES} bytes",
                expected=kind.POINT_BYTES,
                actual=len(point),
            )
        kind.check_point(point)
        self._kind = kind
        self._point = bytes(point)
        self.spki = kind.SPKI_PREFIX + self._point
        self.fingerprint = hashlib.sha256(self.spki).hexdigest()

    @property
    def algorithm(self) -> str:
        """``Ed25519`` or ``P-256``."""
        return self._kind.NAME

    @property
    def raw(self) -> bytes:
        """The 32 bytes of an Ed25519 key, the only kind that signs logs and cosignatures;
        MalformedRecord for a P-256 key."""
        if self._kind is not ed25519:
            raise MalformedRecord(
                "logs and witnesses sign with Ed25519 keys alone",
                expected=ed25519.NAME,
                actual=self.algorithm,
            )
        return self._point

    @property
    def short(self) -> str:
        """The first 16 hex digits of the fingerprint, in groups people can compare."""
        return short(self.fingerprint)

    @classmethod
    def from_spki(cls, der: bytes) -> PublicKey:
        """The key of a SubjectPublicKeyInfo (RFC 8410, RFC 5480), in its one DER encoding."""
        if not isinstance(der, bytes):
            raise TypeError(f"SPKI DER is bytes, not {type(der).__name__}")
        for kind in ALGORITHMS:
            if der.startswith(kind.SPKI_PREFIX) and len(der) == len(kind.SPKI_PREFIX) + (
                kind.POINT_BYTES
            ):
                return cls(der[len(kind.SPKI_PREFIX) :], kind)
        raise MalformedRecord(
            "not the SPKI DER of an Ed25519 key, or of a P-256 key by curve name and whole point"
        )

    @classmethod
    def from_pem(cls, pem: bytes) -> PublicKey:
        """The key of a PEM ``PUBLIC KEY``; NotaryError where it is none, or a private one."""
        if b"PRIVATE KEY" in pem:
            raise NotaryError(
                "this is a private key, which nobody but its owner should hold",
                next_step="ask for the PEM of its public key",
            )
        return cls.from_block(pem)

    @classmethod
    def from_block(cls, pem: bytes) -> PublicKey:
        """The one ``PUBLIC KEY`` block of a PEM file, whatever other blocks it has."""
        blocks = _PEM.findall(pem)
        try:
            if len(blocks) != 1:
                raise ValueError(f"{len(blocks)} blocks of that name")
            der = base64.b64decode(b"".join(blocks[0].split()), validate=True)
        except (binascii.Error, ValueError) as error:
            raise NotaryError(f"not the PEM of a public key: {error}") from None
        return cls.from_spki(der)

    @classmethod
    def parse(cls, given: PublicKey | bytes | str | os.PathLike[str]) -> PublicKey:
        """The key somebody named: a key, PEM or SPKI bytes, PEM text, the path of a PEM file,
        or the fingerprint of an own or trusted key.

        Text that reads as a fingerprint is one, never a file of that name: such a file is named
        with its folder (``./``) or as a Path. The first digits alone name nobody: another key
        can be made that begins with them.
        """
        if isinstance(given, PublicKey):
            return given
        if isinstance(given, bytes):
            return cls.from_spki(given) if given[:1] == b"\x30" else cls.from_pem(given)
        if isinstance(given, str) and "-----BEGIN" in given:
            return cls.from_pem(given.encode())
        fingerprint = as_fingerprint(given)
        if fingerprint is None:
            return cls.from_pem(read_pem(folders.expand(given)))
        from .keyring import own_keys, trusted_keys

        for key in (*own_keys(), *trusted_keys()):
            if key.fingerprint == fingerprint:
                return key
        raise NotaryError(
            "no own or trusted key has this fingerprint",
            actual=fingerprint,
            next_step="name the key's PEM file, or trust it: torchnotary keys trust FILE",
        )

    def to_pem(self) -> bytes:
        body = base64.b64encode(self.spki)
        lines = [body[i : i + 64] for i in range(0, len(body), 64)]
        return b"\n".join([b"-----BEGIN PUBLIC KEY-----", *lines, b"-----END PUBLIC KEY-----\n"])

    def verify(self, signature: bytes, message: bytes) -> None:
        """Returns if ``signature`` over ``message`` is this key's; VerificationFailed if not."""
        from cryptography.exceptions import InvalidSignature

        self._kind.check_signature(signature)
        try:
            self._verify(signature, message)
        except InvalidSignature:
            raise VerificationFailed(
                "the signature is not this key's over these bytes", expected=self.short
            ) from None

    @cached_property
    def _verify(self):
        return self._kind.verifier(self._point)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PublicKey) and other.spki == self.spki

    def __hash__(self) -> int:
        return hash(self.spki)

    def __repr__(self) -> str:
        return f"PublicKey({self.short})"


def short(fingerprint: str) -> str:
    """The first 16 hex digits of a fingerprint in groups of four."""
    return " ".join(fingerprint[i : i + 4] for i in range(0, 16, 4))


def fingerprint_of(given: PublicKey | bytes | str | os.PathLike[str]) -> str:
    """The fingerprint of the key somebody named; a whole fingerprint needs no key to be known."""
    return as_fingerprint(given) or PublicKey.parse(given).fingerprint


def as_fingerprint(given: object) -> str | None:
    """The fingerprint that text is, with or without spaces and colons; None for anything else.

    The first 16 digits, as they are shown, are refused with NotaryError.
    """
    if not isinstance(given, str):
        return None
    digits = given.replace(" ", "").replace(":", "").lower()
    if re.fullmatch(r"[0-9a-f]{16}", digits):
        raise NotaryError(
            "the first digits of a fingerprint do not name a key",
            expected="64 hex digits",
            actual=digits,
            next_step="give the whole fingerprint: torchnotary keys list",
        )
    return digits if re.fullmatch(r"[0-9a-f]{64}", digits) else None
