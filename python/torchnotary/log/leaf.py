"""What a log entry says: one canonical line, the leaf of the RFC 9162 tree."""

from __future__ import annotations

import hashlib

from ..statement.envelope import Envelope
from ..statement.lines import canonical


def entry_leaf(envelope: Envelope, signer: str) -> bytes:
    """The leaf of what was signed: the SHA-256 of its payload, its signature and its signer's SPKI.

    ``signer`` is the fingerprint (hex SHA-256 of the SPKI DER) of the key the envelope was
    verified with, or is about to be.
    """
    ((_, signature),) = envelope.signatures
    # Written out because a log makes thousands a second; three of its strings are hexadecimal.
    return b'{"payload":"%b","signature":"%b","signer":"%b","type":"entry/1"}' % (
        envelope.record_id.encode(),
        hashlib.sha256(signature).hexdigest().encode(),
        signer.encode(),
    )


def predecessor_leaf(note: str) -> bytes:
    """The first leaf of a log that goes on from another, whose last checkpoint is ``note``."""
    return canonical({"checkpoint": note, "type": "predecessor/1"})


def leaf_hash(leaf: bytes) -> bytes:
    """SHA-256(00 ‖ leaf), RFC 9162 §2.1.1."""
    return hashlib.sha256(b"\x00" + leaf).digest()
