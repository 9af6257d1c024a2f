"""Cosignatures in a record's checkpoint: every line must be somebody's whose key travels along."""

from __future__ import annotations

from collections.abc import Iterator

from torchnotary.log.checkpoint import key_id
from torchnotary.log.witness import cosign
from torchnotary.statement.envelope import decode_base64, encode_base64

from .cases import Case, bad, good
from .draft import Draft
from .edits import (
    Edit,
    at,
    base64,
    drop,
    exchange,
    flip,
    insert,
    last_word,
    line,
    put,
    repeat,
)
from .genuine import LOGGED, OPEN, PLAIN
from .identities import LOG, SEEN, SIGNER, STRANGER, W1, W2, W3, Witness, key

# Entry 5 of 13 under a checkpoint that two witnesses cosigned; the lines of its proof.
COSIGNED = LOGGED.but(name="cosigned", witnesses=(W1, W2))
_ROOT, _LOG, _FIRST, _SECOND = 9, 11, 12, 13


def cases() -> Iterator[Case]:
    yield from _valid()
    yield from _lines()
    yield from _carried()
    yield from _listed()


def _valid() -> Iterator[Case]:
    same = Witness(W1.name, key("witness 1, later"), SEEN)
    many = tuple(Witness(f"witness.example/{n}", key(f"witness {n}"), SEEN + n) for n in range(32))
    for name, why, record in (
        ("cosigned-by-one", "a witness cosigned", LOGGED.but(witnesses=(W1,))),
        ("cosigned-by-three", "three witnesses cosigned", LOGGED.but(witnesses=(W3, W1, W2))),
        ("cosigned-by-32", "as many witnesses as a record may carry", PLAIN.but(witnesses=many)),
        ("cosigned-by-two-keys-of-one-name", "a witness changed its key",
         LOGGED.but(witnesses=(W1, same))),
        ("cosigned-at-the-epoch", "a witness whose clock stood still",
         PLAIN.but(witnesses=(W1._replace(time=0),))),
        ("cosigned-batch", "a batch under a cosigned checkpoint", COSIGNED.but(batch=(3, 8))),
        ("cosigned-open", "values travel under a cosigned checkpoint", OPEN.but(witnesses=(W1,))),
    ):  # fmt: skip
        yield good(name, why, record)
    other_order = COSIGNED.but(proof=exchange(_FIRST, _SECOND))
    yield good("cosigned-in-another-order", "the lines stand in another order", other_order)


def _cosigned(name: str, why: str, edit: Edit, record: Draft = COSIGNED) -> Case:
    return bad(f"cosignature-{name}", "log inclusion", why, record.but(proof=edit))


def _lines() -> Iterator[Case]:
    def first(change: Edit) -> Edit:
        return line(_FIRST, last_word(base64(change)))

    def by(name: str, signing, kind: bytes = b"\4", note: str = LOGGED.checkpoint()) -> str:
        """A line of that name, by any key, over any checkpoint."""
        made = cosign(note, name, signing, SEEN).split("\n")[-2]
        known = key_id(name, signing.public, kind)
        return last_word(base64(lambda data: known + data[4:]))(made)

    plain = f"\N{EM DASH} {W1.name} " + encode_base64(
        key_id(W1.name, W1.key.public, b"\4") + W1.key.sign(LOGGED.checkpoint().encode())
    )
    for name, why, edit in (
        ("bit-flipped", "one bit of a cosignature", first(flip(300))),
        ("time-changed", "another time under the same cosignature", first(flip(8 * 11))),
        ("time-beyond", "a time of more than 63 bits", first(flip(8 * 4 + 7))),
        ("key-id-changed", "a line that names another key", first(flip(0))),
        ("name-changed", "a line under another name",
         line(_FIRST, lambda t: t.replace("/w0", "/w9"))),
        ("short", "a cosignature cut short", first(lambda data: data[:-1])),
        ("without-time", "a signature without a time", line(_FIRST, lambda text: plain)),
        ("of-another-checkpoint", "the cosignature of another checkpoint",
         line(_FIRST, lambda text: by(W1.name, W1.key, note=LOGGED.checkpoint(12)))),
        ("by-stranger", "a stranger's line under a witness's name",
         line(_FIRST, lambda text: by(W1.name, STRANGER))),
        ("by-another-witness", "one witness's signature in another's line",
         line(_FIRST, lambda text: f"\N{EM DASH} {W1.name} " + encode_base64(
             key_id(W1.name, W1.key.public, b"\4") + _signed(by(W2.name, W2.key))))),
        ("by-the-log", "the log's key signs as a witness that it is not",
         line(_FIRST, lambda text: by(W1.name, LOG))),
        ("by-the-signer", "the record's signer signs as a witness that it is not",
         line(_FIRST, lambda text: by(W1.name, SIGNER))),
        ("of-kind-1", "the key id of a plain signature",
         line(_FIRST, lambda text: by(W1.name, W1.key, b"\1"))),
        ("threshold-counted-twice", "one cosignature, twice", repeat(_FIRST)),
        ("two-times", "one witness, at two times",
         insert(_SECOND, cosign(LOGGED.checkpoint(), W1.name, W1.key, SEEN + 9).split("\n")[-2])),
        ("missing", "a key travels that cosigned nothing", line(_FIRST, lambda text: None)),
        ("added", "a line whose key does not travel", insert(_FIRST, by(W3.name, W3.key))),
        ("without-the-log", "cosigned, but not signed by the log", line(_LOG, lambda text: None)),
        ("root-changed", "another root under the same signatures", line(_ROOT, base64(flip(9)))),
        ("unpadded", "base64 without its padding", line(_FIRST, lambda text: text.rstrip("="))),
    ):  # fmt: skip
        yield _cosigned(name, why, edit)


