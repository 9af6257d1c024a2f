"""Sparse, quantised and nested tensors in records: lines, verification, kept values, distances."""

from __future__ import annotations

import struct

import pytest
import torch

from torchnotary import MalformedRecord, Record, commit, diff, reproduce, verify
from torchnotary.leaves import flatten_arguments, flatten_given, flatten_output, line_of
from torchnotary.replay.tolerance import ROUNDINGS, distances
from torchnotary.statement.evidence import decode_evidence, encode_evidence, restore
from torchnotary.statement.values import leaf_lines
from verifier_helpers import FAILED, NOT_CHECKED, PASSED, only_failure, saved

pytestmark = pytest.mark.filterwarnings("ignore")  # beta, prototype, deprecated: torch's layouts


def coo() -> torch.Tensor:
    values = torch.tensor([1.0, -0.0, 3.0])
    return torch.sparse_coo_tensor([[2, 0, 1], [0, 1, 1]], values, (3, 2))


def by_channel(dtype=torch.qint8, scales=torch.float64, zeros=torch.int64) -> torch.Tensor:
    scale, zero = torch.tensor([0.1, 0.2], dtype=scales), torch.tensor([0, 1], dtype=zeros)
    return torch.quantize_per_channel(torch.linspace(0, 1, 6).reshape(2, 3), scale, zero, 0, dtype)


def nested(layout) -> torch.Tensor:
    return torch.nested.nested_tensor([torch.randn(2, 3), torch.randn(5, 3)], layout=layout)


COMPOSITE = {
    "coo": coo,
    "hybrid coo": lambda: torch.randn(4, 3).relu().to_sparse(1),
    "empty coo": lambda: torch.zeros(3, 2).to_sparse(),
    "coo of float8": lambda: torch.sparse_coo_tensor(
        [[1]], torch.tensor([1.0]).to(torch.float8_e4m3fn), (3,)
    ),
    "csr": lambda: torch.eye(3).to_sparse_csr(),
    "csc": lambda: torch.eye(3).to_sparse_csc(),
    "bsr": lambda: torch.eye(4).to_sparse_bsr((2, 2)),
    "bsc": lambda: torch.eye(4).to_sparse_bsc((2, 2)),
    "per tensor": lambda: torch.quantize_per_tensor(torch.eye(3), 0.1, 3, torch.quint8),
    "per channel": by_channel,
    "floating zero points": lambda: by_channel(torch.quint8, torch.float32, torch.float32),
    "nested": lambda: nested(torch.strided),
    "jagged": lambda: nested(torch.jagged),
    "transposed jagged": lambda: nested(torch.jagged).transpose(1, 2),
}
every = pytest.mark.parametrize("make", COMPOSITE.values(), ids=COMPOSITE.keys())


@every
def test_a_composite_leaf_is_committed_whole_and_its_line_says_its_layout(make):
    value = make()
    (leaf,) = flatten_output(value)
    made = commit(value)
    assert leaf.kind == "tensor" and leaf.digests.hex() == made.digest
    line = line_of(leaf, bytes(32), 2, 0)
    assert leaf_lines([line], "outputs.jsonl") == [line]
    assert (line["layout"], line["dtype"], line["shape"]) == (
        made.layout,
        made.dtype,
        list(made.shape),
    )
    assert "rows" not in line and "run" not in line


@pytest.mark.parametrize(
    "change",
    [
        {"layout": "strided"},
        {"layout": "sparse_xyz"},
        {"layout": None},
        {"layout": ["sparse_coo"]},
        {"rows": 3, "run": 1},
        {"kind": "int"},
    ],
)
def test_a_composite_line_with_other_members_or_layout_is_malformed(change):
    line = line_of(flatten_output(coo())[0], bytes(32), 2, 0)
    with pytest.raises(MalformedRecord, match="line 1"):
        leaf_lines([{**line, **change}], "outputs.jsonl")


@every
def test_kept_composite_values_come_back_equal_in_content_and_layout(make):
    value = make()
    data = encode_evidence(flatten_arguments({"x": [value, 1]}, keep=True), None)
    leaves = decode_evidence(data)["inputs"]
    assert leaves[0].digests.hex() == commit(value).digest
    back = restore(leaves)["x"][0]
    assert commit(back) == commit(value)
    assert (back.layout, back.dtype, type(back)) == (value.layout, value.dtype, type(value))


