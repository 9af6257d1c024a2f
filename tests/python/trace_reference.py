"""Traces written the slow and obvious way: JSON by the standard library, salts by PyPI's blake3.

Lines are given as JSON values in which bytes of 32 stand for a commitment to that digest.
"""

from __future__ import annotations

import hashlib
import json
import re
import struct
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import blake3

import torchnotary

if TYPE_CHECKING:
    import torch

TRACE = 3
NOTHING = blake3.blake3(b"", derive_key_context="torchnotary 2026-11 value v1").digest()


class ReferenceTrace:
    """A trace.jsonl over ``lines`` under a 32-byte secret: its file, root, digests and openings."""

    def __init__(self, lines: Sequence[dict[str, Any]], secret: bytes = b"\7" * 32) -> None:
        self.slots: list[list[tuple[bytes, bytes]]] = []
        self.lines = [self._line(line, number, secret) for number, line in enumerate(lines)]
        self.file = b"".join(line + b"\n" for line in self.lines)
        self.root = _root(self.lines)
        self.size = len(self.lines)

    @property
    def digests(self) -> bytes:
        """What the private store keeps: for every line the number of slots and their digests."""
        return b"".join(
            struct.pack("<I", len(slots)) + b"".join(digest for digest, _ in slots)
            for slots in self.slots
        )

    @property
    def openings(self) -> dict[int, list[tuple[bytes, bytes]]]:
        return dict(enumerate(self.slots))

    def _line(self, line: dict[str, Any], number: int, secret: bytes) -> bytes:
        hiding = line["args"] if line["type"] == "operator" else line
        if not _holds_commitment(hiding):
            line = {"commitment": NOTHING, **line}
        text = json.dumps(
            line,
            sort_keys=True,
            separators=(",", ":"),
            default=lambda digest: f"\N{SNOWMAN}{digest.hex()}",
            ensure_ascii=False,
        )
        slots: list[tuple[bytes, bytes]] = []

        def commitment(found: re.Match) -> str:
            digest = bytes.fromhex(found[1])
            message = secret + struct.pack("<BQQ", TRACE, number, len(slots))
            context = "torchnotary 2026-11 salt v1"
            salt = blake3.blake3(message, derive_key_context=context).digest()
            slots.append((digest, salt))
            return blake3.blake3(digest, key=salt).hexdigest()

        text = re.sub("\N{SNOWMAN}([0-9a-f]{64})", commitment, text)
        self.slots.append(slots)
        return text.encode()


def operator(
    name: str,
    module: str | None,
    args: dict[str, Any],
    outputs: list[Any] | None,
) -> dict[str, Any]:
    return {
        "args": args,
        "module": module,
        "operator": name,
        "outputs": outputs,
        "type": "operator",
    }


def tensor(value: torch.Tensor, origin: dict[str, Any] | None = None, **more: Any) -> dict:
    """A tensor committed to; ``origin`` is its ``from``."""
    found = {
        "commitment": bytes.fromhex(torchnotary.commit(value).digest),
        "dtype": str(value.dtype).removeprefix("torch."),
        "shape": list(value.shape),
        **more,
    }
    return found if origin is None else {**found, "from": origin}


def number(value: float) -> dict[str, str]:
    return {"f64": struct.pack(">d", value).hex()}


def _holds_commitment(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_holds_commitment, value.values()))
    if isinstance(value, list):
        return any(map(_holds_commitment, value))
    return isinstance(value, bytes)


def _root(lines: Sequence[bytes]) -> str:
    """RFC 9162 §2.1.1, word by word."""

    def tree(leaves: Sequence[bytes]) -> bytes:
        if len(leaves) == 1:
            return hashlib.sha256(b"\0" + leaves[0]).digest()
        split = 1
        while split * 2 < len(leaves):
            split *= 2
        return hashlib.sha256(b"\1" + tree(leaves[:split]) + tree(leaves[split:])).digest()

    return tree(lines).hex()
