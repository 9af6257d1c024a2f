"""RFC 9162 Merkle trees over SHA-256: roots, inclusion proofs and consistency proofs.

Leaves are raw entries; hashes and roots are 32 bytes. A proof that cannot be right for its sizes
raises `MalformedProof`; one that leads to another root raises `RootMismatch`.
"""

from __future__ import annotations

import operator
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from torchnotary import _core
from torchnotary.errors import MalformedProof, RootMismatch

if TYPE_CHECKING:
    from collections.abc import Buffer

_HASH_SIZE = 32
_MAX_SIZE = 2**64 - 1


def root(leaves: Iterable[Buffer]) -> bytes:
    """The tree hash of the entries (RFC 9162 §2.1.1); of none, SHA-256 of the empty string."""
    return _core.root(leaves)


def leaf_hash(leaf: Buffer) -> bytes:
    """The hash of one entry: SHA-256(00 ‖ leaf)."""
    return _core.leaf_hash(leaf)


def inclusion_proof(leaves: Sequence[Buffer], index: int) -> list[bytes]:
    """The sibling hashes of entry ``index``, lowest first (RFC 9162 §2.1.3.1).

    Raises `MalformedProof` unless 0 ≤ ``index`` < the number of leaves.
    """
    return _core.inclusion_proof(leaves, _natural("index", index))


def consistency_proof(leaves: Sequence[Buffer], size1: int) -> list[bytes]:
    """The hashes showing that the first ``size1`` entries are a prefix (RFC 9162 §2.1.4.1).

    Raises `MalformedProof` unless 0 < ``size1`` ≤ the number of leaves.
    """
    return _core.consistency_proof(leaves, _natural("size1", size1))


def verify_inclusion(
    index: int, size: int, leaf_hash: Buffer, proof: Sequence[Buffer], root: Buffer
) -> None:
    """Check that the leaf is entry ``index`` of the tree with this size and root (§2.1.3.2).

    Raises `MalformedProof` unless 0 ≤ ``index`` < ``size``, every hash has 32 bytes and the proof
    has the one length these allow; `RootMismatch`, with both roots, where it leads elsewhere.
    """
    claimed = _hash("the root", root)
    implied = _core.inclusion_root(
        _natural("index", index), _natural("size", size), leaf_hash, proof
    )
    _compare("the inclusion proof leads to another root", claimed, implied)


def verify_consistency(
    size1: int, size2: int, proof: Sequence[Buffer], root1: Buffer, root2: Buffer
) -> None:
    """Check that the tree with ``size1`` and ``root1`` is a prefix of the other (§2.1.4.2).

    Raises `MalformedProof` unless 0 < ``size1`` ≤ ``size2``, every hash has 32 bytes and the proof
    has the one length these allow; `RootMismatch`, with both roots, where it leads elsewhere.
    """
    claimed1, claimed2 = _hash("the earlier root", root1), _hash("the later root", root2)
    implied1, implied2 = _core.consistency_roots(
        _natural("size1", size1), _natural("size2", size2), proof, claimed1
    )
    _compare("the consistency proof leads to another earlier root", claimed1, implied1)
    _compare("the consistency proof leads to another later root", claimed2, implied2)


def _natural(name: str, value: int) -> int:
    value = operator.index(value)
    if not 0 <= value <= _MAX_SIZE:
        raise MalformedProof(
            f"{name} is out of range",
            expected="0 … 2^64 - 1",
            actual=value,
            next_step="check the sizes and the index that came with the proof",
        )
    return value


def _hash(name: str, value: Buffer) -> bytes:
    data = bytes(memoryview(value))
    if len(data) != _HASH_SIZE:
        raise MalformedProof(
            f"{name} is not a SHA-256 hash",
            expected=f"{_HASH_SIZE} bytes",
            actual=f"{len(data)} bytes",
            next_step="check that hashes are raw bytes, neither hex nor base64",
        )
    return data


def _compare(message: str, claimed: bytes, implied: bytes) -> None:
    if claimed != implied:
        raise RootMismatch(
            message,
            expected=claimed.hex(),
            actual=implied.hex(),
            next_step="get the proof and the root again, each from where you trust it",
        )
