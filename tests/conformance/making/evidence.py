"""evidence.safetensors: values that travel are those that were committed to, in one encoding."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Iterator
from typing import Any

from torchnotary.leaves import Leaf
from torchnotary.statement.evidence import decode_evidence, encode_evidence

from .cases import Case, bad
from .draft import Draft
from .edits import Edit, at, flip, put
from .genuine import OPEN, OTHER
from .values import Y, leaves, sparse

# Plain values of every kind beside a tensor.
MIXED = OPEN.but(
    name="mixed",
    disclose=("outputs", "evidence"),
    outputs=leaves(
        output={"t": Y, "i": 5, "f": 0.5, "s": "café", "y": b"\0", "n": None, "b": True}
    ),
)


def cases() -> Iterator[Case]:
    yield from _values()
    yield from _headers()
    yield from _together()


def _evidence(name: str, step: str, why: str, edit: Edit, record: Draft = OPEN) -> Case:
    return bad(f"evidence-{name}", step, why, record.but(members=at("evidence.safetensors", edit)))


def _values() -> Iterator[Case]:
    """Well-formed files with other values."""

    def change(leaf: Leaf, **fields: Any) -> None:
        for name, value in fields.items():
            setattr(leaf, name, value(getattr(leaf, name)) if callable(value) else value)

    def rows(data: bytes) -> bytes:
        return data[len(data) // 2 :] + data[: len(data) // 2]

    for name, why, path, fields in (
        ("output-bit-flipped", "one bit of an output", "output", {"kept": flip(100)}),
        ("output-sign-of-zero", "-0.0 is not 0.0", "output", {"kept": flip(31)}),
        ("rows-exchanged", "two rows in each other's place", "output", {"kept": rows}),
        ("dtype-relabelled", "the same bytes as another dtype", "output", {"dtype": "int32"}),
        (
            "shape-relabelled",
            "the same bytes in another shape",
            "output",
            {"shape": (3, 2), "run": 1},
        ),
        ("shape-flat", "the same bytes without rows", "output", {"shape": (6,), "run": 0}),
        ("path-changed", "an output under another name", "output", {"path": "result"}),
    ):
        yield _evidence(
            name, "outputs", why, _leaf("outputs", path, lambda leaf, f=fields: change(leaf, **f))
        )
    for name, why, key, value in (
        ("int-changed", "another integer", "i", 6),
        ("float-changed", "another float", "f", 0.25),
        ("text-changed", "another text", "s", "cafe"),
        ("text-denormalised", "the same letters in another normal form", "s", "cafe\u0301"),
        ("bytes-changed", "other bytes", "y", b"\1"),
        ("bool-changed", "false", "b", False),
    ):
        edit = _leaf("outputs", f'output["{key}"]', lambda leaf, v=value: change(leaf, kept=v))
        yield _evidence(name, "outputs", why, edit, MIXED)
    yield _evidence(
        "input-changed",
        "inputs",
        "another input",
        _leaf("inputs", "k", lambda leaf: change(leaf, kept=6)),
    )
    yield _evidence(
        "leaf-missing", "inputs", "one input is missing", _trees(lambda t: t["inputs"].pop())
    )
    yield _evidence(
        "leaf-added",
        "inputs",
        "an input more than were recorded",
        _trees(lambda t: t["inputs"].extend(leaves(extra=1))),
    )
    yield _evidence(
        "leaf-duplicated",
        "inputs",
        "a plain input twice",
        _trees(lambda t: t["inputs"].append(t["inputs"][1])),
    )
    yield _evidence(
        "inputs-as-outputs",
        "inputs, outputs",
        "inputs and outputs exchanged",
        _trees(lambda t: t.update(inputs=t["outputs"], outputs=t["inputs"])),
    )
    yield _evidence(
        "of-another-call",
        "inputs, outputs",
        "the values of another call",
        lambda data: encode_evidence(OTHER.inputs, OTHER.outputs),
    )
    dense = OPEN.but(name="sparse", outputs=(sparse("output"),))
    yield _evidence(
        "sparse-element-moved",
        "outputs",
        "an element of a sparse matrix elsewhere",
        flip(-8 * 24 + 0),
        dense,
    )


def _headers() -> Iterator[Case]:
    """Files that other readers of safetensors take, in another encoding. Both steps need them."""
    both = "inputs, outputs"

    def spaced(data: bytes) -> bytes:
        length, text, rest = _cut(data)
        return struct.pack("<Q", length + 8) + text + b" " * 8 + rest

    for name, why, edit in (
        ("header-spaces", "spaces after the header", spaced),
        ("header-reordered", "the same header in another order",
         _header(lambda h: dict(reversed(h.items())))),
        ("header-key-repeated", "a tensor stands there twice",
         _repeated),
        ("header-too-long", "a header of 2^63 bytes",
         lambda data: b"\xff" * 7 + b"\x7f" + data[8:]),
        ("header-not-json", "a header that is no JSON", lambda data: data[:8] + b"x" + data[9:]),
        ("metadata-format", "an unknown format", _header(put("__metadata__", "format", "pt"))),
        ("metadata-empty", "a list of no tree",
         _header(put("__metadata__", {"format": "torchnotary evidence/1"}))),
        ("tensor-added", "a tensor that no leaf has",
         _header(put("hidden", {"dtype": "U8", "shape": [0], "data_offsets": [48, 48]}))),
        ("offsets-overlap", "two tensors share their bytes",
         _header(put("outputs/output", "data_offsets", [0, 24]))),
        ("offsets-beyond", "a tensor beyond the end of the file",
         _header(put("outputs/output", "data_offsets", [24, 4096]))),
        ("offsets-with-a-gap", "bytes between two tensors",
         _header(put("outputs/output", "data_offsets", [28, 48]))),
        ("dtype-of-the-header", "header and list give two dtypes",
         _header(put("inputs/x", "dtype", "I32"))),
        ("shape-of-the-header", "header and list give two shapes",
         _header(put("inputs/x", "shape", [3, 2]))),
        ("byte-added", "a byte after the last tensor", lambda data: data + b"\0"),
        ("byte-missing", "the last byte is missing", lambda data: data[:-1]),
        ("pickle", "a pickle, which runs code where it is loaded",
         lambda data: b"cbuiltins\nprint\n(S'run'\ntR."),
    ):  # fmt: skip
        yield _evidence(name, both, why, edit)


def _together() -> Iterator[Case]:
    yield bad(
        "evidence-without-lines",
        "inputs, outputs",
        "values without the lines that commit to them",
        OPEN.but(members=lambda m: {n: m[n] for n in ("bundle.json", "evidence.safetensors")}),
    )
    yield bad(
        "evidence-without-outputs",
        "outputs",
        "values of outputs whose lines do not travel",
        OPEN.but(members=_without_outputs),
    )
    nothing = OPEN.but(name="nothing returned", outputs=(), disclose=("inputs", "evidence"))
    yield bad(
        "evidence-of-outputs-of-nothing",
        "outputs",
        "outputs of a call that returned none",
        nothing.but(
            members=at("evidence.safetensors", _trees(lambda t: t.update(outputs=OPEN.outputs)))
        ),
    )


def _without_outputs(members: dict[str, bytes]) -> None:
    del members["outputs.jsonl"]
    lines = members["openings.jsonl"].splitlines(keepends=True)
    members["openings.jsonl"] = b"".join(x for x in lines if b'"tree":"inputs"' in x)


def _trees(change: Callable[[dict[str, list[Leaf]]], Any]) -> Edit:
    """Edits the leaves by tree and writes a well-formed file of them."""

    def edit(data: bytes) -> bytes:
        trees = decode_evidence(data)
        change(trees)
        return encode_evidence(trees.get("inputs"), trees.get("outputs"))

    return edit


def _leaf(tree: str, path: str, change: Callable[[Leaf], None]) -> Edit:
    return _trees(lambda trees: change(next(leaf for leaf in trees[tree] if leaf.path == path)))


def _cut(data: bytes) -> tuple[int, bytes, bytes]:
    (length,) = struct.unpack_from("<Q", data)
    return length, data[8 : 8 + length], data[8 + length :]


def _joined(text: bytes, data: bytes) -> bytes:
    """The header's text before the tensors of a file."""
    text += b" " * (-len(text) % 8)
    return struct.pack("<Q", len(text)) + text + _cut(data)[2]


def _written(data: bytes, **style: Any) -> bytes:
    return _joined(json.dumps(json.loads(_cut(data)[1]), **style).encode(), data)


def _repeated(data: bytes) -> bytes:
    return _joined(_cut(data)[1].replace(b'"inputs/x":', b'"inputs/x":0,"inputs/x":'), data)


def _header(change: Edit) -> Edit:
    """Edits the header as a JSON value."""

    def edit(data: bytes) -> bytes:
        header = json.loads(_cut(data)[1])
        returned = change(header)
        header = header if returned is None else returned
        return _joined(json.dumps(header, separators=(",", ":")).encode(), data)

    return edit
