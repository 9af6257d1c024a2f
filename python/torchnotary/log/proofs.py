"""Proof that a record is in a log, in the C2SP tlog-proof format, written and checked."""

from __future__ import annotations

import re
from dataclasses import dataclass

from .. import merkle
from ..errors import MalformedRecord
from ..keys import PublicKey
from ..statement.envelope import decode_base64, encode_base64
from ..statement.lines import brief
from .checkpoint import MAX_NOTE_BYTES, Checkpoint
from .leaf import leaf_hash

MAX_HASHES = 64
_HEADER = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"index (0|[1-9][0-9]{0,18})")


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
        if type(text) is not str or len(text) > MAX_NOTE_BYTES + 64 * 64:
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
        if len(lines) - 2 > MAX_HASHES:
            raise MalformedRecord(
                "the log proof has too many hashes", expected=MAX_HASHES, actual=len(lines) - 2
            )
        hashes = tuple(decode_base64(line, "a hash of the log proof", 32) for line in lines[2:])
        if any(len(digest) != 32 for digest in hashes):
            raise MalformedRecord("a hash of the log proof has 32 bytes")
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