def test_kept_values_that_torch_cannot_put_together_say_so():
    packed = by_channel(torch.quint4x2, torch.float32, torch.float32)
    data = encode_evidence(flatten_arguments({"x": packed}, keep=True), None)
    (leaf,) = leaves = decode_evidence(data)["inputs"]
    assert leaf.digests.hex() == commit(packed).digest
    with pytest.raises(MalformedRecord, match="put together.*Next: give the values yourself"):
        restore(leaves)


def test_kept_components_that_break_the_invariants_of_their_layout_are_not_put_together():
    data = encode_evidence(flatten_arguments({"x": coo()}, keep=True), None)
    outside = data.replace(struct.pack("<q", 2), struct.pack("<q", 9))
    assert outside != data
    with pytest.raises(MalformedRecord, match="put together.*found index 9"):
        restore(decode_evidence(outside)["inputs"])


def test_every_byte_of_a_kept_composite_tensor_is_bound_and_other_encodings_are_refused():
    for make in (coo, by_channel, lambda: nested(torch.jagged)):
        data = encode_evidence(None, flatten_output(make(), keep=True))
        (digest,) = (leaf.digests for leaf in decode_evidence(data)["outputs"])
        (length,) = struct.unpack_from("<Q", data)
        for at in range(len(data)):
            changed = bytearray(data)
            changed[at] ^= 1
            try:
                trees = decode_evidence(bytes(changed))
            except MalformedRecord:
                continue
            leaves = [leaf for tree in trees.values() for leaf in tree]
            # What can be read is another value, or stands in another tree or under another name.
            assert "outputs" not in trees or [(leaf.path, leaf.digests) for leaf in leaves] != [
                ("output", digest)
            ], (at, at - 8 - length)


def test_evidence_with_more_fewer_or_misnamed_components_is_malformed():
    good = encode_evidence(None, flatten_output(coo(), keep=True))
    for old, new in (
        (b"#values", b"#valuez"),
        (b"sparse_coo", b"sparse_csr"),
        (b"sparse_coo", b"sparse_xyz"),
        (b"components", b"componentz"),
    ):
        assert old in good
        with pytest.raises(MalformedRecord):
            decode_evidence(good.replace(old, new))


@every
def test_given_composite_outputs_are_verified_and_others_are_told(notary, make):
    value, other = make(), torch.ones(3).to_sparse()

    @notary.record
    def answer():
        return value

    answer()
    assert verify(notary.last, outputs=value)["outputs"].outcome == PASSED
    for wrong in (other, torch.ones(3)):
        step = only_failure(verify(notary.last, outputs=wrong))
        assert step.name == "outputs" and "output: " in step.detail


def test_a_sparse_output_given_dense_is_told_by_its_layout(notary):
    @notary.record
    def answer():
        return torch.eye(3).to_sparse()

    answer()
    step = only_failure(verify(notary.last, outputs=torch.eye(3)))
    assert "layout sparse_coo recorded, strided given" in step.detail
    step = only_failure(verify(notary.last, outputs=torch.eye(3).to_sparse_csr()))
    assert "layout sparse_coo recorded, sparse_csr given" in step.detail
    step = only_failure(verify(notary.last, outputs=(2 * torch.eye(3)).to_sparse()))
    assert "other elements" in step.detail


def test_a_layout_without_a_rule_leaves_its_step_not_checked(notary):
    @notary.record
    def answer():
        return torch.eye(3).to_mkldnn()

    answer()
    step = verify(notary.last, outputs=torch.eye(3).to_mkldnn())["outputs"]
    assert step.outcome == NOT_CHECKED and "no record binds" in step.detail


