"""The same rows in another batch: two calls whose inputs differ only in what stands beside them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..leaves import Leaf as Kept
from ..leaves import flatten_output
from ..statement.evidence import tensor_of
from ..statement.values import Difference, rows_in_words

# A line of inputs.jsonl or outputs.jsonl with its unsalted digests.
Leaf = tuple[Mapping[str, Any], Sequence[bytes]]


@dataclass(frozen=True)
class SharedRows:
    """Rows that two batches share: ``count`` of them, from row ``at`` of the first on, which has
    ``before`` rows in all, and from row ``other_at`` of the second on, which has ``after``."""

    count: int
    at: int
    other_at: int
    before: int
    after: int

    def __str__(self) -> str:
        shared = f"{rows_in_words(range(self.at, self.at + self.count))} of {self.before}"
        other = rows_in_words(range(self.other_at, self.other_at + self.count))
        return f"the same rows in another batch: {shared} are {other} of {self.after}"

    def cut(self, ours: Iterable[Kept], theirs: Iterable[Kept]) -> tuple[list[Kept], list[Kept]]:
        """Kept leaves of both sides, tensors of a whole batch cut to the shared rows."""
        cut = [_cut(leaf, self.before, self.at, self.count) for leaf in ours]
        return cut, [_cut(leaf, self.after, self.other_at, self.count) for leaf in theirs]


def shared_rows(ours: Sequence[Leaf], theirs: Sequence[Leaf]) -> SharedRows | None:
    """The rows two sets of leaves share where the smaller batch is part of the larger one and
    nothing else differs; None where that is not so, or cannot be told from the digests."""
    if [line["path"] for line, _ in ours] != [line["path"] for line, _ in theirs]:
        return None
    pairs = [
        (a, b) for a, b in zip(ours, theirs, strict=True) if _form(a) != _form(b) or a[1] != b[1]
    ]
    sizes = {(a[0]["shape"][0], b[0]["shape"][0]) for a, b in pairs if _may_share(a, b)}
    if len(sizes) != 1 or not all(_may_share(a, b) for a, b in pairs):
        return None
    before, after = next(iter(sizes))
    small, large = (0, 1) if before < after else (1, 0)
    count = min(before, after)
    for begin in range(max(before, after) - count + 1):
        if all(pair[large][1][begin : begin + count] == list(pair[small][1]) for pair in pairs):
            at = (0, begin) if small == 0 else (begin, 0)
            return SharedRows(count, *at, before, after)
    return None


def differences_in(
    rows: SharedRows, ours: Sequence[Leaf], theirs: Sequence[Leaf]
) -> list[Difference] | None:
    """The leaves that differ in shared rows, or as a whole where they are of no batch; None where
    they cannot be compared so."""
    if [line["path"] for line, _ in ours] != [line["path"] for line, _ in theirs]:
        return None
    found = []
    for a, b in zip(ours, theirs, strict=True):
        path = a[0]["path"]
        if _form(a) == _form(b):
            if a[1] != b[1]:
                found.append(Difference(path, "another value"))
        elif _may_share(a, b) and (a[0]["rows"], b[0]["rows"]) == (rows.before, rows.after):
            mine = a[1][rows.at : rows.at + rows.count]
            other = b[1][rows.other_at : rows.other_at + rows.count]
            unlike = [i for i, (x, y) in enumerate(zip(mine, other, strict=True)) if x != y]
            numbers = tuple(rows.at + i for i in unlike)
            if numbers:
                what = f"other elements in {rows_in_words(numbers)}"
                found.append(Difference(path, what, numbers))
        else:
            return None
    return found


def _cut(leaf: Kept, size: int, begin: int, count: int) -> Kept:
    if leaf.layout is not None or not leaf.run or leaf.shape[0] != size:
        return leaf
    (rows,) = flatten_output(tensor_of(leaf)[begin : begin + count], keep=True)
    return rows.at(leaf.path)


def _may_share(a: Leaf, b: Leaf) -> bool:
    """Whether two tensors, committed row by row, differ in the number of rows at most."""
    ours, theirs = a[0], b[0]
    return (
        ours.get("run") == theirs.get("run") == 1
        and ours["dtype"] == theirs["dtype"]
        and ours["shape"][0] != theirs["shape"][0]
        and ours["shape"][1:] == theirs["shape"][1:]
    )


def _form(leaf: Leaf) -> dict[str, Any]:
    return {name: value for name, value in leaf[0].items() if name != "commitment"}
