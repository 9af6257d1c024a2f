"""The leaves of a call: nested arguments and results cut into values with paths and digests.

A *leaf* is a tensor or a plain value together with the path that leads to it:

    ids                  an argument, by its name (``**kwargs`` by theirs, ``*args`` as ``args[0]``)
    output               what the call returned
    .logits              an attribute: dataclass field, named tuple field, HF ``ModelOutput`` field
    [0]                  a position in a list or tuple
    ["input_ids"]        a key of a mapping, as a JSON string; other keys as ``[{repr}]``

Tensors of rank >= 2 carry one digest a row (axis 0, see ``_core.View.row_digests``), everything
else one digest. The digests here are unsalted: they stay with whoever made the record.
docs/formats.md has the grammar.
"""

from __future__ import annotations

import dataclasses
import enum
import json
import struct
import sys
from collections import OrderedDict, UserDict
from collections.abc import Mapping, Sequence
from pathlib import PurePath
from types import MappingProxyType
from typing import Any

from . import _core
from .commitment import view
from .errors import UnsupportedTensor

INPUTS, OUTPUTS, TRACE = 1, 2, 3
TREES = {"inputs": INPUTS, "outputs": OUTPUTS, "trace": TRACE}
MAX_ROWS = 4096
MAX_DEPTH = 64
MAX_VALUES = 100_000

_value_digest = _core.value_digest


class Leaf:
    """One value of a call: its path, kind, unsalted digests (32 bytes each) and, for tensors,
    dtype name, shape, and the length ``run`` of the row runs (0: committed whole)."""

    __slots__ = ("path", "kind", "digests", "dtype", "shape", "run", "cls", "kept")

    def __init__(self, path, kind, digests=b"", dtype=None, shape=None, run=0, cls=None, kept=None):
        self.path = path
        self.kind = kind
        self.digests = digests
        self.dtype = dtype
        self.shape = shape
        self.run = run
        self.cls = cls
        self.kept = kept

    @property
    def rows(self) -> int:
        return len(self.digests) // 32

    def __repr__(self) -> str:
        return f"Leaf({self.path!r}, {self.kind!r}, shape={self.shape}, dtype={self.dtype})"


def flatten_arguments(arguments: Mapping[str, Any], *, keep: bool = False) -> list[Leaf]:
    """The leaves of bound arguments, in their order; ``keep`` keeps a copy of every value."""
    walk = _Walk(keep)
    for name, value in arguments.items():
        walk.begin(value, name)
    return walk.leaves


def flatten_output(value: Any, *, keep: bool = False) -> list[Leaf]:
    """The leaves of a returned value, under the path ``output``."""
    walk = _Walk(keep)
    walk.begin(value, "output")
    return walk.leaves


def line_of(leaf: Leaf, secret: bytes, tree: int, number: int) -> dict:
    """The line of a leaf in inputs.jsonl or outputs.jsonl: everything but the digests, which it
    commits to under salts derived from ``secret`` (32 bytes), the tree and the line number."""
    line: dict[str, Any] = {"kind": leaf.kind, "path": leaf.path, "type": "leaf"}
    line["commitment"] = commitment_of(_core.salted(secret, tree, number, leaf.digests), leaf.run)
    if leaf.kind == "unbound":
        line["class"] = leaf.cls
    elif leaf.kind == "tensor":
        line["dtype"] = leaf.dtype
        line["shape"] = list(leaf.shape)
        if leaf.run:
            line["rows"] = leaf.rows
            line["run"] = leaf.run
    return line


def commitment_of(salted: bytes, run: int) -> str:
    """Hex commitment of a leaf from its salted digests: the RFC 9162 root over the rows where
    ``run`` > 0, the single salted digest where the leaf is committed whole."""
    if not run:
        return salted.hex()
    return _core.root([salted[i : i + 32] for i in range(0, len(salted), 32)]).hex()


