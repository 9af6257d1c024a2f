"""``diff``: what differs between two records, in words a person acts on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from ..manifest import STRUCTURE, WEIGHTS, Manifest
from ..statement.lines import Tree, canonical, parse, tree_of
from ..statement.record import Record
from ..statement.values import (
    Difference,
    compare_recorded,
    differences_in_words,
    has_all_digests,
    unbound_in_words,
)
from ..verifier.content import recorded_lines as recorded_leaves
from ..verifier.model import claimed_tree
from ..verifier.model_comparison import recorded_lines
from ..verifier.verdict import short_root
from . import settings
from .batches import Leaf, SharedRows, differences_in, shared_rows
from .culprit import Divergence, in_traces
from .difference import Comparison, Line
from .tolerance import distances
from .traces import level_of, trace_of


def diff(a: str | os.PathLike[str] | Record, b: str | os.PathLike[str] | Record) -> Comparison:
    """What differs between two records: model, inputs, outputs, traces, code and settings.

    Inputs, outputs and traces are compared by the unsalted digests that this machine's private
    stores hold or that travel with the records; where either side has none, that line is *not
    comparable*. Two traces of one level give the first operator, or module, that differs by itself.
    Raises OSError for a file that cannot be opened and MalformedRecord, or
    VerificationFailed, for a record that is not intact.
    """
    from .reproduction import require_intact

    first, second = (x if isinstance(x, Record) else Record.load(x) for x in (a, b))
    for record in (first, second):
        require_intact(record)
    found = _Sorted()
    _compare_weights(first, second, found)
    _compare_structure(first, second, found)
    inputs, outputs = _Values(first, second, "inputs"), _Values(first, second, "outputs")
    rows = inputs.settle_inputs(found)
    differences = outputs.settle(found, rows)
    divergence = _compare_traces(first, second, found, inputs)
    _compare_code(first, second, found)
    changed = _batch(first, second)
    changed += settings.changes(first.predicate["execution"], second.predicate["execution"])
    found.differ += [Line(change.name, str(change)) for change in changed]
    _compare_calls(first, second, found)
    _compare_end(first, second, found)
    return Comparison(
        found.same,
        found.differ,
        found.missing,
        changed,
        differences,
        _distance(first, second, rows) if differences else None,
        divergence,
    )


class _Sorted:
    """Lines as they are sorted into the same, the different and the incomparable."""

    def __init__(self) -> None:
        self.same: list[Line] = []
        self.differ: list[Line] = []
        self.missing: list[Line] = []

    def settle(self, name: str, equal: bool, difference: str = "", shown: str = "") -> None:
        if equal:
            self.same.append(Line(name, shown))
        else:
            self.differ.append(Line(name, difference))


def _compare_weights(a: Record, b: Record, found: _Sorted) -> None:
    ours, theirs = claimed_tree(a, "weights"), claimed_tree(b, "weights")
    if ours is None and theirs is None:
        return
    if ours is None or theirs is None:
        found.differ.append(Line("weights", "only one record has a model"))
        return
    changes = None
    if ours != theirs:
        changes = _changes(a, b, WEIGHTS)
        changes = changes or f"root {short_root(ours.root)} → {short_root(theirs.root)}"
    found.settle("weights", ours == theirs, changes or "", short_root(ours.root))


def _compare_structure(a: Record, b: Record, found: _Sorted) -> None:
    """Structure apart from the weights it names: its first line is put aside where they differ."""
    ours, theirs = claimed_tree(a, "structure"), claimed_tree(b, "structure")
    if ours is None and theirs is None:
        return
    if ours is None or theirs is None:
        found.differ.append(Line("structure", "only one record has one"))
        return
    if ours == theirs:
        found.settle("structure", True)
        return
    if claimed_tree(a, "weights") != claimed_tree(b, "weights"):
        lines = recorded_lines(a, STRUCTURE) or recorded_lines(b, STRUCTURE)
        if lines is None:
            found.missing.append(Line("structure", "it is bound to the weights, which differ"))
            return
        known, other = (a, b) if recorded_lines(a, STRUCTURE) is not None else (b, a)
        if _over_other_weights(lines, claimed_tree(other, "weights")) == claimed_tree(
            other, "structure"
        ):
            found.settle("structure", True)
            return
    changes = _changes(a, b, STRUCTURE)
    found.settle(
        "structure", False, changes or f"root {short_root(ours.root)} → {short_root(theirs.root)}"
    )


def _over_other_weights(lines: list[bytes], weights: Tree | None) -> Tree:
    kept = [line for line in lines if parse(line)["type"] != "weights"]
    if weights is not None:
        kept = [canonical({**weights.to_json(), "type": "weights"}), *kept]
    return tree_of(kept)


def _changes(a: Record, b: Record, name: str) -> str | None:
    """Differences between two manifests' lines, where both are at hand."""
    ours, theirs = recorded_lines(a, name), recorded_lines(b, name)
    if ours is None or theirs is None:
        return None
    old, new = (Manifest(x, []) if name == WEIGHTS else Manifest([], x) for x in (ours, theirs))
    changes = old.diff(new).lines
    return "; ".join(changes[:3]) + (f"; and {len(changes) - 3} more" if len(changes) > 3 else "")


