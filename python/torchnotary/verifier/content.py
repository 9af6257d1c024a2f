"""Steps about private values: inputs and outputs against the commitments that were signed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ..errors import MalformedRecord, NotaryError, VerificationFailed
from ..leaves import argument_in_group, flatten_given, top_level
from ..statement.record import Record
from ..statement.values import (
    Line,
    check_openings,
    compare,
    differences_in_words,
    has_all_digests,
    leaf_lines,
    unbound_in_words,
)
from .case import Case, Finding, not_checked, passed
from .integrity import check_file
from .trees import signed_values

_DISCLOSED = "ask for a disclosed copy: torchnotary save ID -o FILE --disclose inputs,outputs"
_AS_SAVED = "ask its maker for the record as torchnotary saved it"


def check_inputs(case: Case) -> Finding:
    """The arguments: those given, else those disclosed, against inputs.jsonl."""
    return _check(case, "inputs", case.inputs)


def check_outputs(case: Case) -> Finding:
    """The results: those given, else those disclosed, against outputs.jsonl."""
    return _check(case, "outputs", case.outputs)


def _check(case: Case, tree: str, given: Any) -> Finding:
    record = case.record
    lines = travelling_lines(record, tree)
    opened = record.openings.get(tree, {})
    if lines is not None:
        check_openings(lines, opened)
        _check_evidence(case, tree, lines)
    elif opened or tree in case.evidence:
        raise MalformedRecord(f"values of {tree} travel without {tree}.jsonl", next_step=_AS_SAVED)
    if given is not None:
        return _compare_given(record, tree, given)
    if record.predicate[tree] is None:
        return not_checked(f"the record has no {tree}")
    if lines is None:
        return not_checked("not disclosed, and none given to compare")
    return _judge_disclosed(lines, opened, tree in case.evidence)


def _check_evidence(case: Case, tree: str, lines: Sequence[Line]) -> None:
    """Raises `VerificationFailed` unless the values that travel are those the openings open."""
    leaves = case.evidence.get(tree)
    if leaves is None:
        return
    digests = case.record.digests(tree)
    if tree not in case.record.openings or not has_all_digests(lines, digests):
        raise MalformedRecord(
            f"values of {tree} travel without the openings that bind them", next_step=_AS_SAVED
        )
    differences = compare(lines, digests, leaves)
    if differences:
        raise VerificationFailed(
            f"values that travel are not the recorded ones: {differences_in_words(differences)}",
            next_step=_AS_SAVED,
        )


def _judge_disclosed(lines: Sequence[Line], opened: Mapping[int, Any], values: bool) -> Finding:
    unbound = unbound_in_words(lines)
    if unbound:
        return not_checked(f"{unbound} is of a kind that no record binds")
    if len(opened) < len(lines):
        return not_checked(
            f"{len(opened)} of {len(lines)} leaves are opened, none given to compare"
        )
    kind = "values and digests" if values else "digests"
    return passed(f"the disclosed {kind} of {len(lines)} leaves are the signed ones")


def _compare_given(record: Record, tree: str, given: Any) -> Finding:
    empty = record.predicate[tree] is None
    lines = [] if empty else recorded_lines(record, tree)
    opened = {} if empty else record.opened(tree)
    if lines is None or opened is None:
        return not_checked("nothing to compare with: its digests are not disclosed", _DISCLOSED)
    if tree not in record.openings:
        try:
            check_openings(lines, opened)
        except NotaryError as error:
            return not_checked(f"this machine's private store does not open it: {error.reason}")
    digests = [[digest for digest, _ in opened.get(n, ())] for n in range(len(lines))]
    leaves = flatten_given(tree, given, lines, calls=record.calls)
    argument = top_level if record.calls is None else argument_in_group
    names = {argument(leaf.path) for leaf in leaves}
    unspoken = [
        number
        for number, line in enumerate(lines)
        if tree == "inputs" and argument(line["path"]) not in names
    ]
    absent = [lines[n]["path"] for n in unspoken]
    closed = [
        number
        for number, line in enumerate(lines)
        if line["kind"] != "unbound" and not digests[number] and number not in unspoken
    ]
    left = [n for n in range(len(lines)) if n not in unspoken and n not in closed]
    paths = {lines[n]["path"] for n in closed}
    differences = compare(
        [lines[n] for n in left],
        [digests[n] for n in left],
        [leaf for leaf in leaves if leaf.path not in paths],
    )
    if differences:
        raise VerificationFailed(
            differences_in_words(differences),
            next_step=f"these are not the recorded {tree}; find the ones that were",
        )
    unbound = unbound_in_words(lines)
    if unbound:
        return not_checked(f"the rest agrees, but {unbound} is of a kind that no record binds")
    if absent:
        return not_checked(
            f"the rest agrees, but {', '.join(absent)} was not given",
            f"give every argument of the call, {argument(absent[0])} too",
        )
    if closed:
        return not_checked(f"the rest agrees, but {len(closed)} leaves are not disclosed")
    return passed(f"{len(lines)} leaves equal, bit for bit" if lines else "empty, as recorded")


def travelling_lines(record: Record, tree: str) -> list[Line] | None:
    """The parsed lines of ``inputs.jsonl`` or ``outputs.jsonl`` where that file travels.

    Raises `VerificationFailed` or `RootMismatch` where the file contradicts the statement.
    """
    name = f"{tree}.jsonl"
    data = record.files.get(name)
    if data is None:
        return None
    subjects = {s["name"]: s["digest"]["sha256"] for s in record.statement["subject"]}
    check_file(name, data, subjects[name])
    return leaf_lines(signed_values(data, record.predicate[tree], name), name)


def recorded_lines(record: Record, tree: str) -> list[Line] | None:
    """The parsed lines of a tree, travelling or from this machine's private store."""
    name = f"{tree}.jsonl"
    data = record.file(name) if record.predicate[tree] is not None else None
    if data is None:
        return None
    return leaf_lines(signed_values(data, record.predicate[tree], name), name)
