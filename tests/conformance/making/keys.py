"""Keys and signatures that Ed25519 implementations judge differently, and keys that are none.

Signatures here are made so that the laxer implementations accept them (RFC 8032 §5.1.7 without
its checks of encodings): what refuses them is a check of the key, of R or of S.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from cryptography.hazmat.primitives.asymmetric import ec, ed448, x25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from torchnotary.log.checkpoint import origin_of
from torchnotary.statement.envelope import PAYLOAD_TYPE, encode_base64, pae

from .cases import Case, bad, unproven
from .edits import Edit, put
from .genuine import LOGGED, PLAIN
from .identities import LOG, SIGNER, STRANGER, fixed

_P = 2**255 - 19
_L = 2**252 + 27742317777372353535851937790883648493
_SPKI = bytes.fromhex("302a300506032b6570032100")
# The encoding of the base point, of the neutral element, and a second one of the latter.
_BASE = bytes.fromhex("58" + "66" * 31)
_NEUTRAL = (1).to_bytes(32, "little")
_NEUTRAL_AGAIN = (_P + 1).to_bytes(32, "little")
# y of the eight points of small order, x by the sign bit (RFC 7748's curve in Edwards form).
_OF_ORDER_8 = 2707385501144840649318225287225658788936804267575313519463743609750303402022
_SMALL_ORDER = {
    "order-1": 1,
    "order-2": _P - 1,
    "order-4": 0,
    "order-4-negative": 2**255,
    "order-8": _OF_ORDER_8,
    "order-8-negative": _OF_ORDER_8 | 2**255,
    "order-8-other": _P - _OF_ORDER_8,
    "order-8-other-negative": (_P - _OF_ORDER_8) | 2**255,
}


def cases() -> Iterator[Case]:
    yield from _weak_keys()
    yield from _second_signatures()
    yield from _no_keys()
    yield from _other_keys()


def _weak_keys() -> Iterator[Case]:
    for name, y in _SMALL_ORDER.items():
        yield bad(
            f"key-of-small-{name}",
            "format",
            "a key under which one signature, S = 1 and R "
            "the base point, fits one message in a few or every one",
            PLAIN.but(bundle=_signed_with(y.to_bytes(32, "little"))),
        )
        if name not in ("order-1", "order-8-negative"):
            continue
        yield bad(
            f"log-key-of-small-{name}",
            "format",
            "the log's key has small order",
            PLAIN.but(bundle=put("logPublicKey", _spki(y.to_bytes(32, "little")))),
        )
    for name, encoded in (
        ("not-reduced", _NEUTRAL_AGAIN),
        ("not-reduced-p", _P.to_bytes(32, "little")),
        ("not-reduced-largest", b"\xff" * 32),
    ):
        yield bad(
            f"key-{name}",
            "format",
            "a second encoding of a key: y is not below p",
            PLAIN.but(bundle=_signed_with(encoded)),
        )


def _signed_with(key: bytes) -> Edit:
    """The signature (base point, 1), which every key of order 1 verifies over all messages."""

    def edit(bundle: dict) -> None:
        bundle["publicKey"] = _spki(key)
        (signature,) = bundle["envelope"]["signatures"]
        signature["keyid"] = hashlib.sha256(_SPKI + key).hexdigest()
        signature["sig"] = encode_base64(_BASE + (1).to_bytes(32, "little"))

    return edit


def _spki(key: bytes) -> str:
    return encode_base64(_SPKI + key)


def _second_signatures() -> Iterator[Case]:
    message = pae(PAYLOAD_TYPE, PLAIN.payload)
    signature = SIGNER.sign(message)
    s = int.from_bytes(signature[32:], "little")
    for factor in (1, 2, 8):
        yield _other(
            f"s-plus-{factor}-l",
            "the same signature with a multiple of the group's order added to S",
            signature[:32] + (s + factor * _L).to_bytes(32, "little"),
        )
    yield _other(
        "s-negated",
        "S as it would be for the negated key",
        signature[:32] + (_L - s).to_bytes(32, "little"),
    )
    yield _other(
        "r-neutral",
        "R is the neutral element, which a signer with a broken source of "
        "random numbers gives away the key by",
        _with_r(message, _NEUTRAL),
    )
    yield _other(
        "r-not-reduced",
        "R is a second encoding of the neutral element",
        _with_r(message, _NEUTRAL_AGAIN),
    )
    yield _other(
        "r-sign-flipped",
        "the sign bit of R's x",
        signature[:31] + bytes([signature[31] ^ 0x80]) + signature[32:],
    )


def _other(name: str, why: str, signature: bytes) -> Case:
    edit = put("signatures", 0, "sig", encode_base64(signature))
    return bad(f"ed25519-{name}", "signature", why, PLAIN.but(envelope=edit))


def _with_r(message: bytes, r: bytes) -> bytes:
    """The signer's signature with the neutral element for R: S = k·a (RFC 8032 §5.1.6)."""
    half = bytearray(hashlib.sha512(fixed("signer")).digest()[:32])
    half[0] &= 248
    half[31] = half[31] & 127 | 64
    k = int.from_bytes(hashlib.sha512(r + SIGNER.public.raw + message).digest(), "little")
    return r + (k * int.from_bytes(half, "little") % _L).to_bytes(32, "little")


