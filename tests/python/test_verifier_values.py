"""The verifier and private values: inputs and outputs, given, disclosed, or closed."""

from __future__ import annotations

import hashlib

import numpy
import pytest
import torch

from torchnotary.errors import MalformedRecord, RootMismatch, VerificationFailed
from torchnotary.leaves import flatten_output
from torchnotary.statement import container
from torchnotary.statement.evidence import encode_evidence
from torchnotary.statement.lines import encode_file
from torchnotary.statement.openings import encode_openings
from torchnotary.statement.record import Record
from torchnotary.statement.values import leaf_lines
from torchnotary.verifier.steps import verify
from verifier_helpers import (
    FAILED,
    NOT_CHECKED,
    PASSED,
    only_failure,
    repacked,
    resigned,
    saved,
)


def test_a_tuple_names_the_arguments_in_their_order(call):
    record, inputs, _ = call
    assert verify(record, inputs=(inputs["x"], 2))["inputs"].outcome == PASSED
    verdict = verify(record, inputs=(inputs["x"],))
    assert verdict["inputs"].outcome == NOT_CHECKED and verdict.exit_code == 3
    assert "scale" in verdict["inputs"].detail


def test_arguments_recorded_as_none_need_not_be_given(notary):
    @notary.record
    def first(x, mask=None):
        return x[0]

    first(torch.ones(2, 2))
    assert verify(notary.last, inputs=(torch.ones(2, 2),)).ok
    step = only_failure(verify(notary.last, inputs=(torch.ones(2, 2), torch.ones(2))))
    assert step.name == "inputs" and "mask" in step.detail


def test_positional_extras_are_matched_to_args(notary):
    @notary.record
    def total(start, *args, end=None):
        return start + sum(args)

    total(torch.ones(1), torch.ones(1), torch.zeros(1))
    given = (torch.ones(1), torch.ones(1), torch.zeros(1))
    assert verify(notary.last, inputs=given).ok
    assert not verify(notary.last, inputs=given[:2]).ok
    assert not verify(notary.last, inputs=(*given, torch.ones(1))).ok


def test_differing_rows_are_named_by_path_and_number(call):
    record, inputs, outputs = call
    logits = outputs["logits"].clone()
    logits[1, 2] += 1
    logits[4, 0] += 1
    step = only_failure(verify(record, outputs={**outputs, "logits": logits}))
    assert step.name == "outputs"
    assert 'output["logits"]: other elements in rows 1, 4' in step.detail
    x = inputs["x"].clone()
    x[0, 0] = -x[0, 0]  # +0 becomes -0: another value to a commitment
    step = only_failure(verify(record, inputs={**inputs, "x": x}))
    assert "x: other elements in row 0" in step.detail


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda y: {**y, "logits": y["logits"].double()}, "dtype float32 recorded"),
        (lambda y: {**y, "logits": y["logits"].T}, "shape (5, 4) recorded"),
        (lambda y: {**y, "logits": y["logits"].view(torch.int32)}, "dtype"),
        (lambda y: {**y, "shape": [5, 9]}, 'output["shape"][1]: another value'),
        (lambda y: {"logits": y["logits"]}, "not among the given values"),
        (lambda y: {**y, "more": 1}, "not in the record"),
        (lambda y: {**y, "shape": [5, None]}, "recorded as int, given as none"),
        (lambda y: y["logits"], "not among the given values"),
    ],
)
def test_every_way_outputs_can_differ_is_named(call, change, named):
    step = only_failure(verify(call[0], outputs=change(call[2])))
    assert step.name == "outputs" and named in step.detail


def test_numpy_arrays_and_leaf_paths_answer_as_well(call):
    record, inputs, outputs = call
    assert verify(record, inputs={"x": inputs["x"].numpy(), "scale": 2}).ok
    by_path = {
        'output["logits"]': outputs["logits"].numpy(),
        'output["shape"][0]': 5,
        'output["shape"][1]': 8,
    }
    assert verify(record, outputs=by_path).ok


