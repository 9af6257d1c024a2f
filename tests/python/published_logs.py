"""Logs for the tests of publishing, and tlog-tiles as its specification describes it."""

from __future__ import annotations

from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import rfc9162_reference as reference
from torchnotary.keys import SigningKey
from torchnotary.log.checkpoint import Checkpoint, origin_of
from torchnotary.log.store import LogStore


class GrowingLog:
    """A log in ``folder`` whose leaves are known; it signs a checkpoint each time it grew."""

    def __init__(self, folder: Path, seed: int = 1, number: int = 1) -> None:
        self.key = SigningKey(Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32)))
        self.origin = origin_of(self.key.public)
        self.name = f"{number:04d}-{self.origin.rpartition('/')[2][:8]}"
        self.path = folder / self.name
        self.path.mkdir(parents=True)
        LogStore.create(self.path, self.key.public)
        self.leaves: list[bytes] = []
        self.signed: list[int] = []

    def grow(self, size: int, text: str = "leaf") -> GrowingLog:
        store = LogStore.open(self.path)
        store._connection.execute("PRAGMA synchronous=OFF")
        for i in range(len(self.leaves), size):
            self.leaves.append(b'{"type":"%s %d"}' % (text.encode(), i))
            store.append_leaf(self.leaves[-1])
        store.put_checkpoint(size, self.checkpoint(size))
        store.close()
        self.signed.append(size)
        return self

    def checkpoint(self, size: int) -> str:
        root = reference.mth(self.leaves[:size])
        return Checkpoint(self.origin, size, root).sign(self.key)

    def files(self) -> dict[str, bytes]:
        """Everything that tlog-tiles has for the log at its present size, by path."""
        size = len(self.leaves)
        found = {"checkpoint": self.checkpoint(size).encode()}
        span, level = 1, 0
        while size // span:
            hashes = [
                reference.mth(self.leaves[i * span : (i + 1) * span]) for i in range(size // span)
            ]
            found |= _rows(f"tile/{level}", hashes, {s // span for s in self.signed})
            level, span = level + 1, span * 256
        entries = [len(leaf).to_bytes(2, "big") + leaf for leaf in self.leaves]
        return found | _rows("tile/entries", entries, set(self.signed))


def _rows(prefix: str, items: list[bytes], signed: set[int]) -> dict[str, bytes]:
    found, whole = {}, len(items) // 256
    for n in range(whole):
        found[f"{prefix}/{n:03d}"] = b"".join(items[256 * n : 256 * n + 256])
    for width in {s - 256 * whole for s in signed if s > 256 * whole}:
        found[f"{prefix}/{whole:03d}.p/{width}"] = b"".join(items[256 * whole :][:width])
    return found


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file()
    }