class _Values:
    """The leaves of a tree of two records, each with its unsalted digests."""

    def __init__(self, a: Record, b: Record, tree: str) -> None:
        self._tree = tree
        self._sides: list[list[Leaf]] = []
        self._missing: str | None = None
        self.differences: list[Difference] = []
        self._absent = a.predicate[tree] is None and b.predicate[tree] is None
        for which, record in (("first", a), ("second", b)):
            empty = record.predicate[tree] is None
            lines = [] if empty else recorded_leaves(record, tree)
            digests = [] if empty else record.digests(tree)
            if lines is None or digests is None or not has_all_digests(lines, digests):
                self._missing = f"the {which} record's digests are not here"
                return
            self._sides.append(list(zip(lines, digests, strict=True)))
        self.differences = compare_recorded(*self._sides)

    def settle(self, found: _Sorted, rows: SharedRows | None = None) -> list[Difference]:
        """Sorts the tree's line, compared in the rows that two batches share where there are some;
        returns the differences."""
        if self._absent or self._missing:
            if self._missing:
                found.missing.append(Line(self._tree, self._missing))
            else:
                found.settle(self._tree, True, shown="(none)")
            return []
        differences = self.differences
        shared = differences_in(rows, *self._sides) if rows is not None else None
        if shared is not None:
            differences = shared
        unbound = unbound_in_words([line for side in self._sides for line, _ in side])
        if not differences and unbound:
            what = f"{unbound} is of a kind that no record binds"
            found.missing.append(Line(self._tree, what))
            return []
        shown = "(in the rows both have)" if shared is not None else ""
        found.settle(self._tree, not differences, differences_in_words(differences), shown)
        return differences

    def settle_inputs(self, found: _Sorted) -> SharedRows | None:
        """Sorts the line of the inputs; returns the rows that two batches share."""
        rows = None if self._missing else shared_rows(*self._sides)
        if rows is None:
            self.settle(found)
        else:
            found.differ.append(Line(self._tree, str(rows)))
        return rows

    def steer(self) -> bool:
        """Whether more differs than elements of tensors, so that a call may take other ways."""
        forms = [
            {line["path"]: (line["kind"], line.get("dtype"), line.get("shape")) for line, _ in side}
            for side in self._sides
        ]
        differing = {difference.path for difference in self.differences}
        return any(
            forms[0].get(path) != forms[1].get(path) or forms[0][path][0] != "tensor"
            for path in differing
        )


def _compare_traces(a: Record, b: Record, found: _Sorted, inputs: _Values) -> Divergence | None:
    levels = level_of(a), level_of(b)
    if levels == (None, None):
        return None
    if levels[0] != levels[1]:
        ours, theirs = (level or "nothing" for level in levels)
        found.missing.append(Line("trace", f"the first is of {ours}, the second of {theirs}"))
        return None
    traces = trace_of(a), trace_of(b)
    if None in traces:
        which = "first" if traces[0] is None else "second"
        found.missing.append(Line("trace", f"the {which} record's digests are not here"))
        return None
    divergence, difference = in_traces(
        *traces, other_inputs=bool(inputs.differences), steered=inputs.steer()
    )
    if difference.same and difference.unknown:
        what = f"{difference.unknown} of its values have no digests that could be compared"
        found.missing.append(Line("trace", what))
    else:
        what = str(divergence) if divergence else "what differs follows from the inputs"
        found.settle("trace", difference.same, what)
    return divergence


