"""Proofs about a log in C2SP formats, written and checked: that an entry is in it (tlog-proof), and
that it only grew between two checkpoints (the body of tlog-witness's add-checkpoint).
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from .. import merkle
from ..errors import MalformedRecord, RootMismatch, VerificationFailed
from ..keys import PublicKey
from ..statement.envelope import decode_base64, encode_base64
from ..statement.lines import brief
from .checkpoint import MAX_NOTE_BYTES, Checkpoint
from .leaf import leaf_hash
from .tree import EMPTY_ROOT

MAX_HASHES = 64
MAX_CONSISTENCY_HASHES = 63
_HEADER = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")
_MAX_TEXT = MAX_NOTE_BYTES + 64 * 64


@dataclass(frozen=True)
class TlogProof:
    """An entry's index, its inclusion proof (32-byte hashes, sibling first) and a checkpoint."""

    index: int
    hashes: tuple[bytes, ...]
    checkpoint: str

    def to_text(self) -> str:
        lines = [_HEADER, f"index {self.index}", *map(encode_base64, self.hashes)]
        return "\n".join(lines) + "\n\n" + self.checkpoint

    @classmethod
    def from_text(cls, text: str) -> TlogProof:
        """The proof as written; extra data is refused, since no signature covers it."""
        if type(text) is not str or len(text) > _MAX_TEXT:
            raise MalformedRecord("the log proof is not text, or is too large")
        head, blank, checkpoint = text.partition("\n\n")
        lines = head.split("\n")
        if lines[0] != _HEADER:
            raise MalformedRecord(
                "not a log proof, or one of an unknown version",
                expected=_HEADER,
                actual=brief(lines[0]),
            )
        if len(lines) > 1 and lines[1].startswith("extra "):
            raise MalformedRecord("the log proof has extra data, which nothing signs")
        index = _INDEX.fullmatch(lines[1]) if len(lines) > 1 else None
        if not index or not blank:
            raise MalformedRecord("the log proof has no index line, or no checkpoint")
        hashes = _hashes(lines[2:], MAX_HASHES, "the log proof")
        return cls(int(index[1]), hashes, checkpoint)

    def verify(self, leaf: bytes, log_key: PublicKey, *, alone: bool = True) -> Checkpoint:
        """The checkpoint under which ``leaf`` is proven to stand at ``index``.

        Size and root come from the checkpoint that ``log_key`` signed and from nowhere else.
        Raises MalformedRecord, MalformedProof, RootMismatch or VerificationFailed.
        """
        checkpoint = Checkpoint.verify(self.checkpoint, log_key, alone=alone)
        merkle.verify_inclusion(
            self.index, checkpoint.size, leaf_hash(leaf), list(self.hashes), checkpoint.root
        )
        return checkpoint


@dataclass(frozen=True)
class ConsistencyProof:
    """That the log of ``checkpoint`` (a note) begins with the entries it had at ``old_size``:
    ``hashes`` are the proof of RFC 9162 §2.1.4, 32 bytes each."""

    old_size: int
    hashes: tuple[bytes, ...]
    checkpoint: str

    def to_text(self) -> str:
        lines = [f"old {self.old_size}", *map(encode_base64, self.hashes)]
        return "\n".join(lines) + "\n\n" + self.checkpoint

    @classmethod
    def from_text(cls, text: str) -> ConsistencyProof:
        """The proof as written; MalformedRecord for anything else."""
        if type(text) is not str or len(text) > _MAX_TEXT:
            raise MalformedRecord("the consistency proof is not text, or is too large")
        head, blank, checkpoint = text.partition("\n\n")
        first, *lines = head.split("\n")
        old = _OLD.fullmatch(first)
        if not old or not blank:
            raise MalformedRecord(
                "not a consistency proof", expected="old SIZE", actual=brief(first)
            )
        hashes = _hashes(lines, MAX_CONSISTENCY_HASHES, "the consistency proof")
        return cls(int(old[1]), hashes, checkpoint)

    def verify(self, old: Checkpoint, log_key: PublicKey) -> Checkpoint:
        """The newer checkpoint, once it is ``log_key``'s and shown to extend ``old``.

        ``old`` must be verified already. Raises MalformedRecord, MalformedProof, RootMismatch or
        VerificationFailed.
        """
        new = Checkpoint.verify(self.checkpoint, log_key)
        if new.origin != old.origin:
            raise VerificationFailed(
                "the proof is about another log", expected=old.origin, actual=new.origin
            )
        if self.old_size != old.size:
            raise VerificationFailed(
                "the proof begins at another size than the older checkpoint",
                expected=old.size,
                actual=self.old_size,
                next_step="make it from that checkpoint: torchnotary log prove --from CHECKPOINT",
            )
        if old.size == 0:
            self._verify_from_empty(old, new)
        else:
            hashes = list(self.hashes)
            merkle.verify_consistency(old.size, new.size, hashes, old.root, new.root)
        return new

    def _verify_from_empty(self, old: Checkpoint, new: Checkpoint) -> None:
        # RFC 9162 has no proof from the empty tree: every tree extends it.
        for checkpoint in (old, new):
            if checkpoint.size == 0 and checkpoint.root != EMPTY_ROOT:
                raise RootMismatch(
                    "the empty log has a root it cannot have",
                    expected=EMPTY_ROOT.hex(),
                    actual=checkpoint.root.hex(),
                )
        if self.hashes:
            raise MalformedRecord(
                "a proof from the empty log has no hashes", expected=0, actual=len(self.hashes)
            )


def _hashes(lines: list[str], limit: int, what: str) -> tuple[bytes, ...]:
    if len(lines) > limit:
        raise MalformedRecord(f"{what} has too many hashes", expected=limit, actual=len(lines))
    hashes = tuple(decode_base64(line, f"a hash of {what}", 32) for line in lines)
    if any(len(digest) != 32 for digest in hashes):
        raise MalformedRecord(f"a hash of {what} has 32 bytes")
    return hashes
