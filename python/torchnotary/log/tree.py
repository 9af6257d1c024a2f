"""The tree of a growing log: where its nodes are stored, and the proofs read from them.

Every complete subtree's root is stored once, in the order it becomes known: with leaf i come
the subtrees that end with it, smallest first (post-order). So appending writes at the end only,
and a proof reads O(log n) nodes. Nodes are named (level, index): the root of the leaves
[index · 2^level, (index + 1) · 2^level). Those of level 0 are hashes of leaves, which are at
hand; they are not stored.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from .._core import extend_tree

ReadNode = Callable[[int, int], bytes]
EMPTY_ROOT = hashlib.sha256(b"").digest()


def node_count(size: int) -> int:
    """How many nodes a tree of ``size`` leaves has stored."""
    return size - size.bit_count()


def position(level: int, index: int) -> int:
    """The place of a node of level 1 or above in the stored order."""
    return node_count(((index + 1) << level) - 1) + level - 1


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256(01 ‖ left ‖ right), RFC 9162 §2.1.1."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """The complete subtrees at the right edge of a tree: all that appending needs to know.

    ``peaks`` are their roots, largest first, 32 bytes each in one.
    """

    def __init__(self, size: int = 0, peaks: bytes = b"") -> None:
        self.size = size
        self._peaks = peaks

    @classmethod
    def load(cls, size: int, read: ReadNode) -> Frontier:
        return cls(size, b"".join([read(level, index) for level, index in _complete(0, size)]))

    def copy(self) -> Frontier:
        return Frontier(self.size, self._peaks)

    def extend(self, leaf_hashes: bytes) -> list[bytes]:
        """Adds leaves (hashes of 32 bytes each in one); returns the nodes above them that became
        complete, in their stored order."""
        nodes, self._peaks = extend_tree(leaf_hashes, self.size, self._peaks)
        self.size += len(leaf_hashes) // 32
        return split(nodes)

    def root(self) -> bytes:
        return root_of_peaks(split(self._peaks))


def split(hashes: bytes) -> list[bytes]:
    """Hashes of 32 bytes each in one, one by one."""
    return [hashes[start : start + 32] for start in range(0, len(hashes), 32)]


def root(read: ReadNode, size: int) -> bytes:
    """The RFC 9162 root of the first ``size`` leaves."""
    return _range_root(read, 0, size)


def inclusion_proof(read: ReadNode, index: int, size: int) -> list[bytes]:
    """RFC 9162 §2.1.3.1 for 0 ≤ index < size, the leaf's sibling first."""
    proof, start, end = [], 0, size
    while end - start > 1:
        split = _split(start, end)
        if index < split:
            proof.append(_range_root(read, split, end))
            end = split
        else:
            proof.append(_range_root(read, start, split))
            start = split
    return proof[::-1]


def consistency_proof(read: ReadNode, size1: int, size2: int) -> list[bytes]:
    """RFC 9162 §2.1.4.1 for 0 < size1 ≤ size2."""
    proof, start, end = [], 0, size2
    while end != size1:
        split = _split(start, end)
        if size1 <= split:
            proof.append(_range_root(read, split, end))
            end = split
        else:
            proof.append(_range_root(read, start, split))
            start = split
    if start:
        proof.append(_range_root(read, start, end))
    return proof[::-1]


def _split(start: int, end: int) -> int:
    return start + (1 << ((end - start - 1).bit_length() - 1))


def _complete(start: int, end: int) -> list[tuple[int, int]]:
    """The largest complete subtrees that make up [start, end), where RFC 9162 splits at start."""
    nodes = []
    while start < end:
        level = (end - start).bit_length() - 1
        nodes.append((level, start >> level))
        start += 1 << level
    return nodes


def _range_root(read: ReadNode, start: int, end: int) -> bytes:
    return root_of_peaks([read(level, index) for level, index in _complete(start, end)])


def root_of_peaks(peaks: list[bytes]) -> bytes:
    """The root of a tree whose complete subtrees have the roots ``peaks``, largest first."""
    if not peaks:
        return EMPTY_ROOT
    digest = peaks[-1]
    for left in reversed(peaks[:-1]):
        digest = node_hash(left, digest)
    return digest
