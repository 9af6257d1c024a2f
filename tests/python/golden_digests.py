"""Compares the digests of tests/cpp/golden_digests.cpp, on every CPU path, with other libraries'.

    python tests/python/golden_digests.py COMMAND...

Each COMMAND (one argument, with its emulator where it needs one) is that program built for some
machine. The rule by which inputs are made stands in it; here it is said again, over PyPI's blake3,
hashlib and no code of torchnotary.
"""

from __future__ import annotations

import hashlib
import shlex
import struct
import subprocess
import sys
from collections.abc import Iterator

from blake3 import blake3

EDGES = [64, 128, 1024, 2048, 3072, 4096, 8192, 16384, 32768, 131072, 262144, 524288, 1048576]
SIZES = [0, 1] + [size for edge in EDGES for size in (edge - 1, edge, edge + 1)]
ITEM_SIZES = {"bool": 1, "uint8": 1, "int16": 2, "float32": 4, "float64": 8, "complex128": 16}
ROWS = 37


def data(size: int) -> bytes:
    """The input of `size` bytes."""
    return bytes((i * 2654435761 & 0xFFFFFFFF) >> 24 for i in range(size))


def hashes(size: int, message: bytes) -> Iterator[tuple[str, int, bytes]]:
    yield "hash", size, blake3(message).digest()
    yield "keyed", size, blake3(message, key=data(32)).digest()
    context = "torchnotary golden digests"
    yield "derive", size, blake3(message, derive_key_context=context).digest()
    yield "extended", size, blake3(message).digest(length=200, seek=size % 300)
    yield "sha256", size, hashlib.sha256(message).digest()


def root(leaves: list[bytes]) -> bytes:
    """RFC 9162, 2.1.1, as it stands there."""
    if len(leaves) <= 1:
        return hashlib.sha256(b"".join(b"\0" + leaf for leaf in leaves)).digest()
    split = 1
    while 2 * split < len(leaves):
        split *= 2
    return hashlib.sha256(b"\1" + root(leaves[:split]) + root(leaves[split:])).digest()


def tensor(dtype: str, columns: int) -> bytes:
    """The digest of 37 rows that lie column by column, from docs/formats.md."""
    size = ITEM_SIZES[dtype]
    memory = data(ROWS * columns * size)
    elements = [memory[at : at + size] for at in range(0, len(memory), size)]
    if dtype == "bool":
        elements = [b"\0" if element == b"\0" else b"\1" for element in elements]
    rows = b"".join(elements[i + j * ROWS] for i in range(ROWS) for j in range(columns))
    name = dtype.encode()
    header = bytes([len(name)]) + name + struct.pack("<BQQQ", 2, ROWS, columns, len(rows))
    context = "torchnotary 2026-11 tensor v1"
    return blake3(header + blake3(rows).digest(), derive_key_context=context).digest()


def expected() -> list[str]:
    """The lines that every machine and path is to print."""
    longest = data(SIZES[-1])
    digests = [digest for size in SIZES for digest in hashes(size, longest[:size])]
    leaves = [struct.pack("<Q", i) for i in range(130)]
    digests += [("root", size, root(leaves[:size])) for size in range(131)]
    for dtype in ITEM_SIZES:
        for columns in (1, 3, 4, 8, 16, 41, 4001):
            digests.append((dtype, columns, tensor(dtype, columns)))
    return [f"{what} {size} {digest.hex()}" for what, size, digest in digests]


def output(command: list[str]) -> list[str]:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()


def main(commands: list[str]) -> int:
    lines = expected()
    failed = False
    for command in map(shlex.split, commands):
        for path in output(command):
            found = output([*command, path])
            wrong = [pair for pair in zip(lines, found, strict=False) if pair[0] != pair[1]]
            if wrong or len(found) != len(lines):
                failed = True
                print(f"{shlex.join(command)} {path}: {len(wrong)} of {len(lines)} digests differ")
                for expected_line, found_line in wrong[:5]:
                    print(f"  expected {expected_line}\n  actual   {found_line}")
            else:
                print(f"{shlex.join(command)} {path}: all {len(lines)} digests agree")
    return 1 if failed or not commands else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
