"""Proofs that a log only grew, in the form tlog-witness gives them, and what is refused."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import rfc9162_reference as reference
from torchnotary.errors import (
    MalformedProof,
    MalformedRecord,
    NotaryError,
    RootMismatch,
    VerificationFailed,
)
from torchnotary.keys import SigningKey
from torchnotary.log.checkpoint import Checkpoint, origin_of
from torchnotary.log.proofs import ConsistencyProof

KEY, OTHER = (SigningKey(Ed25519PrivateKey.from_private_bytes(bytes([n] * 32))) for n in (1, 2))
ORIGIN = origin_of(KEY.public)
LEAVES = [b"leaf %d" % i for i in range(9)]

# The request that c2sp.org/tlog-witness shows, without its second signature.
EXAMPLE = (
    "old 20852014\n"
    "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n"
    "jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=\n"
    "5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=\n"
    "/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=\n"
    "\n"
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2"
    "q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
)


def checkpoint(size: int, leaves=LEAVES, key=KEY) -> Checkpoint:
    return Checkpoint(origin_of(key.public), size, reference.mth(leaves[:size]))


def proof(old: int, new: int) -> ConsistencyProof:
    hashes = reference.proof(old, LEAVES[:new]) if old else []
    return ConsistencyProof(old, tuple(hashes), checkpoint(new).sign(KEY))


def test_the_specifications_example_reads_and_writes_the_same():
    read = ConsistencyProof.from_text(EXAMPLE)
    assert (read.old_size, len(read.hashes)) == (20852014, 4)
    assert read.to_text() == EXAMPLE


@pytest.mark.parametrize("old", range(10))
def test_every_larger_tree_extends_a_smaller_one(old):
    for new in range(old, 10):
        text = proof(old, new).to_text()
        read = ConsistencyProof.from_text(text)
        assert read.to_text() == text
        assert read.verify(checkpoint(old), KEY.public) == checkpoint(new)


@pytest.mark.parametrize("old", range(1, 10))
def test_a_forked_view_is_refused(old):
    forked = [*LEAVES[: old - 1], b"another"]
    for new in range(old, 10):
        with pytest.raises(RootMismatch):
            proof(old, new).verify(checkpoint(old, forked), KEY.public)


def test_a_smaller_tree_does_not_extend_a_larger_one():
    shorter = ConsistencyProof(7, (), checkpoint(5).sign(KEY))
    with pytest.raises(MalformedProof):
        shorter.verify(checkpoint(7), KEY.public)


def test_a_proof_about_another_size_log_or_key_is_refused():
    with pytest.raises(VerificationFailed, match="another size") as caught:
        proof(3, 7).verify(checkpoint(4), KEY.public)
    assert (caught.value.expected, caught.value.actual) == (4, 3)
    with pytest.raises(VerificationFailed, match="about another log"):
        proof(3, 7).verify(checkpoint(3, key=OTHER), KEY.public)
    with pytest.raises(VerificationFailed, match="not signed by the log's key"):
        proof(3, 7).verify(checkpoint(3), OTHER.public)


def test_nothing_but_the_empty_tree_is_the_empty_log():
    with pytest.raises(RootMismatch, match="cannot have"):
        proof(0, 7).verify(Checkpoint(ORIGIN, 0, bytes(32)), KEY.public)
    with pytest.raises(RootMismatch, match="cannot have"):
        grown = ConsistencyProof(0, (), Checkpoint(ORIGIN, 0, bytes(32)).sign(KEY))
        grown.verify(checkpoint(0), KEY.public)
    padded = ConsistencyProof(0, (bytes(32),), checkpoint(7).sign(KEY))
    with pytest.raises(MalformedRecord, match="no hashes"):
        padded.verify(checkpoint(0), KEY.public)


def test_every_single_bit_of_a_proof_counts():
    encoded = proof(3, 7).to_text().encode()
    end_of_proof = encoded.index(b"\n\n") + 2
    for bit in range(end_of_proof * 8):
        damaged = bytearray(encoded)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            text = bytes(damaged).decode()
        except UnicodeDecodeError:
            continue
        with pytest.raises(NotaryError):
            ConsistencyProof.from_text(text).verify(checkpoint(3), KEY.public)


TEXT = proof(3, 7).to_text()
HASH = base64.b64encode(bytes(32)).decode()


@pytest.mark.parametrize(
    "text, cause",
    [
        ("", "not a consistency proof"),
        (TEXT.split("\n\n")[0] + "\n", "not a consistency proof"),
        (TEXT.replace("old 3", "old 03"), "not a consistency proof"),
        (TEXT.replace("old 3", "old -3"), "not a consistency proof"),
        (TEXT.replace("old 3", "old ٣"), "not a consistency proof"),
        (TEXT.replace("old 3", f"old {10**19}"), "not a consistency proof"),
        (TEXT.replace("old 3", "old 3" + f"\n{HASH}" * 64), "too many hashes"),
        (TEXT.replace("old 3", "old 3\n" + HASH[:-4]), "32 bytes|base64"),
        (TEXT.replace("old 3", "old 3\r"), "not a consistency proof"),
        (TEXT + "x" * 400_000, "too large"),
        (TEXT.encode(), "not text"),
    ],
)
def test_what_is_no_consistency_proof_is_refused_by_name(text, cause):
    with pytest.raises(MalformedRecord, match=cause):
        ConsistencyProof.from_text(text)
