"""openings.jsonl: digests and salts that must open the commitments that were signed."""

from __future__ import annotations

from collections.abc import Iterator

from .cases import Case, bad
from .disclosures import TWO
from .disclosures import json_line as value
from .draft import Draft
from .edits import Edit, at, drop, exchange, line, put, repeat
from .genuine import DIGESTS, OPEN, OTHER, TRACED


def cases() -> Iterator[Case]:
    """TWO's openings: inputs 0 (two rows) and 1, outputs 0 (two rows), 1 (two rows) and 2."""
    for name, step, why, edit in (
        ("digest-altered", "outputs", "another digest", line(4, value(put("digest", "00" * 32)))),
        ("salt-altered", "outputs", "another salt", line(4, value(put("salt", "00" * 32)))),
        ("salts-exchanged", "outputs",
         "the salts of two rows in each other's place", _exchange("salt")),
        ("digests-exchanged", "outputs", "the digests of two rows in each other's place",
         _exchange("digest")),
        ("digest-and-salt-exchanged", "outputs", "salt and digest in each other's place",
         line(4, value(_turn))),
        ("row-missing", "outputs", "one row of a matrix is not opened", line(4, lambda text: None)),
        ("row-added", "outputs", "a row more than the matrix has", line(7, value(_third_row))),
        ("line-beyond", "outputs", "a line that is not there", line(7, value(put("line", 3)))),
        ("line-negative", "format", "a negative line", line(7, value(put("line", -1)))),
        ("outputs-as-inputs", "inputs", "an opening of an output for an input that is not there",
         _moved),
        ("reordered", "format", "two rows in each other's place", exchange(3, 4)),
        ("duplicated", "format", "an opening twice", repeat(3)),
        ("slot-missing", "format", "the rows begin at 1", line(3, lambda text: None)),
        ("slot-true", "format", "the row is true", line(4, value(put("slot", True)))),
        ("line-float", "format", "the line is a fraction",
         line(4, lambda text: text.replace(b'"line":0', b'"line":0.0'))),
        ("tree-unknown", "format", "an unknown tree", line(4, value(put("tree", "weights")))),
        ("salt-missing", "format", "no salt", line(4, value(drop("salt")))),
        ("member-added", "format", "a member the format does not have",
         line(4, value(put("comment", "")))),
        ("type-unknown", "format", "a line of another type", line(4, value(put("type", "salt")))),
        ("without-final-newline", "format", "the last line end is missing", lambda data: data[:-1]),
        ("key-order", "format", "keys that are not sorted",
         line(4, lambda text: b'{"type":"opening",' + text[1:].replace(b',"type":"opening"', b""))),
    ):  # fmt: skip
        yield bad(f"openings-{name}", step, why, TWO.but(members=at("openings.jsonl", edit)))
    yield from _whole_files()


def _whole_files() -> Iterator[Case]:
    def instead_of(record: Draft, other: Draft) -> Draft:
        return record.but(members=put("openings.jsonl", other.members["openings.jsonl"]))

    later = DIGESTS.but(name="later", record={"seq": 1})
    yield bad(
        "openings-of-another-record",
        "inputs, outputs",
        "the same values under another record's secret",
        instead_of(DIGESTS, later),
    )
    yield bad(
        "openings-of-another-call",
        "inputs",
        "another call's inputs, for a record of two",
        instead_of(DIGESTS.but(disclose=("inputs",)), OTHER.but(disclose=("inputs",))),
    )
    yield bad(
        "openings-without-lines",
        "inputs, outputs",
        "openings without the files they open",
        DIGESTS.but(members=lambda m: {n: m[n] for n in ("bundle.json", "openings.jsonl")}),
    )
    yield bad(
        "openings-without-outputs",
        "outputs",
        "openings without one of the files they open",
        DIGESTS.but(members=drop("outputs.jsonl")),
    )
    yield bad(
        "openings-missing",
        "inputs, outputs",
        "values travel without what binds them",
        OPEN.but(members=drop("openings.jsonl")),
    )
    yield bad(
        "openings-of-a-trace-without-lines",
        "format",
        "openings without the trace they open",
        TRACED.but(members=drop("trace.jsonl")),
    )


def _exchange(member: str) -> Edit:
    """That member of the two rows of the first output."""

    def edit(data: bytes) -> bytes:
        lines = data.split(b"\n")
        found = [text.split(b'"%s":"' % member.encode())[1][:64] for text in lines[3:5]]
        lines[3] = lines[3].replace(found[0], found[1])
        lines[4] = lines[4].replace(found[1], found[0])
        return b"\n".join(lines)

    return edit


def _third_row(opening: dict) -> None:
    opening.update(line=1, slot=2)


def _moved(data: bytes) -> bytes:
    """The last output's opening as that of a third input."""
    lines = data.split(b"\n")
    last = lines.pop(7).replace(b'"tree":"outputs"', b'"tree":"inputs"')
    return b"\n".join([*lines[:3], last, *lines[3:]])


def _turn(opening: dict) -> None:
    opening["digest"], opening["salt"] = opening["salt"], opening["digest"]
