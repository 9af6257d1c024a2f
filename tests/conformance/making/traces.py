"""trace.jsonl: what operators ran, where their arguments came from, and openings of both."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torchnotary.statement.openings import decode_openings, encode_openings

from .cases import Case, bad
from .disclosures import json_line
from .draft import Draft
from .edits import Edit, at, drop, exchange, line, put, repeat
from .genuine import TRACE, TRACED


def cases() -> Iterator[Case]:
    yield from _changed()
    yield from _signed()
    yield from _opened()


def _changed() -> Iterator[Case]:
    for name, why, edit in (
        ("truncated", "the last line is missing", line(1, lambda text: None)),
        ("reordered", "two operators in each other's place", exchange(0, 1)),
        ("duplicated-line", "an operator twice", repeat(1)),
        ("without-final-newline", "the last line end is missing", lambda data: data[:-1]),
        ("operator-changed", "another operator",
         lambda data: data.replace(b"aten::relu", b"aten::silu")),
        ("carriage-returns", "lines end in CR LF", lambda data: data.replace(b"\n", b"\r\n")),
    ):  # fmt: skip
        yield bad(f"trace-{name}", "format", why, TRACED.but(members=at("trace.jsonl", edit)))


def _signed() -> Iterator[Case]:
    """Signed as they are: nothing but the rules of the format refuses them."""

    def first(*path_and_value: Any) -> Edit:
        return line(0, json_line(put(*path_and_value)))

    def second(*path_and_value: Any) -> Edit:
        return line(1, json_line(put(*path_and_value)))

    source = ("args", "self", "from")
    for name, why, edit in (
        ("from-the-future", "an argument made by a later line", first("args", "input", "from",
                                                                       {"line": 1, "output": 0})),
        ("from-no-line", "an argument made before the first line",
         second(*source, {"line": -1, "output": 0})),
        ("from-no-output", "an argument from an output that is not there",
         second(*source, {"line": 0, "output": 1})),
        ("from-two-places", "an argument from two places",
         second(*source, {"buffer": "b", "input": "x"})),
        ("from-nowhere", "an argument from no known place", second(*source, {"cache": "x"})),
        ("type-unknown", "a line of an unknown type", first("type", "kernel")),
        ("member-added", "a member the format does not have", first("duration", 5)),
        ("member-missing", "a line without a module", line(0, json_line(drop("module")))),
        ("output-plain", "an output that shows its value", first("outputs", 0, 5)),
        ("argument-fraction", "a fraction that is no binary64",
         second("args", "alpha", {"f64": "0"})),
        ("commitment-and-unbound", "committed to and not committed to",
         first("args", "bias", "unbound", "sparse_coo")),
        ("commitment-missing", "a tensor nothing commits to",
         line(0, json_line(drop("args", "bias", "commitment")))),
        ("placeholder-added", "a commitment to nothing where there are others",
         first("commitment", "00" * 32)),
        ("view-of-nothing", "a view that does not say of what",
         first("outputs", 0, "view", {"offset": 0, "strides": [3, 1]})),
        ("view-negative", "a view that begins before its tensor",
         second("args", "self", "view", {"offset": -1, "strides": [3, 1]})),
        ("argument-mutated-elsewhere", "an output that changes an argument that is not there",
         first("outputs", 0, "argument", "out")),
    ):  # fmt: skip
        yield bad(f"signed-trace-{name}", "format", why, _traced(edit))


def _traced(edit: Edit) -> Draft:
    return TRACED.but(files=at("trace.jsonl", edit), members=drop("openings.jsonl"))


def _opened() -> Iterator[Case]:
    digest, salt = TRACE.openings[0][1]

    def opened(slots: Any) -> Draft:
        return TRACED.but(members=at("openings.jsonl", _openings(slots)))

    for name, why, slots in (
        ("digest-altered", "a digest of another tensor",
         {0: [*TRACE.openings[0][:1], (bytes(32), salt),
                                                               *TRACE.openings[0][2:]]}),
        ("salt-wrong", "another salt", {0: [*TRACE.openings[0][:1], (digest, bytes(32)),
                                            *TRACE.openings[0][2:]]}),
        ("slot-missing", "a commitment of a line is not opened", {0: TRACE.openings[0][:-1]}),
        ("slot-added", "more openings than commitments", {1: [*TRACE.openings[1], (digest, salt)]}),
        ("of-another-line", "the openings of another line", {1: TRACE.openings[0]}),
        ("line-beyond", "a line that is not there", {2: TRACE.openings[0]}),
        ("slots-exchanged", "two slots in each other's place", {1: TRACE.openings[1][::-1]}),
    ):  # fmt: skip
        yield bad(f"trace-openings-{name}", "format", why, opened(slots))


def _openings(slots: dict[int, list]) -> Edit:
    def edit(data: bytes) -> bytes:
        openings = decode_openings(data)
        openings["trace"] = {**openings["trace"], **slots}
        return encode_openings(openings)

    return edit
