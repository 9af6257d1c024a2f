"""Flips every single bit of small records of several kinds: none may be anything but refused.

    python tests/conformance/bits.py

Each bit is flipped twice: in the file as it is, which its checksums notice, and in a member of an
archive that is made anew around it, which the steps must notice.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from torchnotary.statement import container
from torchnotary.verifier.steps import verify

FOLDER = Path(__file__).resolve().parent
KINDS = (
    "batch-2-of-3",
    "cosigned-by-one",
    "disclosed-nothing",
    "entry-33-of-64",
    "group",
    "model-given",
    "p256",
    "trace-of-a-view",
    "value-sparse",
    "values-of-inputs-and-outputs",
)


def load(kind: str) -> tuple[bytes, Path]:
    """The bytes of a valid record of the suite, and the file of its signer's key."""
    signer = "signer-p256.pem" if kind == "p256" else "signer.pem"
    return (FOLDER / "good" / f"{kind}.tnr").read_bytes(), FOLDER / "beside" / signer


def flips(record: bytes, stride: int = 1, start: int = 0) -> Iterator[tuple[str, bytes]]:
    """Records with one bit flipped each, and where: every ``stride``-th bit from ``start`` on."""
    for bit in range(start, 8 * len(record), stride):
        yield f"file, bit {bit}", _flipped(record, bit)
    members = container.unpack(record)
    for name, data in members.items():
        for bit in range(start, 8 * len(data), stride):
            yield f"{name}, bit {bit}", container.pack({**members, name: _flipped(data, bit)})


def survivors(kind: str, stride: int = 1, start: int = 0) -> tuple[int, list[str]]:
    """How many flips were tried, and where one left a record that is not refused."""
    record, signer = load(kind)
    tried, found = 0, []
    for where, changed in flips(record, stride, start):
        tried += 1
        if verify(changed, signer=signer).exit_code != 1:
            found.append(where)
    return tried, found


def _flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def main() -> int:
    wrong = 0
    with tempfile.TemporaryDirectory() as home:
        os.environ["TORCHNOTARY_HOME"] = home  # nobody's keys and logs
        with ProcessPoolExecutor() as pool:
            for kind, (tried, found) in zip(KINDS, pool.map(survivors, KINDS), strict=True):
                print(f"{kind}: {tried} flips, {len(found)} not refused")
                print("".join(f"  {where}\n" for where in found), end="")
                wrong += len(found)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