def row_run(shape: tuple[int, ...]) -> int:
    """How many rows of axis 0 share a digest: 0 where a tensor of that shape commits whole."""
    if len(shape) < 2 or shape[0] == 0:
        return 0
    return -(-shape[0] // MAX_ROWS)


def encode_value(value: Any) -> tuple[str, bytes] | None:
    """Kind and typed encoding of a plain value, or None where the value is not plain."""
    if value is None:
        return "none", b"n"
    if isinstance(value, bool):
        return "bool", b"b\x01" if value else b"b\x00"
    if isinstance(value, int):
        return "int", b"i%d" % value if value.bit_length() < 4096 else b"x" + hex(value).encode()
    if isinstance(value, float):
        return "float", b"f" + struct.pack("<d", value)
    if isinstance(value, str):
        return "str", b"s" + value.encode("utf-8", "surrogatepass")
    if isinstance(value, (bytes, bytearray, memoryview)):
        return "bytes", b"y" + bytes(value)
    if isinstance(value, enum.Enum):
        return "str", b"s" + f"{type(value).__qualname__}.{value.name}".encode()
    if isinstance(value, PurePath):
        return "str", b"s" + str(value).encode("utf-8", "surrogateescape")
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(value, (torch.dtype, torch.device, torch.layout)):
        return "str", b"s" + str(value).encode()
    return None


class _TooMany(Exception):
    """More values than a call's leaves may come to."""


class _Walk:
    """Visits a nested value depth first and collects its leaves."""

    def __init__(self, keep: bool) -> None:
        self.leaves: list[Leaf] = []
        self.keep = keep
        torch = sys.modules.get("torch")
        numpy = sys.modules.get("numpy")
        self.tensor = (torch.Tensor,) if torch is not None else ()
        if numpy is not None:
            self.tensor += (numpy.ndarray, numpy.generic)
        self.tensor += (_core.View,)

    def begin(self, value: Any, path: str) -> None:
        """Visit an argument or result; one leaf, unbound, where more values nest in it than can be
        gone through (a list may hold itself many times over)."""
        first, self.left, self.open = len(self.leaves), MAX_VALUES, set()
        try:
            self.visit(value, path, 0)
        except _TooMany:
            del self.leaves[first:]
            self.unbound(value, path)

    def visit(self, value: Any, path: str, depth: int) -> None:
        self.left -= 1
        if self.left < 0:
            raise _TooMany
        first = len(self.leaves)
        try:
            self.visit_known(value, path, depth)
        except _TooMany:
            raise
        except Exception:  # whatever a foreign object may raise: it is the one that is not bound
            del self.leaves[first:]
            self.unbound(value, path)

    def visit_known(self, value: Any, path: str, depth: int) -> None:
        if isinstance(value, self.tensor) and not isinstance(value, (str, bytes)):
            self.visit_tensor(value, path)
            return
        plain = encode_value(value)
        if plain is not None:
            kind, encoded = plain
            kept = value if self.keep else None
            self.leaves.append(Leaf(path, kind, _value_digest(encoded), kept=kept))
        elif depth >= MAX_DEPTH or id(value) in self.open:
            self.unbound(value, path)
        else:
            self.open.add(id(value))
            self.visit_container(value, path, depth + 1)
            self.open.discard(id(value))

    def visit_tensor(self, value: Any, path: str) -> None:
        try:
            borrowed = view(value)
        except UnsupportedTensor:
            self.unbound(value, path)
            return
        shape = borrowed.shape
        run = row_run(shape)
        digests = borrowed.row_digests() if run else borrowed.commit()[1]
        kept = borrowed.tobytes() if self.keep else None
        self.leaves.append(Leaf(path, "tensor", digests, borrowed.dtype, shape, run, kept=kept))

    def visit_container(self, value: Any, path: str, depth: int) -> None:
        children = children_of(value, path)
        if children is None:
            self.unbound(value, path)
        elif not children:
            kind = "dict" if isinstance(value, Mapping) else type(value).__name__
            digest = _value_digest(b"e" + kind.encode())
            self.leaves.append(Leaf(path, "empty", digest, kept=kind))
        else:
            for child_path, child in children:
                self.visit(child, child_path, depth)

    def unbound(self, value: Any, path: str) -> None:
        self.leaves.append(unbound_leaf(path, class_name(value)))


def unbound_leaf(path: str, cls: str) -> Leaf:
    """The leaf of a value no record binds. Its commitment, to the class name alone, is there for
    the salt in it: without one, the paths of a tree of such leaves could be guessed at."""
    return Leaf(path, "unbound", _value_digest(b"u" + cls.encode()), cls=cls)


def children_of(value: Any, path: str) -> list[tuple[str, Any]] | None:
    """Paths and values directly below a container; None where the value is not one we know."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        # A ModelOutput is a dataclass too; its absent fields are left out as its mapping does.
        names = value.keys() if isinstance(value, Mapping) else _field_names(value)
        return [(f"{path}.{name}", getattr(value, name)) for name in names]
    items = _items_of(value)
    if items is not None:
        children = [(path + key_step(key), item) for key, item in items]
        # Keys that look alike would give two values one path.
        return children if len(dict(children)) == len(children) else None
    if isinstance(value, tuple) and hasattr(value, "_fields"):
        return [(f"{path}.{name}", getattr(value, name)) for name in value._fields]
    if isinstance(value, (list, tuple)):
        return [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    return None


def _items_of(value: Any) -> list[tuple[Any, Any]] | None:
    """Items of a dictionary (BatchEncoding and other ``UserDict`` among them), read as the
    built-in type reads them; None for any other mapping, whose reading may run any code."""
    if isinstance(value, UserDict):
        value = value.data
    if isinstance(value, OrderedDict):
        return list(OrderedDict.items(value))
    if isinstance(value, (dict, MappingProxyType)):
        return list(dict.items(value) if isinstance(value, dict) else value.items())
    return None


def key_step(key: Any) -> str:
    """The step of a path that a mapping's key makes."""
    if isinstance(key, str):
        return f"[{json.dumps(key)}]"
    return "[{" + repr(key) + "}]"


def class_name(value: Any) -> str:
    """Qualified class name of a value."""
    cls = type(value)
    return f"{cls.__module__}.{cls.__qualname__}"


def _field_names(value: Any) -> list[str]:
    return [field.name for field in dataclasses.fields(value)]


def flatten_given(tree: str, value: Any, lines: list[dict], *, keep: bool = False) -> list[Leaf]:
    """The leaves of values given for a recorded tree: outputs as the returned value or by leaf
    path, inputs as a dict by argument name or a tuple in the order of the recorded arguments;
    arguments that were None need not be given, since their lines say all there is to say."""
    if tree == "outputs":
        by_path = (
            isinstance(value, Mapping) and value and {line["path"] for line in lines} >= set(value)
        )
        return flatten_arguments(value, keep=keep) if by_path else flatten_output(value, keep=keep)
    if not isinstance(value, Mapping):
        value = _by_name(value if isinstance(value, (tuple, list)) else (value,), lines)
    leaves = flatten_arguments(value, keep=keep)
    given = {top_level(leaf.path) for leaf in leaves}
    absent = [x["path"] for x in lines if x["kind"] == "none" and x["path"] not in given]
    return leaves + [Leaf(path, "none", _NONE) for path in absent if path == top_level(path)]


_NONE = _value_digest(b"n")


def _by_name(values: Sequence[Any], lines: list[dict]) -> dict[str, Any]:
    """Positional values under the names of the recorded arguments, in the order of their lines.

    An argument recorded as n items that is not given as a sequence was ``*args``, and takes n
    values; so was one that has just as many items as there are values too many. Values beyond
    the recorded ones are named ``argument 3`` and so on, which no record has.
    """
    names = list(dict.fromkeys(top_level(line["path"]) for line in lines))
    left, named = list(values), {}
    for name in names:
        if not left:
            break
        count = _items(name, lines)
        surplus = len(left) - (len(names) - len(named))
        if count and (count == surplus + 1 > 1 or not isinstance(left[0], (list, tuple))):
            named[name], left = tuple(left[:count]), left[count:]
        else:
            named[name] = left.pop(0)
    return {**named, **{f"argument {len(named) + n}": value for n, value in enumerate(left)}}


def _items(name: str, lines: list[dict]) -> int:
    """How many items an argument was recorded with; 0 where it is no sequence."""
    rests = (line["path"][len(name) :] for line in lines if top_level(line["path"]) == name)
    items = {rest.partition("]")[0] for rest in rests}
    return len(items) if items == {f"[{index}" for index in range(len(items))} else 0


def top_level(path: str) -> str:
    """The argument name (or ``output``) a path begins with."""
    for position, character in enumerate(path):
        if character in ".[":
            return path[:position]
    return path
