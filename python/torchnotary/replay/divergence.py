"""Two traces side by side: the first line that differs by itself, and those that follow from it.

A tensor that is a view is recorded by what it is a view of, or, where that was not hashed, by its
own elements. Which it is can depend on what ran before. Where two traces differ in that, and nobody
can tell from the digests whether the values agree, they are taken to agree unless what they are
made of is known to differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from ..statement.lines import brief, from_number
from ..statement.trace import Item, TraceLine
from .alignment import matches
from .traces import Trace

Pair = tuple[Item | None, Item | None]
Source = tuple[str, Any, Any] | None
OPERATOR, ARGUMENT, OUTPUT = "operator", "argument", "output"
# Members that say nothing of what a value is.
_APART = ("commitment", "from", "view")


@dataclass(frozen=True)
class Culprit:
    """A line that differs by itself: in its ``kind`` (the ``operator``, an ``argument``, or the
    ``output`` alone), ``module`` and ``operator`` as in the first trace (the second where only that
    has the line), its line numbers in both, the ``argument`` that differs if one does, and ``what``
    differs in words, the first trace before the arrow."""

    kind: str
    what: str
    module: str | None
    operator: str
    line: int | None
    other_line: int | None
    argument: str | None = None


@dataclass(frozen=True)
class TraceDifference:
    """How two traces differ: the ``first`` culprit and how many ``more`` there are, the pairs of
    lines with an output that differs, whether nothing is known to differ (``same``), and how many
    values nobody can compare, since one side's digest is not here or no record binds them."""

    first: Culprit | None
    more: int
    pairs: list[tuple[int, int]]
    same: bool
    unknown: int


def compare_traces(
    a: Trace, b: Trace, *, other_inputs: bool = False, steered: bool = False
) -> TraceDifference:
    """The first line whose activations agree while the operator, a parameter, a constant, another
    argument or an output differs, in the order in which the lines ran. Where there is none, since
    the inputs differ, the first that differs in more than what it received.

    ``other_inputs`` says that the inputs of the calls are known to differ, ``steered`` that they do
    in shapes or plain values, which may lead to other operators and arguments."""
    return _Comparison(a, b, other_inputs, steered).result()


