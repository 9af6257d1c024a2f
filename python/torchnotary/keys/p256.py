"""ECDSA over P-256 with SHA-256 (FIPS 186-5), in one encoding: named curve, uncompressed point,
DER signatures, and of the two signatures (r, s) and (r, n - s) the one with the lower s."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..errors import MalformedRecord, VerificationFailed

NAME = "P-256"
# SubjectPublicKeyInfo of id-ecPublicKey on prime256v1 (RFC 5480), and the 04 of a point X ‖ Y.
SPKI_PREFIX = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d03010703420004")
POINT_BYTES = 64
MAX_SIGNATURE_BYTES = 72

# The order of the base point (SP 800-186 §3.2.1.3).
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def check_point(point: bytes) -> None:
    """Raises MalformedRecord for coordinates that are no point of the curve."""
    try:
        _load(point)
    except ValueError:
        raise MalformedRecord("a P-256 public key that is not a point of the curve") from None


def check_signature(signature: bytes) -> None:
    """Raises VerificationFailed unless it is the DER of r and s, 0 < r < n and 0 < s ≤ n / 2."""
    from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

    try:
        r, s = decode_dss_signature(signature)
    except ValueError:
        raise VerificationFailed("the signature is not the DER of a P-256 signature") from None
    if not (0 < r < N and 0 < s < N):
        raise VerificationFailed("the signature's r or s is not below the group order, or is 0")
    if s > N // 2:
        raise VerificationFailed("the signature's s is the higher of the two that fit")


def verifier(point: bytes) -> Callable[[bytes, bytes], None]:
    """What checks (signature, message) and raises cryptography's InvalidSignature."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.hashes import SHA256

    key, ecdsa = _load(point), ec.ECDSA(SHA256())
    return lambda signature, message: key.verify(signature, message, ecdsa)


def generate() -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def owns(private: Any) -> bool:
    """Whether ``private`` is a private key of this kind."""
    from cryptography.hazmat.primitives.asymmetric import ec

    return isinstance(private, ec.EllipticCurvePrivateKey) and isinstance(
        private.curve, ec.SECP256R1
    )


def signer(private: Any) -> Callable[[bytes], bytes]:
    """What signs: DER with the lower s, another one each time."""
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.asymmetric.utils import (
        decode_dss_signature,
        encode_dss_signature,
    )
    from cryptography.hazmat.primitives.hashes import SHA256

    ecdsa = ec.ECDSA(SHA256())

    def sign(message: bytes) -> bytes:
        r, s = decode_dss_signature(private.sign(message, ecdsa))
        return encode_dss_signature(r, min(s, N - s))

    return sign


def _load(point: bytes) -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), b"\x04" + point)
