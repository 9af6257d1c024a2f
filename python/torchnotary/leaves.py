"""The leaves of a call: nested arguments and results cut into values with paths and digests.

A *leaf* is a tensor or a plain value together with the path that leads to it:

    ids                  an argument, by its name (``**kwargs`` by theirs, ``*args`` as ``args[0]``)
    output               what the call returned
    .logits              an attribute: dataclass field, named tuple field, HF ``ModelOutput`` field
    [0]                  a position in a list or tuple
    ["input_ids"]        a key of a mapping, as a JSON string; other keys as ``[{repr}]``

Values come from anybody: they are read by their real type (``type(value)``) and through the methods
of the built-in types, so that no code of theirs runs where that can be had, and one that cannot be
read is a leaf of kind ``unbound``, never a record lost.

Tensors of rank >= 2 carry one digest a row (axis 0, see ``_core.View.row_digests``), everything
else one digest, composite tensors of any rank included. The digests here are unsalted: they stay
with whoever made the record. docs/formats.md has the grammar.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import gc
import inspect
import json
import struct
import sys
from collections import OrderedDict, UserDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from types import MappingProxyType
from typing import Any

from . import _core, _libtorch
from .commitment import view
from .composite import Composite, composite_digests
from .group_paths import by_call, path_in

INPUTS, OUTPUTS, TRACE = 1, 2, 3
TREES = {"inputs": INPUTS, "outputs": OUTPUTS, "trace": TRACE}
MAX_ROWS = 4096
# Up to here a tensor is hashed in less time than finding out about it in Python takes, and than
# letting go of the interpreter lock.
SMALL_BYTES = 65536
MAX_DEPTH = 64
MAX_VALUES = 100_000

_value_digest = _core.value_digest


class Leaf:
    """One value of a call: its path, kind, unsalted digests (32 bytes each) and, for tensors,
    dtype name, shape, the length ``run`` of the row runs (0: committed whole), and the ``layout``
    of composite ones (None: ordinary). ``kept`` is a plain value, the data bytes of a tensor, or
    the leaves of a composite one's components, whose paths are their names."""

    __slots__ = ("path", "kind", "digests", "dtype", "shape", "run", "cls", "kept", "layout")

    def __init__(
        self,
        path,
        kind,
        digests=b"",
        dtype=None,
        shape=None,
        run=0,
        cls=None,
        kept=None,
        layout=None,
    ):
        self.path = path
        self.kind = kind
        self.digests = digests
        self.dtype = dtype
        self.shape = shape
        self.run = run
        self.cls = cls
        self.kept = kept
        self.layout = layout

    def at(self, path: str) -> Leaf:
        """The same value under another path."""
        return Leaf(
            path,
            self.kind,
            self.digests,
            self.dtype,
            self.shape,
            self.run,
            self.cls,
            self.kept,
            self.layout,
        )

    @property
    def rows(self) -> int:
        return len(self.digests) // 32

    @property
    def nbytes(self) -> int:
        """Bytes of the tensor data or the bytes value that are kept."""
        if isinstance(self.kept, tuple):
            return sum(part.nbytes for part in self.kept)
        return len(self.kept) if isinstance(self.kept, bytes) else 0

    def __repr__(self) -> str:
        return f"Leaf({self.path!r}, {self.kind!r}, shape={self.shape}, dtype={self.dtype})"


def flatten_arguments(
    arguments: Mapping[str, Any],
    *,
    keep: bool = False,
    leave_out: Callable[[Any], bool] | None = None,
) -> list[Leaf]:
    """The leaves of bound arguments, in their order, but for those that ``leave_out`` says True of;
    ``keep`` keeps a copy of every value.

    A value that contains itself is ``unbound`` where it does; an argument of more than
    ``MAX_VALUES`` values, containers included, is one ``unbound`` leaf.
    """
    leaves: list[Leaf] = []
    reader = None
    small_digests = None if keep else _small_digests()
    for name, value in arguments.items():
        if small_digests is not None:
            leaf = _small_leaf(name, value, small_digests)
            if leaf is not None:
                leaves.append(leaf)
                continue
        if leave_out is not None and leave_out(value):
            continue
        if reader is None:
            reader = _Reader(keep, leaves)
        reader.read(name, value)
    return leaves


