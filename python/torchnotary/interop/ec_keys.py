"""Elliptic-curve keys as model-signing uses them: ECDSA over P-256, P-384 or P-521, DER signatures.

Not the keys of records (keys.py): there a signature has one encoding, here what the other side
writes counts. Any (r, s) that verifies is taken, high s too.
"""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from ..errors import NotaryError, VerificationFailed
from ..files import read_regular
from ..keys import MAX_PEM_BYTES

# The hash belongs to the curve (Sigstore's protobuf-specs, PublicKeyDetails).
_HASHES = {"secp256r1": hashes.SHA256, "secp384r1": hashes.SHA384, "secp521r1": hashes.SHA512}
_MAKE_ONE = "make one: openssl genpkey -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out FILE"
_PUBLIC_OF = (
    "give the public key of whoever signed it: openssl pkey -in PRIVATE.pem -pubout -out PUBLIC.pem"
)


class EcPublicKey:
    """A public key; ``hint`` names it in a bundle: SHA-256 (hex) of its PEM."""

    def __init__(self, key: ec.EllipticCurvePublicKey) -> None:
        _require_curve(key, _PUBLIC_OF)
        self._key = key
        pem = key.public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        self.hint = hashlib.sha256(pem).hexdigest()

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> EcPublicKey:
        """The key of a PEM file; NotaryError where it holds none of these, OSError unreadable."""
        return cls(_parsed(path, serialization.load_pem_public_key, "a public key", _PUBLIC_OF))

    def verify(self, signature: bytes, message: bytes) -> None:
        """Returns if ``signature`` over ``message`` is this key's; VerificationFailed if not."""
        try:
            self._key.verify(signature, message, ec.ECDSA(_HASHES[self._key.curve.name]()))
        except InvalidSignature:
            raise VerificationFailed(
                "the signature is not this key's over these bytes", expected=self.hint
            ) from None


class EcPrivateKey:
    """A private key, which nothing prints."""

    def __init__(self, key: ec.EllipticCurvePrivateKey) -> None:
        _require_curve(key, _MAKE_ONE)
        self._key = key
        self.public = EcPublicKey(key.public_key())

    @classmethod
    def load(cls, path: str | os.PathLike[str]) -> EcPrivateKey:
        """The key of an unencrypted PEM file; errors as `EcPublicKey.load`."""

        def load(pem: bytes):
            return serialization.load_pem_private_key(pem, password=None)

        return cls(_parsed(path, load, "an unencrypted private key", _MAKE_ONE))

    def sign(self, message: bytes) -> bytes:
        """The DER signature over ``message``."""
        return self._key.sign(message, ec.ECDSA(_HASHES[self._key.curve.name]()))


def _parsed(path: str | os.PathLike[str], load, what: str, next_step: str):
    pem = read_regular(Path(path), MAX_PEM_BYTES)
    try:
        return load(pem)
    except Exception:  # a parser's message could quote the key
        raise NotaryError(f"{path} is not the PEM of {what}", next_step=next_step) from None


def _require_curve(key: object, next_step: str) -> None:
    kinds = (ec.EllipticCurvePublicKey, ec.EllipticCurvePrivateKey)
    curve = key.curve.name if isinstance(key, kinds) else type(key).__name__
    if curve not in _HASHES:
        raise NotaryError(
            "model-signing takes elliptic-curve keys alone",
            expected=", ".join(_HASHES),
            actual=curve,
            next_step=next_step,
        )
