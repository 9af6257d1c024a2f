"""Keys: the user's signing key, other people's public keys, and which of them to trust.

A key is Ed25519 or P-256; which one follows from the key alone, never from what it signed. It is
named by its fingerprint, the SHA-256 of its SPKI DER. Verification is stricter than OpenSSL: keys
and signatures that other implementations would judge differently are refused.
"""

from __future__ import annotations

from .ed25519 import SIGNATURE_BYTES
from .files import MAX_PEM_BYTES, create_private_file, key_path
from .keyring import (
    is_revoked,
    is_trusted,
    own_keys,
    retired_keys,
    trust,
    trusted_keys,
    untrust,
)
from .public import PublicKey, as_fingerprint, fingerprint_of, short
from .signing import SigningKey

__all__ = [
    "MAX_PEM_BYTES",
    "SIGNATURE_BYTES",
    "PublicKey",
    "SigningKey",
    "as_fingerprint",
    "create_private_file",
    "fingerprint_of",
    "is_revoked",
    "is_trusted",
    "key_path",
    "own_keys",
    "retired_keys",
    "short",
    "trust",
    "trusted_keys",
    "untrust",
]