def _batch(a: Record, b: Record) -> list[settings.Change]:
    """The batch sizes, where the inputs are alike but for the length of the tensors' first axis."""
    sides = [recorded_leaves(x, "inputs") if x.predicate["inputs"] else None for x in (a, b)]
    if None in sides or [x["path"] for x in sides[0]] != [x["path"] for x in sides[1]]:
        return []
    shapes = [[line.get("shape") for line in side] for side in sides]
    pairs = [(old, new) for old, new in zip(*shapes, strict=True) if old != new]
    if not all(old and new and old[1:] == new[1:] for old, new in pairs):
        return []
    sizes = {(old[0], new[0]) for old, new in pairs}
    return [settings.Change("batch", *sizes.pop())] if len(sizes) == 1 else []


def _compare_code(a: Record, b: Record, found: _Sorted) -> None:
    ours, theirs = a.predicate["code"], b.predicate["code"]
    parts = []
    if ours.get("callable") != theirs.get("callable"):
        parts.append(f"{ours.get('callable')} → {theirs.get('callable')}")
    if ours.get("source") != theirs.get("source"):
        parts.append("its source changed")
    parts += _packages(ours.get("packages"), theirs.get("packages"))
    if ours.get("git") != theirs.get("git"):
        parts.append(f"git {_commit(ours.get('git'))} → {_commit(theirs.get('git'))}")
    found.settle("code", not parts, "; ".join(parts))


def _packages(ours: Any, theirs: Any) -> list[str]:
    ours = ours if isinstance(ours, Mapping) else {}
    theirs = theirs if isinstance(theirs, Mapping) else {}
    return [
        f"{name} {ours.get(name, 'absent')} → {theirs.get(name, 'absent')}"
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    ]


def _commit(git: Any) -> str:
    if not isinstance(git, Mapping):
        return "none"
    return str(git.get("commit"))[:8] + (" with changes" if git.get("dirty") else "")


def _compare_calls(a: Record, b: Record, found: _Sorted) -> None:
    """How many calls two groups are of, and what is said of single ones; named only where they
    differ."""
    if a.calls != b.calls:
        found.differ.append(Line("calls", f"{_count(a)} → {_count(b)}"))
        return
    ours, theirs = (
        {entry["call"]: entry for entry in x.predicate["execution"].get("calls") or []}
        for x in (a, b)
    )
    for number in sorted(ours.keys() | theirs.keys()):
        changed = settings.changes(ours.get(number, {}), theirs.get(number, {}))
        words = ", ".join(str(change) for change in changed if change.name != "call")
        if words:
            found.differ.append(Line(f"call {number}", words))


def _count(record: Record) -> str:
    return "a single one" if record.calls is None else f"a group of {record.calls}"


def _compare_end(a: Record, b: Record, found: _Sorted) -> None:
    """How the calls ended, and which random state they drew from; named only where they differ."""
    ours, theirs = a.predicate["execution"], b.predicate["execution"]
    if ours.get("outcome") != theirs.get("outcome"):
        found.differ.append(Line("end", f"{_end(ours)} → {_end(theirs)}"))
    if ours.get("rng") != theirs.get("rng"):
        found.differ.append(Line("random state", "the calls drew other random numbers"))


def _end(execution: Mapping[str, Any]) -> str:
    outcome = execution.get("outcome")
    outcome = outcome if isinstance(outcome, Mapping) else {}
    return " ".join(str(x) for x in (outcome.get("status"), outcome.get("exception")) if x)


def _distance(a: Record, b: Record, rows: SharedRows | None) -> str | None:
    """The largest distance between two results, where both were kept."""
    ours, theirs = a.kept_leaves("outputs"), b.kept_leaves("outputs")
    if ours is None or theirs is None:
        return None
    if rows is not None:
        ours, theirs = rows.cut(ours, theirs)
    measured = distances(ours, theirs)
    return str(max(measured, key=lambda d: d.largest)) if measured else None
