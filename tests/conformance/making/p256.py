"""Records signed with P-256: one encoding of keys and signatures, where ECDSA has many."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from torchnotary.keys import PublicKey
from torchnotary.statement.envelope import PAYLOAD_TYPE, encode_base64, pae

from .cases import Beside, Case, bad, good
from .edits import Edit, put
from .genuine import LOGGED, OPEN
from .identities import SIGNER, fixed

# SP 800-186 §3.2.1.3.
_P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
_N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


class P256Key:
    """A key whose signatures are the same bytes every time: the secret number of each follows from
    what is signed (as RFC 6979 does it, but by one hash)."""

    def __init__(self, name: str) -> None:
        self._secret = int.from_bytes(fixed(name), "big") % _N
        self._public = ec.derive_private_key(self._secret, ec.SECP256R1()).public_key()
        self.public = PublicKey.from_spki(self.spki())

    def spki(self) -> bytes:
        return self._public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)

    def point(self, compressed: bool = False) -> bytes:
        form = PublicFormat.CompressedPoint if compressed else PublicFormat.UncompressedPoint
        return self._public.public_bytes(Encoding.X962, form)

    def numbers(self, message: bytes, hashed: str = "sha256") -> tuple[int, int]:
        """r and the lower s (FIPS 186-5 §6.4.1)."""
        digest = int.from_bytes(hashlib.new(hashed, message).digest()[:32], "big")
        k = int.from_bytes(fixed(f"k {self._secret} {message.hex()}"), "big") % _N
        r = ec.derive_private_key(k, ec.SECP256R1()).public_key().public_numbers().x % _N
        s = pow(k, -1, _N) * (digest + r * self._secret) % _N
        return r, min(s, _N - s)

    def sign(self, message: bytes) -> bytes:
        return encode_dss_signature(*self.numbers(message))


KEY = P256Key("signer, P-256")
_KNOWN = Beside("signer-p256.pem", KEY.public.to_pem())
SIGNED = LOGGED.but(name="signed with P-256", signer=KEY)


def cases() -> Iterator[Case]:
    yield good("p256", "signed with P-256", SIGNED, signer=_KNOWN)
    opened = OPEN.but(signer=KEY)
    yield good("p256-open", "P-256, and values that travel", opened, "outputs", signer=_KNOWN)
    yield good("p256-batch", "a batch signed with P-256", SIGNED.but(batch=(3, 8)), signer=_KNOWN)
    for number in range(2, 5):
        yield good(
            f"p256-seq-{number}",
            "signatures of 70 to 72 bytes: r and s with and without a sign byte",
            SIGNED.but(record={"seq": number}),
            signer=_KNOWN,
        )
    yield from _signatures()
    yield from _keys()


def _signatures() -> Iterator[Case]:
    message = pae(PAYLOAD_TYPE, SIGNED.payload)
    r, s = KEY.numbers(message)
    der = KEY.sign(message)
    length = der[3]
    for name, why, signature in (
        ("high-s", "the higher of the two s that fit", encode_dss_signature(r, _N - s)),
        ("r-zero", "r is zero", encode_dss_signature(0, s)),
        ("s-zero", "s is zero", encode_dss_signature(r, 0)),
        ("both-zero", "r and s are zero, which careless verifiers accept for every message",
         encode_dss_signature(0, 0)),
        ("r-is-order", "r is the order, which is zero again", encode_dss_signature(_N, s)),
        ("s-negative", "an s that is negative for want of a zero before it",
         _der(der[2 : 4 + length], (_N - s).to_bytes(32, "big"))),
        ("r-and-s-exchanged", "s before r", encode_dss_signature(s, r)),
        ("bit-flipped", "one bit of r", der[:10] + bytes([der[10] ^ 1]) + der[11:]),
        ("raw", "r and s without their structure", r.to_bytes(32, "big") + s.to_bytes(32, "big")),
        ("der-long-length", "a length in two bytes", b"\x30\x81" + der[1:]),
        ("der-zero-before-s", "a zero before s",
         _der(der[2 : 4 + length], b"\0" + s.to_bytes(32, "big"))),
        ("der-byte-after", "a byte after the sequence", der + b"\0"),
        ("der-byte-inside", "a byte after s", bytes([0x30, der[1] + 1]) + der[2:] + b"\0"),
        ("der-cut-short", "the last byte is missing", der[:-1]),
        ("der-set", "a set in the place of a sequence", b"\x31" + der[1:]),
        ("over-sha1", "signed over the SHA-1", encode_dss_signature(*KEY.numbers(message, "sha1"))),
        ("over-sha512", "signed over the SHA-512",
         encode_dss_signature(*KEY.numbers(message, "sha512"))),
        ("without-pae", "signed over the bare payload", KEY.sign(SIGNED.payload)),
        ("by-another-key", "another key's signature", P256Key("stranger, P-256").sign(message)),
        ("by-ed25519", "a signature of the other algorithm", SIGNER.sign(message)),
    ):  # fmt: skip
        edit = put("signatures", 0, "sig", encode_base64(signature))
        yield bad(f"p256-{name}", "signature", why, SIGNED.but(envelope=edit), signer=_KNOWN)


def _der(first: bytes, second: bytes) -> bytes:
    body = first + bytes([2, len(second)]) + second
    return bytes([0x30, len(body)]) + body


def _keys() -> Iterator[Case]:
    der, point = KEY.spki(), KEY.point()
    prefix = der[: -len(point)]
    p384 = ec.derive_private_key(7, ec.SECP384R1()).public_key()
    off_curve = point[:-1] + bytes([point[-1] ^ 1])
    beyond = b"\4" + (5 + _P).to_bytes(33, "big")[1:] + point[33:]
    for name, why, key in (
        ("key-compressed", "a compressed point", _sized(prefix, KEY.point(compressed=True))),
        ("key-hybrid", "a hybrid point", prefix + bytes([6 | point[-1] & 1]) + point[1:]),
        ("key-off-the-curve", "a point that is not on the curve", prefix + off_curve),
        ("key-at-infinity", "the point at infinity", _sized(prefix, b"\0")),
        ("key-of-zeros", "the coordinates (0, 0)", prefix + b"\4" + bytes(64)),
        ("key-not-reduced", "a coordinate that is not below p", prefix + beyond),
        ("key-byte-added", "a byte after the key", der + b"\0"),
        ("key-without-curve", "a key that does not name its curve", _without_curve(point)),
        ("key-p384", "a key on another curve",
         p384.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)),
    ):  # fmt: skip
        yield bad(f"p256-{name}", "format", why, SIGNED.but(bundle=_with_key(key)), signer=_KNOWN)
    yield bad(
        "p256-key-under-an-ed25519-signature",
        "signature",
        "the algorithm follows from the key: another key is another algorithm",
        LOGGED.but(bundle=_under_another_algorithm),
    )
    yield bad(
        "p256-log-key",
        "log inclusion",
        "logs are signed with Ed25519",
        LOGGED.but(bundle=put("logPublicKey", encode_base64(der))),
    )


def _under_another_algorithm(bundle: dict) -> None:
    bundle["publicKey"] = encode_base64(KEY.public.spki)
    bundle["envelope"]["signatures"][0]["keyid"] = KEY.public.fingerprint


def _with_key(key: bytes) -> Edit:
    return put("publicKey", encode_base64(key))


def _sized(prefix: bytes, point: bytes) -> bytes:
    """SubjectPublicKeyInfo over a point of another length than the uncompressed one."""
    bits = bytes([3, len(point) + 1, 0]) + point
    body = prefix[2:23] + bits
    return bytes([0x30, len(body)]) + body


def _without_curve(point: bytes) -> bytes:
    """The algorithm with NULL in the place of the curve's name."""
    algorithm = bytes.fromhex("300b06072a8648ce3d02010500")
    body = algorithm + bytes([3, len(point) + 1, 0]) + point
    return bytes([0x30, len(body)]) + body