def flatten_output(value: Any, *, keep: bool = False) -> list[Leaf]:
    """The leaves of a returned value, under the path ``output``; as `flatten_arguments`."""
    return flatten_arguments({"output": value}, keep=keep)


def line_of(leaf: Leaf, secret: bytes, tree: int, number: int) -> dict:
    """The line of a leaf in inputs.jsonl or outputs.jsonl: everything but the digests, which it
    commits to under salts derived from ``secret`` (32 bytes), the tree and the line number."""
    line: dict[str, Any] = {"kind": leaf.kind, "path": leaf.path, "type": "leaf"}
    commit = _core.salted_root if leaf.run else _core.salted
    line["commitment"] = commit(secret, tree, number, leaf.digests).hex()
    if leaf.kind == "unbound":
        line["class"] = leaf.cls
    elif leaf.kind == "tensor":
        line["dtype"] = leaf.dtype
        line["shape"] = list(leaf.shape)
        if leaf.run:
            line["rows"] = leaf.rows
            line["run"] = leaf.run
        if leaf.layout:
            line["layout"] = leaf.layout
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


_PLAIN = (
    type(None),
    bool,
    int,
    float,
    str,
    bytes,
    bytearray,
    memoryview,
    enum.Enum,
    PurePath,
)


def encode_value(value: Any) -> tuple[str, bytes] | None:
    """Kind and typed encoding of a plain value, or None where the value is not plain."""
    cls = type(value)
    if value is None:
        return "none", b"n"
    if cls is bool:
        return "bool", b"b\x01" if value else b"b\x00"
    if issubclass(cls, int):
        short = int.bit_length(value) < 4096
        return "int", b"i%d" % value if short else b"x" + hex(value).encode()
    if issubclass(cls, float):
        return "float", b"f" + struct.pack("<d", value)
    if issubclass(cls, str):
        return "str", b"s" + str.encode(value, "utf-8", "surrogatepass")
    if issubclass(cls, (bytes, bytearray, memoryview)):
        return "bytes", b"y" + memoryview(value).tobytes()
    if issubclass(cls, enum.Enum):
        return "str", b"s" + f"{_qualname(cls)}.{value._name_}".encode()
    if issubclass(cls, PurePath):
        return "str", b"s" + PurePath.__str__(value).encode("utf-8", "surrogateescape")
    torch = sys.modules.get("torch")
    if torch is not None and issubclass(cls, (torch.dtype, torch.device, torch.layout)):
        return "str", b"s" + str(value).encode()
    return None


@functools.lru_cache(maxsize=8)
def _tensor_types(torch: Any, numpy: Any) -> tuple[type, ...]:
    types: tuple[type, ...] = (torch.Tensor,) if torch is not None else ()
    if numpy is not None:
        types += (numpy.ndarray, numpy.generic)
    return (*types, _core.View)


@functools.lru_cache(maxsize=8)
def _leaf_types(torch: Any, numpy: Any) -> tuple[type, ...]:
    """Types whose values are leaves: tensors of the libraries that are loaded, and plain values."""
    constants = (torch.dtype, torch.device, torch.layout) if torch is not None else ()
    return (*_tensor_types(torch, numpy), *_PLAIN, *constants)