def test_a_receiver_without_digests_gets_a_question_left_open(call, tmp_path, stranger):
    path, key = saved(call[0], tmp_path), call[0].public_key
    stranger()
    verdict = verify(path, signer=key, outputs=call[2])
    assert verdict["outputs"].outcome == NOT_CHECKED and verdict.exit_code == 3
    assert "--disclose" in verdict.next_steps[0]


def test_a_receiver_of_a_disclosed_copy_checks_values_and_digests(call, tmp_path, stranger):
    record, inputs, outputs = call
    key = record.public_key
    path = saved(record, tmp_path, disclose=("inputs", "outputs"))
    stranger()
    verdict = verify(path, signer=key)
    assert verdict["inputs"].outcome == verdict["outputs"].outcome == PASSED
    assert verify(path, signer=key, inputs=inputs, outputs=outputs).ok
    other = {**outputs, "logits": outputs["logits"] + 1}
    assert only_failure(verify(path, signer=key, outputs=other)).name == "outputs"


def test_an_opening_that_does_not_open_its_line_fails_that_step(call, tmp_path):
    path = saved(call[0], tmp_path, disclose=("inputs", "outputs"))
    record = Record.load(path)
    for tree in ("inputs", "outputs"):
        for part in (0, 1):  # the digest, then the salt
            changed = {t: dict(lines) for t, lines in record.openings.items()}
            pair = list(changed[tree][0][2])
            pair[part] = hashlib.sha256(pair[part]).digest()
            changed[tree][0] = [*changed[tree][0][:2], tuple(pair), *changed[tree][0][3:]]
            data = repacked(path, members={"openings.jsonl": encode_openings(changed)})
            step = only_failure(verify(data))
            assert step.name == tree and isinstance(step.error, RootMismatch)


def test_openings_of_another_number_or_line_are_malformed(call, tmp_path):
    path = saved(call[0], tmp_path, disclose=("outputs",))
    pairs = Record.load(path).openings["outputs"]
    for changed in ({**pairs, 0: pairs[0][:-1]}, {**pairs, 9: pairs[0]}):
        data = repacked(path, members={"openings.jsonl": encode_openings({"outputs": changed})})
        step = only_failure(verify(data))
        assert step.name == "outputs" and isinstance(step.error, MalformedRecord)


def test_leaves_left_closed_leave_the_question_open(call, tmp_path, stranger):
    path, key = saved(call[0], tmp_path, disclose=("outputs",)), call[0].public_key
    pairs = dict(Record.load(path).openings["outputs"])
    del pairs[1]
    data = repacked(path, members={"openings.jsonl": encode_openings({"outputs": pairs})})
    stranger()
    assert verify(data, signer=key)["outputs"].outcome == NOT_CHECKED
    verdict = verify(data, signer=key, outputs=call[2])
    assert (
        verdict["outputs"].outcome == NOT_CHECKED and "not disclosed" in verdict["outputs"].detail
    )
    wrong = {**call[2], "logits": call[2]["logits"] + 1}
    assert only_failure(verify(data, signer=key, outputs=wrong)).name == "outputs"


def test_values_that_travel_are_checked_against_their_openings(call, tmp_path):
    record, inputs, outputs = call
    path = saved(record, tmp_path, outputs=outputs)
    assert "values and digests" in verify(path)["outputs"].detail
    members = container.read(path)
    evidence = bytearray(members["evidence.safetensors"])
    evidence[-1] ^= 1
    data = container.pack({**members, "evidence.safetensors": bytes(evidence)})
    step = only_failure(verify(data))
    assert step.name == "outputs" and isinstance(step.error, VerificationFailed)


def test_a_value_may_not_travel_twice_so_that_readers_could_disagree(call, tmp_path):

    path = saved(call[0], tmp_path, outputs=call[2])
    genuine = flatten_output(call[2], keep=True)
    other = flatten_output({**call[2], "shape": [5, 9]}, keep=True)
    for leaves in ([other[-1], *genuine], [*genuine, genuine[-1]]):
        evidence = encode_evidence(None, leaves)
        data = container.pack({**container.read(path), "evidence.safetensors": evidence})
        step = only_failure(verify(data))
        assert step.name == "outputs" and "more than once" in step.detail


