"""What a log entry says: one canonical line, the leaf of the RFC 9162 tree."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from .._core import fill_lines, sha256_many
from ..statement.envelope import Envelope
from ..statement.lines import canonical

_PIECES = [b'{"payload":"', b'","signature":"', b'","signer":"', b'","type":"entry/1"}']


def entry_leaf(envelope: Envelope, signer: str) -> bytes:
    """The leaf of what was signed: the SHA-256 of its payload, its signature and its signer's SPKI.

    ``signer`` is the fingerprint (hex SHA-256 of the SPKI DER) of the key the envelope was
    verified with, or is about to be.
    """
    ((_, signature),) = envelope.signatures
    return entry_leaves(bytes.fromhex(envelope.record_id), [signature], signer)


def entry_leaves(payloads: bytes, signatures: Sequence[bytes], signers: str) -> bytes:
    """Many such leaves, a newline between them: ``payloads`` are their SHA-256 in one, ``signers``
    the fingerprints in one."""
    digests = (payloads.hex(), sha256_many(signatures).hex(), signers)
    return fill_lines(_PIECES, [digits.encode() for digits in digests], 64)


def predecessor_leaf(note: str) -> bytes:
    """The first leaf of a log that goes on from another, whose last checkpoint is ``note``."""
    return canonical({"checkpoint": note, "type": "predecessor/1"})


def leaf_hash(leaf: bytes) -> bytes:
    """SHA-256(00 ‖ leaf), RFC 9162 §2.1.1."""
    return hashlib.sha256(b"\x00" + leaf).digest()
