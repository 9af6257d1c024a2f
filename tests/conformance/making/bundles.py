"""bundle.json: its members, their versions and their types."""

from __future__ import annotations

from collections.abc import Iterator

from .cases import Case, bad
from .draft import Draft
from .edits import Edit, drop, put
from .genuine import OTHER, PLAIN

_MEMBERS = (
    "attestations",
    "envelope",
    "logPublicKey",
    "publicKey",
    "timestamps",
    "tlogProof",
    "type",
)


def cases() -> Iterator[Case]:
    for member in _MEMBERS:
        yield _bad(f"without-{member}", f"{member} is missing", drop(member))
    yield _bad("member-added", "a member no version has", put("comment", "approved"))
    yield _bad("member-null", "a member no version has, and null", put("extra", None))
    yield _bad("version-2", "a version that does not exist", put("type", "bundle/2"))
    yield _bad("version-0", "a version that never existed", put("type", "bundle/0"))
    yield _bad("version-1.0", "a second spelling of the version", put("type", "bundle/1.0"))
    yield _bad("version-upper-case", "a second spelling of the version", put("type", "Bundle/1"))
    yield _bad("version-number", "the version is a number", put("type", 1))
    yield _bad("version-list", "the version is a list", put("type", ["bundle/1"]))
    yield _bad("attestation", "an attestation of no known kind", put("attestations", [{}]))
    yield _bad("attestations-null", "null is no list", put("attestations", None))
    yield _bad("timestamp", "a time stamp of no known kind", put("timestamps", ["AAAA"]))
    yield _bad("timestamps-object", "an object is no list", put("timestamps", {}))
    yield _bad("envelope-null", "there is no envelope", put("envelope", None))
    yield _bad("envelope-text", "the envelope is its own base64", put("envelope", "e30="))
    yield _bad(
        "envelope-list",
        "two envelopes in a list",
        lambda b: put("envelope", [b["envelope"]] * 2)(b),
    )
    yield _bad("proof-null", "there is no proof", put("tlogProof", None))
    yield _bad(
        "proof-list", "two proofs in a list", lambda b: put("tlogProof", [b["tlogProof"]] * 2)(b)
    )
    yield _bad("key-null", "there is no key", put("publicKey", None))
    yield _bad("key-huge", "a key of 2 KiB", put("publicKey", "A" * 2732))
    yield _bad("log-key-number", "the log's key is a number", put("logPublicKey", 7))
    yield bad(
        "bundle-empty-object",
        "format",
        "an object without members",
        PLAIN.but(text=lambda text: b"{}"),
    )
    yield bad(
        "bundle-of-another-record",
        "log inclusion",
        "the envelope of another record",
        PLAIN.but(bundle=put("envelope", OTHER.envelope)),
    )


def _bad(name: str, why: str, edit: Edit, record: Draft = PLAIN) -> Case:
    return bad(f"bundle-{name}", "format", why, record.but(bundle=edit))