class _Reader:
    """Turns values into leaves; a tensor that comes twice is hashed once."""

    def __init__(self, keep: bool, leaves: list[Leaf]) -> None:
        self.leaves = leaves
        self.keep = keep
        self.small_digests = None if keep else _small_digests()
        libraries = sys.modules.get("torch"), sys.modules.get("numpy")
        self.tensors = _tensor_types(*libraries)
        self.simple = _leaf_types(*libraries)
        self.hashed: dict[int, tuple[Leaf, Any]] = {}  # with the value: ids of dead ones return

    def read(self, name: str, value: Any) -> None:
        if issubclass(type(value), self.simple):
            self.leaves.append(self.leaf(name, value))
            return
        for path, part, bound in _parts(name, value, self.simple):
            self.leaves.append(self.leaf(path, part) if bound else _unbound(path, part))

    def leaf(self, path: str, value: Any) -> Leaf:
        """The leaf of a tensor, a plain value or an empty container; ``unbound`` where there is no
        rule for it or where reading it fails."""
        cls = type(value)
        try:
            if issubclass(cls, self.tensors) and not issubclass(cls, (str, bytes)):
                known = self.hashed.get(id(value))
                if known is not None:
                    return known[0].at(path)
                small = self.small_digests and _small_leaf(path, value, self.small_digests)
                leaf = small or _tensor_leaf(path, value, self.keep)
                self.hashed[id(value)] = leaf, value
                return leaf
            plain = encode_value(value)
            if plain is None:
                kind = _empty_kind(cls)
                return Leaf(path, "empty", _value_digest(b"e" + kind.encode()), kept=kind)
            kind, encoded = plain
            kept = (encoded[1:] if kind == "bytes" else value) if self.keep else None
            return Leaf(path, kind, _value_digest(encoded), kept=kept)
        except Exception:  # whatever a foreign object may raise: it is the one that is not bound
            return _unbound(path, value)


def parts_of(name: str, value: Any) -> list[tuple[str, Any, bool]]:
    """Path and value of each leaf of a value called ``name``, and whether a record can bind it."""
    return _parts(name, value, _leaf_types(sys.modules.get("torch"), sys.modules.get("numpy")))


def _parts(name: str, value: Any, simple: tuple[type, ...]) -> list[tuple[str, Any, bool]]:
    # Cut first, hashed then: a value too large, or nested without end, costs no hashing.
    walk = _Walk(simple)
    try:
        walk.visit(value, name, 0)
    except _TooManyValues:
        return [(name, value, False)]
    return walk.parts


class _TooManyValues(Exception):
    """More values nest in an argument or a result than are gone through."""


class _Walk:
    """Cuts a nested value, depth first, into the values that become leaves: path, value, and
    whether a record can bind it."""

    def __init__(self, simple: tuple[type, ...]) -> None:
        self.parts: list[tuple[str, Any, bool]] = []
        self._simple = simple
        self._above: set[int] = set()
        self._left = MAX_VALUES - 1

    def visit(self, value: Any, path: str, depth: int) -> None:
        if issubclass(type(value), self._simple):
            self.parts.append((path, value, True))
            return
        children = self._children(value, path) if depth < MAX_DEPTH else None
        if not children:
            self.parts.append((path, value, children is not None))
            return
        self._left -= len(children)
        if self._left < 0:
            raise _TooManyValues
        self._above.add(id(value))
        for child_path, child in children:
            self.visit(child, child_path, depth + 1)
        self._above.discard(id(value))

    def _children(self, value: Any, path: str) -> list[tuple[str, Any]] | None:
        if id(value) in self._above:
            return None
        for base in (list, tuple, dict):
            if issubclass(type(value), base) and base.__len__(value) > self._left:
                raise _TooManyValues
        try:
            return children_of(value, path)
        except Exception:  # a class that is not what it says it is
            return None


def _small_digests() -> Callable | None:
    """What hashes a small torch tensor in one step, where ``_torch`` can be had."""
    extension = _libtorch.available()
    return extension.small_digests if extension is not None else None


