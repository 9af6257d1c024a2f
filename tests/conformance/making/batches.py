"""Records that were signed together: each is proven to be in the batch that was signed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from .cases import Case, bad, good
from .draft import Draft
from .edits import Edit, at, base64, drop, flip, instead, put
from .genuine import LOGGED, OPEN, OTHER, PLAIN
from .held import MONDAY, TUESDAY
from .identities import OTHER_LOG, STRANGER, fixed

# Record 5 of 13 that one signature is over.
BATCHED = PLAIN.but(name="batched", batch=(5, 13))
_HEX = fixed("something else").hex()


def cases() -> Iterator[Case]:
    yield from _valid()
    yield from _proofs()
    yield from _parts()
    yield from _statements()
    yield from _together()


def _valid() -> Iterator[Case]:
    for number, size in (
        (0, 1),
        (0, 2),
        (1, 2),
        (2, 3),
        (5, 13),
        (63, 64),
        (99, 100),
        (8191, 8192),
    ):
        yield good(
            f"batch-{number}-of-{size}",
            f"record {number} of {size} that one signature is over",
            PLAIN.but(name=f"batch {number} of {size}", batch=(number, size)),
        )
    yield good(
        "batch-disclosed", "one of a batch, with its values", OPEN.but(batch=(3, 8)), "outputs"
    )
    yield good("batch-in-a-log", "a batch among other entries", LOGGED.but(batch=(3, 8)))
    asked = BATCHED.but(record={"nonce": MONDAY})
    yield good("batch-nonce", "the nonce that was sent, in a batch", asked, "nonce", nonce=MONDAY)
    yield bad("batch-replayed-nonce", "nonce", "Monday's record, in a batch", asked, nonce=TUESDAY)
    stranger = BATCHED.but(signer=STRANGER)
    yield bad("batch-signer-is-another", "signer", "a batch that another key signed", stranger)


def _part(name: str, step: str, why: str, edit: Edit, record: Draft = BATCHED) -> Case:
    return bad(f"batch-{name}", step, why, record.but(part=edit))


def _proofs() -> Iterator[Case]:
    """Well-formed, and not the record that was signed."""

    def payload(edit: Edit) -> Edit:
        return at("payload", base64(edit))

    for name, why, edit in (
        ("payload-bit-flipped", "one bit of the record", payload(flip(1000))),
        ("payload-byte-added", "a byte after the record", payload(lambda data: data + b" ")),
        ("payload-empty", "no record at all", put("payload", "")),
        ("payload-back-dated", "the record's times are those of a year before",
         payload(lambda data: data.replace(b"2026-11-21", b"2025-11-21"))),
        ("payload-nonce-put-in", "a nonce that nobody signed",
         payload(instead(b'"nonce":null', b'"nonce":"00ff"'))),
        ("cross-record", "another record in the place of this one",
         payload(lambda data: OTHER.payload)),
        ("index-one-more", "the number of the next record", put("index", 6)),
        ("index-one-less", "the number of the record before", put("index", 4)),
        ("index-is-size", "the number of a record that is not there", put("index", 13)),
        ("hash-missing", "the sibling is missing", drop("hashes", 0)),
        ("hashes-missing", "no hash at all", put("hashes", [])),
        ("hash-added", "a hash beyond the root",
         at("hashes", lambda hashes: [*hashes, hashes[0]])),
        ("hashes-exchanged", "the hashes in the other order",
         at("hashes", lambda hashes: hashes[::-1])),
        ("hash-bit-flipped", "one bit of a hash", at("hashes", 1, base64(flip(9)))),
    ):  # fmt: skip
        yield _part(name, "signature", why, edit)
    other = BATCHED.but(batch=(5, 14))
    yield _part(
        "of-another-batch",
        "signature",
        "the proof of a batch with one record more",
        lambda part: other.bundle["batch"],
        LOGGED.but(batch=(5, 13)),
    )


def _parts() -> Iterator[Case]:
    """Not as the format has them."""
    for name, why, edit in (
        ("text", "a text in the place of the record", lambda part: "batch"),
        ("payload-missing", "no record", drop("payload")),
        ("index-missing", "no number", drop("index")),
        ("member-added", "a member the format does not have", put("size", 13)),
        ("index-negative", "a negative number", put("index", -1)),
        ("index-beyond", "a number no batch has", put("index", 8192)),
        ("index-true", "the number is true", put("index", True)),
        ("hashes-15", "more hashes than a batch has levels",
         at("hashes", lambda hashes: hashes[:1] * 15)),
        ("hash-short", "a hash of 31 bytes", at("hashes", 0, base64(lambda data: data[:-1]))),
        ("hash-unpadded", "a hash without its padding",
         at("hashes", 0, lambda text: text.rstrip("="))),
        ("payload-object", "the record is no text", put("payload", {})),
    ):  # fmt: skip
        yield _part(name, "format", why, edit)


def _statements() -> Iterator[Case]:
    """What was signed for the batch, and is not what it can be."""

    def predicate(*path_and_value: Any) -> Edit:
        return put("predicate", *path_and_value)

    subject = ("subject", 0)
    for name, step, why, edit in (
        ("root-wrong", "signature", "the root of other records",
         predicate("records", "root", _HEX)),
        ("size-wrong", "signature", "fewer records than stand before this one",
         predicate("records", "size", 3)),
        ("cross-log", "log inclusion", "signed for another log",
         predicate("log", LOGGED.but(log=OTHER_LOG).origin)),
        ("type-v2", "format", "a version that does not exist",
         put("predicateType", "urn:torchnotary:batch:v2")),
        ("type-of-a-record", "format", "the type of a single record",
         put("predicateType", PLAIN.statement["predicateType"])),
        ("statement-member-added", "format", "a member in-toto does not have", put("note", "")),
        ("log-missing", "format", "no log", drop("predicate", "log")),
        ("log-null", "format", "a log that is null", predicate("log", None)),
        ("size-zero", "format", "a batch of nothing", predicate("records", "size", 0)),
        ("size-8193", "format", "more records than a batch has",
         predicate("records", "size", 8193)),
        ("root-short", "format", "half of a root", predicate("records", "root", "00" * 16)),
        ("subject-missing", "format", "no subject", put("subject", [])),
        ("subject-twice", "format", "two subjects", at("subject", lambda s: s * 2)),
        ("subject-name", "format", "another subject", put(*subject, "name", "inputs.jsonl")),
        ("subject-digest", "format", "half of a digest",
         put(*subject, "digest", "sha256", "00" * 16)),
    ):  # fmt: skip
        yield bad(f"batch-signed-{name}", step, why, BATCHED.but(signed_batch=edit))


def _together() -> Iterator[Case]:
    part = BATCHED.bundle["batch"]
    yield bad(
        "batch-without-part",
        "format",
        "the signature is over a batch, and no record travels with it",
        BATCHED.but(bundle=drop("batch")),
    )
    yield bad(
        "batch-of-a-record-signed-alone",
        "format",
        "a place in a batch, for a record that was signed by itself",
        PLAIN.but(bundle=put("batch", part)),
    )
    yield bad(
        "batch-threshold-counted-twice",
        "format",
        "a record in two batches",
        BATCHED.but(bundle=put("batch", [part, part])),
    )
    yield bad(
        "batch-payload-type-confused",
        "format",
        "a batch in the place of a record of a batch",
        BATCHED.but(payload=lambda payload: BATCHED.signed.payload),
    )
    yield bad(
        "batch-entry-of-the-record",
        "log inclusion",
        "the log's entry is of the record instead of the batch",
        BATCHED.but(others={0: PLAIN.leaf}),
    )
