"""trace.jsonl read by people who trust nothing in it: what is accepted, and what is refused."""

from __future__ import annotations

import copy
import hashlib

import pytest
import torch

from torchnotary.errors import LogCorrupt, MalformedRecord, NotaryError, RootMismatch
from torchnotary.statement import container
from torchnotary.statement.lines import canonical, encode_file, parse, scan_file, tree_of
from torchnotary.statement.openings import decode_openings, derive, encode_openings
from torchnotary.statement.trace import check_trace_openings, split_digests, trace_lines
from torchnotary.verifier.steps import verify
from trace_records import traced
from trace_reference import NOTHING, ReferenceTrace, number, operator, tensor
from verifier_helpers import ANYTHING, PASSED, everywhere, only_failure, replaced, saved

X = torch.arange(6.0).reshape(2, 3)
W, B = torch.ones(3, 3), torch.zeros(3)
Y = X @ W
FROM = {"line": 0, "output": 0}


def lines() -> list[dict]:
    """One line of every kind, with every kind of value in it."""
    whole = {"commitment": b"\1" * 32, "kind": "int", "path": "n"}
    leaf = {**tensor(Y), "kind": "tensor", "path": "output"}
    return [
        operator(
            "aten::linear",
            "a",
            {
                "bias": tensor(B, {"parameter": "a.bias"}),
                "input": tensor(X, {"input": "x"}),
                "weight": tensor(W, {"parameter": "a.weight"}),
            },
            [tensor(Y)],
        ),
        operator(
            "aten::cat",
            "",
            {
                "alpha": number(0.5),
                "beta": {"complex": [number(0.0), number(1.0)]},
                "device": "cpu",
                "dim": -1,
                "flag": True,
                "large": {"int": str(2**60)},
                "lists": [[1, 2], []],
                "object": {"unbound": "Object"},
                "tensors": [
                    tensor(Y, FROM, view={"offset": 3, "strides": [3, 1]}),
                    None,
                    tensor(X, {"buffer": "running"}),
                    tensor(X, batched=[{"dim": 0, "level": 1}]),
                ],
            },
            [tensor(Y, argument="tensors"), {"commitment": b"\2" * 32, "kind": "float"}, None,
             [tensor(X), [tensor(Y)]], {"unbound": "Object"}],
        ),
        operator("aten::empty", None, {"size": [2]}, [
            {"dtype": "float32", "shape": [2], "uninitialized": True},
            {"dtype": "float32", "shape": [2], "unbound": "sparse_coo"},
        ]),
        operator("aten::add.Tensor", "b", {"self": tensor(Y, FROM)}, None),
        operator("aten::arange", "b", {"end": 3}, [tensor(X)]),
        {"class": "pkg.Net", "module": "b", "outputs": [leaf], "type": "module"},
        {
            "args": [whole, {**whole, "class": "C", "kind": "unbound", "path": "u"}],
            "by": "torch.compile",
            "class": "pkg.Net",
            "module": "c",
            "outputs": [leaf, {**tensor(Y), "kind": "tensor", "layout": "sparse_coo", "path": "o"}],
            "type": "call",
        },
        operator(
            "aten::relu",
            "d",
            {"self": tensor(Y, {"line": 6, "output": 0}), "x": tensor(Y, {"line": 1, "output": 3})},
            [],
        ),
    ]  # fmt: skip


def read(trace: ReferenceTrace):
    return trace_lines([value for _, value in scan_file(trace.file)])


def test_every_kind_of_line_and_value_is_read_with_its_slots_in_order():
    trace = ReferenceTrace(lines())
    found = read(trace)
    assert [line.type for line in found] == [*["operator"] * 5, "module", "call", "operator"]
    assert [len(line.commitments) for line in found] == [len(slots) for slots in trace.slots]
    assert [item.place for item in found[0].arguments] == ["bias", "input", "weight"]
    assert [item.slot for item in found[0].arguments] == [0, 1, 2]
    assert [item.is_activation for item in found[0].arguments] == [False, True, False]
    places = [item.place for item in found[1].arguments]
    assert places[-4:] == [f"tensors[{i}]" for i in range(4)]
    assert "lists" in places
    assert [output.slot for output in found[1].outputs] == [3, 4, None, 5, 6, None]
    assert [output.output for output in found[1].outputs] == [0, 1, 2, 3, 3, 4]
    assert found[1].outputs[4].place == "output[3][1][0]"
    assert found[2].module is None and found[3].outputs is None
    check_trace_openings(found, trace.openings)


def test_a_line_without_a_value_commits_to_nothing_so_that_it_cannot_be_guessed():
    trace = ReferenceTrace([operator("aten::empty", None, {"size": [2]}, [])])
    (line,) = read(trace)
    assert len(line.commitments) == 1 and trace.slots[0][0][0] == NOTHING
    check_trace_openings([line], trace.openings)
    secret = ReferenceTrace([{**parse(trace.lines[0]), "commitment": b"\5" * 32}])
    with pytest.raises(MalformedRecord, match="stands for nothing"):
        check_trace_openings(read(secret), secret.openings)