def _signed(text: str) -> bytes:
    """Time and signature in a signature line."""
    return decode_base64(text.rpartition(" ")[2], "the line", 256)[4:]


def _carried() -> Iterator[Case]:
    """Keys that travel, and are not those of the lines."""

    def first(*path_and_value) -> Edit:
        return put("witnesses", 0, *path_and_value)

    for name, why, edit in (
        ("key-of-stranger", "a stranger's key in the place of a witness's",
         first("publicKey", encode_base64(STRANGER.public.spki))),
        ("key-of-another-witness", "two witnesses' keys under each other's name", _exchanged),
        ("key-renamed", "a witness's key under another name",
         first("name", "witness.example/other")),
        ("keys-missing", "no keys travel", drop("witnesses")),
        ("key-missing", "one key does not travel", drop("witnesses", 0)),
        ("key-added", "a key travels that cosigned nothing",
         at("witnesses", lambda found: [*found, _key_of(W3)])),
        ("key-of-small-order", "a key under which one signature fits many messages",
         first("publicKey", encode_base64(SIGNER.public.spki[:12] + (1).to_bytes(32, "little")))),
        ("key-raw", "32 bytes without their structure",
         first("publicKey", encode_base64(W1.key.public.raw))),
        ("name-with-space", "a name that no line can have", first("name", "witness example")),
    ):  # fmt: skip
        yield bad(f"witness-{name}", "log inclusion", why, COSIGNED.but(bundle=edit))
    yield bad(
        "witness-of-nothing",
        "log inclusion",
        "a witness's key travels with a checkpoint that only the log signed",
        LOGGED.but(bundle=put("witnesses", [_key_of(W1)])),
    )


def _listed() -> Iterator[Case]:
    """Not as the format has them."""
    for name, why, edit in (
        ("list-empty", "an empty list, which is left out", put("witnesses", [])),
        ("list-null", "null is no list", put("witnesses", None)),
        ("list-unsorted", "keys that are not sorted", at("witnesses", lambda found: found[::-1])),
        ("list-repeated", "a key twice", at("witnesses", lambda found: [found[0], *found])),
        ("list-of-33", "more keys than a record may carry",
         at("witnesses", lambda found: [{**found[0], "name": f"w{n:02}"} for n in range(33)])),
        ("name-missing", "a key without a name", drop("witnesses", 0, "name")),
        ("name-empty", "a name of no characters", put("witnesses", 0, "name", "")),
        ("name-long", "a name of 257 characters", put("witnesses", 0, "name", "w" * 257)),
        ("key-unpadded", "base64 without its padding",
         at("witnesses", 0, "publicKey", lambda text: text.rstrip("="))),
        ("member-added", "a member the format does not have", put("witnesses", 0, "quorum", 1)),
        ("vkey", "a verifier key in the place of name and key", put("witnesses", 0, W1.vkey)),
    ):  # fmt: skip
        yield bad(f"witness-{name}", "format", why, COSIGNED.but(bundle=edit))


def _key_of(witness: Witness) -> dict[str, str]:
    return {"name": witness.name, "publicKey": encode_base64(witness.key.public.spki)}


def _exchanged(bundle: dict) -> None:
    first, second = bundle["witnesses"]
    first["publicKey"], second["publicKey"] = second["publicKey"], first["publicKey"]
