"""What differs between two records: named with both values, and *not comparable* where unknown."""

from __future__ import annotations

import copy
import json

import pytest
import torch

import torchnotary
from torchnotary.statement import container
from torchnotary.statement.openings import decode_openings, encode_openings
from torchnotary.statement.record import Record

X = torch.linspace(-1, 1, 40).reshape(5, 8)


def record_of(notary, net, x=X, change=None):
    """The record of one call of a function over ``net``; ``change`` edits its output."""

    def score(x):
        with torch.no_grad():
            y = net(x).clone()
        return y if change is None else change(y)

    notary.record(score, model=net)(x)
    return notary.last


def test_two_records_of_the_same_call_are_the_same(notary, net):
    a, b = record_of(notary, net), record_of(notary, net)
    found = torchnotary.diff(a, b)
    assert not found and found.exit_code == 0
    assert found.differ == [] and found.not_comparable == []
    root = a.predicate["model"]["weights"]["root"]
    assert found.same == ["weights", "structure", "inputs", "outputs", "code"]
    assert f"same    weights {root[:4]} {root[4:8]}, structure, inputs" in str(found)
    assert str(found).startswith("The same: ")
    assert found.next_steps == []


def test_paths_and_records_are_compared_alike(notary, net, tmp_path):
    a, b = record_of(notary, net), record_of(notary, net, X + 1)
    a.save(tmp_path / "a.tnr")
    b.save(tmp_path / "b.tnr")
    assert str(torchnotary.diff(tmp_path / "a.tnr", str(tmp_path / "b.tnr"))) == str(
        torchnotary.diff(a, b)
    )


def test_differing_rows_and_the_only_setting_that_differs_are_named(notary, net):
    def bump(y):
        y[[1, 3], 0] += 1e-3
        return y

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    a = record_of(notary, net)
    torch.set_num_threads(2)
    b = record_of(notary, net, change=bump)
    torch.set_num_threads(threads)
    found = torchnotary.diff(a, b)
    assert bool(found) and found.exit_code == 1
    text = str(found)
    assert text.startswith("Outputs differ in rows 1, 3;")
    assert "Only setting that differs: threads 1 → 2." in text
    assert found.differ == ["outputs", "threads"]
    assert "How far: unknown (no tensors kept)" in text
    assert found.next_steps


def test_where_tensors_were_kept_the_distance_is_measured(tmp_path, net):
    notary = torchnotary.Notary(tmp_path / "log", evidence="full")
    a = record_of(notary, net)
    b = record_of(notary, net, change=lambda y: y + 0.25)
    found = torchnotary.diff(a, b)
    assert found.distance.startswith("output: 0.25")
    assert "How far: output: 0.25" in str(found)
    notary.close()


def test_a_changed_weight_is_named_and_the_structure_stays_the_same(notary, net):
    changed = copy.deepcopy(net)
    with torch.no_grad():
        changed[0].weight[0, 0] += 1
    found = torchnotary.diff(record_of(notary, net), record_of(notary, changed))
    assert found.differ == ["weights", "outputs"]
    assert "structure" in found.same
    assert "0.weight" in str(found)


def test_a_changed_constant_is_named_with_both_values(notary, net):
    changed = copy.deepcopy(net)
    changed[1].eps = 0.5
    found = torchnotary.diff(record_of(notary, net), record_of(notary, changed))
    assert found.differ == ["structure", "outputs"]
    assert "eps 1e-05 → 0.5" in str(found)


def test_a_change_of_both_names_both(notary, net):
    changed = copy.deepcopy(net)
    changed[1].eps = 0.5
    with torch.no_grad():
        changed[0].bias[0] += 1
    found = torchnotary.diff(record_of(notary, net), record_of(notary, changed))
    assert found.differ == ["weights", "structure", "outputs"]


def test_other_inputs_are_named_by_path_and_row(notary, net):
    other = X.clone()
    other[2] = 0
    found = torchnotary.diff(record_of(notary, net), record_of(notary, net, other))
    assert found.differ == ["inputs", "outputs"]
    assert "inputs: x: other elements in row 2" in str(found)


def test_without_digests_on_either_side_a_line_is_not_comparable(
    notary, net, tmp_path, monkeypatch
):
    a, b = record_of(notary, net), record_of(notary, net, X + 1)
    a.save(tmp_path / "closed.tnr")
    b.save(tmp_path / "open.tnr", disclose=("inputs", "outputs", "weights", "structure"))
    monkeypatch.setenv("TORCHNOTARY_HOME", str(tmp_path / "stranger"))
    for first, second, which in (("closed", "open", "first"), ("open", "closed", "second")):
        found = torchnotary.diff(tmp_path / f"{first}.tnr", tmp_path / f"{second}.tnr")
        assert found.not_comparable == ["inputs", "outputs"]
        assert which in found.not_comparable[0].detail
        assert found.differ == [] and not found
        assert found.exit_code == 3 and found.next_steps
        assert "not comparable" in str(found)


