"""Checkpoints and log proofs in the C2SP formats, and what a verifier of them refuses."""

from __future__ import annotations

import base64
import hashlib

import pytest

from torchnotary import merkle
from torchnotary.errors import (
    MalformedProof,
    MalformedRecord,
    NotaryError,
    RootMismatch,
    VerificationFailed,
)
from torchnotary.keys import PublicKey, SigningKey
from torchnotary.log.checkpoint import Checkpoint, SignedNote, key_id, origin_of
from torchnotary.log.leaf import entry_leaf, leaf_hash, predecessor_leaf
from torchnotary.log.proofs import TlogProof
from torchnotary.statement.envelope import sign
from torchnotary.statement.lines import parse

# A fixed one: the names of tests below hold its origin.
KEY = SigningKey.from_pem(
    b"-----BEGIN PRIVATE KEY-----\n"
    b"MC4CAQAwBQYDK2VwBCIEIAABAgMEBQYHCAkKCwwNDg8QERITFBUWFxgZGhscHR4f\n"
    b"-----END PRIVATE KEY-----\n"
)
ORIGIN = origin_of(KEY.public)
LEAVES = [b"leaf %d" % i for i in range(7)]
CHECKPOINT = Checkpoint(ORIGIN, 7, merkle.root(LEAVES))
NOTE = CHECKPOINT.sign(KEY)

# The example of golang.org/x/mod/sumdb/note, whose format signed-note is.
GO_KEY = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
GO_NOTE = (
    "If you think cryptography is the answer to your problem,\n"
    "then you don't know what your problem is.\n"
    "\n"
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb"
    "6KE6RyyBwJnAM=\n"
)


def test_a_note_signed_by_gos_implementation_verifies():
    name, hashed, encoded = GO_KEY.split("+")
    key = PublicKey(base64.b64decode(encoded)[1:])
    assert key_id(name, key).hex() == hashed
    text = SignedNote.parse(GO_NOTE).verify(name, key)
    assert text == GO_NOTE.split("\n\n")[0] + "\n"
    with pytest.raises(VerificationFailed):
        SignedNote.parse(GO_NOTE.replace("cryptography", "photography")).verify(name, key)


def test_a_checkpoint_is_the_note_of_the_specification():
    root = base64.b64encode(CHECKPOINT.root).decode()
    origin, size, root_line, blank, signature, end = NOTE.split("\n")
    assert (origin, size, root_line, blank, end) == (ORIGIN, "7", root, "", "")
    dash, name, encoded = signature.split(" ")
    assert (dash, name) == ("—", ORIGIN)
    raw = base64.b64decode(encoded)
    hashed = hashlib.sha256(ORIGIN.encode() + b"\n\x01" + KEY.public.raw).digest()
    assert raw[:4] == hashed[:4]
    KEY.public.verify(raw[4:], f"{ORIGIN}\n7\n{root}\n".encode())
    assert Checkpoint.verify(NOTE, KEY.public, alone=True) == CHECKPOINT


def test_the_origin_names_the_logs_key():
    assert f"torchnotary.log/{hashlib.sha256(KEY.public.spki).hexdigest()[:32]}" == ORIGIN


def test_every_single_bit_of_a_checkpoint_counts():
    encoded = NOTE.encode()
    for bit in range(len(encoded) * 8):
        damaged = bytearray(encoded)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            note = bytes(damaged).decode()
        except UnicodeDecodeError:
            continue
        with pytest.raises(NotaryError):
            Checkpoint.verify(note, KEY.public, alone=True)


def test_another_logs_checkpoint_is_refused():
    other = SigningKey.generate()
    theirs = Checkpoint(origin_of(other.public), 7, CHECKPOINT.root).sign(other)
    with pytest.raises(VerificationFailed, match="not signed by the log's key"):
        Checkpoint.verify(theirs, KEY.public)
    under_our_name = Checkpoint(ORIGIN, 8, CHECKPOINT.root).sign(other)
    with pytest.raises(VerificationFailed, match="not signed by the log's key"):
        Checkpoint.verify(under_our_name, KEY.public)


def test_a_checkpoint_our_key_signed_for_another_origin_is_refused():
    text = Checkpoint("example.com/log", 7, CHECKPOINT.root).text
    signature = key_id(ORIGIN, KEY.public) + KEY.sign(text.encode())
    note = f"{text}\n— {ORIGIN} {base64.b64encode(signature).decode()}\n"
    with pytest.raises(VerificationFailed, match="another log's") as caught:
        Checkpoint.verify(note, KEY.public)
    assert (caught.value.expected, caught.value.actual) == (ORIGIN, "example.com/log")