def test_arguments_that_commit_to_nothing_have_a_slot_before_the_outputs():
    trace = ReferenceTrace([operator("aten::arange", None, {"end": 3}, [tensor(X)])])
    (line,) = read(trace)
    assert line.placeholder == 0 and line.outputs[0].slot == 1
    assert trace.slots[0][0][0] == NOTHING


def test_digests_of_the_private_store_give_the_salts_of_the_reference():
    trace = ReferenceTrace(lines())
    split = list(split_digests(trace.digests))
    assert derive(b"\7" * 32, "trace", split) == trace.openings


def test_digests_that_are_cut_short_are_a_corrupt_log():
    data = ReferenceTrace(lines()).digests
    lengths = {0}
    for line in split_digests(data):
        lengths.add(max(lengths) + 4 + len(line))
    for length in range(len(data)):
        if length not in lengths:
            with pytest.raises(LogCorrupt, match="cut short"):
                list(split_digests(data[:length]))


BROKEN = [
    ((0, "args", "input", "from"), {"line": 0, "output": 0}, "not before it"),
    ((0, "args", "input", "from"), {"line": 9, "output": 0}, "not before it"),
    ((0, "args", "input", "from"), {"line": -1, "output": 0}, "not before it"),
    ((3, "args", "self", "from"), {"line": True, "output": 0}, "not before it"),
    ((3, "args", "self", "from"), {"line": 0, "output": 1}, "does not exist"),
    ((3, "args", "self", "from"), {"line": 0, "output": -1}, "does not exist"),
    ((3, "args", "self", "from"), {"line": 1, "output": 1}, "does not exist"),
    ((3, "args", "self", "from"), {"line": 1, "output": 2}, "does not exist"),
    ((3, "args", "self", "from"), {"line": 1, "output": 4}, "does not exist"),
    ((3, "args", "self", "from"), {"line": 1, "output": 5}, "does not exist"),
    ((1, "args", "object"), {"unbound": 5}, "not a number"),
    ((1, "outputs", 3, 1, 0), "x", "no value an operator returns"),
    ((7, "args", "self", "from"), {"line": 3, "output": -1}, "does not exist"),
    ((3, "args", "self", "from"), {"line": 0}, "nowhere"),
    ((3, "args", "self", "from"), {"parameter": "a", "buffer": "b"}, "nowhere"),
    ((3, "args", "self", "from"), {"parameter": 1}, "no name"),
    ((3, "args", "self", "from"), {"weights": "a"}, "nowhere"),
    ((3, "args", "self", "from"), "a", "not an object"),
    ((1, "args", "tensors", 0, "view", "strides"), [1], "no view"),
    ((1, "args", "tensors", 0, "view", "offset"), -1, "no view"),
    ((1, "args", "tensors", 0, "view"), {"offset": 0, "strides": [1, 1], "x": 1}, "no view"),
    ((1, "args", "tensors", 3, "batched"), [{"dim": "0", "level": 1}], "batched"),
    ((1, "args", "alpha"), {"f64": "0"}, "not a number"),
    ((1, "args", "beta"), {"complex": [1, 2]}, "complex"),
    ((1, "args", "large"), {"int": "5"}, "not a number"),
    ((1, "args", "dim"), {"dim": 1}, "not a number"),
    ((1, "args"), [], "not an object"),
    ((6, "args"), {}, "not a list"),
    ((6, "args", 1, "path"), "n", "repeats"),
    ((6, "by"), "magic", "nobody known"),
    ((6, "args", 0, "kind"), "list", "not a leaf"),
    ((6, "args", 0, "path"), 1, "not text"),
    ((5, "outputs", 0, "layout"), "diagonal", "no known layout"),
    ((1, "outputs", 0, "argument"), "out", "not there"),
    ((1, "outputs", 1, "kind"), "str", "no value an operator returns"),
    ((1, "outputs", 1), 5, "no value an operator returns"),
    ((2, "outputs", 0, "uninitialized"), False, "does not say why"),
    ((2, "outputs", 1, "unbound"), 3, "does not say why"),
    ((2, "outputs", 1, "uninitialized"), True, "other members"),
    ((0, "args", "bias", "commitment"), "00", "64 hexadecimal"),
    ((0, "args", "bias", "shape"), [3, -1], "sizes"),
    ((0, "args", "bias", "shape"), [True], "sizes"),
    ((0, "args", "bias", "argument"), "self", "other members"),
    ((0, "outputs", 0, "dtype"), 32, "not text"),
    ((0, "module"), 3, "not a path"),
    ((0, "operator"), "", "not text"),
    ((0, "outputs"), {}, "not a list"),
    ((0, "commitment"), "0" * 64, "exactly where"),
    ((0, "type"), "call", "other members"),
    ((0, "type"), "leaf", "known type"),
]


@pytest.mark.parametrize(("place", "value", "cause"), BROKEN)
def test_what_the_format_does_not_have_is_refused_with_line_and_cause(place, value, cause):
    values = [parse(line) for line in ReferenceTrace(lines()).lines]
    trace_lines(values)
    with pytest.raises(MalformedRecord, match=cause) as caught:
        trace_lines(replaced(values, place, value))
    assert f"trace.jsonl line {place[0] + 1}: " in str(caught.value)


