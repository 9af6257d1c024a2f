"""The DSSE envelope: what was signed, by whom, and how often."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from torchnotary.keys import SigningKey
from torchnotary.statement.envelope import PAYLOAD_TYPE, encode_base64, pae

from .cases import Case, bad
from .draft import Draft
from .edits import Edit, at, base64, drop, flip, instead, put
from .genuine import LOGGED, OTHER, PLAIN
from .identities import LOG, SIGNER, STRANGER


def cases() -> Iterator[Case]:
    yield from _payloads()
    yield from _signatures()
    yield from _types()
    yield from _members()


def _envelope(name: str, step: str, why: str, edit: Edit, record: Draft = PLAIN) -> Case:
    return bad(f"envelope-{name}", step, why, record.but(envelope=edit))


def _payloads() -> Iterator[Case]:
    def payload(edit: Edit) -> Edit:
        return at("payload", base64(edit))

    for name, why, edit in (
        ("bit-flipped", "one bit of the payload", flip(1000)),
        ("last-bit-flipped", "the last bit of the payload", flip(-1)),
        ("byte-added", "a space after the payload", lambda data: data + b" "),
        ("byte-missing", "the last byte of the payload is missing", lambda data: data[:-1]),
        ("empty", "the payload is empty", lambda data: b""),
        ("edited", "one word of the statement", instead(b"demo.score", b"demo.other")),
        ("back-dated", "the statement's times are those of a year before",
         lambda data: data.replace(b"2026-11-21", b"2025-11-21")),
        ("nonce-put-in", "a nonce that nobody signed",
         instead(b'"nonce":null', b'"nonce":"00ff"')),
        ("label-put-in", "a label that nobody signed",
         instead(b'"labels":{}', b'"labels":{"approved":"yes"}')),
    ):  # fmt: skip
        yield _envelope(f"payload-{name}", "signature", why, payload(edit))
    yield _envelope(
        "payload-of-another-record",
        "signature",
        "another record's payload, under the first one's signature",
        put("payload", encode_base64(OTHER.payload)),
    )
    yield _envelope(
        "payload-signed-twice",
        "signature",
        "the envelope of an envelope",
        payload(lambda data: pae(PAYLOAD_TYPE, data)),
    )


def _signatures() -> Iterator[Case]:
    def signature(edit: Edit) -> Edit:
        return at("signatures", 0, "sig", base64(edit))

    def instead_signed(message: bytes, key: SigningKey = SIGNER) -> Edit:
        return put("signatures", 0, "sig", encode_base64(key.sign(message)))

    body = PLAIN.payload
    genuine = pae(PAYLOAD_TYPE, body)
    for name, why, edit in (
        ("bit-flipped", "one bit of the signature", signature(flip(260))),
        ("first-bit-flipped", "one bit of R", signature(flip(0))),
        ("last-bit-flipped", "the last bit of S", signature(flip(-1))),
        ("short", "a signature of 63 bytes", signature(lambda sig: sig[:-1])),
        ("empty", "no signature", put("signatures", 0, "sig", "")),
        ("of-zeros", "64 zeros", signature(lambda sig: bytes(64))),
        ("halves-exchanged", "S before R", signature(lambda sig: sig[32:] + sig[:32])),
        ("reversed", "the bytes in the other order", signature(lambda sig: sig[::-1])),
        ("of-another-record", "the signature of another record",
         put("signatures", 0, "sig", OTHER.envelope["signatures"][0]["sig"])),
        ("by-stranger", "a stranger's signature under the signer's name",
         instead_signed(genuine, STRANGER)),
        ("by-log-key", "signed by the log's key", instead_signed(genuine, LOG)),
        ("without-pae", "signed over the bare payload", instead_signed(body)),
        ("over-base64", "signed over the base64 of the payload",
         instead_signed(pae(PAYLOAD_TYPE, encode_base64(body).encode()))),
        ("over-hash", "signed over the SHA-256 of the payload",
         instead_signed(hashlib.sha256(body).digest())),
        ("prehashed", "signed over the SHA-512 of what is to be signed, as Ed25519ph does",
         instead_signed(hashlib.sha512(genuine).digest())),
        ("over-wrong-length", "signed with another length before the payload",
         instead_signed(genuine.replace(b" %d " % len(body), b" %d " % (len(body) + 1)))),
        ("over-dsse-v0", "signed under another version of DSSE",
         instead_signed(genuine.replace(b"DSSEv1", b"DSSEv0"))),
        ("over-concatenation", "signed over type and payload without their lengths",
         instead_signed(PAYLOAD_TYPE.encode() + body)),
        ("over-empty-type", "signed over no type", instead_signed(pae("", body))),
        ("payload-type-confused", "signed as another type of payload, in which the same bytes may "
         "mean something else", instead_signed(pae("application/json", body))),
        ("over-a-checkpoint", "signed as the text of a note", instead_signed(b"log\n1\n" + body)),
        ("over-a-cosignature", "signed as a witness signs",
         instead_signed(b"cosignature/v1\ntime 1795255500\n" + body)),
        ("of-a-rotation", "signed as the statement that the key is replaced",
         instead_signed(pae("application/vnd.torchnotary.rotation+json", body))),
    ):  # fmt: skip
        yield _envelope(f"signature-{name}", "signature", why, edit)
    yield _envelope(
        "signature-long",
        "format",
        "a byte after the signature",
        at("signatures", 0, "sig", lambda sig: encode_base64(bytes(200))),
    )


def _types() -> Iterator[Case]:
    for name, why, kind in (
        ("of-json", "the type of any JSON", "application/json"),
        ("of-intoto-v1", "a second spelling of the type", "application/vnd.in-toto+json; v=1"),
        ("upper-case", "a second spelling of the type", "application/vnd.in-toto+JSON"),
        ("null", "no type", None),
        ("list", "a list of types", [PAYLOAD_TYPE]),
    ):
        yield _envelope(f"payload-type-{name}", "format", why, put("payloadType", kind))


def _members() -> Iterator[Case]:
    genuine = PLAIN.envelope["signatures"][0]
    also = {**genuine, "keyid": STRANGER.public.fingerprint}
    for name, why, edit in (
        ("threshold-counted-twice", "one signature, twice",
         lambda e: e["signatures"].append(genuine)),
        ("second-signature", "a stranger signs too",
         lambda e: e["signatures"].append(_signed_by(STRANGER))),
        ("second-signature-wrong", "a second signature that nobody made",
         lambda e: e["signatures"].append(also)),
        ("no-signatures", "no signature", put("signatures", [])),
        ("signatures-null", "no list of signatures", put("signatures", None)),
        ("without-payload", "the payload is missing", drop("payload")),
        ("without-signatures", "the signatures are missing", drop("signatures")),
        ("member-added", "a member DSSE does not have", put("comment", "")),
        ("payload-object", "the payload is no text", put("payload", {})),
        ("keyid-missing", "the signature does not name its key", drop("signatures", 0, "keyid")),
        ("keyid-empty", "the key's name is empty", put("signatures", 0, "keyid", "")),
        ("keyid-short", "half of the key's name", at("signatures", 0, "keyid", lambda k: k[:32])),
        ("keyid-upper-case", "a second spelling of the key's name",
         at("signatures", 0, "keyid", str.upper)),
        ("keyid-colons", "a second spelling of the key's name",
         at("signatures", 0, "keyid", lambda k: ":".join(k[i : i + 2] for i in range(0, 64, 2)))),
        ("sig-missing", "there is a key and no signature", drop("signatures", 0, "sig")),
        ("signature-member-added", "a certificate that nobody checks",
         put("signatures", 0, "cert", "AAAA")),
    ):  # fmt: skip
        yield _envelope(name, "format", why, edit)
    yield _envelope(
        "keyid-of-another-key",
        "signature",
        "the name of a key that did not sign",
        put("signatures", 0, "keyid", STRANGER.public.fingerprint),
    )
    yield bad(
        "envelope-signed-anew",
        "log inclusion",
        "the same payload, signed by a stranger "
        "whose key travels along, at the entry of the genuine record",
        LOGGED.but(signer=STRANGER, proof=lambda proof: LOGGED.proof),
        signer=None,
    )


def _signed_by(key: SigningKey) -> dict[str, str]:
    signature = encode_base64(key.sign(pae(PAYLOAD_TYPE, PLAIN.payload)))
    return {"keyid": key.public.fingerprint, "sig": signature}
