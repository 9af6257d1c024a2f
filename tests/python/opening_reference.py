"""Openings made slowly and obviously: BLAKE3 in pure Python, and the grammar by its words.

Source: BLAKE3 paper, §2.2–2.6; docs/formats.md, "opening".
"""

from __future__ import annotations

import itertools
import struct

import blake3

IV = (
    0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A,
    0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19,
)  # fmt: skip
PERMUTATION = (2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8)
CHUNK_START, CHUNK_END, PARENT, ROOT = 1, 2, 4, 8
CHUNK = 1024


def _rotate(word: int, count: int) -> int:
    return (word >> count | word << (32 - count)) & 0xFFFFFFFF


def _mix(v: list[int], a: int, b: int, c: int, d: int, x: int, y: int) -> None:
    for word, first, second in ((x, 16, 12), (y, 8, 7)):
        v[a] = (v[a] + v[b] + word) & 0xFFFFFFFF
        v[d] = _rotate(v[d] ^ v[a], first)
        v[c] = (v[c] + v[d]) & 0xFFFFFFFF
        v[b] = _rotate(v[b] ^ v[c], second)


def compress(cv, block: bytes, counter: int, flags: int) -> tuple[int, ...]:
    m = struct.unpack("<16I", block.ljust(64, b"\0"))
    v = [*cv, *IV[:4], counter & 0xFFFFFFFF, counter >> 32, len(block), flags]
    for _ in range(7):
        for i in range(4):
            _mix(v, i, 4 + i, 8 + i, 12 + i, m[2 * i], m[2 * i + 1])
        for i in range(4):
            _mix(
                v, i, 4 + (i + 1) % 4, 8 + (i + 2) % 4, 12 + (i + 3) % 4, m[8 + 2 * i], m[9 + 2 * i]
            )
        m = tuple(m[i] for i in PERMUTATION)
    return tuple(v[i] ^ v[i + 8] for i in range(8))


def _packed(words) -> bytes:
    return struct.pack("<8I", *words)


def chunk_value(chunk: bytes, number: int, root: int = 0) -> bytes:
    cv, blocks = IV, [chunk[i : i + 64] for i in range(0, len(chunk), 64)] or [b""]
    for place, block in enumerate(blocks):
        flags = CHUNK_START if place == 0 else 0
        if place == len(blocks) - 1:
            flags |= CHUNK_END | root
        cv = compress(cv, block, number, flags)
    return _packed(cv)


def _split(count: int) -> int:
    left = 1
    while 2 * left < count:
        left *= 2
    return left


def node_value(chunks: list[bytes], first: int, root: int = 0) -> bytes:
    if len(chunks) == 1:
        return chunk_value(chunks[0], first, root)
    left = _split(len(chunks))
    children = node_value(chunks[:left], first) + node_value(chunks[left:], first + left)
    return _packed(compress(IV, children, 0, PARENT | root))


def chunks_of(data: bytes) -> list[bytes]:
    return [data[i : i + CHUNK] for i in range(0, len(data), CHUNK)] or [b""]


def data_root(data: bytes) -> bytes:
    return node_value(chunks_of(data), 0, ROOT)


def selected_bytes(itemsize: int, shape, items) -> list[int]:
    """Offsets of the first byte of each selected element, in order."""
    axes = [item for item in items if item is not None]
    indices = [
        [item[0]] if len(item) == 1 else [item[0] + k * item[2] for k in range(item[1])]
        for item in axes
    ]
    offsets = []
    for index in itertools.product(*indices):
        flat = 0
        for size, place in zip(shape, index, strict=True):
            flat = flat * size + place
        offsets.append(flat * itemsize)
    return offsets


def slice_proof(data: bytes, touched: set[int]) -> bytes:
    def node(chunks: list[bytes], first: int) -> bytes:
        if not touched & set(range(first, first + len(chunks))):
            return node_value(chunks, first)
        if len(chunks) == 1:
            return chunks[0]
        left = _split(len(chunks))
        return node(chunks[:left], first) + node(chunks[left:], first + left)

    return node(chunks_of(data), 0) if touched else b""


def header(dtype: str, shape, nbytes: int) -> bytes:
    sizes = b"".join(struct.pack("<Q", size) for size in shape)
    name = dtype.encode()
    return bytes([len(name)]) + name + bytes([len(shape)]) + sizes + struct.pack("<Q", nbytes)


def encode_items(items) -> bytes:
    def item(value) -> bytes:
        if value is None:
            return b"\x02"
        return bytes([0 if len(value) == 1 else 1]) + struct.pack(f"<{len(value)}Q", *value)

    return struct.pack("<H", len(items)) + b"".join(map(item, items))


def encode(dtype: str, itemsize: int, shape, data: bytes, items) -> bytes:
    """The opening of ``items`` of the tensor with these data bytes."""
    touched = {offset // CHUNK for offset in selected_bytes(itemsize, shape, items)}
    head = b"torchnotary opening/1\n" + header(dtype, shape, len(data)) + data_root(data)
    return head + encode_items(items) + slice_proof(data, touched)


def digest(dtype: str, shape, data: bytes) -> str:
    """The tensor's digest, in hex, through the PyPI implementation."""
    message = header(dtype, shape, len(data)) + blake3.blake3(data).digest()
    return blake3.blake3(message, derive_key_context="torchnotary 2026-11 tensor v1").hexdigest()
