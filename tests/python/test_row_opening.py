"""Row openings: one user's row is proven, and nothing of a neighbour is shown."""

from __future__ import annotations

import base64
import json
import subprocess
import sys
from types import SimpleNamespace

import blake3
import numpy as np
import pytest
import torch

import torchnotary
from rfc9162_reference import mth
from test_commitment import DTYPES, random_bits, torch_bytes
from torchnotary import (
    MalformedProof,
    NotaryError,
    Record,
    RootMismatch,
    RowOpening,
    UnsupportedTensor,
    VerificationFailed,
    _core,
)


def recorded(notary, value, argument=0):
    notary.record(lambda x: value)(argument)
    return notary.last


X = random_bits(torch.float32, (21, 6), seed=3)


@pytest.fixture
def record(notary):
    return recorded(notary, X)


def test_every_row_opens_to_what_was_recorded(record, tmp_path):
    record.save(tmp_path / "run.tnr")
    handed = Record.load(tmp_path / "run.tnr")
    for row in range(21):
        opening = RowOpening.decode(record.open("outputs", row, values=X).encode())
        assert torch_bytes(opening.verify(handed)) == torch_bytes(X[row])
        assert opening.verify(handed).shape == (6,)
        assert opening.verify_bytes(handed) == torch_bytes(X[row])
        assert (opening.rows, opening.shape, opening.path) == (range(row, row + 1), (6,), "output")
    assert record.open("outputs", -1, values=X) == record.open("outputs", 20, values=X)


def test_an_opening_is_what_the_formats_say(record):
    opening = record.open("outputs", 4, values=X)
    value = json.loads(opening.encode())
    assert (
        json.dumps(value, sort_keys=True, separators=(",", ":")).encode() + b"\n"
        == opening.encode()
    )
    assert base64.b64decode(value["data"]) == torch_bytes(X[4])
    digest = bytes.fromhex(torchnotary.commit(X[4]).digest)
    salt = bytes.fromhex(value["salt"])
    secret = record.private.secret
    message = secret + bytes([2]) + bytes(8) + (4).to_bytes(8, "little")
    context = "torchnotary 2026-11 salt v1"
    assert salt == blake3.blake3(message, derive_key_context=context).digest()
    salted = [blake3.blake3(d, key=s).digest() for d, s in record.opened("outputs")[0]]
    assert salted[4] == blake3.blake3(digest, key=salt).digest()
    assert mth(salted).hex() == value["line"]["commitment"]
    assert [value[k] for k in ("number", "row", "tree", "type", "record", "lineProof")] == [
        0, 4, "outputs", "row-opening/1", record.id, [],
    ]  # fmt: skip


def everything_in(encoded: bytes) -> bytes:
    """The opening, and what its hexadecimal and its base64 stand for."""
    value = json.loads(encoded)
    hidden = [bytes.fromhex(x) for x in (*value["lineProof"], *value["rowProof"], value["salt"])]
    return encoded + b"|".join([*hidden, base64.b64decode(value["data"])])


def test_an_opening_shows_no_value_digest_or_salt_of_a_neighbour(record):
    encoded = record.open("outputs", 9, values=X).encode()
    shown = everything_in(encoded)
    pairs = record.opened("outputs")[0]
    assert pairs[9][1] in shown and torch_bytes(X[9]) in shown  # the search would find them
    for row in set(range(21)) - {9}:
        digest, salt = pairs[row]
        assert torch_bytes(X[row]) not in shown
        for secret in (digest, salt):
            assert secret not in shown and secret.hex().encode() not in shown
        root = bytes.fromhex(torchnotary.commit(X[row]).data_root)
        assert root not in shown and root.hex().encode() not in shown
    assert record.private.secret not in shown
    assert record.private.secret.hex().encode() not in shown