def _no_keys() -> Iterator[Case]:
    der = SIGNER.public.spki
    secp256k1 = ec.derive_private_key(7, ec.SECP256K1()).public_key()
    for name, why, key in (
        ("raw", "32 bytes without their structure", der[12:]),
        ("pem", "PEM instead of DER", SIGNER.public.to_pem()),
        ("der-byte-added", "a byte after the key", der + b"\0"),
        ("der-cut-short", "the last byte is missing", der[:-1]),
        ("der-long-length", "a length in two bytes", b"\x30\x81" + der[1:]),
        ("null-parameters", "parameters where Ed25519 has none",
         bytes.fromhex("302c300706032b65700500032100") + der[12:]),
        ("unused-bits", "a bit string that leaves out a bit", der[:11] + b"\1" + der[12:]),
        ("of-zeros", "44 zeros", bytes(44)),
        ("ed448", "a key of Ed448",
         _der(ed448.Ed448PrivateKey.from_private_bytes(bytes(57)).public_key())),
        ("x25519", "a key for agreeing on keys",
         _der(x25519.X25519PrivateKey.from_private_bytes(bytes(32)).public_key())),
        ("algorithm-downgraded-rsa-512", "an RSA key that anybody factors", _RSA_512),
        ("secp256k1", "a curve that no record is signed on", _der(secp256k1)),
    ):  # fmt: skip
        yield bad(
            f"key-{name}", "format", why, PLAIN.but(bundle=put("publicKey", encode_base64(key)))
        )
        if name not in _OF_LOGS_TOO:
            continue
        yield bad(
            f"log-key-{name}",
            "format",
            f"the log's key: {why}",
            PLAIN.but(bundle=put("logPublicKey", encode_base64(key))),
        )


# The log's key is read by the same rules: these show that it is read at all.
_OF_LOGS_TOO = ("raw", "pem", "der-byte-added", "ed448", "secp256k1")


def _der(key) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


# The modulus stands for any: its structure (RFC 8017) is that of a key of 512 bits.
_RSA_512 = (
    bytes.fromhex("305c300d06092a864886f70d0101010500034b003048" + "0241")
    + (2**511 + 111).to_bytes(65, "big")
    + bytes.fromhex("0203010001")
)


def _other_keys() -> Iterator[Case]:
    alone = origin_of(SIGNER.public)
    yield bad(
        "key-of-another-signer",
        "signature",
        "a stranger's key travels with the record",
        PLAIN.but(bundle=put("publicKey", encode_base64(STRANGER.public.spki))),
    )
    yield bad(
        "keys-exchanged",
        "signature",
        "the two keys in each other's place",
        PLAIN.but(
            bundle=lambda b: b.update(publicKey=b["logPublicKey"], logPublicKey=b["publicKey"])
        ),
    )
    yield bad(
        "log-key-of-another-log",
        "log inclusion",
        "another log's key travels with the record",
        LOGGED.but(bundle=put("logPublicKey", encode_base64(STRANGER.public.spki))),
    )
    yield bad(
        "log-key-is-the-signers",
        "log inclusion",
        f"one key signs record and log ({alone})",
        PLAIN.but(log=SIGNER),
    )
    yield bad(
        "signer-is-the-logs-key",
        "signer, log inclusion",
        "the log's key signs the record too",
        PLAIN.but(signer=LOG),
    )
    yield bad(
        "signer-is-another",
        "signer",
        "intact, but by another key than the one it must be by",
        PLAIN.but(signer=STRANGER),
    )
    yield unproven(
        "signer-unknown",
        "signer",
        "intact, by a key nobody vouches for",
        PLAIN.but(signer=STRANGER),
        signer=None,
    )