class _Comparison:
    """One pass over aligned lines. A value is *tainted* once it is known to differ, or was made by
    a line that the other trace lacks."""

    def __init__(self, a: Trace, b: Trace, other_inputs: bool, steered: bool) -> None:
        self._a, self._b = a, b
        self._tainted: tuple[set[Source], set[Source]] = (set(), set())
        self._culprits: list[Culprit] = []
        self._besides: list[Culprit] = []
        self._pairs: list[tuple[int, int]] = []
        self._same = True
        self._unknown = 0
        # Once a number that was read out of a tensor differs, operators and plain arguments may
        # follow from it.
        self._steered = steered
        # What a module was given stands in no line of its own.
        self._module_accused = other_inputs

    def result(self) -> TraceDifference:
        for i, j in aligned(self._a.lines, self._b.lines):
            ours = self._a.lines[i] if i is not None else None
            theirs = self._b.lines[j] if j is not None else None
            if ours is None or theirs is None or ours.name != theirs.name:
                self._exchanged(ours, theirs)
            else:
                self._compare(ours, theirs)
        found = self._culprits + self._besides
        first = found[0] if found else None
        more = max(0, len(found) - 1)
        return TraceDifference(first, more, self._pairs, self._same, self._unknown)

    def _exchanged(self, ours: TraceLine | None, theirs: TraceLine | None) -> None:
        """A line in the place of another operator's, or of none."""
        self._same = False
        received = ours and theirs and any(
            _is_received(*pair, ours) and self._differ(pair, ours, theirs)
            for pair in _by_place(ours, theirs)
        )  # fmt: skip
        follows = self._steered or self._follows(0, ours) or self._follows(1, theirs)
        if not received and not follows:
            what = f"{_name(ours)} → {_name(theirs)}"
            self._culprits.append(_culprit(OPERATOR, ours, theirs, what))
        for side, line in enumerate((ours, theirs)):
            for item in (line and line.outputs) or ():
                self._taint(side, item, line)

    def _compare(self, ours: TraceLine, theirs: TraceLine) -> None:
        differing = [p for p in _by_place(ours, theirs) if self._differ(p, ours, theirs)]
        own = [pair for pair in differing if self._is_own(pair, ours)]
        outputs = self._differing_outputs(ours, theirs, follows=bool(differing))
        self._same &= not differing and not outputs
        if outputs:
            self._pairs.append((ours.number, theirs.number))
        if own:
            what = "; ".join(_change(*pair) for pair in own[:3])
            what += "" if outputs else "; its output is the same"
            place = next(item.place for item in own[0] if item is not None)
            found = _culprit(ARGUMENT, ours, theirs, what, place)
            if len(own) == len(differing):
                self._culprits.append(found)
            else:
                self._besides.append(found)
        elif outputs and not differing and not (ours.type == "module" and self._module_accused):
            self._culprits.append(_culprit(OUTPUT, ours, theirs, _outcome(ours, theirs)))
            self._module_accused = True
        for a, b in differing:
            self._taint(0, a)
            self._taint(1, b)
        self._steered |= any(_is_number(item) for item in outputs)

    def _differing_outputs(
        self, ours: TraceLine, theirs: TraceLine, *, follows: bool
    ) -> list[Item]:
        """Outputs that differ or that only one side has, tainted on both sides; with ``follows``
        those too of which it is not known."""
        mine, others = ours.outputs or (), theirs.outputs or ()
        found = []
        for index in range(max(len(mine), len(others))):
            pair = tuple(side[index] if index < len(side) else None for side in (mine, others))
            if _alike(*pair) is None and follows or self._differ(pair, ours, theirs):
                found.append(next(item for item in pair if item is not None))
                self._taint(0, pair[0], ours)
                self._taint(1, pair[1], theirs)
        if (ours.outputs is None) != (theirs.outputs is None) and not found:
            found.append(Item("outputs", None))
        return found

    def _differ(self, pair: Pair, ours: TraceLine, theirs: TraceLine) -> bool:
        """Whether two values are known to differ, or made of what is."""
        a, b = pair
        alike = _alike(a, b)
        if alike is False:
            return True
        if alike is None:
            return self._is_tainted(0, a) or self._is_tainted(1, b)
        if a.slot is None:
            self._unknown += type(a.value) is dict and "unbound" in a.value
            return False
        digests = self._a.digest(a, ours.number), self._b.digest(b, theirs.number)
        self._unknown += None in digests
        return None not in digests and digests[0] != digests[1]

    def _taint(self, side: int, item: Item | None, made_by: TraceLine | None = None) -> None:
        source = _source(item)
        if source is None and item is not None and made_by is not None:
            source = ("line", made_by.number, item.output)
        if source is not None:
            self._tainted[side].add(source)

    def _is_own(self, pair: Pair, line: TraceLine) -> bool:
        """Whether a difference is the line's own: not in what it received or what may follow from
        that, and not in a parameter that was seen to differ before."""
        if _is_received(*pair, line) or self._steered and not _is_held(*pair):
            return False
        return not any(self._is_tainted(side, item) for side, item in enumerate(pair))

    def _is_tainted(self, side: int, item: Item | None) -> bool:
        return _source(item) in self._tainted[side]

    def _follows(self, side: int, line: TraceLine | None) -> bool:
        """Whether a line received a value that is tainted."""
        return line is not None and any(self._is_tainted(side, item) for item in line.arguments)


def aligned(
    a: Sequence[TraceLine], b: Sequence[TraceLine]
) -> Iterator[tuple[int | None, int | None]]:
    """Indices of lines that belong together, in order: the same operator in the same module, else
    two lines of one module, else what stands in one place; None for no counterpart."""
    keys = [[(line.type, line.module, line.name) for line in side] for side in (a, b)]
    modules = [[line.module for line in side] for side in (a, b)]
    i = j = 0
    for pair in [*matches(*keys), (len(a), len(b))]:
        inner = matches(modules[0][i : pair[0]], modules[1][j : pair[1]])
        for x, y in [*((i + x, j + y) for x, y in inner), pair]:
            both = min(x - i, y - j)
            yield from ((i + k, j + k) for k in range(both))
            yield from ((k, None) for k in range(i + both, x))
            yield from ((None, k) for k in range(j + both, y))
            if x < len(a) and y < len(b):
                yield x, y
            i, j = x + 1, y + 1