def test_equal_rows_look_unlike_in_an_opening(notary):
    tensor = torch.ones(8, 3)
    opening = recorded(notary, tensor).open("outputs", 2, values=tensor)
    own = torchnotary.merkle.leaf_hash(blake3.blake3(opening.digest(), key=opening.salt).digest())
    assert len({own, *opening.row_proof}) == 4
    assert torchnotary.merkle.leaf_hash(opening.digest()) not in opening.row_proof


def test_an_opening_of_one_value_names_no_other(notary):
    value = {"logits": X, "patient": "Zaphod", "all": [1, 2.5, None]}
    record = recorded(notary, value)
    shown = everything_in(record.open("outputs", 3, 'output["logits"]', values=value).encode())
    for word in (b"Zaphod", b"patient", b"all", b"float64"):
        assert word not in shown
    lines = record.lines("outputs.jsonl")
    for line in lines[1:]:
        assert line["commitment"].encode() not in shown


@pytest.mark.parametrize("name", sorted(DTYPES))
def test_rows_of_every_dtype_open(name, notary):
    tensor = random_bits(DTYPES[name], (3, 5))
    record = recorded(notary, tensor)
    shown = record.open("outputs", 1, values=tensor).verify(record)
    assert shown.dtype == tensor.dtype and torch_bytes(shown) == torch_bytes(tensor[1])


@pytest.mark.parametrize("shape", [(1, 3), (2, 3), (3, 1), (5, 0), (4, 2, 3), (7, 1, 1, 2)])
def test_rows_of_every_shape_open(shape, notary):
    tensor = random_bits(torch.int16, shape)
    record = recorded(notary, tensor)
    for row in range(shape[0]):
        shown = record.open("outputs", row, values=tensor).verify(record)
        assert shown.shape == shape[1:] and torch_bytes(shown) == torch_bytes(tensor[row])