def test_unknown_signatures_are_ignored_unless_every_line_must_be_checked():
    witness = "— witness.example " + base64.b64encode(bytes(76)).decode() + "\n"
    assert Checkpoint.verify(NOTE + witness, KEY.public) == CHECKPOINT
    assert Checkpoint.verify(NOTE + witness * 15, KEY.public) == CHECKPOINT
    same_name = f"— {ORIGIN} " + base64.b64encode(bytes(68)).decode() + "\n"
    assert Checkpoint.verify(NOTE + same_name, KEY.public) == CHECKPOINT
    with pytest.raises(MalformedRecord, match="signature lines nobody checks"):
        Checkpoint.verify(NOTE + witness, KEY.public, alone=True)


def test_a_known_key_whose_signature_is_wrong_rejects_the_note():
    wrong = key_id(ORIGIN, KEY.public) + bytes(64)
    line = f"— {ORIGIN} {base64.b64encode(wrong).decode()}\n"
    text = CHECKPOINT.text
    with pytest.raises(VerificationFailed):
        Checkpoint.verify(f"{text}\n{line}", KEY.public)
    with pytest.raises(MalformedRecord):
        Checkpoint.verify(NOTE + line, KEY.public)


def _signed(text: str) -> str:
    signature = key_id(ORIGIN, KEY.public) + KEY.sign(text.encode())
    return f"{text}\n— {ORIGIN} {base64.b64encode(signature).decode()}\n"


ROOT = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "text, cause",
    [
        (f"{ORIGIN}\n07\n{ROOT}\n", "not a decimal"),
        (f"{ORIGIN}\n-7\n{ROOT}\n", "not a decimal"),
        (f"{ORIGIN}\n٧\n{ROOT}\n", "not a decimal"),
        (f"{ORIGIN}\n{10**19}\n{ROOT}\n", "not a decimal"),
        (f"{ORIGIN}\n7\n{ROOT}\nextension\n", "three lines"),
        (f"{ORIGIN}\n7\n", "three lines"),
        (f"\n7\n{ROOT}\n", "three lines"),
        (f"{ORIGIN}\n7\n{base64.b64encode(bytes(31)).decode()}\n", "32 bytes"),
        (f"{ORIGIN}\n7\n{base64.b64encode(bytes(33)).decode()}\n", "too large"),
        (f"{ORIGIN}\n7\n{ROOT[:-2]}B=\n", "bits after its last byte"),
    ],
)
def test_a_signed_note_that_is_no_checkpoint_of_ours_is_refused(text, cause):
    with pytest.raises(MalformedRecord, match=cause):
        Checkpoint.verify(_signed(text), KEY.public)


@pytest.mark.parametrize(
    "note, cause",
    [
        ("", "does not end with a blank line"),
        (NOTE[:-1], "does not end with a blank line"),
        (NOTE + "\n", "does not end|signature line"),
        (CHECKPOINT.text, "does not end with a blank line"),
        (CHECKPOINT.text + "\n", "does not end|signature line"),
        (NOTE.replace("—", "-"), "not a signature line"),
        (NOTE.replace("— ", "—"), "not a signature line"),
        (NOTE.replace("— torchnotary", "— torch+notary"), "not a signature line"),
        (NOTE.replace("7", "7\r", 1), "control character"),
        (NOTE.replace("7", "7\x00", 1), "control character"),
        (NOTE.replace("7", "\ud800", 1), "UTF-8"),
        (NOTE + "— a AAAA\n", "more than 4 bytes"),
        (NOTE + "— a AAAAAAAAAAA=\n" * 64, "too many signatures"),
        ("x" * 300_000 + NOTE, "too large"),
    ],
)
def test_what_is_no_signed_note_is_refused_by_name(note, cause):
    with pytest.raises(MalformedRecord, match=cause):
        Checkpoint.verify(note, KEY.public)


def _proof(index: int, size: int = 7) -> TlogProof:
    checkpoint = Checkpoint(ORIGIN, size, merkle.root(LEAVES[:size])).sign(KEY)
    hashes = merkle.inclusion_proof(LEAVES[:size], index)
    return TlogProof(index, tuple(hashes), checkpoint)