def test_a_partly_opened_record_is_not_comparable(notary, net, tmp_path, monkeypatch):
    @notary.record
    def pair(x, y):
        return x

    records = []
    for _ in range(2):
        pair(X, X)
        notary.last.save(tmp_path / "a.tnr", disclose=("inputs", "outputs"))
        members = container.read(tmp_path / "a.tnr")
        openings = decode_openings(members["openings.jsonl"])
        del openings["inputs"][1]
        members["openings.jsonl"] = encode_openings(openings)
        records.append(Record.from_bytes(container.pack(members)))
    monkeypatch.setenv("TORCHNOTARY_HOME", str(tmp_path / "stranger"))
    found = torchnotary.diff(*records)
    assert found.not_comparable == ["inputs"] and "outputs" in found.same


def test_structures_bound_to_other_weights_are_not_comparable_without_their_lines(
    notary, net, tmp_path, monkeypatch
):
    changed = copy.deepcopy(net)
    with torch.no_grad():
        changed[0].bias[0] += 1
    record_of(notary, net).save(tmp_path / "a.tnr")
    record_of(notary, changed).save(tmp_path / "b.tnr")
    monkeypatch.setenv("TORCHNOTARY_HOME", str(tmp_path / "stranger"))
    found = torchnotary.diff(tmp_path / "a.tnr", tmp_path / "b.tnr")
    assert found.differ == ["weights"]
    assert "structure" in found.not_comparable


def test_a_leaf_that_no_record_binds_is_never_called_the_same(notary):
    @notary.record
    def describe(thing, x):
        return x

    records = []
    for x in (torch.ones(1), torch.ones(1), torch.zeros(1)):
        describe(object(), x)
        records.append(notary.last)
    assert torchnotary.diff(records[0], records[1]).not_comparable == ["inputs"]
    assert "inputs" in torchnotary.diff(records[0], records[2]).differ


def test_code_and_how_the_call_ended_are_compared(notary):
    @notary.record
    def first(x):
        return x

    @notary.record
    def second(x):
        raise ValueError("no")

    first(1)
    a = notary.last
    with pytest.raises(ValueError, match="no"):
        second(1)
    found = torchnotary.diff(a, notary.last)
    assert {"code", "end", "outputs"} <= set(found.differ)
    text = str(found)
    assert "first → " in text and "second" in text
    assert "returned → raised builtins.ValueError" in text


def test_random_numbers_drawn_from_another_state_are_named(notary):
    @notary.record
    def draw():
        return torch.rand(2)

    draw()
    a = notary.last
    draw()
    assert {"outputs", "random state"} == set(torchnotary.diff(a, notary.last).differ)


def test_json_of_a_comparison_is_one_plain_document(notary, net):
    found = torchnotary.diff(record_of(notary, net), record_of(notary, net, X + 1))
    document = found.to_json()
    assert json.loads(json.dumps(document)) == document
    assert document["exit_code"] == 1
    assert document["outputs"][0]["rows"] == [0, 1, 2, 3, 4]


def test_a_record_that_is_not_intact_is_not_compared(notary, net, tmp_path):
    record = record_of(notary, net)
    record.save(tmp_path / "a.tnr")
    data = bytearray((tmp_path / "a.tnr").read_bytes())
    data[200] ^= 1
    (tmp_path / "a.tnr").write_bytes(data)
    with pytest.raises(torchnotary.NotaryError):
        torchnotary.diff(record, tmp_path / "a.tnr")


def test_inputs_that_differ_in_their_batch_alone_are_said_to(notary):
    def of(**arguments):
        notary.record(lambda **given: given["x"])(**arguments)
        return notary.last

    def batches(a, b):
        found = torchnotary.diff(of(**a), of(**b))
        return [str(change) for change in found.settings]

    mask = X[:, 0]
    assert batches({"x": X, "mask": mask, "n": 1}, {"x": X[:2], "mask": mask[:2], "n": 2}) == [
        "batch 5 → 2"
    ]
    assert batches({"x": X}, {"x": X + 1}) == []
    assert batches({"x": X}, {"x": X[:2, :4]}) == []
    assert batches({"x": X, "mask": mask}, {"x": X[:2], "mask": mask[:3]}) == []
    assert batches({"x": X}, {"x": X[0]}) == []
    assert batches({"x": X}, {"x": X[:2], "mask": mask}) == []