@pytest.mark.parametrize("n, run", [(4096, 1), (4097, 2), (8193, 3)])
def test_of_an_axis_beyond_4096_rows_the_run_that_holds_the_row_opens(n, run, notary):
    tensor = torch.arange(2 * n).reshape(n, 2)
    record = recorded(notary, tensor)
    for row in (0, run, n // 2, n - 1):
        opening = record.open("outputs", row, values=tensor)
        assert row in opening.rows and len(opening.rows) <= run
        shown = opening.verify(record)
        expected = tensor[row] if run == 1 else tensor[opening.rows.start : opening.rows.stop]
        assert shown.equal(expected)


WHOLE = {
    "none": None,
    "bool": True,
    "int": -12345678901234567890,
    "huge": 1 << 5000,
    "float": float("-inf"),
    "zero": -0.0,
    "str": "caf\u00e9 \ud800",
    "bytes": b"\x00\xff",
    "list": [],
    "tuple": (),
    "dict": {},
    "vector": torch.arange(3.0),
    "scalar": torch.tensor(7),
    "rows": torch.zeros(0, 4),
}


def test_plain_values_and_small_tensors_open_whole(notary):
    record = recorded(notary, WHOLE)
    for name, value in WHOLE.items():
        path = f'output["{name}"]'
        for row in (None, 0, -1):
            opening = record.open("outputs", row, path, values=WHOLE)
            assert opening.row is None and opening.row_proof == () and opening.rows == range(0)
            shown = RowOpening.decode(opening.encode()).verify(record)
            if isinstance(value, torch.Tensor):
                assert shown.dtype == value.dtype and shown.shape == value.shape
                assert torch_bytes(shown) == torch_bytes(value)
            else:
                assert repr(list(shown) if value == () else shown) in (repr(value), "[]", "{}")
        with pytest.raises(NotaryError, match="no such row"):
            record.open("outputs", 1, path, values=WHOLE)


def test_inputs_open_by_name(notary):
    notary.record(lambda x, k: x)(X, 5)
    record = notary.last
    assert record.open("inputs", None, "k", values={"x": X, "k": 5}).verify(record) == 5
    for values in (X, {"x": X, "k": 5}, (X, 5)):
        opening = record.open("inputs", 2, "x", values=values)
        assert torch_bytes(opening.verify(record)) == torch_bytes(X[2])
    assert len(record.open("inputs", 2, "x", values=X).line_proof) == 1


def test_numpy_values_open_a_torch_record(record):
    opening = record.open("outputs", 5, values=X.numpy())
    assert opening.verify_bytes(record) == torch_bytes(X[5])


def test_kept_values_open_without_being_given(full):
    record = recorded(full, {"logits": X, "n": 3}, X[:2])
    opening = record.open("outputs", 7, 'output["logits"]')
    assert torch_bytes(opening.verify(record)) == torch_bytes(X[7])
    assert record.open("outputs", None, 'output["n"]').verify(record) == 3
    assert torch_bytes(record.open("inputs", 1).verify(record)) == torch_bytes(X[1])


def test_a_receiver_of_the_disclosed_record_can_open_it_too(record, tmp_path, stranger):
    record.save(tmp_path / "open.tnr", outputs=X)
    record.save(tmp_path / "closed.tnr")
    stranger()
    handed = Record.load(tmp_path / "open.tnr")
    assert torch_bytes(handed.open("outputs", 3).verify(handed)) == torch_bytes(X[3])
    with pytest.raises(NotaryError, match="private store is not here"):
        Record.load(tmp_path / "closed.tnr").open("outputs", 3, values=X)


def test_what_cannot_be_opened_is_refused_with_what_can(record, notary):
    for row in (21, -22, None):
        with pytest.raises(NotaryError, match="0 to 20"):
            record.open("outputs", row, values=X)
    with pytest.raises(NotaryError, match="expected output"):
        record.open("outputs", 0, "logits", values=X)
    with pytest.raises(NotaryError, match="inputs or outputs"):
        record.open("weights", 0, values=X)
    with pytest.raises(NotaryError, match="not kept"):
        record.open("outputs", 0)
    several = recorded(notary, {"a": X, "b": object()})
    with pytest.raises(NotaryError, match="by its path"):
        several.open("outputs", 0, values=X)
    with pytest.raises(NotaryError, match="no record binds"):
        several.open("outputs", 0, 'output["b"]', values=X)


def test_values_that_are_not_the_recorded_ones_are_not_opened(record):
    other = X.clone()
    other[4, 0] = 1.25
    with pytest.raises(VerificationFailed, match="row 4 of output"):
        record.open("outputs", 4, values=other)
    record.open("outputs", 5, values=other)
    for values in (X[:20], X.double(), X[0], {"other": X}, 5):
        with pytest.raises(VerificationFailed):
            record.open("outputs", 4, values=values)


def test_an_opening_of_another_record_is_refused_with_both_ids(record, notary):
    other = recorded(notary, X)
    opening = record.open("outputs", 3, values=X)
    with pytest.raises(RootMismatch) as caught:
        opening.verify(other)
    assert (caught.value.expected, caught.value.actual) == (other.id, record.id)
    forged = json.loads(opening.encode())
    forged["record"] = other.id
    with pytest.raises(RootMismatch):
        RowOpening.decode(dumped(forged)).verify(other)


def test_a_tree_that_the_record_lacks_opens_nothing(notary):
    notary.record(lambda: X)()
    record = notary.last
    value = json.loads(record.open("outputs", 3, values=X).encode())
    assert record.predicate["inputs"] is None
    with pytest.raises(RootMismatch, match="no inputs"):
        RowOpening.decode(dumped({**value, "tree": "inputs"})).verify(record)


def dumped(value) -> bytes:
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return text.encode() + b"\n"


def assert_refused(encoded: bytes, record) -> None:
    with pytest.raises((MalformedProof, RootMismatch)) as caught:
        RowOpening.decode(encoded).verify(record)
    assert caught.value.next_step


def test_every_bit_of_a_row_opening_counts(notary):
    record = recorded(notary, {"x": X[:5], "k": 7})
    for path, row in (('output["x"]', 3), ('output["k"]', None)):
        encoded = record.open("outputs", row, path, values={"x": X[:5], "k": 7}).encode()
        RowOpening.decode(encoded).verify(record)
        for place in range(8 * len(encoded)):
            changed = bytearray(encoded)
            changed[place // 8] ^= 1 << place % 8
            assert_refused(bytes(changed), record)


def test_every_truncation_and_every_longer_row_opening_is_malformed(record):
    encoded = record.open("outputs", 3, values=X).encode()
    for length in range(len(encoded)):
        with pytest.raises(MalformedProof):
            RowOpening.decode(encoded[:length])
    for more in (b"\n", b" ", b" \n", encoded):
        with pytest.raises(MalformedProof):
            RowOpening.decode(encoded + more)


@pytest.mark.parametrize(
    "change",
    [
        {"row": 2},
        {"row": 5},
        {"row": 21},
        {"row": -1},
        {"row": None},
        {"row": 3.0},
        {"row": True},
        {"number": 1},
        {"number": -1},
        {"number": None},
        {"tree": "inputs"},
        {"tree": "weights"},
        {"tree": 1},
        {"type": "row-opening/2"},
        {"record": "00" * 32},
        {"record": "AB" * 32},
        {"record": None},
        {"salt": "00" * 32},
        {"salt": "00" * 31},
        {"salt": 5},
        {"data": ""},
        {"data": "AAAA"},
        {"data": "AAA"},
        {"data": "A\nAA"},
        {"data": 5},
        {"rowProof": []},
        {"rowProof": None},
        {"rowProof": ["00"]},
        {"lineProof": ["00" * 32]},
        {"lineProof": "00"},
        {"line": None},
        {"line": {"type": "leaf"}},
        {"line": []},
        {"more": 1},
    ],
    ids=str,
)
def test_a_row_opening_that_says_anything_else_is_refused(record, change):
    value = json.loads(record.open("outputs", 3, values=X).encode())
    assert_refused(dumped({**value, **change}), record)


@pytest.mark.parametrize(
    "change",
    [
        {"shape": [21, 7]},
        {"shape": [21]},
        {"shape": [2**53, 6]},
        {"shape": [21, 2**53 - 1, 2**53 - 1]},
        {"dtype": "float64"},
        {"dtype": "int32"},
        {"dtype": "nothing"},
        {"commitment": "00" * 32},
        {"rows": 22},
        {"run": 2},
        {"kind": "int"},
        {"kind": "unbound"},
        {"path": "x"},
        {"type": "opening"},
    ],
    ids=str,
)
def test_a_row_opening_with_another_line_is_refused(record, change):
    value = json.loads(record.open("outputs", 3, values=X).encode())
    assert_refused(dumped({**value, "line": {**value["line"], **change}}), record)


def test_a_proof_with_its_hashes_in_another_order_is_refused(record):
    value = json.loads(record.open("outputs", 3, values=X).encode())
    proof = value["rowProof"]
    for changed in (proof[::-1], proof[1:], proof[:-1], [*proof, proof[0]], [*proof[1:], proof[0]]):
        assert_refused(dumped({**value, "rowProof": changed}), record)


def test_another_rows_data_do_not_open_under_a_rows_salt(record):
    third = json.loads(record.open("outputs", 3, values=X).encode())
    fourth = json.loads(record.open("outputs", 4, values=X).encode())
    for names in (("data",), ("salt",), ("data", "salt"), ("rowProof",), ("row",)):
        assert_refused(dumped({**third, **{name: fourth[name] for name in names}}), record)


def committed_to(kind: str, data: bytes):
    """A record whose maker committed to these bytes as a value of that kind, and its opening."""
    salt = bytes(range(32))
    salted = blake3.blake3(_core.value_digest(data), key=salt).hexdigest()
    line = {"commitment": salted, "kind": kind, "path": "output", "type": "leaf"}
    encoded = json.dumps(line, sort_keys=True, separators=(",", ":")).encode()
    tree = {"root": torchnotary.merkle.root([encoded]).hex(), "size": 1}
    record = SimpleNamespace(id="ab" * 32, predicate={"outputs": tree, "inputs": None})
    return record, RowOpening(record.id, "outputs", 0, line, (), None, (), salt, data)


@pytest.mark.parametrize(
    "kind, data",
    [
        ("int", b"i05"),
        ("int", b"i+5"),
        ("int", b"x0x5"),
        ("int", b"i 5"),
        ("int", b"f5"),
        ("int", b""),
        ("bool", b"b\x02"),
        ("bool", b"i1"),
        ("none", b"n "),
        ("none", b""),
        ("float", b"f" + bytes(7)),
        ("float", b"f" + bytes(9)),
        ("str", b"y61"),
        ("str", b"s\xff"),
        ("bytes", b"s61"),
        ("empty", b"stuple"),
        ("empty", b""),
    ],
)
def test_a_value_committed_to_in_a_second_spelling_is_no_value(kind, data):
    record, opening = committed_to(kind, data)
    with pytest.raises(MalformedProof, match=kind):
        RowOpening.decode(opening.encode()).verify(record)


def test_the_record_of_a_right_spelling_would_open():
    record, opening = committed_to("int", b"i5")
    assert RowOpening.decode(opening.encode()).verify(record) == 5


def test_bits_beyond_the_data_and_hashes_beyond_the_proof_are_malformed():
    value = json.loads(committed_to("int", b"i5")[1].encode())
    assert value["data"] == "aTU="
    with pytest.raises(MalformedProof, match="beyond"):
        RowOpening.decode(dumped({**value, "data": "aTV="}))
    with pytest.raises(MalformedProof, match="rowProof"):
        RowOpening.decode(dumped({**value, "rowProof": ["00" * 32]}))


def test_a_bool_that_is_neither_0_nor_1_is_no_bool(notary):
    record = recorded(notary, torch.tensor([[True, False]]))
    opening = json.loads(record.open("outputs", 0, values=torch.tensor([[True, False]])).encode())
    opening["data"] = base64.b64encode(b"\x02\x00").decode()
    with pytest.raises(MalformedProof, match="bool"):
        RowOpening.decode(dumped(opening)).verify(record)


def test_row_openings_are_saved_and_loaded(record, tmp_path):
    opening = record.open("outputs", 3, values=X)
    opening.save(tmp_path / "row.json")
    assert (tmp_path / "row.json").read_bytes() == opening.encode()
    assert RowOpening.load(tmp_path / "row.json") == opening
    (tmp_path / "row.json").write_bytes(opening.encode()[:-2])
    with pytest.raises(MalformedProof, match="row.json"):
        RowOpening.load(tmp_path / "row.json")


def test_a_row_is_verified_without_torch_and_numpy(record, tmp_path):
    record.open("outputs", 3, values=X).save(tmp_path / "row.json")
    record.save(tmp_path / "run.tnr")
    code = (
        "import sys, torchnotary\n"
        "record = torchnotary.Record.load(sys.argv[2])\n"
        "print(torchnotary.RowOpening.load(sys.argv[1]).verify_bytes(record).hex())\n"
        "assert not {'torch', 'numpy'} & set(sys.modules)"
    )
    command = [sys.executable, "-c", code, tmp_path / "row.json", tmp_path / "run.tnr"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert bytes.fromhex(done.stdout) == torch_bytes(X[3]) == np.asarray(X[3]).tobytes()


def test_a_sparse_output_has_no_openings_and_says_so(notary):
    sparse = torch.eye(3).to_sparse()
    with pytest.raises(UnsupportedTensor, match="several components") as refused:
        recorded(notary, sparse).open("outputs", None, values=sparse)
    assert refused.value.actual == "sparse_coo"


def test_a_row_opening_of_a_line_with_a_layout_is_malformed(notary):
    record = recorded(notary, torch.tensor(1.0))
    opening = json.loads(record.open("outputs", None, values=torch.tensor(1.0)).encode())
    opening["line"]["layout"] = "sparse_coo"
    with pytest.raises(MalformedProof, match="components"):
        RowOpening.decode(dumped(opening))