def test_values_without_the_openings_that_bind_them_are_refused(call, tmp_path):
    path = saved(call[0], tmp_path, outputs=call[2])
    for name in ("openings.jsonl", "outputs.jsonl"):
        members = container.read(path)
        del members[name]
        step = only_failure(verify(container.pack(members)))
        assert step.name == "outputs" and isinstance(step.error, MalformedRecord)


def test_a_line_file_that_was_changed_fails_its_step(call, tmp_path):
    path = saved(call[0], tmp_path, disclose=("inputs", "outputs"))
    for tree in ("inputs", "outputs"):
        lines = container.read(path)[f"{tree}.jsonl"].splitlines()
        data = repacked(path, members={f"{tree}.jsonl": encode_file(lines[::-1])})
        assert only_failure(verify(data)).name == tree


@pytest.mark.parametrize("name", ["inputs", "outputs", "weights", "structure"])
def test_a_file_must_have_both_the_sha256_and_the_root_that_were_signed(call, tmp_path, name):
    path = saved(call[0], tmp_path, disclose=("inputs", "outputs", "weights", "structure"))

    def other_sha256(statement):
        for subject in statement["subject"]:
            if subject["name"] == f"{name}.jsonl":
                subject["digest"]["sha256"] = "ab" * 32

    def other_root(statement):
        predicate = statement["predicate"]
        section = predicate["model"] if name in ("weights", "structure") else predicate
        section[name]["root"] = "cd" * 32

    for edit, named in ((other_sha256, "ab" * 32), (other_root, "cd" * 32)):
        verdict = verify(resigned(path, edit))
        failed = [step for step in verdict.named(FAILED) if step.name == name]
        assert failed and named in failed[0].detail


def test_a_leaf_that_no_record_binds_cannot_pass(notary):
    @notary.record
    def describe(thing, x):
        return x

    describe(object(), torch.ones(2))
    verdict = verify(notary.last, inputs={"x": torch.ones(2), "thing": object()})
    assert verdict["inputs"].outcome == NOT_CHECKED and verdict.exit_code == 3
    assert "thing (builtins.object)" in verdict["inputs"].detail
    step = only_failure(verify(notary.last, inputs={"x": torch.zeros(2), "thing": object()}))
    assert step.name == "inputs"


def test_a_call_without_arguments_and_results_can_be_checked_too(notary):
    @notary.record
    def nothing():
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        nothing()
    assert verify(notary.last, inputs={}).ok
    assert only_failure(verify(notary.last, inputs={"x": 1})).name == "inputs"
    assert "raised builtins.ValueError" in str(verify(notary.last).claims)


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ({"kind": "tensor", "shape": [-1]}, "sizes"),
        ({"kind": "tensor", "dtype": "float32", "shape": [5, 4], "rows": 4, "run": 1}, "5 rows"),
        ({"kind": "tensor", "dtype": "float32", "shape": [4], "rows": 4, "run": 1}, "members"),
        ({"kind": "mystery"}, "known kind"),
        ({"kind": "str", "class": "x"}, "members"),
        ({"kind": "unbound"}, "members"),
        ({"kind": "none", "commitment": None}, "64 hexadecimal"),
        ({"kind": "str", "commitment": "AB" * 32}, "64 hexadecimal"),
        ({"kind": "str", "path": 3}, "text"),
    ],
)
def test_a_signed_leaf_of_another_form_is_malformed(line, named):

    whole = {"commitment": "ab" * 32, "path": "x", "type": "leaf", **line}
    with pytest.raises(MalformedRecord, match=named):
        leaf_lines([whole], "inputs.jsonl")


def test_a_repeated_path_is_malformed():

    line = {"commitment": "ab" * 32, "kind": "str", "path": "x", "type": "leaf"}
    with pytest.raises(MalformedRecord, match="line 2.*repeats"):
        leaf_lines([line, line], "inputs.jsonl")


def test_numpy_inputs_of_any_byte_order_are_the_same_values(notary):
    @notary.record
    def double(x):
        return x * 2

    double(numpy.arange(6, dtype="<f8").reshape(2, 3))
    given = numpy.arange(6, dtype=">f8").reshape(2, 3)
    assert verify(notary.last, inputs=(given,)).ok
