"""Differences of models in files: matched by content first, moves and amounts included."""

from __future__ import annotations

import json

import pytest
import torch
from safetensors.torch import save_file

from torchnotary import _core, weights_files
from torchnotary.cli import run
from torchnotary.errors import MalformedRecord, NotaryError
from torchnotary.manifest import Manifest
from torchnotary.replay.tolerance import ulp_distance

STATE = {
    "a": torch.arange(6.0).reshape(2, 3),
    "b": torch.arange(4, dtype=torch.int64),
    "c": torch.ones(5, dtype=torch.bfloat16),
}


def model(folder, shards: dict[str, dict[str, torch.Tensor]], config: str = "{}"):
    """A folder of shards (name to tensors) with an index and a configuration."""
    folder.mkdir()
    for name, tensors in shards.items():
        save_file(tensors, folder / name)
    places = {tensor: name for name, tensors in shards.items() for tensor in tensors}
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": places}))
    (folder / "config.json").write_text(config)
    return folder


def split(*names: str):
    return {name: STATE[name] for name in names}


def test_a_tensor_that_moved_into_another_shard_is_said_to_have_moved(tmp_path):
    one = model(tmp_path / "one", {"1.safetensors": split("a", "b"), "2.safetensors": split("c")})
    two = model(tmp_path / "two", {"1.safetensors": split("a"), "2.safetensors": split("b", "c")})
    before, after = Manifest.of(one), Manifest.of(two)
    assert before.weights_root == after.weights_root
    assert before.diff(after).lines == [
        "tensor b moved from shard 1.safetensors to 2.safetensors",
        "file model.safetensors.index.json: content changed",
    ]


def test_copies_of_one_model_do_not_differ(tmp_path):
    shards = {"1.safetensors": split("a", "b"), "2.safetensors": split("c")}
    one, two = model(tmp_path / "one", shards), model(tmp_path / "two", shards)
    assert Manifest.of(one) == Manifest.of(two)
    assert str(Manifest.of(one).diff(Manifest.of(two))) == "nothing differs"


def test_other_files_are_matched_by_content_before_they_are_added_or_removed(tmp_path):
    one = model(tmp_path / "one", {"1.safetensors": STATE})
    two = model(tmp_path / "two", {"1.safetensors": STATE}, config="{ }")
    (one / "vocab.txt").write_text("words")
    (two / "tokens").mkdir()
    (two / "tokens" / "vocab.txt").write_text("words")
    (one / "gone").write_text("1")
    (two / "new").write_text("22")
    assert Manifest.of(one).diff(Manifest.of(two)).lines == [
        "file config.json: size 2 → 3",
        "file vocab.txt renamed to tokens/vocab.txt",
        "file gone removed (1 bytes)",
        "file new added (2 bytes)",
    ]


def test_files_are_not_compared_where_one_side_is_no_folder(tmp_path):
    folder = model(tmp_path / "one", {"1.safetensors": STATE})
    found = Manifest.of(folder).diff(Manifest.of(folder / "1.safetensors"))
    assert not found
    assert found.not_compared == "files (the second one is not of a folder)"


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16", "bfloat16", "int8", "uint64"])
def test_a_changed_tensor_says_how_many_elements_differ_and_by_how_much(tmp_path, dtype):
    old = torch.arange(100).to(getattr(torch, dtype))
    new = old.clone()
    new[3], new[50], new[99] = 7, 48, 98
    save_file({"w": old}, tmp_path / "old.safetensors")
    save_file({"w": new}, tmp_path / "new.safetensors")
    found = Manifest.of(tmp_path / "old.safetensors").diff(
        Manifest.of(tmp_path / "new.safetensors")
    )
    largest = (old.double() - new.double()).abs().max().item()
    assert found.lines == [
        f"tensor w: values changed (3 of 100 elements differ, by at most {largest:g})"
    ]


def test_a_tensor_whose_file_changed_since_is_not_compared_by_value(tmp_path):
    for name, value in (("old", 1.0), ("new", 2.0)):
        save_file({"w": torch.full((3,), value)}, tmp_path / f"{name}.safetensors")
    before = Manifest.of(tmp_path / "old.safetensors")
    after = Manifest.of(tmp_path / "new.safetensors")
    save_file({"w": torch.full((3,), 5.0)}, tmp_path / "new.safetensors")
    assert before.diff(after).lines == ["tensor w: values changed"]
    (tmp_path / "new.safetensors").unlink()
    assert before.diff(after).lines == ["tensor w: values changed"]