def test_kept_composite_values_travel_and_a_stranger_reproduces_from_them(full, tmp_path, stranger):
    @full.record
    def double(x, weight):
        return torch.sparse.mm(x, weight).relu().to_sparse()

    double(torch.tensor([[0.0, 1.5], [2.5, 0.0]]).to_sparse_csr(), torch.eye(2))
    path = saved(full.last, tmp_path, disclose=("inputs", "outputs"))
    stranger()
    verdict = verify(path)
    assert verdict["inputs"].outcome == verdict["outputs"].outcome == PASSED
    assert "values and digests" in verdict["outputs"].detail
    assert reproduce(path, double.__wrapped__).outcome == "bitwise"
    other = reproduce(path, lambda x, weight: 3 * double.__wrapped__(x, weight))
    assert other.outcome == "diverged"


def test_travelling_composite_values_that_are_not_the_recorded_ones_fail(full, tmp_path):
    from verifier_helpers import repacked

    @full.record
    def answer():
        return torch.eye(3).to_sparse()

    answer()
    path = saved(full.last, tmp_path, disclose=("outputs",))
    forged = encode_evidence(None, flatten_output((2 * torch.eye(3)).to_sparse(), keep=True))
    forged_path = tmp_path / "forged.tnr"
    forged_path.write_bytes(repacked(path, members={"evidence.safetensors": forged}))
    step = only_failure(verify(forged_path))
    assert step.name == "outputs" and step.outcome == FAILED


def test_two_records_of_one_sparse_result_are_the_same_and_of_another_differ(notary):
    @notary.record
    def answer(scale):
        return (scale * torch.eye(3)).to_sparse()

    answer(1.0)
    first = notary.last
    answer(1.0)
    assert "outputs" in diff(first, notary.last).same
    answer(2.0)
    assert "outputs" in diff(first, notary.last).differ


def test_rounding_in_the_values_of_a_sparse_tensor_is_rounding_and_in_its_indices_never():
    eps = torch.finfo(torch.float32).eps
    indices, values = [[0, 1], [1, 0]], torch.tensor([1.0, -4.0])
    for moved, within in ((ROUNDINGS * eps * 4, True), (2 * ROUNDINGS * eps * 4, False)):
        found = torch.sparse_coo_tensor(indices, values + torch.tensor([moved, 0]), (2, 2))
        (distance,) = _distances(torch.sparse_coo_tensor(indices, values, (2, 2)), found)
        assert (distance.path, distance.within) == ("output", within)
        assert distance.largest == pytest.approx(moved)
    elsewhere = torch.sparse_coo_tensor([[0, 1], [1, 1]], values, (2, 2))
    (distance,) = _distances(torch.sparse_coo_tensor(indices, values, (2, 2)), elsewhere)
    assert not distance.within
    (distance,) = _distances(torch.eye(2).to_sparse(), torch.eye(2).to_sparse_csr())
    assert not distance.within


def test_one_step_of_a_quantised_result_is_no_rounding():
    first, second = (
        torch.quantize_per_tensor(x, 0.1, 0, torch.qint8)
        for x in (torch.zeros(3), torch.full((3,), 0.1))
    )
    (distance,) = _distances(first, second)
    assert not distance.within


def _distances(recorded, found):
    return distances(flatten_output(recorded, keep=True), flatten_output(found, keep=True))


def test_a_composite_tensor_that_comes_twice_is_one_content_under_two_paths():
    value = coo()
    first, second = flatten_output([value, value], keep=True)
    assert (first.path, second.path) == ("output[0]", "output[1]")
    assert first.digests == second.digests and second.layout == "sparse_coo"
    given = flatten_given("outputs", [value, coo()], [{"path": "output[0]", "kind": "tensor"}])
    assert [leaf.digests for leaf in given] == [first.digests] * 2


def test_the_bytes_of_kept_components_are_counted():
    (leaf,) = flatten_output(coo(), keep=True)
    assert leaf.nbytes == commit(coo()).nbytes == 2 * 3 * 8 + 3 * 4
    assert flatten_output(coo())[0].nbytes == 0


def test_a_record_with_composite_values_loads_from_its_file(full, tmp_path):
    @full.record
    def answer(x):
        return x.to_dense()

    answer(coo().coalesce())
    path = saved(full.last, tmp_path, disclose=("inputs",))
    kept = Record.load(path).kept("inputs")
    assert commit(kept["x"]) == commit(coo().coalesce())
