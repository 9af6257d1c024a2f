"""Ed25519 (RFC 8032), stricter than OpenSSL: one encoding of each key and signature, and no point
of small order, under which one signature fits many messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import MalformedRecord, VerificationFailed

NAME = "Ed25519"
SPKI_PREFIX = bytes.fromhex("302a300506032b6570032100")
POINT_BYTES = 32
SIGNATURE_BYTES = 64

# RFC 8032 §5.1: the field prime and the order of the base point.
_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
# y of the eight points of small order (x enters by the sign bit alone).
SMALL_ORDER_Y = frozenset(
    {
        0,
        1,
        _P - 1,
        2707385501144840649318225287225658788936804267575313519463743609750303402022,
        55188659117513257062467267217118295137698188065244968500265048394206261417927,
    }
)


def check_point(point: bytes) -> None:
    """Raises MalformedRecord for a public key in a second encoding or of small order."""
    y = _y(point)
    if y >= _P:
        raise MalformedRecord("an Ed25519 public key that is not in its one encoding")
    if y in SMALL_ORDER_Y:
        raise MalformedRecord(
            "an Ed25519 public key of small order, under which one signature fits many messages"
        )


def check_signature(signature: bytes) -> None:
    """Raises VerificationFailed for a signature that is no 64 bytes or has a second encoding."""
    if len(signature) != SIGNATURE_BYTES:
        raise VerificationFailed(
            "the signature has the wrong length",
            expected=SIGNATURE_BYTES,
            actual=len(signature),
        )
    if int.from_bytes(signature[32:], "little") >= _L:
        raise VerificationFailed("the signature's S is not below the group order")
    y = _y(signature[:32])
    if y >= _P or y in SMALL_ORDER_Y:
        raise VerificationFailed("the signature's R is of small order or in a second encoding")


def verifier(point: bytes) -> Callable[[bytes, bytes], None]:
    """What checks (signature, message) and raises cryptography's InvalidSignature."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    return Ed25519PublicKey.from_public_bytes(point).verify


def generate() -> Any:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.generate()


def owns(private: Any) -> bool:
    """Whether ``private`` is a private key of this kind."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return isinstance(private, Ed25519PrivateKey)


def signer(private: Any) -> Callable[[bytes], bytes]:
    """What signs: 64 bytes, the same for the same message (RFC 8032)."""
    return private.sign


def _y(encoded: bytes) -> int:
    return int.from_bytes(encoded, "little") & (2**255 - 1)