@pytest.mark.parametrize("size", range(1, 8))
def test_every_entry_is_proven_and_no_other_is(size):
    for index in range(size):
        proof = _proof(index, size)
        text = proof.to_text()
        again = TlogProof.from_text(text)
        assert again == proof and again.to_text() == text
        assert again.verify(LEAVES[index], KEY.public).size == size
        for other in range(7):
            if other != index:
                with pytest.raises(RootMismatch):
                    again.verify(LEAVES[other], KEY.public)


def test_a_proof_is_the_text_of_the_specification():
    proof = _proof(3)
    lines = proof.to_text().split("\n")
    hashes = [base64.b64encode(digest).decode() for digest in proof.hashes]
    expected = ["c2sp.org/tlog-proof@v1", "index 3", *hashes, "", *NOTE.split("\n")]
    assert lines == expected
    alone = TlogProof(0, (), Checkpoint(ORIGIN, 1, leaf_hash(b"x")).sign(KEY))
    assert alone.to_text().startswith(f"c2sp.org/tlog-proof@v1\nindex 0\n\n{ORIGIN}\n1\n")


def test_every_single_bit_of_a_proof_counts():
    encoded = _proof(3).to_text().encode()
    for bit in range(len(encoded) * 8):
        damaged = bytearray(encoded)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            text = bytes(damaged).decode()
        except UnicodeDecodeError:
            continue
        with pytest.raises(NotaryError):
            TlogProof.from_text(text).verify(LEAVES[3], KEY.public)


def test_a_proof_that_is_too_long_too_short_or_for_another_index_is_refused():
    good = _proof(3)
    for index, hashes in [
        (2, good.hashes),
        (7, good.hashes),
        (10**18, good.hashes),
        (3, good.hashes[:-1]),
        (3, (*good.hashes, bytes(32))),
        (3, good.hashes[::-1]),
        (3, ()),
    ]:
        with pytest.raises((MalformedProof, RootMismatch)):
            TlogProof(index, hashes, good.checkpoint).verify(LEAVES[3], KEY.public)


def test_size_and_root_come_from_the_signed_checkpoint_only():
    """An attacker's own tree proves anything, but not under the log's key."""
    mallory = SigningKey.generate()
    forged = Checkpoint(ORIGIN, 1, leaf_hash(b"forged")).sign(mallory)
    with pytest.raises(VerificationFailed):
        TlogProof(0, (), forged).verify(b"forged", KEY.public)


TEXT = _proof(3).to_text()


@pytest.mark.parametrize(
    "text, cause",
    [
        ("", "not a log proof"),
        (TEXT.replace("@v1", "@v2"), "unknown version"),
        (TEXT.replace("index 3", "extra AAAA\nindex 3"), "extra data"),
        (TEXT.replace("index 3", "index 03"), "no index line"),
        (TEXT.replace("index 3", "index -3"), "no index line"),
        (TEXT.replace("index 3", "index 3 "), "no index line"),
        (TEXT.replace("index 3", "index ٣"), "no index line"),
        (TEXT.replace("index 3\n", ""), "no index line"),
        (TEXT.split("\n\n")[0], "no checkpoint"),
        (TEXT.replace("index 3", "index 3\n" + ROOT * 2), "too large|base64"),
        (TEXT.replace("index 3", "index 3\n" + ROOT[:-4]), "32 bytes|base64"),
        (TEXT.replace("index 3", "index 3" + f"\n{ROOT}" * 65), "too many hashes"),
        (TEXT + "x" * 400_000, "too large"),
        (TEXT.encode(), "not text"),
    ],
)
def test_what_is_no_log_proof_is_refused_by_name(text, cause):
    with pytest.raises(MalformedRecord, match=cause):
        TlogProof.from_text(text)


def test_a_leaf_says_payload_signature_and_signer():
    envelope = sign(b"payload", KEY)
    leaf = entry_leaf(envelope, KEY.public.fingerprint)
    assert parse(leaf) == {
        "payload": hashlib.sha256(b"payload").hexdigest(),
        "signature": hashlib.sha256(envelope.signatures[0][1]).hexdigest(),
        "signer": hashlib.sha256(KEY.public.spki).hexdigest(),
        "type": "entry/1",
    }
    assert parse(predecessor_leaf(NOTE)) == {"checkpoint": NOTE, "type": "predecessor/1"}
    assert leaf_hash(leaf) == merkle.leaf_hash(leaf)
