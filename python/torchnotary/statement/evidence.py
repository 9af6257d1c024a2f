"""Kept values: the inputs and outputs of a call as one safetensors file, written and read.

Tensors stand under ``inputs/<path>`` and ``outputs/<path>``; the header's ``__metadata__`` lists
every leaf in order, plain values included, as JSON. Dtypes safetensors has no name for are stored
as ``U8`` bytes; the list names the real dtype. Of a sparse, quantised or nested tensor the
components stand there, as ``inputs/<path>#<component>``. Nothing here needs torch or numpy.
"""

from __future__ import annotations

import ast
import json
import math
import struct
from collections.abc import Iterable, Sequence
from typing import Any

from .. import _core
from ..composite import component_names
from ..errors import MalformedRecord, UnsupportedTensor
from ..leaves import Leaf, composite_leaf, encode_value, row_run, unbound_leaf
from ..safetensors_header import DTYPES
from .composite_values import composite_tensor_of

FORMAT = "torchnotary evidence/1"
TREES = ("inputs", "outputs")
MAX_HEADER = 64 << 20
# The format's name of a dtype by torch's.
TO_SAFETENSORS = {ours: theirs for theirs, ours in DTYPES.items()}


def encode_evidence(inputs: Iterable[Leaf] | None, outputs: Iterable[Leaf] | None) -> bytes:
    """Evidence file over the kept leaves; a tree given as None is left out."""
    header: dict[str, Any] = {}
    metadata = {"format": FORMAT}
    chunks: list[bytes] = []
    offset = 0
    for tree, leaves in zip(TREES, (inputs, outputs), strict=True):
        if leaves is None:
            continue
        listed = []
        for leaf in leaves:
            listed.append(_describe(leaf))
            for place, stored in _stored(leaf):
                name = TO_SAFETENSORS.get(stored.dtype)
                shape = list(stored.shape) if name else [len(stored.kept)]
                end = offset + len(stored.kept)
                header[f"{tree}/{place}"] = {
                    "dtype": name or "U8",
                    "shape": shape,
                    "data_offsets": [offset, end],
                }
                chunks.append(stored.kept)
                offset = end
        metadata[tree] = json.dumps(listed, sort_keys=True, separators=(",", ":"))
    text = json.dumps({"__metadata__": metadata, **header}, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return b"".join([struct.pack("<Q", len(text)), text, *chunks])


def _stored(leaf: Leaf) -> list[tuple[str, Leaf]]:
    """The ordinary tensors that keep a leaf, each with the name it stands under."""
    if leaf.kind != "tensor":
        return []
    if leaf.layout is None:
        return [(leaf.path, leaf)]
    return [(f"{leaf.path}#{part.path}", part) for part in leaf.kept]


# What reading a header of any shape can raise; sizes that are no integers are RuntimeErrors of the
# binding, and nesting that is too deep is Python's own.
_UNREADABLE = (
    AttributeError,
    LookupError,
    OverflowError,
    RuntimeError,
    TypeError,
    UnsupportedTensor,
    ValueError,
    struct.error,
)


def decode_evidence(data: bytes) -> dict[str, list[Leaf]]:
    """Leaves by tree, their values in ``kept`` and digests computed anew from those values.

    Raises MalformedRecord where the file is not in the encoding above.
    """
    try:
        header, start = _header(data)
        metadata = header.pop("__metadata__")
        _require(metadata.get("format") == FORMAT, "unknown evidence format")
        trees = {
            tree: [_leaf(entry, tree, header, data, start) for entry in json.loads(metadata[tree])]
            for tree in TREES
            if tree in metadata
        }
    except _UNREADABLE as error:
        raise _malformed(f"evidence.safetensors is not readable: {error!r}") from error
    _require(bool(trees), "evidence.safetensors keeps nothing")
    _require(
        encode_evidence(trees.get("inputs"), trees.get("outputs")) == data,
        "evidence.safetensors is not in its one encoding",
    )
    return trees


def restore(leaves: Iterable[Leaf]) -> dict[str, Any]:
    """Values by top-level name, nested as their paths say: mappings and objects as :class:`Kept`,
    sequences as lists, tensors as torch tensors (NumPy arrays where torch is not installed)."""
    root: dict[str, Any] = {}
    for leaf in leaves:
        first, *rest = _steps(leaf.path)
        here, key = root, first[1]
        for step in rest:
            here = here.setdefault(key, _Nest())
            key = step
        here[key] = value_of(leaf)
    return {name: _shape(value) for name, value in root.items()}


class _Nest(dict):
    """Children by step, while a nested value is being put together."""


class Kept(dict):
    """A kept mapping or object: its items are attributes too."""

    def __getattr__(self, name: str) -> Any:
        try:
            return self[name]
        except KeyError:
            raise AttributeError(name) from None


def _describe(leaf: Leaf) -> dict[str, Any]:
    entry: dict[str, Any] = {"kind": leaf.kind, "path": leaf.path}
    if leaf.kind == "tensor":
        entry |= {"dtype": leaf.dtype, "shape": list(leaf.shape)}
        if leaf.layout:
            parts = [{"dtype": part.dtype, "shape": list(part.shape)} for part in leaf.kept]
            entry |= {"components": parts, "layout": leaf.layout}
    elif leaf.kind == "unbound":
        entry["class"] = leaf.cls
    else:
        value = leaf.kept
        if leaf.kind == "float":
            value = struct.pack(">d", value).hex()
        elif leaf.kind == "int":
            value = hex(value)
        elif leaf.kind == "bytes":
            value = encode_value(value)[1][1:].hex()
        elif leaf.kind == "str":
            value = encode_value(value)[1][1:].decode("utf-8", "surrogatepass")
        entry["value"] = value
    return entry


def _leaf(entry: dict[str, Any], tree: str, header: dict, data: bytes, start: int) -> Leaf:
    path, kind = entry["path"], entry["kind"]
    _require(isinstance(path, str) and isinstance(kind, str), "a leaf has no path or kind")
    if kind == "unbound":
        return unbound_leaf(path, entry["class"])
    if kind != "tensor":
        return _plain_leaf(path, kind, entry["value"])
    if "layout" in entry:
        return _composite(entry, tree, header, data, start)
    borrowed, content = _tensor(f"{tree}/{path}", entry, header, data, start)
    run = row_run(borrowed.shape)
    digests = borrowed.row_digests() if run else borrowed.commit()[1]
    return Leaf(path, kind, digests, borrowed.dtype, borrowed.shape, run, kept=content)


def _tensor(
    place: str, entry: dict[str, Any], header: dict, data: bytes, start: int
) -> tuple[_core.View, bytes]:
    """The tensor of that dtype and shape that stands at a place of the file, and its bytes."""
    begin, end = header.pop(place)["data_offsets"]
    _require(0 <= begin <= end <= len(data) - start, f"{place} lies outside the file")
    content = data[start + begin : start + end]
    return _core.View.from_buffer(content, entry["dtype"], tuple(entry["shape"])), content


def _composite(entry: dict[str, Any], tree: str, header: dict, data: bytes, start: int) -> Leaf:
    path, layout, listed = entry["path"], entry["layout"], entry["components"]
    parts = []
    for name, part in zip(component_names(layout, len(listed)), listed, strict=True):
        borrowed, content = _tensor(f"{tree}/{path}#{name}", part, header, data, start)
        digest = borrowed.commit()[1]
        parts.append(Leaf(name, "tensor", digest, borrowed.dtype, borrowed.shape, kept=content))
    return composite_leaf(path, layout, entry["dtype"], tuple(entry["shape"]), parts, keep=True)


def _plain_leaf(path: str, kind: str, value: Any) -> Leaf:
    if kind == "empty":
        digest = _core.value_digest(b"e" + value.encode())
        return Leaf(path, kind, digest, kept=value)
    if kind == "float":
        value = struct.unpack(">d", bytes.fromhex(value))[0]
    elif kind == "int":
        value = int(value, 16)
    elif kind == "bytes":
        value = bytes.fromhex(value)
    found = encode_value(value)
    _require(found is not None and found[0] == kind, f"{path} is not of kind {kind}")
    return Leaf(path, kind, _core.value_digest(found[1]), kept=value)


def _header(data: bytes) -> tuple[dict[str, Any], int]:
    (length,) = struct.unpack_from("<Q", data)
    _require(length <= min(MAX_HEADER, len(data) - 8), "the header is longer than the file")
    header = json.loads(data[8 : 8 + length])
    _require(isinstance(header, dict), "the header is not a JSON object")
    end = 0
    for name, entry in header.items():
        if name != "__metadata__":
            _require(entry["data_offsets"][0] == end, f"{name} does not follow its predecessor")
            end = entry["data_offsets"][1]
    _require(8 + length + end == len(data), "bytes lie outside every tensor")
    return header, 8 + length


def _steps(path: str) -> list[tuple[str, Any]]:
    """A path cut into steps: ("name", text), ("index", number), ("key", text)."""
    steps: list[tuple[str, Any]] = []
    position = 0
    while position < len(path):
        if path[position] == "[":
            if path[position + 1] == '"':
                text, length = json.JSONDecoder().raw_decode(path[position + 1 :])
                steps.append(("key", text))
                position += length + 2
            else:
                other = path[position + 1] == "{"
                end = path.index("}]" if other else "]", position)
                text = path[position + 1 + other : end]
                steps.append(("key", _key(text)) if other else ("index", int(text)))
                position = end + 1 + other
        else:
            begin = position + (path[position] == ".")
            end = begin
            while end < len(path) and path[end] not in ".[":
                end += 1
            steps.append(("name", path[begin:end]))
            position = end
    return steps


def _key(text: str) -> Any:
    """A mapping's key from its ``repr``; the text itself where it is no literal."""
    try:
        return ast.literal_eval(text)
    except (ValueError, SyntaxError):
        return text


def _shape(value: Any) -> Any:
    """Turn the nest of steps into lists and mappings."""
    if not isinstance(value, _Nest):
        return value
    items = {key: _shape(item) for key, item in value.items()}
    if all(kind == "index" for kind, _ in items):
        return [items[key] for key in sorted(items)]
    return Kept({name: item for (_, name), item in items.items()})


def value_of(leaf: Leaf) -> Any:
    """The value of a kept leaf; raises MalformedRecord for one that no record keeps."""
    if leaf.kind == "tensor":
        return tensor_of(leaf)
    if leaf.kind == "empty":
        return _EMPTY.get(leaf.kept, list)()
    if leaf.kind == "unbound":
        raise MalformedRecord(
            f"{leaf.path} is a {leaf.cls}, which no record keeps",
            next_step="give the inputs yourself",
        )
    return leaf.kept


_EMPTY = {"list": list, "tuple": tuple, "dict": Kept}


def tensor_of(leaf: Leaf) -> Any:
    """A kept tensor leaf as `tensor_from` or `composite_tensor_of` makes it."""
    if leaf.layout is not None:
        return composite_tensor_of(leaf, {part.path: tensor_of(part) for part in leaf.kept})
    return tensor_from(leaf.kept, leaf.dtype, leaf.shape)


def tensor_from(content: bytes, dtype: str, shape: Sequence[int]) -> Any:
    """Data bytes as a torch tensor, or as a NumPy array where torch is not installed; raises
    `UnsupportedTensor` for a dtype that the library lacks."""
    try:
        import torch as library
    except ImportError:
        import numpy as library
    if not hasattr(library, dtype) and not (library.__name__ == "numpy" and dtype == "bool"):
        raise UnsupportedTensor(
            f"{library.__name__} has no dtype {dtype}", next_step="install a torch that has it"
        )
    if math.prod(max(size, 1) for size in shape) >= 2**60:
        raise UnsupportedTensor(
            f"{library.__name__} makes no tensor of such sizes",
            actual=list(shape),
            next_step="take the bytes: verify_bytes()",
        )
    owned = bytearray(content)
    if library.__name__ == "numpy":
        return library.frombuffer(owned, dtype=dtype).reshape(shape)
    kind = getattr(library, dtype)
    if not math.prod(shape):
        return library.empty(shape, dtype=kind)
    return library.frombuffer(owned, dtype=library.uint8).view(kind).reshape(shape)


def _require(condition: bool, cause: str) -> None:
    if not condition:
        raise _malformed(cause)


def _malformed(cause: str) -> MalformedRecord:
    return MalformedRecord(cause, next_step="ask for the record again")
