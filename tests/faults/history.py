"""Every checkpoint that was ever signed, and proof that those of one origin are of one history.

Signatures are caught where they are made, so that also one which was never stored counts: a log
that was restored or copied may not sign a second history even for a moment.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from torchnotary.log.checkpoint import Checkpoint, SignedNote
from torchnotary.log.claim import log_folders
from torchnotary.log.store import LogReader


def catch_signatures(file: Path) -> None:
    """From now on this process, and what it forks, adds every checkpoint it signs to ``file``."""
    sign = Checkpoint.sign

    def signed(checkpoint: Checkpoint, key) -> str:
        note = sign(checkpoint, key)
        with open(file, "ab", buffering=0) as stream:
            stream.write(json.dumps(note).encode() + b"\n")
        return note

    Checkpoint.sign = signed


class History:
    """The roots signed for each origin and size, read from ``file`` and from log folders."""

    def __init__(self, file: Path) -> None:
        self._file = file
        self._read = 0
        self.signed: dict[str, dict[int, bytes]] = {}
        self._shown: set[tuple[str, int]] = set()

    def add(self, note: str) -> None:
        """Adds a checkpoint; AssertionError where another root was signed for its size."""
        checkpoint = Checkpoint.parse(SignedNote.parse(note).text)
        sizes = self.signed.setdefault(checkpoint.origin, {})
        known = sizes.setdefault(checkpoint.size, checkpoint.root)
        assert known == checkpoint.root, f"{checkpoint.origin}: size {checkpoint.size} twice"

    def look_at(self, *folders: Path) -> None:
        """Compares each log in ``folders`` with everything signed for its origin so far.

        Every signed size that a log reaches must have the root of its leaves.
        """
        self._read_signatures()
        for path in [path for folder in folders for path in log_folders(folder)]:
            with LogReader.open(path) as log:
                for (note,) in log.query("SELECT note FROM checkpoints"):
                    self.add(note)
                leaves = [leaf for (leaf,) in log.query("SELECT leaf FROM entries ORDER BY idx")]
                self._compare(log.origin, leaves)

    def require_all_shown(self) -> None:
        """Requires that a log was seen for every signature, and that there was one at all."""
        self._read_signatures()
        signed = {(origin, size) for origin, sizes in self.signed.items() for size in sizes}
        assert signed and signed == self._shown, f"signed without a log: {signed - self._shown}"

    def _compare(self, origin: str, leaves: list[bytes]) -> None:
        peaks: list[tuple[int, bytes]] = []  # (number of leaves, hash) of the complete subtrees
        sizes = self.signed.get(origin, {})
        for size, leaf in enumerate(leaves, start=1):
            peaks.append((1, hashlib.sha256(b"\0" + leaf).digest()))
            while len(peaks) > 1 and peaks[-1][0] == peaks[-2][0]:
                (count, left), (_, right) = peaks[-2:]
                peaks[-2:] = [(2 * count, hashlib.sha256(b"\1" + left + right).digest())]
            if size in sizes:
                assert sizes[size] == _root(peaks), f"{origin}: another history at size {size}"
                self._shown.add((origin, size))

    def _read_signatures(self) -> None:
        if not self._file.exists():
            return
        with open(self._file, "rb") as stream:
            stream.seek(self._read)
            # What a kill cut short was signed for nobody, and is completed by no later line.
            *lines, _ = stream.read().split(b"\n")
            self._read += sum(len(line) + 1 for line in lines)
        for line in lines:
            self.add(json.loads(line))


def _root(peaks: list[tuple[int, bytes]]) -> bytes:
    digest = peaks[-1][1]
    for _, left in reversed(peaks[:-1]):
        digest = hashlib.sha256(b"\1" + left + digest).digest()
    return digest
