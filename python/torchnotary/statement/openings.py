"""openings.jsonl: the unsalted digests a record discloses, each with the salt that hid it.

    {"digest":hex,"line":number,"salt":hex,"slot":number,"tree":"inputs","type":"opening"}

ordered by tree, line and slot, every slot of a disclosed line present.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .. import _core
from ..errors import MalformedRecord
from ..leaves import TREES
from .lines import canonical, encode_file, scan_file
from .predicate import is_hex

Openings = dict[str, dict[int, list[tuple[bytes, bytes]]]]
_MEMBERS = {"digest", "line", "salt", "slot", "tree", "type"}


def derive(
    secret: bytes, tree: str, digests: Sequence[bytes]
) -> dict[int, list[tuple[bytes, bytes]]]:
    """Openings by line from a record's secret: (digest, salt) of each slot, 32 bytes each."""
    opened = {}
    for number, joined in enumerate(digests):
        count = len(joined) // 32
        if count:
            salts = _core.salts(secret, TREES[tree], number, count)
            opened[number] = [
                (joined[32 * i : 32 * i + 32], salts[32 * i : 32 * i + 32]) for i in range(count)
            ]
    return opened


def encode_openings(openings: Mapping[str, Mapping[int, Sequence[tuple[bytes, bytes]]]]) -> bytes:
    """The file over openings; empty bytes where nothing is disclosed."""
    lines = [
        canonical(
            {
                "digest": digest.hex(),
                "line": number,
                "salt": salt.hex(),
                "slot": slot,
                "tree": tree,
                "type": "opening",
            }
        )
        for tree in sorted(openings)
        for number in sorted(openings[tree])
        for slot, (digest, salt) in enumerate(openings[tree][number])
    ]
    return encode_file(lines) if lines else b""


def decode_openings(data: bytes) -> Openings:
    """Openings by tree and line; MalformedRecord where the file is not as described above."""
    openings: Openings = {}
    for _, value in scan_file(data, name="openings.jsonl"):
        if set(value) != _MEMBERS or value["type"] != "opening":
            raise MalformedRecord("openings.jsonl has a line that is no opening")
        if not isinstance(value["tree"], str) or value["tree"] not in TREES:
            raise MalformedRecord("openings.jsonl has an unknown tree", actual=value["tree"])
        if type(value["line"]) is not int or type(value["slot"]) is not int:
            raise MalformedRecord("openings.jsonl has a line or slot that is not a number")
        if not is_hex(value["digest"], 32) or not is_hex(value["salt"], 32):
            raise MalformedRecord("openings.jsonl has a digest or salt that is not 64 hex digits")
        slots = openings.setdefault(value["tree"], {}).setdefault(value["line"], [])
        if value["slot"] != len(slots):
            raise MalformedRecord(
                "openings.jsonl has its slots out of order",
                expected=len(slots),
                actual=value["slot"],
            )
        slots.append((bytes.fromhex(value["digest"]), bytes.fromhex(value["salt"])))
    if encode_openings(openings) != data:
        raise MalformedRecord("openings.jsonl is not in order of tree, line and slot")
    return openings
