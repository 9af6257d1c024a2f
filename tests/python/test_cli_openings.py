# ruff: noqa: F811
"""The commands open and check-opening: what they prove, refuse, print and write."""

from __future__ import annotations

import json

import numpy
import pytest
import torch
from safetensors.torch import load_file, save_file

import torchnotary
from test_cli import mymodel, place, run  # noqa: F401  (fixtures)
from torchnotary import Manifest, Opening, RowOpening

Y = torch.arange(10, dtype=torch.float32).reshape(5, 2)


@pytest.fixture
def weights(place):
    torch.manual_seed(1)
    tensors = {"0.weight": torch.randn(8, 4), "0.bias": torch.randn(8).bfloat16()}
    save_file(tensors, place / "model.safetensors")
    torch.save(tensors, place / "model.pt")
    Manifest.of(place / "model.safetensors").save(place / "manifest")
    return tensors


@pytest.fixture
def record(notary, place):
    y = notary.record(lambda: {"y": Y, "n": 5})()
    notary.last.save(place / "run.tnr")
    save_file({'output["y"]': Y}, place / "y.safetensors")
    torch.save(y, place / "y.pt")
    return notary.last


def opened(run, *arguments):
    code, out, err = run("open", *arguments, "-o", "x.opening")
    assert code == 0, out + err
    return out


@pytest.mark.parametrize("source", ["model.safetensors", "model.pt", "."])
def test_a_weight_opens_from_a_file_and_a_folder(source, run, weights, place):
    out = opened(run, source, "--tensor", "0.weight", "--index", " 3, :, None")
    assert "opened [3, 0:4, None]" in out
    expected = torchnotary.commit(weights["0.weight"])
    assert expected.digest in out
    shown = Opening.load(place / "x.opening").verify(expected)
    assert shown.equal(weights["0.weight"][3, :, None])


def test_without_an_index_the_whole_tensor_opens(run, weights, place):
    opened(run, "model.safetensors", "--tensor", "0.bias")
    shown = Opening.load(place / "x.opening").verify(torchnotary.commit(weights["0.bias"]))
    assert shown.equal(weights["0.bias"])


@pytest.mark.parametrize("manifest", ["manifest", "manifest/weights.jsonl"])
def test_an_opening_is_checked_against_a_manifest(manifest, run, weights, place):
    opened(run, "model.safetensors", "--tensor", "0.weight", "--index", "1:3,2")
    command = ("check-opening", "x.opening", "--manifest", manifest, "--tensor")
    code, out, _ = run(*command, "0.weight", "-o", "v.npy")
    assert code == 0 and out.startswith("PROVEN") and "1:3, 2" in out
    assert numpy.array_equal(numpy.load(place / "v.npy"), weights["0.weight"][1:3, 2].numpy())
    code, out, err = run(*command, "0.bias", "-o", "w.npy")
    assert code == 1 and "not an opening of the committed tensor" in err
    assert not (place / "w.npy").exists()
    code, _, err = run(*command, "0.nothing")
    assert code == 2 and "0.nothing" in err


def test_an_opening_is_checked_against_a_digest(run, weights, place):
    opened(run, "model.safetensors", "--tensor", "0.bias", "--index", "::2")
    digest = torchnotary.commit(weights["0.bias"]).digest
    command = ("check-opening", "x.opening", "--commitment")
    code, out, _ = run(*command, digest.upper(), "-o", "v.safetensors", "--json")
    assert code == 0
    document = json.loads(out)
    assert document["digest"] == digest and document["exit_code"] == 0
    assert document["values"] == "bfloat16[4]" and document["headline"].startswith("PROVEN")
    assert load_file(place / "v.safetensors")["values"].equal(weights["0.bias"][::2])
    code, _, err = run(*command, "ab" * 32)
    assert code == 1 and digest in err and "ab" * 32 in err
    assert run(*command, "ab")[0] == 2


def test_with_nothing_to_compare_an_opening_is_not_checked(run, weights, record, place):
    opened(run, "model.safetensors", "--tensor", "0.bias", "--index", "0")
    code, out, _ = run("check-opening", "x.opening", "-o", "v.npy")
    assert code == 3 and out.startswith("NOT CHECKED") and "--commitment" in out
    opened(
        run, "run.tnr", "--tree", "outputs", "--row", 2, "--path", 'output["y"]', "--values", "y.pt"
    )
    code, out, _ = run("check-opening", "x.opening", "-o", "v.npy")
    assert code == 3 and out.startswith("NOT CHECKED") and "--record" in out
    assert not (place / "v.npy").exists()


def test_an_opening_that_contradicts_itself_is_refused_even_then(run, weights, place):
    opened(run, "model.safetensors", "--tensor", "0.bias", "--index", "0")
    data = bytearray((place / "x.opening").read_bytes())
    data[-1] ^= 1
    (place / "x.opening").write_bytes(data)
    code, _, err = run("check-opening", "x.opening")
    assert code == 1 and "another data root" in err


