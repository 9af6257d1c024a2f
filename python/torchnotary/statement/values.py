"""Values against the lines that commit to them: which leaves agree, and which rows do not."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from .. import _core
from ..composite import COMPONENTS, STRIDED
from ..errors import MalformedRecord, RootMismatch
from ..leaves import Leaf, commitment_of, row_run
from .predicate import is_hex

DIGEST = 32
SHOWN_ROWS = 8
KINDS = ("none", "bool", "int", "float", "str", "bytes", "empty", "tensor", "unbound")

Line = dict[str, Any]


@dataclass(frozen=True)
class Difference:
    """One leaf that differs: its path, what differs in words, and the rows of axis 0 if known."""

    path: str
    what: str
    rows: tuple[int, ...] = ()

    def __str__(self) -> str:
        return f"{self.path}: {self.what}"


def leaf_lines(values: Sequence[Any], name: str) -> list[Line]:
    """The parsed lines of inputs.jsonl or outputs.jsonl if every one is a leaf as docs/formats.md
    lists them and no path repeats, else `MalformedRecord` naming the line."""
    seen: set[str] = set()
    for number, line in enumerate(values, start=1):
        cause = _malformed(line)
        if cause is None and line["path"] in seen:
            cause = f"the path {line['path']!r} repeats"
        if cause is not None:
            raise MalformedRecord(
                f"{name} line {number}: {cause}",
                next_step="ask its maker for the record again; this one breaks docs/formats.md",
            )
        seen.add(line["path"])
    return list(values)


def _malformed(line: Any) -> str | None:
    kind = line.get("kind")
    members = {"commitment", "kind", "path", "type"} | ({"class"} if kind == "unbound" else set())
    if kind == "tensor":
        members |= {"dtype", "shape"}
        if not _is_shape(line.get("shape")):
            return "the shape is not a list of sizes"
        if "layout" in line:
            members |= {"layout"}
            if line["layout"] not in tuple(COMPONENTS):
                return "no layout that composite tensors have"
        run = 0 if "layout" in line else row_run(tuple(line["shape"]))
        if run:
            members |= {"rows", "run"}
            rows = -(-line["shape"][0] // run)
            if (line.get("rows"), line.get("run")) != (rows, run):
                return f"{rows} rows in runs of {run} belong to that shape"
    if line["type"] != "leaf" or kind not in KINDS:
        return "not a leaf of a known kind"
    if set(line) != members:
        return f"a {kind} leaf has other members"
    if not isinstance(line["path"], str) or not isinstance(line.get("class", ""), str):
        return "path and class are text"
    if not isinstance(line.get("dtype", ""), str):
        return "the dtype is not text"
    if not is_hex(line["commitment"], DIGEST):
        return "the commitment is not 64 hexadecimal digits"
    return None


def _is_shape(value: Any) -> bool:
    return isinstance(value, list) and all(type(n) is int and n >= 0 for n in value)


def compare(
    lines: Sequence[Line], digests: Sequence[Sequence[bytes]], leaves: Iterable[Leaf]
) -> list[Difference]:
    """The leaves that differ between recorded lines and given values, matched by path.

    ``digests`` holds each line's unsalted digests, one a row run or one for the whole leaf. The
    caller has seen to it that they open the lines' commitments.
    """
    given: dict[str, Leaf] = {}
    differences = []
    for leaf in leaves:
        if leaf.path in given:
            differences.append(Difference(leaf.path, "given more than once"))
        given[leaf.path] = leaf
    for line, recorded in zip(lines, digests, strict=True):
        leaf = given.pop(line["path"], None)
        if leaf is None:
            differences.append(Difference(line["path"], "recorded, but not among the given values"))
            continue
        what, rows = _difference(line, recorded, leaf)
        if what:
            differences.append(Difference(line["path"], what, rows))
    differences += [Difference(path, "given, but not in the record") for path in given]
    return differences


def compare_recorded(
    ours: Sequence[tuple[Line, Sequence[bytes]]], theirs: Sequence[tuple[Line, Sequence[bytes]]]
) -> list[Difference]:
    """The leaves that differ between two records' lines, each with its unsalted digests."""
    leaves = [leaf_of(line, digests) for line, digests in theirs]
    return compare([line for line, _ in ours], [digests for _, digests in ours], leaves)


