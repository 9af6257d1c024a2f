"""Pins: a model that changed since it was pinned does not run, and the refusal names what."""

from __future__ import annotations

import copy
import json
import os

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn

from torchnotary import check_pin, merkle, pin
from torchnotary.errors import MalformedRecord, PinMismatch
from torchnotary.lockfile import read_pin
from torchnotary.manifest import Manifest


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "torchnotary.lock"


def test_a_model_that_did_not_change_passes(minilm, lock):
    manifest = pin(minilm, lock)
    assert check_pin(minilm, lock) is None
    assert read_pin(lock) == manifest


def test_the_default_path_is_torchnotary_lock_in_the_current_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = nn.Linear(2, 2)
    pin(model)
    assert [path.name for path in tmp_path.glob("*.lock")] == ["torchnotary.lock"]
    check_pin(model)


def test_a_lock_file_is_a_header_structure_lines_and_weights_lines(lock):
    model = nn.Linear(2, 2)
    pin(model, lock)
    header, *lines = lock.read_bytes().splitlines()
    parts = json.loads(header)
    assert parts.pop("type") == "pin/1"
    structure, weights = lines[:2], lines[2:]
    assert parts == {
        "structure": {"root": merkle.root(structure).hex(), "size": 2},
        "weights": {"root": merkle.root(weights).hex(), "size": 2},
    }
    assert structure == Manifest.of(model).structure_lines


def test_a_changed_eps_a_changed_element_and_a_changed_buffer_are_named(minilm, lock):
    pin(minilm, lock)
    changed = copy.deepcopy(minilm)
    changed.encoder.layer[0].attention.output.LayerNorm.eps = 1e-5
    changed.embeddings.token_type_ids[0, 0] = 1
    with torch.no_grad():
        changed.pooler.dense.bias[5] = 0.25
    with pytest.raises(PinMismatch) as refusal:
        check_pin(changed, lock)
    message = str(refusal.value)
    for named in (
        "encoder.layer.0.attention.output.LayerNorm.eps 1e-12 → 1e-05",
        "buffer embeddings.token_type_ids: values changed",
        "tensor pooler.dense.bias: values changed",
        "Next: ",
    ):
        assert named in message
    before, after = Manifest.of(minilm), Manifest.of(changed)
    assert refusal.value.expected == (
        f"weights {before.weights_root}, structure {before.structure_root}"
    )
    assert refusal.value.actual == (
        f"weights {after.weights_root}, structure {after.structure_root}"
    )


def test_only_the_root_that_changed_is_given(lock):
    model = nn.LayerNorm(3)
    pin(model, lock)
    model.eps = 1e-3
    with pytest.raises(PinMismatch) as refusal:
        check_pin(model, lock)
    assert refusal.value.expected.startswith("structure ")
    assert "weights" not in str(refusal.value)


@pytest.mark.filterwarnings("ignore")
def test_an_int8_model_behind_the_same_interface_does_not_pass(minilm, lock):
    pin(minilm, lock)
    quantised = torch.ao.quantization.quantize_dynamic(
        copy.deepcopy(minilm), {nn.Linear}, dtype=torch.qint8
    )
    with pytest.raises(PinMismatch, match=r"Linear → torch\.ao\.nn\.quantized\.dynamic"):
        check_pin(quantised, lock)


def test_a_wrapped_model_passes(minilm, lock):
    pin(minilm, lock)
    check_pin(nn.DataParallel(minilm), lock)


def test_the_pin_of_a_file_lets_the_model_loaded_from_it_pass(minilm, minilm_folder, lock):
    assert pin(minilm_folder, lock).structure_root is None
    check_pin(minilm, lock)
    check_pin(minilm_folder / "model.safetensors", lock)
    changed = copy.deepcopy(minilm)
    with torch.no_grad():
        changed.pooler.dense.bias[5] = 0.25
    with pytest.raises(PinMismatch, match=r"tensor pooler\.dense\.bias: changed"):
        check_pin(changed, lock)


def test_the_pin_of_a_file_stops_a_model_that_leaves_part_of_it_out(minilm, minilm_folder, lock):
    pin(minilm_folder, lock)
    shorter = copy.deepcopy(minilm)
    del shorter.encoder.layer[5]
    with pytest.raises(PinMismatch, match=r"encoder\.layer\.5.*: not in the model"):
        check_pin(shorter, lock)