def _small_leaf(path: str, value: Any, small_digests: Callable) -> Leaf | None:
    """The leaf of a torch tensor that is small and ordinary; None for all other values."""
    try:
        found = small_digests(value, MAX_ROWS, SMALL_BYTES)
    except Exception:
        return None
    if found is None:
        return None
    dtype, shape, run, digests = found
    return Leaf(path, "tensor", digests, dtype, shape, run)


def _tensor_leaf(path: str, value: Any, keep: bool) -> Leaf:
    borrowed = view(value)
    if type(borrowed) is Composite:
        return _composite_leaf(path, borrowed, keep)
    shape = borrowed.shape
    run = row_run(shape)
    # One thread: torch's own workers still spin when an operator has just ended.
    digests = borrowed.row_digests() if run else borrowed.commit()[1]
    kept = borrowed.tobytes() if keep else None
    return Leaf(path, "tensor", digests, borrowed.dtype, shape, run, kept=kept)


def _composite_leaf(path: str, value: Composite, keep: bool) -> Leaf:
    parts = [
        Leaf(name, "tensor", part.commit()[1], part.dtype, part.shape, kept=keep and part.tobytes())
        for name, part in value.components.items()
    ]
    return composite_leaf(path, value.layout, value.dtype, value.shape, parts, keep=keep)


def composite_leaf(
    path: str, layout: str, dtype: str, shape: tuple[int, ...], parts: Sequence[Leaf], *, keep: bool
) -> Leaf:
    """The leaf of a composite tensor from those of its components, in order; always committed
    whole. ``keep`` keeps them in it."""
    digest = composite_digests(layout, dtype, shape, [part.digests for part in parts])[1]
    kept = tuple(parts) if keep else None
    return Leaf(path, "tensor", digest, dtype, shape, kept=kept, layout=layout)


def _empty_kind(cls: type) -> str:
    if issubclass(cls, (dict, MappingProxyType)) or UserDict in _mro(cls):
        return "dict"
    return _name(cls)


def _unbound(path: str, value: Any) -> Leaf:
    return unbound_leaf(path, class_name(value))


def unbound_leaf(path: str, cls: str) -> Leaf:
    """The leaf of a value no record binds. Its commitment, to the class name alone, is there for
    the salt in it: without one, the paths of a tree of such leaves could be guessed at."""
    return Leaf(path, "unbound", _value_digest(b"u" + cls.encode()), cls=cls)


def children_of(value: Any, path: str) -> list[tuple[str, Any]] | None:
    """Paths and values directly below a container; None where the value is not one we know, or
    contradicts what its class says of it. May raise where it does."""
    cls = type(value)
    if cls is list or cls is tuple:
        return [(f"{path}[{index}]", item) for index, item in enumerate(tuple(value))]
    if cls is dict:
        return _items_below(path, list(value.items()))
    if inspect.getattr_static(cls, "__dataclass_fields__", None) is not None:
        return _fields_below(path, value)
    items = _mapping_items(value)
    if items is not None:
        return _items_below(path, items)
    if issubclass(cls, list):
        return [(f"{path}[{index}]", item) for index, item in enumerate(list.copy(value))]
    if issubclass(cls, tuple):
        return _tuple_below(path, cls, list(tuple.__iter__(value)))
    return None


def _mapping_items(value: Any) -> list[tuple[Any, Any]] | None:
    """Items of a dict, of what a mapping proxy stands for, and of a UserDict's data, past methods
    that subclasses override. Other mappings may do anything when they are read: None."""
    cls = type(value)
    if cls is MappingProxyType:
        (value,) = gc.get_referents(value)  # its own methods would be those of what it wraps
    elif UserDict in _mro(cls):
        value = object.__getattribute__(value, "__dict__")["data"]
    cls = type(value)
    if issubclass(cls, OrderedDict):
        return list(OrderedDict.items(value))
    return list(dict.items(value)) if issubclass(cls, dict) else None