def _by_place(ours: TraceLine, theirs: TraceLine) -> list[Pair]:
    a = {item.place: item for item in ours.arguments}
    b = {item.place: item for item in theirs.arguments}
    return [(a.get(place), b.get(place)) for place in a | b]


def _alike(a: Item | None, b: Item | None) -> bool | None:
    """Whether two values are of one form, so that their digests tell; None where those are of
    tensors of which they are different views."""
    if a is None or b is None:
        return False
    if type(a.value) is not dict or type(b.value) is not dict:
        return repr(a.value) == repr(b.value)  # which tells True from 1
    forms = [
        {name: item.value[name] for name in item.value if name not in _APART} for item in (a, b)
    ]
    if forms[0] != forms[1]:
        return False
    return True if a.value.get("view") == b.value.get("view") else None


def _is_received(a: Item | None, b: Item | None, line: TraceLine) -> bool:
    """Whether both sides of an argument follow from the inputs or from what ran before."""
    if a is None or b is None:
        return False
    return line.type == "call" or (a.is_activation and b.is_activation)


def _is_held(a: Item | None, b: Item | None) -> bool:
    """Whether an argument is a tensor the model holds, which follows from nothing."""
    return all(item is None or item.is_tensor and not item.is_activation for item in (a, b))


def _is_number(item: Item) -> bool:
    return type(item.value) is dict and item.value.keys() == {"commitment", "kind"}


def _source(item: Item | None) -> Source:
    """What a value is known by: the input, parameter or output it is, or is a view of; None where
    that is not known."""
    origin = item.origin if item is not None else {}
    if "line" in origin:
        return "line", origin["line"], origin["output"]
    return next(((kind, name, None) for kind, name in origin.items()), None)


def _culprit(
    kind: str,
    ours: TraceLine | None,
    theirs: TraceLine | None,
    what: str,
    argument: str | None = None,
) -> Culprit:
    line = ours or theirs
    numbers = (side and side.number for side in (ours, theirs))
    return Culprit(kind, what, line.module, line.name, *numbers, argument)


def _name(line: TraceLine | None) -> str:
    return "absent" if line is None else brief(line.name)


def _outcome(ours: TraceLine, theirs: TraceLine) -> str:
    if (ours.outputs is None) != (theirs.outputs is None):
        ends = ["raised" if line.outputs is None else "returned" for line in (ours, theirs)]
        return " → ".join(ends)
    return "another output" + (" from the same arguments" if ours.type != "module" else "")


def _change(a: Item | None, b: Item | None) -> str:
    """An argument that differs, in words."""
    place = brief((a or b).place)
    before, after = (_shown(item) for item in (a, b))
    if before != after or not a.is_tensor:
        return f"{place} {before} → {after}"
    kinds = [f"{item.value['dtype']} {item.value.get('shape', '')}" for item in (a, b)]
    return f"{place} differs ({before}{'' if kinds[0] == kinds[1] else ': ' + ' → '.join(kinds)})"


def _shown(item: Item | None) -> str:
    if item is None:
        return "absent"
    if not item.is_tensor:
        return brief(_plain(item.value), 60)
    if "kind" in item.value:
        return "a tensor"
    for kind, name in item.origin.items():
        if kind in ("parameter", "buffer", "input"):
            return f"{kind} {brief(name)}"
    return "an earlier output" if item.is_activation else "a constant"


def _plain(value: Any) -> str:
    if type(value) is list:
        return f"[{', '.join(map(_plain, value))}]"
    if type(value) is dict and "complex" in value:
        return str(complex(*map(from_number, value["complex"])))
    if type(value) is dict:
        return str(from_number(value))
    return str(value)
