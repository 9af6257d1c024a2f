"""The DSSE envelope: a statement's bytes and the signature over them (dsse/protocol.md v1).

The bytes are verified before anyone parses them; which key must have signed comes from the
caller, never from the envelope.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

from ..errors import MalformedRecord, VerificationFailed
from .lines import brief, require_object, sha256_hex

PAYLOAD_TYPE = "application/vnd.in-toto+json"
MAX_PAYLOAD_BYTES = 8 * 2**20
MAX_SIGNATURE_BYTES = 72  # the DER of a P-256 signature; one of Ed25519 has 64
_KEYID = re.compile(r"[0-9a-f]{64}")


class Verifier(Protocol):
    """What checks a signature: ``keys.PublicKey``."""

    fingerprint: str

    def verify(self, signature: bytes, message: bytes) -> None: ...


class Signer(Protocol):
    """What makes a signature: ``keys.SigningKey``."""

    public: Any

    def sign(self, message: bytes) -> bytes: ...


@dataclass(frozen=True)
class Envelope:
    """A payload and its signatures as (keyid, signature) pairs; the keyid is a hint only."""

    payload: bytes
    signatures: tuple[tuple[str, bytes], ...]

    @cached_property
    def record_id(self) -> str:
        """The SHA-256 of the payload (hex), by which a record is known."""
        return sha256_hex(self.payload)

    def to_json(self) -> dict[str, Any]:
        return {
            "payload": encode_base64(self.payload),
            "payloadType": PAYLOAD_TYPE,
            "signatures": [
                {"keyid": keyid, "sig": encode_base64(signature)}
                for keyid, signature in self.signatures
            ],
        }

    @classmethod
    def from_json(cls, value: Any) -> Envelope:
        """The envelope of a record; MalformedRecord for anything but its one form."""
        require_object(value, "the envelope", ("payload", "payloadType", "signatures"))
        if value["payloadType"] != PAYLOAD_TYPE:
            raise MalformedRecord(
                "the envelope's payloadType is not the one of a record",
                expected=PAYLOAD_TYPE,
                actual=brief(value["payloadType"]),
            )
        signatures = value["signatures"]
        if type(signatures) is not list or len(signatures) != 1:
            raise MalformedRecord(
                "an envelope in a record has exactly one signature",
                expected=1,
                actual=len(signatures) if type(signatures) is list else brief(signatures),
            )
        payload = decode_base64(value["payload"], "the envelope's payload", MAX_PAYLOAD_BYTES)
        return cls(payload, (_signature(signatures[0]),))


def _signature(value: Any) -> tuple[str, bytes]:
    require_object(value, "the envelope's signature", ("keyid", "sig"))
    keyid = value["keyid"]
    if type(keyid) is not str or not _KEYID.fullmatch(keyid):
        raise MalformedRecord("the keyid is not 64 hex digits", actual=brief(keyid))
    return keyid, decode_base64(value["sig"], "the envelope's signature", MAX_SIGNATURE_BYTES)


def pae(payload_type: str, payload: bytes) -> bytes:
    """The bytes that are signed: DSSE's pre-authentication encoding of type and payload."""
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)


def check_size(payload: bytes) -> None:
    """Raises MalformedRecord where a statement is larger than a reader takes."""
    if len(payload) > MAX_PAYLOAD_BYTES:
        raise MalformedRecord(
            "the statement is too large to sign", expected=MAX_PAYLOAD_BYTES, actual=len(payload)
        )


def sign(payload: bytes, key: Signer) -> Envelope:
    """The envelope in which ``key`` signs ``payload``."""
    check_size(payload)
    signature = key.sign(pae(PAYLOAD_TYPE, payload))
    return Envelope(payload, ((key.public.fingerprint, signature),))


def verify(envelope: Envelope, key: Verifier) -> bytes:
    """The payload, once ``key`` is known to have signed it; VerificationFailed otherwise."""
    if len(envelope.signatures) != 1:
        raise MalformedRecord(
            "an envelope in a record has exactly one signature",
            expected=1,
            actual=len(envelope.signatures),
        )
    ((keyid, signature),) = envelope.signatures
    if keyid != key.fingerprint:
        raise VerificationFailed(
            "the envelope names another key than the one it is checked with",
            expected=key.fingerprint,
            actual=keyid,
            next_step="check it with the key that signed it",
        )
    key.verify(signature, pae(PAYLOAD_TYPE, envelope.payload))
    return envelope.payload


def encode_base64(data: bytes) -> str:
    """Standard base64 with padding (RFC 4648 §4)."""
    return base64.b64encode(data).decode("ascii")


def decode_base64(text: Any, what: str, limit: int) -> bytes:
    """At most ``limit`` bytes from the one standard, padded base64 spelling of them."""
    if type(text) is not str:
        raise MalformedRecord(f"{what} is not a base64 string", actual=type(text).__name__)
    if len(text) > (limit + 2) // 3 * 4:
        raise MalformedRecord(
            f"{what} is too large", expected=f"at most {limit} bytes", actual=len(text) * 3 // 4
        )
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MalformedRecord(f"{what} is not standard, padded base64: {error}") from None
    if len(data) > limit:
        raise MalformedRecord(f"{what} is too large", expected=limit, actual=len(data))
    if encode_base64(data) != text:
        raise MalformedRecord(f"{what} has bits after its last byte that base64 ignores")
    return data