def _items_below(path: str, items: list[tuple[Any, Any]]) -> list[tuple[str, Any]] | None:
    children = [(path + key_step(key), item) for key, item in items]
    # Keys that look alike would give two values one path.
    return children if len(dict(children)) == len(children) else None


def _fields_below(path: str, value: Any) -> list[tuple[str, Any]] | None:
    """Fields of a dataclass. A ModelOutput is one and a dict too, whose absent fields are left out
    as it does; any other that is a container besides says two things at once."""
    cls = type(value)
    names = [field.name for field in dataclasses.fields(cls)]
    if issubclass(cls, (list, tuple, MappingProxyType)) or UserDict in _mro(cls):
        return None
    items = _mapping_items(value)
    if items is not None:
        present = [key for key, _ in items]
        absent = set(names).difference(present)
        if not set(names).issuperset(present) or any(_field(value, x) is not None for x in absent):
            return None
        names = present
    return [(f"{path}.{name}", _field(value, name)) for name in names]


def _field(value: Any, name: str) -> Any:
    return object.__getattribute__(value, name)


def _tuple_below(path: str, cls: type, items: list[Any]) -> list[tuple[str, Any]] | None:
    names = inspect.getattr_static(cls, "_fields", None)
    if names is None:
        return [(f"{path}[{index}]", item) for index, item in enumerate(items)]
    distinct = type(names) is tuple and len(set(names)) == len(items) == len(names)
    if not distinct or not all(type(name) is str and name.isidentifier() for name in names):
        return None
    return [(f"{path}.{name}", item) for name, item in zip(names, items, strict=True)]


def key_step(key: Any) -> str:
    """The step of a path that a mapping's key makes. Raises ValueError where its repr cannot stand
    in one."""
    if issubclass(type(key), str):
        return f"[{json.dumps(key)}]"
    text = repr(key)
    if "}]" in text:
        raise ValueError("the repr of a key ends its own step")
    text.encode()
    return "[{" + text + "}]"


# A class may have a metaclass that answers for these; its own memory does not lie.
_mro = type.__dict__["__mro__"].__get__
_name = type.__dict__["__name__"].__get__
_module = type.__dict__["__module__"].__get__
_qualname = type.__dict__["__qualname__"].__get__


def class_name(value: Any) -> str:
    """Qualified class name of a value."""
    cls = type(value)
    module = _module(cls)
    text = f"{module if type(module) is str else '?'}.{_qualname(cls)}"
    return text.encode("utf-8", "backslashreplace").decode()


def flatten_given(
    tree: str, value: Any, lines: list[dict], *, calls: int | None = None, keep: bool = False
) -> list[Leaf]:
    """The leaves of values given for a recorded tree: outputs as the returned value or by leaf
    path, inputs as a dict by argument name or a tuple in the order of the recorded arguments;
    arguments that were None need not be given, since their lines say all there is to say.

    For a group of so many ``calls``, a list of such values in the order of the calls, None for one
    that has no leaves, or a dict by leaf path.
    """
    if calls is not None and not isinstance(value, Mapping):
        return _flatten_group(tree, value, lines, calls, keep)
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


def _flatten_group(tree: str, value: Any, lines: list[dict], calls: int, keep: bool) -> list[Leaf]:
    given = list(value) if isinstance(value, (list, tuple)) else [value]
    recorded = by_call(lines, max(calls, len(given)), lambda line: line["path"])
    leaves = []
    for number, (one, own) in enumerate(zip(given, recorded, strict=False)):
        if one is None and not own:
            continue
        known = [{**line, "path": path} for path, line in own]
        for leaf in flatten_given(tree, one, known, keep=keep):
            leaf.path = path_in(number, leaf.path)
            leaves.append(leaf)
    return leaves


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


def argument_in_group(path: str) -> str:
    """The call of a group and the argument in it that a path begins with."""
    call, dot, rest = path.partition(".")
    return call + dot + top_level(rest)
