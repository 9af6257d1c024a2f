"""Making row openings: what the holder of a record's secrets, or of its openings, can show."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

from .. import _core, merkle
from ..commitment import is_tensor
from ..composite import STRIDED
from ..errors import NotaryError, UnsupportedIndex, UnsupportedTensor, VerificationFailed
from ..leaves import Leaf, encode_value, flatten_arguments, flatten_given
from .lines import brief, parse_file
from .row_opening import TREES, RowOpening
from .values import Line, leaf_lines, leaf_of


def open_row(
    record: Any, tree: str, row: int | None, path: str | None = None, values: Any = None
) -> RowOpening:
    """What `Record.open` returns."""
    encoded = _encoded_lines(record, tree)
    lines = leaf_lines(record.lines(f"{tree}.jsonl"), f"{tree}.jsonl")
    number = _number(lines, path, tree)
    line = lines[number]
    slot = _slot(line, row)
    opened = (record.opened(tree) or {}).get(number)
    if not opened:
        raise NotaryError(
            f"this machine cannot open {line['path']}: its digests and salts are not here",
            next_step="ask whoever made the record for the opening",
        )
    salted = [_core.blake3(digest, salt) for digest, salt in opened]
    made = RowOpening(
        record=record.id,
        tree=tree,
        number=number,
        line=line,
        line_proof=tuple(merkle.inclusion_proof(encoded, number)),
        row=slot,
        row_proof=() if slot is None else tuple(merkle.inclusion_proof(salted, slot)),
        salt=opened[slot or 0][1],
        data=_data(record, tree, lines, line, slot, values),
    )
    _require_recorded(made, opened[slot or 0][0])
    made.verify_bytes(record)
    return made


def _encoded_lines(record: Any, tree: str) -> Sequence[bytes]:
    if tree not in TREES:
        raise NotaryError(
            "rows are opened of inputs and outputs",
            expected=" or ".join(TREES),
            actual=brief(tree, 40),
            next_step="name one of them",
        )
    if record.predicate[tree] is None:
        raise NotaryError(f"the record has no {tree}", next_step="open another record")
    data = record.file(f"{tree}.jsonl")
    if data is None:
        raise NotaryError(
            f"this machine cannot open the {tree}: the record's private store is not here",
            next_step="ask whoever made the record for the opening",
        )
    return parse_file(data, name=f"{tree}.jsonl")


def _number(lines: Sequence[Line], path: str | None, tree: str) -> int:
    """The line of ``path``, or the only one there is."""
    paths = [line["path"] for line in lines]
    if path is None and len(paths) == 1:
        path = paths[0]
    if path not in paths:
        raise NotaryError(
            "name the value to open by its path" if path is None else "the record has no such path",
            expected=brief(", ".join(paths), 400),
            actual=path,
            next_step="give one of these as path",
        )
    number = paths.index(path)
    if lines[number]["kind"] == "unbound":
        raise NotaryError(
            f"{path} is a {lines[number]['class']}, which no record binds",
            next_step="open another value",
        )
    if "layout" in lines[number]:
        raise UnsupportedTensor(
            f"{path} has several components, and no openings",
            expected=STRIDED,
            actual=lines[number]["layout"],
            next_step=f"disclose the {tree} as a whole: save(disclose=…)",
        )
    return number


def _slot(line: Line, row: int | None) -> int | None:
    """The number of the row's digest; None where the leaf is committed whole."""
    row = None if row is None else operator.index(row)
    run = line.get("run", 0)
    length = line["shape"][0] if run else 1
    if row is None and run or row is not None and not -length <= row < length:
        raise UnsupportedIndex(
            f"{line['path']} has no such row" if row is not None else "name the row to open",
            expected=f"0 to {length - 1}" if run else "0 or None: the value is committed whole",
            actual=row,
            next_step="give a row that it has",
        )
    return row % length // run if run else None


def _data(
    record: Any, tree: str, lines: Sequence[Line], line: Line, slot: int | None, values: Any
) -> bytes:
    leaf = _leaf(record, tree, lines, line["path"], values)
    same = (leaf.kind, leaf.layout, leaf.dtype, leaf.shape)
    if same != (line["kind"], None, *_sort(line)):
        raise VerificationFailed(
            f"{line['path']}: another value than the recorded one was given",
            expected=_in_words(leaf_of(line, ())),
            actual=_in_words(leaf),
            next_step=f"give the {tree} of this very call",
        )
    if leaf.kind == "empty":
        return b"e" + leaf.kept.encode()
    if leaf.kind != "tensor":
        return encode_value(leaf.kept)[1]
    if slot is None:
        return leaf.kept
    size = line["run"] * (len(leaf.kept) // line["shape"][0])
    return leaf.kept[slot * size : (slot + 1) * size]


def _sort(line: Line) -> tuple[str | None, tuple[int, ...] | None]:
    return line.get("dtype"), tuple(line["shape"]) if "shape" in line else None


def _in_words(leaf: Leaf) -> str:
    return leaf.kind if leaf.shape is None else f"{leaf.dtype}{list(leaf.shape)}"


def _leaf(record: Any, tree: str, lines: Sequence[Line], path: str, values: Any) -> Leaf:
    """The leaf with its value: given alone, given among all of the tree, or kept."""
    if values is None:
        leaves = record.kept_leaves(tree)
        if leaves is None:
            raise NotaryError(
                f"the values of {path} were not kept",
                next_step=f"give them: values= takes the tensor, or all {tree}",
            )
    elif is_tensor(values) or type(values) is _core.View:
        leaves = flatten_arguments({path: values}, keep=True)
    else:
        leaves = flatten_given(tree, values, lines, calls=record.calls, keep=True)
    for leaf in leaves:
        if leaf.path == path:
            return leaf
    raise VerificationFailed(
        f"the given {tree} have no {path}", next_step=f"give the {tree} of this very call"
    )


def _require_recorded(made: RowOpening, recorded: bytes) -> None:
    actual = made.digest()
    if actual != recorded:
        where = made.path if made.row is None else f"row {made.rows[0]} of {made.path}"
        raise VerificationFailed(
            f"the values given for {where} are not the recorded ones",
            expected=recorded.hex(),
            actual=actual.hex(),
            next_step=f"give the {made.tree} of this very call",
        )