def test_a_tensor_may_come_from_an_operator_that_raised_amid_writing_it():
    values = [parse(line) for line in ReferenceTrace(lines()).lines]
    found = trace_lines(replaced(values, (7, "args", "self", "from"), {"line": 3, "output": 0}))
    assert found[3].outputs is None and found[7].arguments[0].origin["line"] == 3


def test_a_view_of_nothing_and_a_missing_placeholder_are_refused():
    values = [parse(line) for line in ReferenceTrace(lines()).lines]
    changed = copy.deepcopy(values)
    del changed[1]["args"]["tensors"][0]["from"]
    with pytest.raises(MalformedRecord, match="view of nothing"):
        trace_lines(changed)
    changed = copy.deepcopy(values)
    del changed[2]["commitment"]
    with pytest.raises(MalformedRecord, match="exactly where"):
        trace_lines(changed)


def test_anything_anywhere_in_a_line_is_read_or_refused_and_never_a_crash():
    values = [parse(line) for line in ReferenceTrace(lines()).lines]
    for place in everywhere(values):
        for value in ANYTHING:
            changed = replaced(values, place, value)
            if all(
                isinstance(line, dict) and isinstance(line.get("type"), str) for line in changed
            ):
                try:
                    trace_lines(changed)
                except MalformedRecord as error:
                    assert error.reason.startswith("trace.jsonl line ")


@pytest.fixture
def path(call, tmp_path):
    return saved(call[0], tmp_path)


def test_a_trace_that_travels_is_checked_in_the_format_step(path):
    trace = ReferenceTrace(lines())
    verdict = verify(traced(path, trace))
    assert verdict.ok, str(verdict)
    assert "the trace's 8 lines are the signed ones, 8 of them opened" in verdict["format"].detail
    closed = verify(traced(path, trace, openings=None))
    assert closed.ok and "8 lines are the signed ones, 0 of them" in closed["format"].detail


def test_a_trace_of_another_file_root_or_size_is_refused(path):
    trace, other = ReferenceTrace(lines()), ReferenceTrace(lines(), b"\6" * 32)
    for changes in (
        {"sha256": hashlib.sha256(other.file).hexdigest()},
        {"root": other.root},
        {"size": trace.size + 1},
        {"file": trace.file[:-1]},
        {"file": b"".join(line + b"\n" for line in trace.lines[:-1])},
        {"file": trace.file.replace(b'"operator"', b' "operator"', 1)},
    ):
        step = only_failure(verify(traced(path, trace, **changes)))
        assert step.name == "format", changes


def test_an_opening_of_another_digest_salt_line_or_slot_is_refused(path):
    trace = ReferenceTrace(lines())
    digest, salt = trace.slots[0][1]
    for slots, error in (
        ([trace.slots[0][0], (b"\0" * 32, salt), *trace.slots[0][2:]], RootMismatch),
        ([trace.slots[0][0], (digest, b"\0" * 32), *trace.slots[0][2:]], RootMismatch),
        (trace.slots[0][:-1], MalformedRecord),
    ):
        step = only_failure(verify(traced(path, trace, openings={**trace.openings, 0: slots})))
        assert step.name == "format" and isinstance(step.error, error)
    for number_of_line in (8, 2**40):
        openings = {**trace.openings, number_of_line: trace.slots[0]}
        step = only_failure(verify(traced(path, trace, openings=openings)))
        assert "does not exist" in step.detail


def test_openings_of_a_trace_that_does_not_travel_are_refused(path):
    trace = ReferenceTrace(lines())
    members = container.unpack(traced(path, trace))
    del members["trace.jsonl"]
    assert "travel without trace.jsonl" in only_failure(verify(container.pack(members))).detail
    opened = encode_openings({"trace": trace.openings})
    held = container.read(path)
    step = only_failure(verify(container.pack({**held, "openings.jsonl": opened})))
    assert step.name == "format"
    step = only_failure(verify(container.pack({**held, "trace.jsonl": trace.file})))
    assert "does not speak of it" in step.detail


def test_a_signed_trace_with_anything_in_it_is_judged_without_a_crash(path):
    trace = ReferenceTrace(lines())
    values = [parse(line) for line in trace.lines]
    for place in [p for p in everywhere(values) if p[0] in (0, 1, 6)][::7]:
        for value in ANYTHING[::3]:
            changed = replaced(values, place, value)
            if not all(isinstance(line, dict) for line in changed):
                continue
            encoded = [canonical(line) for line in changed]
            data, tree = encode_file(encoded), tree_of(encoded)
            verdict = verify(traced(path, trace, file=data, **tree.to_json()))
            assert verdict["format"].outcome == PASSED or isinstance(
                verdict["format"].error, NotaryError
            )


def test_openings_of_a_trace_survive_their_file():
    trace = ReferenceTrace(lines())
    assert decode_openings(encode_openings({"trace": trace.openings})) == {"trace": trace.openings}
