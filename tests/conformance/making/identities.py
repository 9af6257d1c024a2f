"""The suite's keys: derived from their names, so that every run makes the same bytes."""

from __future__ import annotations

import hashlib
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from torchnotary.keys import SigningKey
from torchnotary.log.witness import WitnessKey, cosign


def fixed(what: str) -> bytes:
    """32 bytes that stand for random ones: SHA-256 of what they are for."""
    return hashlib.sha256(f"torchnotary conformance: {what}".encode()).digest()


def key(name: str) -> SigningKey:
    """The Ed25519 key whose seed its name gives."""
    return SigningKey(Ed25519PrivateKey.from_private_bytes(fixed(name)))


class Witness(NamedTuple):
    """Who cosigns checkpoints, and when (POSIX seconds)."""

    name: str
    key: SigningKey
    time: int

    @property
    def vkey(self) -> str:
        return WitnessKey(self.name, self.key.public).vkey()


def cosigned(note: str, *witnesses: Witness) -> str:
    """The checkpoint with a line of each witness more."""
    for witness in witnesses:
        note = cosign(note, witness.name, witness.key, witness.time)
    return note


SIGNER = key("signer")
STRANGER = key("stranger")
LOG = key("log")
OTHER_LOG = key("other log")
# 2026-11-21T10:05:00Z, three minutes after the calls of the suite; then a minute later each.
SEEN = 1795255500
W1, W2, W3 = (
    Witness(f"witness.example/w{n}", key(f"witness {n}"), SEEN + 60 * n) for n in range(3)
)
