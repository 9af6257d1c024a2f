"""Kept values come back as they were, and a file that is not in its one encoding is refused."""

from __future__ import annotations

import json
import struct

import pytest
import torch
from safetensors import safe_open

from torchnotary import MalformedRecord, Notary, Record
from torchnotary.leaves import flatten_arguments, flatten_output
from torchnotary.statement.evidence import decode_evidence, encode_evidence, restore

VALUE = {
    "t": torch.arange(6, dtype=torch.bfloat16).reshape(2, 3),
    "empty": torch.zeros(0, 4),
    "nested": [1, -(2**80), 2.5, float("nan"), None, True, "tëxt \ud800", b"\x00\xff", [], {}],
    "c": torch.tensor(1 + 2j, dtype=torch.complex128),
    5: "by number",
}


def test_values_come_back_with_their_bits():
    data = encode_evidence(flatten_arguments({"x": VALUE}, keep=True), None)
    leaves = decode_evidence(data)["inputs"]
    assert [x.digests for x in leaves] == [x.digests for x in flatten_arguments({"x": VALUE})]
    back = restore(leaves)["x"]
    assert torch.equal(back["t"], VALUE["t"]) and back["t"].dtype == torch.bfloat16
    assert back["empty"].shape == (0, 4)
    assert back["c"] == VALUE["c"] and back["c"].dtype == torch.complex128
    assert repr(back["nested"]) == repr(VALUE["nested"])
    assert back[5] == "by number"


def test_ordinary_safetensors_readers_open_it(tmp_path):
    path = tmp_path / "evidence.safetensors"
    path.write_bytes(encode_evidence(None, flatten_output(VALUE, keep=True)))
    with safe_open(path, "pt") as file:
        assert torch.equal(file.get_tensor('outputs/output["t"]'), VALUE["t"])


def test_every_malleation_of_the_file_is_refused():
    data = encode_evidence(None, flatten_output(torch.ones(2), keep=True))
    (length,) = struct.unpack_from("<Q", data)
    header = data[8 : 8 + length]
    respaced = json.dumps(json.loads(header)).encode()
    variants = {
        "truncated": data[:-1],
        "trailing": data + b"\0",
        "respaced": struct.pack("<Q", len(respaced)) + respaced + data[8 + length :],
        "longer header": struct.pack("<Q", length + 8) + header + b" " * 8 + data[8 + length :],
        "lying length": struct.pack("<Q", 2**63) + data[8:],
        "no metadata": data.replace(b"__metadata__", b"__metadat4__"),
        "other format": data.replace(b"evidence/1", b"evidence/2"),
        "nothing kept": encode_evidence(None, None),
        "deep": struct.pack("<Q", 200_000) + b"[" * 200_000,
        "empty": b"",
    }
    for name, variant in variants.items():
        with pytest.raises(MalformedRecord):
            decode_evidence(variant)
            pytest.fail(f"{name} was accepted")


def test_full_evidence_keeps_the_tensors_of_a_call(tmp_path):
    notary = Notary(tmp_path / "log", evidence="full")
    x = torch.rand(3, 4)
    y = notary.record(lambda x, k: x * k)(x, k=3)
    kept = notary.last.kept("inputs")
    assert torch.equal(kept["x"], x) and kept["k"] == 3
    assert torch.equal(notary.last.kept("outputs"), y)
    notary.last.save(tmp_path / "run.tnr", disclose=("outputs",))
    received = Record.load(tmp_path / "run.tnr")
    assert torch.equal(received.kept("outputs"), y)
    assert b"inputs/x" not in (tmp_path / "run.tnr").read_bytes()
    notary.close()
