"""Takes a ``.tnr`` apart and puts it together again in its one encoding, as any attacker can.

Nothing here needs a key. ``cover=True`` recomputes everything below the signature, so that the
file agrees with itself and only what was signed contradicts it.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from .. import _core
from ..leaves import Leaf, commitment_of
from ..statement.bundle import Bundle
from ..statement.container import pack, unpack
from ..statement.evidence import decode_evidence, encode_evidence
from ..statement.lines import canonical, encode_file, parse, parse_file
from ..statement.openings import decode_openings, encode_openings

_BUNDLE, _EVIDENCE, _OPENINGS = "bundle.json", "evidence.safetensors", "openings.jsonl"


def repacked(data: bytes, changed: Mapping[str, bytes]) -> bytes:
    """The file with some members replaced."""
    return pack({**unpack(data), **changed})


def bundle_of(data: bytes) -> Bundle:
    return Bundle.decode(unpack(data)[_BUNDLE])


def with_bundle(data: bytes, **fields: Any) -> bytes:
    """The file with other values in some fields of its bundle."""
    bundle = dataclasses.replace(bundle_of(data), **fields)
    return repacked(data, {_BUNDLE: bundle.encode()})


def with_payload(data: bytes, edit: Callable[[bytes], bytes]) -> bytes:
    """The file with an edited statement under the old signature."""
    envelope = bundle_of(data).envelope
    edited = dataclasses.replace(envelope, payload=edit(envelope.payload))
    return with_bundle(data, envelope=edited)


def with_signature(data: bytes, edit: Callable[[bytes], bytes]) -> bytes:
    """The file with an edited signature over the old statement."""
    envelope = bundle_of(data).envelope
    ((keyid, signature),) = envelope.signatures
    edited = dataclasses.replace(envelope, signatures=((keyid, edit(signature)),))
    return with_bundle(data, envelope=edited)


def with_leaf(
    data: bytes, tree: str, path: str, edit: Callable[[Leaf], None], *, cover: bool = False
) -> bytes:
    """The file with an edited value among those that travel with it."""
    members = unpack(data)
    trees = decode_evidence(members[_EVIDENCE])
    edit(next(leaf for leaf in trees[tree] if leaf.path == path))
    members[_EVIDENCE] = encode_evidence(trees.get("inputs"), trees.get("outputs"))
    if cover:
        # Decoding computes the digests of the edited values anew.
        _commit_anew(members, tree, decode_evidence(members[_EVIDENCE])[tree])
    return pack(members)


def with_lines_swapped(data: bytes, tree: str, first: int, second: int) -> bytes:
    """The file with two disclosed lines, and their openings, in each other's place."""
    members = unpack(data)
    lines = parse_file(members[f"{tree}.jsonl"])
    lines[first], lines[second] = lines[second], lines[first]
    openings = decode_openings(members[_OPENINGS])
    opened = openings[tree]
    opened[first], opened[second] = opened[second], opened[first]
    members[f"{tree}.jsonl"] = encode_file(lines)
    members[_OPENINGS] = encode_openings(openings)
    return pack(members)


def flip_bit(data: bytes, bit: int) -> bytes:
    """The bytes with one bit flipped; bit 0 is the lowest of the first byte."""
    flipped = bytearray(data)
    flipped[bit // 8] ^= 1 << bit % 8
    return bytes(flipped)


def swap_rows(data: bytes, rows: int, first: int, second: int) -> bytes:
    """Row-major bytes of ``rows`` equal rows with two of them in each other's place."""
    length = len(data) // rows
    pieces = [data[start : start + length] for start in range(0, len(data), length)]
    pieces[first], pieces[second] = pieces[second], pieces[first]
    return b"".join(pieces)


def _commit_anew(members: dict[str, bytes], tree: str, leaves: list[Leaf]) -> None:
    """Openings and line file over other leaves, under the salts that were disclosed."""
    openings = decode_openings(members[_OPENINGS])
    lines = []
    old = parse_file(members[f"{tree}.jsonl"])
    for number, (line, leaf) in enumerate(zip(old, leaves, strict=True)):
        digests = [leaf.digests[i : i + 32] for i in range(0, len(leaf.digests), 32)]
        salts = [salt for _, salt in openings[tree][number]]
        openings[tree][number] = list(zip(digests, salts, strict=True))
        salted = b"".join(_core.blake3(d, key=s) for d, s in openings[tree][number])
        value = {**parse(line), "commitment": commitment_of(salted, leaf.run)}
        if leaf.kind == "tensor":
            value |= {"dtype": leaf.dtype, "shape": list(leaf.shape)}
        lines.append(canonical(value))
    members[_OPENINGS] = encode_openings(openings)
    members[f"{tree}.jsonl"] = encode_file(lines)