def leaf_of(line: Line, digests: Sequence[bytes]) -> Leaf:
    """The leaf a recorded line stands for, without its value."""
    return Leaf(
        line["path"],
        line["kind"],
        b"".join(digests),
        line.get("dtype"),
        tuple(line["shape"]) if "shape" in line else None,
        line.get("run", 0),
        line.get("class"),
        layout=line.get("layout"),
    )


def _difference(line: Line, recorded: Sequence[bytes], leaf: Leaf) -> tuple[str, tuple[int, ...]]:
    if line["kind"] != leaf.kind:
        return f"recorded as {line['kind']}, given as {leaf.kind}", ()
    if leaf.kind == "unbound":
        return "", ()  # nothing was committed to: the step reports it as not checked
    if leaf.kind == "tensor":
        for name, ours, theirs in (
            ("layout", line.get("layout", STRIDED), leaf.layout or STRIDED),
            ("dtype", line["dtype"], leaf.dtype),
            ("shape", tuple(line["shape"]), tuple(leaf.shape)),
        ):
            if ours != theirs:
                return f"{name} {ours} recorded, {theirs} given", ()
    given = [leaf.digests[i : i + DIGEST] for i in range(0, len(leaf.digests), DIGEST)]
    if len(given) != len(recorded):
        return f"{len(recorded)} digests recorded, {len(given)} given", ()
    wrong = [i for i, (a, b) in enumerate(zip(recorded, given, strict=True)) if a != b]
    if not wrong:
        return "", ()
    run = line.get("run", 0)
    if not run:
        return "another value" if leaf.kind != "tensor" else "other elements", ()
    length = line["shape"][0]
    rows = tuple(r for i in wrong for r in range(i * run, min((i + 1) * run, length)))
    return f"other elements in {rows_in_words(rows, length)}", rows


def rows_in_words(rows: Sequence[int], length: int | None = None) -> str:
    """``rows 3, 11``: at most `SHOWN_ROWS` of them, then how many there are."""
    if length is not None and len(rows) == length and length > 1:
        return f"all {length} rows"
    shown = ", ".join(str(row) for row in rows[:SHOWN_ROWS])
    more = f" … ({len(rows)} rows)" if len(rows) > SHOWN_ROWS else ""
    return f"{'row' if len(rows) == 1 else 'rows'} {shown}{more}"


def differences_in_words(differences: Sequence[Difference], shown: int = 3) -> str:
    """The first differences, joined, and how many more there are."""
    text = "; ".join(str(difference) for difference in differences[:shown])
    more = len(differences) - shown
    return f"{text}; and {more} more" if more > 0 else text


def has_all_digests(lines: Sequence[Line], digests: Sequence[Sequence[bytes]]) -> bool:
    """Whether every line that commits to something has its unsalted digests at hand."""
    return len(lines) == len(digests) and all(digests)


def unbound_in_words(lines: Sequence[Line]) -> str | None:
    """The leaves of a kind that no record binds, with their class; None where there are none."""
    named = [f"{line['path']} ({line['class']})" for line in lines if line["kind"] == "unbound"]
    if not named:
        return None
    return named[0] + (f" and {len(named) - 1} more" if len(named) > 1 else "")


def check_openings(
    lines: Sequence[Line], openings: dict[int, Sequence[tuple[bytes, bytes]]]
) -> int:
    """Checks that every opening (digest, salt) recomputes its line's commitment; returns how many
    lines are opened.

    Raises `MalformedRecord` for openings of lines or slots that cannot be, and `RootMismatch`
    where a commitment differs.
    """
    for number, pairs in openings.items():
        if type(number) is not int or not 0 <= number < len(lines):
            raise MalformedRecord(
                "an opening names a line that does not exist",
                expected=f"below {len(lines)}",
                actual=number,
                next_step="ask its maker to save the record again",
            )
        line = lines[number]
        slots = line.get("rows", 1)
        if len(pairs) != slots:
            raise MalformedRecord(
                f"{line['path']} has the wrong number of openings",
                expected=slots,
                actual=len(pairs),
                next_step="ask its maker to save the record again",
            )
        salted = b"".join(_core.blake3(digest, key=salt) for digest, salt in pairs)
        actual = commitment_of(salted, line.get("run", 0))
        if actual != line["commitment"]:
            raise RootMismatch(
                f"{line['path']}: the opening does not match its commitment",
                expected=line["commitment"],
                actual=actual,
                next_step="ask its maker for the values again; these are not the recorded ones",
            )
    return len(openings)