@pytest.mark.parametrize(
    "dtype",
    [
        *("float16", "bfloat16", "float32", "float64", "float8_e4m3fn", "float8_e5m2"),
        *("int8", "uint8", "int16", "uint16", "int32", "uint32", "bool"),
        *("complex64", "complex128"),
    ],
)
def test_distances_are_those_that_torch_finds(dtype):
    torch.manual_seed(1)
    kind = getattr(torch, dtype)
    bits = torch.randint(0, 256, (2, 4096 * kind.itemsize), dtype=torch.uint8)
    if kind == torch.bool:
        bits &= 1
    old, new = bits[0].view(kind), bits[1].view(kind)
    wide = torch.complex128 if kind.is_complex else torch.float64
    distances = (new.to(wide) - old.to(wide)).abs()
    differ = (bits[0].view(-1, kind.itemsize) != bits[1].view(-1, kind.itemsize)).any(1)
    found = _core.Difference(dtype)
    raw = [row.numpy().tobytes() for row in bits]
    middle = 1024 * kind.itemsize
    found.add(raw[0][:middle], raw[1][:middle])
    found.add(raw[0][middle:], raw[1][middle:])
    assert found.differing == int(differ.sum())
    assert found.undefined == int((differ & distances.isnan()).sum())
    assert found.largest == pytest.approx(
        distances[differ & ~distances.isnan()].max().item(), 1e-15
    )


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32", "float64"])
def test_the_values_between_two_elements_are_counted_as_ulp_distance_does(dtype):
    torch.manual_seed(2)
    old = (torch.randn(1000, dtype=torch.float64) * 1e-3).to(getattr(torch, dtype))
    new = old * (1 + 1e-3 * torch.rand(1000)).to(old.dtype)
    new[::7] = -new[::7]
    found = _core.Difference(dtype)
    found.add(*(x.view(torch.uint8).numpy().tobytes() for x in (old, new)))
    each = [ulp_distance(x, y) for x, y in zip(old.split(1), new.split(1), strict=True)]
    assert found.ulps == max(each)
    assert found.scale == old.abs().max().item()
    assert found.histogram == [sum(n.bit_length() == bucket for n in each) for bucket in range(65)]


def test_integers_beyond_doubles_differ_by_exact_amounts():
    found = _core.Difference("int64")
    found.add((2**62).to_bytes(8, "little"), (2**62 + 1).to_bytes(8, "little"))
    assert found.largest == 1
    found.add((-(2**63)).to_bytes(8, "little", signed=True), (2**63 - 1).to_bytes(8, "little"))
    assert found.largest == float(2**64 - 1)


def test_bools_that_are_true_in_other_bytes_do_not_differ():
    found = _core.Difference("bool")
    found.add(b"\x01\x01\x01\x00", b"\x02\x03\x01\x01")
    assert (found.differing, found.largest) == (1, 1)


def test_elements_of_another_number_are_not_compared():
    for pieces in ((b"1234", b"12345678"), (b"123", b"123")):
        with pytest.raises(NotaryError, match="not the same number of elements"):
            _core.Difference("float32").add(*pieces)


def test_the_command_says_what_differs_and_how_it_ends_says_whether(tmp_path, capsys):
    one = model(tmp_path / "one", {"1.safetensors": STATE})
    two = model(tmp_path / "two", {"1.safetensors": {**STATE, "b": STATE["b"] + 2}})
    assert run(["manifest", str(one), "--diff", str(one)]) == 0
    assert capsys.readouterr().out == "nothing differs\n"
    assert run(["manifest", str(one), "--diff", str(two)]) == 1
    assert "b: values changed (4 of 4 elements differ, by at most 2)" in capsys.readouterr().out
    assert run(["manifest", str(one), "--diff", str(one / "1.safetensors"), "--json"]) == 3
    document = json.loads(capsys.readouterr().out)
    assert document["differences"] == [] and not document["same"]
    assert document["not_compared"] == "files (the second one is not of a folder)"


def test_an_index_that_places_a_tensor_in_another_shard_is_refused_naming_both(tmp_path):
    folder = model(tmp_path / "m", {"1.safetensors": split("a"), "2.safetensors": split("b")})
    index = folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "2.safetensors", "b": "1.safetensors"}}))
    with pytest.raises(MalformedRecord) as refusal:
        Manifest.of(folder)
    assert refusal.value.expected == "'b' in 1.safetensors"
    assert refusal.value.actual == "'b' in 2.safetensors"
    assert weights_files.find(folder).safetensors  # the index itself is in order
