"""trace.jsonl: the operators a call ran, as lines whose commitments are numbered slots.

docs/formats.md has the grammar. A reader trusts nothing: every member of every line is checked, and
a value that says where it was made points to something an earlier line put out.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .. import _core
from ..composite import COMPONENTS
from ..errors import LogCorrupt, MalformedRecord, RootMismatch
from .lines import brief, from_number
from .predicate import is_hex
from .values import DIGEST, KINDS

TRACE = "trace.jsonl"
DIGESTS = "trace.digests"
LEVELS = ("modules", "operators")
# What a line commits to that would otherwise be guessed.
NOTHING = _core.value_digest(b"")

_OPERATOR = {"args", "module", "operator", "outputs", "type"}
_MODULE = {"class", "module", "outputs", "type"}
_CALL = {"args", "by", "class", "module", "outputs", "type"}
_BY = ("torch.compile", "torch.jit")
_RETURNED = ("bool", "float", "int")


@dataclass(frozen=True)
class Item:
    """One value of a line: where it stands (``weight``, ``tensors[1]``, ``output[0]``), its JSON
    form, its slot (None where it commits to nothing), and of an output its number in the line."""

    place: str
    value: Any
    slot: int | None = None
    output: int | None = None

    @property
    def is_tensor(self) -> bool:
        return type(self.value) is dict and "dtype" in self.value

    @property
    def origin(self) -> Mapping[str, Any]:
        """Where a tensor was made: its ``from``, empty where that is not known."""
        return self.value.get("from", {}) if self.is_tensor else {}

    @property
    def is_activation(self) -> bool:
        """Whether it follows from the inputs or from what ran before."""
        return "input" in self.origin or "line" in self.origin


@dataclass(frozen=True)
class TraceLine:
    """One line: an operator, a module that returned (``module``) or a module traced at its outer
    call only (``call``). ``name`` is the operator, or the module's class; ``outputs`` is None where
    it raised; ``commitments`` (hex) are its slots in order, ``placeholder`` the one of them that
    commits to nothing and hides the line, where it has one."""

    number: int
    type: str
    name: str
    module: str | None
    arguments: tuple[Item, ...]
    outputs: tuple[Item, ...] | None
    commitments: tuple[str, ...]
    placeholder: int | None


def trace_lines(values: Iterable[Any], name: str = TRACE) -> list[TraceLine]:
    """The parsed lines of trace.jsonl if every one is as docs/formats.md lists them, else
    `MalformedRecord` naming the line (from 1, as editors count) and the cause."""
    lines: list[TraceLine] = []
    for value in values:
        try:
            lines.append(_Line(value, lines).read())
        except MalformedRecord as error:
            raise MalformedRecord(
                f"{name} line {len(lines) + 1}: {error.reason}",
                expected=error.expected,
                actual=error.actual,
                next_step="ask its maker for the record again; this one breaks docs/formats.md",
            ) from None
    return lines


def split_digests(data: bytes) -> Iterator[bytes]:
    """The unsalted digests of each line, 32 bytes a slot in one, from ``trace.digests``: for every
    line u32le count and as many digests. LogCorrupt where the file is cut short."""
    at = 0
    while at < len(data):
        begin = at + 4
        end = begin + DIGEST * int.from_bytes(data[at:begin], "little")
        if end > len(data) or begin > len(data):
            raise LogCorrupt(
                f"{DIGESTS} is cut short", expected=end, actual=len(data),
                next_step="torchnotary log check",
            )  # fmt: skip
        yield data[begin:end]
        at = end


def check_trace_openings(
    lines: Sequence[TraceLine], openings: Mapping[int, Sequence[tuple[bytes, bytes]]]
) -> None:
    """Checks that every opening (digest, salt) recomputes its slot's commitment.

    Raises `MalformedRecord` for openings of lines or slots that cannot be, and `RootMismatch` where
    a commitment differs.
    """
    for number, pairs in openings.items():
        if type(number) is not int or not 0 <= number < len(lines):
            raise _malformed("an opening names a line that does not exist", len(lines), number)
        line = lines[number]
        if len(pairs) != len(line.commitments):
            raise _malformed(
                f"{TRACE} line {number + 1} has the wrong number of openings",
                len(line.commitments),
                len(pairs),
            )
        for slot, (digest, salt) in enumerate(pairs):
            actual = _core.blake3(digest, key=salt).hex()
            if actual != line.commitments[slot]:
                raise RootMismatch(
                    f"{TRACE} line {number + 1}: the opening of slot {slot} does not match its "
                    "commitment",
                    expected=line.commitments[slot],
                    actual=actual,
                    next_step="ask its maker for the record again; these are not its digests",
                )
        if line.placeholder is not None and pairs[line.placeholder][0] != NOTHING:
            raise _malformed(f"{TRACE} line {number + 1} opens what stands for nothing")


class _Line:
    """Reads one line, front to back, so that slots are counted as they stand in its text."""

    def __init__(self, value: Any, before: Sequence[TraceLine]) -> None:
        self._value = value
        self._before = before
        self._commitments: list[str] = []

    def read(self) -> TraceLine:
        value = self._value
        kind = value.get("type")
        members = {"operator": _OPERATOR, "module": _MODULE, "call": _CALL}.get(kind)
        _require(members is not None, "not a line of a known type", brief(kind))
        _require(
            value.keys() - {"commitment"} == members,
            f"the {kind} line has other members than its format",
            brief(sorted(value)),
        )
        name = value["operator" if kind == "operator" else "class"]
        _require(type(name) is str and name != "", "its name is not text")
        _require(
            value["module"] is None or type(value["module"]) is str, "the module is not a path"
        )
        _require(kind != "call" or value["by"] in _BY, "traced at its outer call by nobody known")
        arguments = tuple(self._arguments(value)) if kind != "module" else ()
        if kind == "operator":  # its outputs are not known yet when a writer gets here
            placeholder = self._placeholder(value)
        outputs = None
        if value["outputs"] is not None:
            _require(type(value["outputs"]) is list, "the outputs are not a list")
            outputs = tuple(
                item
                for number, output in enumerate(value["outputs"])
                for item in self._returned(kind, number, output)
            )
        if kind != "operator":
            placeholder = self._placeholder(value)
        return TraceLine(
            len(self._before),
            kind,
            name,
            value["module"],
            arguments,
            outputs,
            tuple(self._commitments),
            placeholder,
        )

    def _placeholder(self, value: Mapping[str, Any]) -> int | None:
        """The slot of the line's own commitment, there exactly where none came before it."""
        _require(
            ("commitment" in value) == (not self._commitments),
            "the line itself is committed to exactly where it would be guessed",
        )
        return self._slot(value["commitment"]) if "commitment" in value else None

    def _slot(self, commitment: Any) -> int:
        _require(
            is_hex(commitment, DIGEST), "a commitment is not 64 hexadecimal digits",
            brief(commitment),
        )  # fmt: skip
        self._commitments.append(commitment)
        return len(self._commitments) - 1

    def _arguments(self, value: Mapping[str, Any]) -> Iterator[Item]:
        args = value["args"]
        if value["type"] == "call":
            _require(type(args) is list, "the arguments of a call are not a list")
            items = [self._leaf(leaf) for leaf in args]
            places = {item.place for item in items}
            _require(len(places) == len(items), "an argument's path repeats")
            yield from items
            return
        _require(type(args) is dict, "the arguments are not an object")
        for name, argument in args.items():
            yield from self._argument(name, argument)

    def _argument(self, place: str, value: Any) -> Iterator[Item]:
        """The items of an argument: a list that holds tensors is cut into its elements."""
        if type(value) is list and _holds_tensor(value):
            for index, element in enumerate(value):
                yield from self._argument(f"{place}[{index}]", element)
        elif type(value) is dict and "dtype" in value:
            yield self._tensor(place, value, {"argument"})
        else:
            _check_plain(value, place)
            yield Item(place, value)

    def _returned(self, kind: str, number: int, value: Any) -> Iterator[Item]:
        """The items of an output: a list is cut into its elements."""
        if kind != "operator":
            yield replace(self._leaf(value), output=number)
            return
        for item in self._output(f"output[{number}]", value):
            yield replace(item, output=number)

    def _output(self, place: str, value: Any) -> Iterator[Item]:
        if type(value) is list:
            for index, element in enumerate(value):
                yield from self._output(f"{place}[{index}]", element)
        elif value is None or _is_unbound(value):
            yield Item(place, value)
        elif type(value) is dict and "dtype" in value:
            argument = value.get("argument")
            _require(
                argument is None or type(argument) is str and argument in self._value["args"],
                f"{place} changes an argument that is not there",
            )
            yield self._tensor(place, value, set())
        else:
            _require(
                type(value) is dict
                and value.keys() == {"commitment", "kind"}
                and value["kind"] in _RETURNED,
                f"{place} is no value an operator returns",
                brief(value),
            )
            yield Item(place, value, self._slot(value["commitment"]))

    def _tensor(self, place: str, value: Mapping[str, Any], refused: set[str]) -> Item:
        bound = [name for name in ("commitment", "unbound", "uninitialized") if name in value]
        allowed = {"argument", "batched", "dtype", "from", "shape", "view", *bound} - refused
        needed = {"dtype"} if "unbound" in bound else {"dtype", "shape"}
        _require(
            len(bound) == 1 and needed <= value.keys() <= allowed,
            f"{place} has other members than a tensor",
            brief(sorted(value)),
        )
        _require(type(value["dtype"]) is str, f"the dtype of {place} is not text")
        _require(_is_sizes(value.get("shape", [])), f"the shape of {place} is not a list of sizes")
        if "from" in value:
            self._check_origin(place, value["from"])
        if "view" in value:
            _require({"from", "shape"} <= value.keys(), f"{place} is a view of nothing")
            _require(_is_view(value), f"{place} is no view of that shape", brief(value["view"]))
        if "batched" in value:
            _require(_is_batched(value["batched"]), f"{place} is batched in no known way")
        if "commitment" in value:
            return Item(place, value, self._slot(value["commitment"]))
        _require(
            value.get("uninitialized") is True or type(value.get("unbound")) is str,
            f"{place} does not say why it is not committed to",
        )
        return Item(place, value)

    def _check_origin(self, place: str, origin: Any) -> None:
        _require(type(origin) is dict, f"where {place} comes from is not an object")
        if origin.keys() == {"line", "output"}:
            line, output = origin["line"], origin["output"]
            _require(
                type(line) is int and 0 <= line < len(self._before),
                f"{place} comes from a line that is not before it",
                brief(line),
            )
            made = self._before[line].outputs
            # What an operator that raised had begun to write is known by its line.
            known = made is None or any(item.output == output and item.is_tensor for item in made)
            _require(
                type(output) is int and output >= 0 and known,
                f"{place} comes from an output that does not exist",
                f"line {line}, output {brief(output)}",
            )
            return
        _require(
            len(origin) == 1 and next(iter(origin)) in ("parameter", "buffer", "input"),
            f"{place} comes from nowhere that is known",
            brief(origin),
        )
        _require(type(next(iter(origin.values()))) is str, f"{place} comes from no name")

    def _leaf(self, value: Any) -> Item:
        """A leaf as in outputs.jsonl, committed whole."""
        _require(type(value) is dict, "a leaf is not an object")
        kind = value.get("kind")
        members = {"commitment", "kind", "path"}
        if kind == "tensor":
            members |= {"dtype", "shape"} | ({"layout"} & value.keys())
            _require(value.get("layout", "") in ("", *COMPONENTS), "a leaf of no known layout")
            _require(_is_sizes(value.get("shape")), "the shape of a leaf is not a list of sizes")
        elif kind == "unbound":
            members |= {"class"}
        _require(
            kind in KINDS and value.keys() == members, "not a leaf of a known kind", brief(value)
        )
        texts = (value["path"], value.get("dtype", ""), value.get("class", ""))
        _require(all(type(text) is str for text in texts), "a leaf's members are not text")
        return Item(value["path"], value, self._slot(value["commitment"]))