def test_the_pin_of_a_model_says_that_a_file_cannot_show_the_structure(minilm, minilm_folder, lock):
    pin(minilm, lock)
    with pytest.raises(PinMismatch, match=r"all weights are those of .* structure.*Next: check"):
        check_pin(minilm_folder, lock)


def test_the_pin_of_a_model_names_what_changed_in_a_file(minilm, lock, tmp_path):
    pin(minilm, lock)
    state = {name: tensor.clone() for name, tensor in minilm.state_dict().items()}
    state["pooler.dense.bias"][5] = 0.25
    save_file(state, tmp_path / "changed.safetensors")
    with pytest.raises(PinMismatch, match=r"tensor pooler\.dense\.bias: changed"):
        check_pin(tmp_path / "changed.safetensors", lock)


def test_a_pin_that_is_absent_says_how_to_make_one(lock):
    with pytest.raises(FileNotFoundError, match="pin") as refusal:
        check_pin(nn.Linear(2, 2), lock)
    assert refusal.value.filename == str(lock)


def test_pinning_again_replaces_the_pin(lock):
    model = nn.Sequential(nn.Linear(2, 2))
    model.act = F.relu
    pin(model, lock)
    model.act = F.gelu
    pin(model, lock)
    check_pin(model, lock)


def test_a_pin_that_cannot_be_written_leaves_the_old_one(lock, monkeypatch):
    from torchnotary.statement import container

    model = nn.Linear(2, 2)
    pin(model, lock)
    before = lock.read_bytes()

    def fail(*arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(container.os, "fsync", fail)
    with pytest.raises(OSError, match="No space"):
        pin(nn.Linear(3, 3), lock)
    assert lock.read_bytes() == before
    assert [path.name for path in lock.parent.glob("*lock*")] == [lock.name]


def damage_line(index: int, old: bytes, new: bytes):
    def damage(data: bytes) -> bytes:
        lines = data.splitlines(keepends=True)
        assert old in lines[index]
        lines[index] = lines[index].replace(old, new, 1)
        return b"".join(lines)

    return damage


def other_weights(data: bytes) -> bytes:
    """The header's weights replaced by another valid tree, with the lines that make it."""
    lines = data.splitlines()
    digest = json.loads(lines[-1])["digest"]
    lines[-1] = lines[-1].replace(digest.encode(), b"0" * 64)
    header = json.loads(lines[0])
    header["weights"]["root"] = merkle.root(lines[-2:]).hex()
    lines[0] = json.dumps(header, sort_keys=True, separators=(",", ":")).encode()
    return b"".join(line + b"\n" for line in lines)


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("empty", lambda data: b""),
        ("cut-short", lambda data: data[:-1]),
        ("line-dropped", lambda data: b"".join(data.splitlines(keepends=True)[:-1])),
        ("line-added", lambda data: data + data.splitlines(keepends=True)[-1]),
        ("header-dropped", lambda data: b"".join(data.splitlines(keepends=True)[1:])),
        ("later-version", damage_line(0, b"pin/1", b"pin/2")),
        ("root-replaced", damage_line(0, b'"root":"', b'"root":"00')),
        ("size-changed", damage_line(0, b'"size":2', b'"size":1')),
        ("structure-null", damage_line(0, b'"structure":{', b'"structure":null,"x":{')),
        ("attribute-changed", damage_line(2, b'"in_features":2', b'"in_features":3')),
        ("weight-changed", damage_line(-1, b'"shape":[2', b'"shape":[4')),
        ("weights-of-another", other_weights),
        ("not-json", lambda data: b"nonsense\n"),
        ("not-text", lambda data: b"\xff\xfe\n"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_damaged_pin_is_refused(lock, name, damage):
    model = nn.Linear(2, 2)
    pin(model, lock)
    lock.write_bytes(damage(lock.read_bytes()))
    with pytest.raises(MalformedRecord):
        check_pin(model, lock)


def test_a_pin_that_is_a_pipe_is_neither_waited_for_nor_replaced(tmp_path):
    path = tmp_path / "torchnotary.lock"
    os.mkfifo(path)
    for act in (pin, check_pin):
        with pytest.raises(OSError, match="not a regular file"):
            act(nn.Linear(2, 2), path)
    assert path.is_fifo()