@pytest.mark.parametrize("values", ["y.pt", "y.safetensors"])
def test_a_row_of_a_record_opens_and_is_checked(values, run, record, place):
    path = 'output["y"]'
    out = opened(
        run, "run.tnr", "--tree", "outputs", "--row", 3, "--path", path, "--values", values
    )
    assert "rows 3:4" in out and record.id[:16] in out
    assert RowOpening.load(place / "x.opening").verify(record).equal(Y[3])
    for source in ("run.tnr", record.id):
        code, out, _ = run("check-opening", "x.opening", "--record", source, "-o", "v.npy")
        assert code == 0 and out.startswith("PROVEN") and path in out
    assert numpy.array_equal(numpy.load(place / "v.npy"), Y[3].numpy())


def test_a_plain_value_is_printed(run, record, place):
    opened(run, record.id, "--tree", "outputs", "--path", 'output["n"]', "--values", "y.pt")
    code, out, err = run("check-opening", "x.opening", "--record", "run.tnr", "-o", "v.npy")
    assert code == 0 and "\nvalue    5" in out
    assert "not written" in err and not (place / "v.npy").exists()


def test_a_row_by_a_key_nobody_trusts_is_inconclusive(run, record, stranger):
    path = 'output["y"]'
    opened(run, "run.tnr", "--tree", "outputs", "--row", 3, "--path", path, "--values", "y.pt")
    stranger()
    code, out, _ = run("check-opening", "x.opening", "--record", "run.tnr")
    assert code == 3 and out.startswith("UNKNOWN SIGNER") and "keys trust" in out


def test_a_row_of_another_record_or_of_a_forged_one_is_refused(run, record, notary, place):
    path = 'output["y"]'
    opened(run, "run.tnr", "--tree", "outputs", "--row", 3, "--path", path, "--values", "y.pt")
    notary.record(lambda: Y)()
    notary.last.save(place / "other.tnr")
    code, _, err = run("check-opening", "x.opening", "--record", "other.tnr")
    assert code == 1 and "another record" in err
    damaged = bytearray((place / "run.tnr").read_bytes())
    damaged[len(damaged) // 2] ^= 1
    (place / "run.tnr").write_bytes(damaged)
    assert run("check-opening", "x.opening", "--record", "run.tnr")[0] == 1


def test_a_weight_is_checked_against_the_weights_a_record_discloses(run, mymodel, notary, place):
    notary.record(mymodel.score)(torch.zeros(1, 8))
    notary.last.save(place / "open.tnr", disclose=["weights"])
    save_file(mymodel.net.state_dict(), place / "net.safetensors")
    opened(run, "net.safetensors", "--tensor", "weight", "--index", "2")
    command = ("check-opening", "x.opening", "--record", "open.tnr")
    code, out, _ = run(*command, "--tensor", "weight")
    assert code == 0 and "signer" in out
    assert run(*command, "--tensor", "bias")[0] == 1
    assert run(*command)[0] == 2


@pytest.mark.parametrize(
    "arguments, said",
    [
        (("open", "model.safetensors", "-o", "x"), "--tensor"),
        (("open", "model.safetensors", "--tensor", "a", "--tree", "inputs", "-o", "x"), "--tensor"),
        (("open", "model.safetensors", "--tensor", "a", "--row", "1", "-o", "x"), "--row"),
        (("open", "run.tnr", "--tree", "outputs", "--index", "1", "-o", "x"), "--index"),
        (("open", "model.safetensors", "--tensor", "0.nothing", "-o", "x"), "0.nothing"),
        (("open", "nothing.safetensors", "--tensor", "a", "-o", "x"), "nothing.safetensors"),
        (("open", "model.safetensors", "--tensor", "0.bias", "--index", "8", "-o", "x"), "axis 0"),
        (("open", "model.safetensors", "--tensor", "0.bias", "--index", "[0]", "-o", "x"), "index"),
        (("open", "run.tnr", "--tree", "trace", "--row", "9", "-o", "x"), "inputs or outputs"),
        (("check-opening", "nothing"), "nothing"),
        (("check-opening", "w.opening", "--manifest", "manifest"), "--tensor"),
        (("check-opening", "w.opening", "--manifest", "m", "--record", "r"), "--manifest"),
        (("check-opening", "w.opening", "--tensor", "0.bias"), "--tensor"),
        (("check-opening", "w.opening", "-o", "values.txt"), "values.txt"),
        (("check-opening", "r.opening", "--manifest", "manifest"), "--manifest"),
        (("check-opening", "r.opening", "--record", "run.tnr", "--tensor", "a"), "--tensor"),
    ],
)
def test_what_cannot_be_meant_is_a_usage_problem(arguments, said, run, weights, record, place):
    run("open", "model.safetensors", "--tensor", "0.bias", "-o", "w.opening")
    record.open("outputs", None, 'output["n"]', {"y": Y, "n": 5}).save("r.opening")
    code, out, err = run(*arguments)
    assert said in err and code == (1 if "trace" in arguments else 2)
    assert not (place / "x").exists()
    assert run(*arguments, "--json")[0] == code


@pytest.mark.parametrize("content", [b"", b"{", b"{}\n", b"torchnotary opening/1\n", b"\x80" * 99])
def test_a_file_that_is_no_opening_is_named(content, run, place):
    (place / "bad.opening").write_bytes(content)
    code, _, err = run("check-opening", "bad.opening")
    assert code == 1 and "bad.opening" in err