def _holds_tensor(values: list[Any]) -> bool:
    return any(
        _holds_tensor(value) if type(value) is list else type(value) is dict and "dtype" in value
        for value in values
    )


def _check_plain(value: Any, place: str) -> None:
    if type(value) is list:
        for element in value:
            _check_plain(element, place)
    elif type(value) is dict and value.keys() == {"complex"}:
        parts = value["complex"]
        _require(
            type(parts) is list and len(parts) == 2
            and all(type(from_number(part)) is float for part in parts),
            f"{place} is no complex number",
        )  # fmt: skip
    elif type(value) is dict and not _is_unbound(value):
        from_number(value)


def _is_unbound(value: Any) -> bool:
    """Whether it is the name of a kind of value that is not written down."""
    return type(value) is dict and value.keys() == {"unbound"} and type(value["unbound"]) is str


def _is_sizes(value: Any) -> bool:
    return type(value) is list and all(type(size) is int and size >= 0 for size in value)


def _is_view(value: Mapping[str, Any]) -> bool:
    view = value["view"]
    return (
        type(view) is dict
        and view.keys() == {"offset", "strides"}
        and type(view["offset"]) is int
        and view["offset"] >= 0
        and _is_sizes(view["strides"])
        and len(view["strides"]) == len(value["shape"])
    )


def _is_batched(value: Any) -> bool:
    return type(value) is list and all(
        type(entry) is dict
        and entry.keys() == {"dim", "level"}
        and all(type(number) is int for number in entry.values())
        for entry in value
    )


def _require(condition: bool, cause: str, actual: Any = None) -> None:
    if not condition:
        raise MalformedRecord(cause, actual=actual)


def _malformed(cause: str, expected: Any = None, actual: Any = None) -> MalformedRecord:
    return MalformedRecord(
        cause,
        expected=expected,
        actual=actual,
        next_step="ask its maker to save the record again",
    )
