"""Weights on disk: every file that loads is read alike, and every damaged one is refused."""

from __future__ import annotations

import json
import os
import pickle
import struct

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from torchnotary import check_pin, commit, pin, stored_lines
from torchnotary.errors import MalformedRecord, NotaryError, PinMismatch, UnsupportedTensor
from torchnotary.manifest import Manifest
from torchnotary.safetensors_header import DTYPES, read_safetensors_header

STATE = {"a.weight": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3), "c": torch.ones(0, 4)}


def build(header: object, data: bytes, padding: bytes = b"") -> bytes:
    """A safetensors file of a header (an object, or bytes taken as they are) and data."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += padding
    return struct.pack("<Q", len(text)) + text + data


def entry(begin: int, end: int, dtype: str = "U8", shape: list | None = None) -> dict:
    shape = [end - begin] if shape is None else shape
    return {"data_offsets": [begin, end], "dtype": dtype, "shape": shape}


def write(path, data: bytes):
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("name", DTYPES)
def test_a_tensor_of_every_dtype_has_the_digest_it_has_in_memory(tmp_path, name):
    dtype = getattr(torch, DTYPES[name])
    tensor = torch.arange(48, dtype=torch.uint8).view(torch.bool if name == "BOOL" else dtype)
    tensor = (torch.arange(6) % 2 == 0) if name == "BOOL" else tensor[:6]
    raw = tensor.contiguous().view(torch.uint8).numpy().tobytes()
    header = {"t": entry(0, len(raw), name, [3, 2])}
    path = write(tmp_path / "x.safetensors", build(header, raw))
    line = json.loads(Manifest.of(path).weights_lines[0])
    assert line["digest"] == commit(tensor.reshape(3, 2)).digest
    assert (line["dtype"], line["shape"]) == (DTYPES[name], [3, 2])


def test_a_file_written_by_safetensors_is_the_state_dict(tmp_path):
    save_file(STATE, tmp_path / "x.safetensors", metadata={"format": "pt"})
    assert Manifest.of(tmp_path / "x.safetensors").diff(Manifest.of(STATE)).lines == []


def test_data_that_is_not_aligned_is_read_all_the_same(tmp_path):
    raw = STATE["a.weight"].numpy().tobytes()
    header = {"pad": entry(0, 1), "t": entry(1, 25, "F32", [2, 3])}
    for padding in (b"", b" ", b"  "):
        path = write(tmp_path / "x.safetensors", build(header, b"\0" + raw, padding))
        line = json.loads(Manifest.of(path).weights_lines[1])
        assert line["digest"] == commit(STATE["a.weight"]).digest


@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin"])
@pytest.mark.parametrize("old_format", [False, True])
def test_a_torch_file_of_a_state_dict_is_the_state_dict(tmp_path, suffix, old_format):
    path = tmp_path / f"x{suffix}"
    torch.save(STATE, path, _use_new_zipfile_serialization=not old_format)
    assert Manifest.of(path).weights_lines == Manifest.of(STATE).weights_lines
    torch.save({"state_dict": STATE, "epoch": 3}, path)
    assert Manifest.of(path).weights_lines == Manifest.of(STATE).weights_lines


def test_a_torch_file_that_would_run_code_is_refused(tmp_path):
    class Evil:
        def __reduce__(self):
            return (print, ("ran",))

    for path, data in ((tmp_path / "x.pt", Evil()), (tmp_path / "y.bin", {"a": Evil()})):
        torch.save(data, path)
        with pytest.raises(MalformedRecord, match="not a file of plain tensors"):
            Manifest.of(path)
    torch.save(nn.Linear(2, 2), tmp_path / "module.pt")
    with pytest.raises(MalformedRecord, match="save the weights alone"):
        Manifest.of(tmp_path / "module.pt")


@pytest.mark.parametrize(
    "data", [b"", b"\x80", b"PK\x03\x04 no archive", pickle.dumps([1, 2])], ids=len
)
def test_a_damaged_torch_file_is_refused(tmp_path, data):
    with pytest.raises(MalformedRecord):
        Manifest.of(write(tmp_path / "x.pt", data))


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("old_format", [False, True])
def test_a_torch_file_cut_short_anywhere_is_refused(tmp_path, old_format):
    path = tmp_path / "x.pt"
    torch.save({"a": torch.ones(2)}, path, _use_new_zipfile_serialization=not old_format)
    whole = path.read_bytes()
    for length in range(0, len(whole), 7):
        with pytest.raises(MalformedRecord):
            Manifest.of(write(tmp_path / "cut.pt", whole[:length]))


def test_a_torch_file_without_a_state_dict_is_refused(tmp_path):
    torch.save(torch.ones(3), tmp_path / "x.pt")
    with pytest.raises(MalformedRecord, match=r"no state_dict.*Next: "):
        Manifest.of(tmp_path / "x.pt")


def test_a_folder_of_shards_is_their_union(tmp_path):
    save_file({"a": STATE["a.weight"]}, tmp_path / "model-00001-of-00002.safetensors")
    save_file({"b": STATE["b"]}, tmp_path / "model-00002-of-00002.safetensors")
    save_file({"z": torch.ones(1)}, tmp_path / "unrelated.safetensors")
    shards = {f"{name}": f"model-0000{i}-of-00002.safetensors" for i, name in ((1, "a"), (2, "b"))}
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"metadata": {}, "weight_map": shards}))
    expected = Manifest.of({"a": STATE["a.weight"], "b": STATE["b"]}).weights_lines
    assert Manifest.of(tmp_path).weights_lines == expected
    assert Manifest.of(index).weights_lines == expected


@pytest.mark.parametrize(
    ("name", "weight_map"),
    [
        ("shard-outside", {"a": "../model.safetensors"}),
        ("shard-absolute", {"a": "/etc/passwd"}),
        ("tensor-absent", {"a": "model.safetensors", "q": "model.safetensors"}),
        ("no-map", None),
        ("map-of-numbers", {"a": 3}),
    ],
)
def test_an_index_that_does_not_fit_its_shards_is_refused(tmp_path, name, weight_map):
    save_file({"a": torch.ones(2)}, tmp_path / "model.safetensors")
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": weight_map}))
    with pytest.raises(MalformedRecord):
        Manifest.of(tmp_path)


def test_an_index_of_more_values_than_models_have_is_refused_before_it_is_parsed(tmp_path):
    index = tmp_path / "model.safetensors.index.json"
    index.write_bytes(b'{"x":[' + b"[]," * 250_000 + b"[]]}")
    with pytest.raises(MalformedRecord, match="model.safetensors.index.json has too many values"):
        Manifest.of(index)


def test_an_index_whose_shard_is_absent_names_the_file(tmp_path):
    index = tmp_path / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "gone.safetensors"}}))
    with pytest.raises(FileNotFoundError, match=r"gone\.safetensors"):
        Manifest.of(tmp_path)


def test_files_of_one_folder_that_hold_the_same_name_are_refused(tmp_path):
    for name in ("one", "two"):
        save_file({"a": torch.ones(2)}, tmp_path / f"{name}.safetensors")
    with pytest.raises(MalformedRecord, match="two files hold a tensor 'a'"):
        Manifest.of(tmp_path)


def test_the_parts_of_a_sentence_transformer_are_prefixed_by_their_names(tmp_path):
    parts = [
        {"idx": 0, "name": "0", "path": "", "type": "Transformer"},
        {"idx": 1, "name": "1", "path": "1_Dense", "type": "Dense"},
    ]
    (tmp_path / "modules.json").write_text(json.dumps(parts))
    (tmp_path / "1_Dense").mkdir()
    save_file({"a": torch.ones(2)}, tmp_path / "model.safetensors")
    save_file({"linear.weight": torch.ones(3)}, tmp_path / "1_Dense" / "model.safetensors")
    expected = Manifest.of({"1.linear.weight": torch.ones(3), "a": torch.ones(2)})
    assert Manifest.of(tmp_path).weights_lines == expected.weights_lines


@pytest.mark.parametrize("path", ["../elsewhere", "/etc", 3, None])
def test_a_sentence_transformer_with_a_part_outside_its_folder_is_refused(tmp_path, path):
    (tmp_path / "modules.json").write_text(json.dumps([{"name": "0", "path": path}]))
    with pytest.raises(MalformedRecord, match=r"modules\.json"):
        Manifest.of(tmp_path)


def test_a_folder_with_pytorch_files_only_is_read(tmp_path):
    torch.save(STATE, tmp_path / "pytorch_model.bin")
    assert Manifest.of(tmp_path).weights_lines == Manifest.of(STATE).weights_lines


def test_any_other_file_is_one_tensor_its_bytes(tmp_path):
    for data in (b"", b"x", bytes(range(256)) * 5000):
        path = write(tmp_path / "model.onnx", data)
        tensor = torch.frombuffer(bytearray(data), dtype=torch.uint8) if data else torch.ones(0)
        expected = Manifest.of({"model.onnx": tensor.to(torch.uint8)})
        assert Manifest.of(path).weights_lines == expected.weights_lines


def test_what_is_absent_or_empty_is_refused(tmp_path):
    with pytest.raises(NotaryError, match=r"no files in the folder .*Next: give a folder"):
        Manifest.of(tmp_path)
    for name in ("absent", "absent.safetensors", "absent.pt"):
        with pytest.raises(FileNotFoundError, match=name):
            Manifest.of(tmp_path / name)


GOOD = {"a": entry(0, 2), "b": entry(2, 4)}
BAD_FILES = {
    "empty": b"",
    "seven-bytes": b"\0" * 7,
    "no-header": struct.pack("<Q", 0),
    "header-beyond-file": struct.pack("<Q", 99) + b"{}",
    "header-over-the-cap": struct.pack("<Q", 2**63) + b"{}",
    "header-not-json": build(b"{,}", b""),
    "header-a-list": build(b"[]", b""),
    "header-not-utf8": build(b'{"\xff":1}', b""),
    "header-nan": build(b'{"a":NaN}', b""),
    "header-deep": build(b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}", b""),
    "header-huge-number": build(b'{"a":' + b"9" * 5000 + b"}", b""),
    "header-leading-space": build(b" {}", b""),
    "duplicate-tensor": build(
        b'{"a":' + json.dumps(entry(0, 2)).encode() + b',"a":'
        + json.dumps(entry(0, 2)).encode() + b"}", b"12",
    ),
    "duplicate-key-in-entry": build(
        b'{"a":{"dtype":"U8","dtype":"U8","shape":[2],"data_offsets":[0,2]}}', b"12"
    ),
    "metadata-not-text": build({"__metadata__": {"a": 1}, **GOOD}, b"1234"),
    "overlap": build({"a": entry(0, 3), "b": entry(2, 4)}, b"1234"),
    "gap": build({"a": entry(0, 1), "b": entry(2, 4)}, b"1234"),
    "gap-at-the-start": build({"b": entry(2, 4)}, b"1234"),
    "same-bytes-twice": build({"a": entry(0, 4), "b": entry(0, 4)}, b"1234"),
    "cut-short": build(GOOD, b"123"),
    "trailing-bytes": build(GOOD, b"12345"),
    "offsets-descending": build({"a": entry(2, 0, shape=[0])}, b"12"),
    "offsets-negative": build({"a": entry(-2, 0, shape=[2])}, b"12"),
    "offsets-three": build({"a": {**entry(0, 2), "data_offsets": [0, 2, 2]}}, b"12"),
    "offsets-boolean": build({"a": {**entry(0, 1), "data_offsets": [False, True]}}, b"1"),
    "shape-too-large": build({"a": entry(0, 2, shape=[3])}, b"12"),
    "shape-negative": build({"a": entry(0, 2, shape=[-1, -2])}, b"12"),
    "shape-overflowing": build({"a": entry(0, 2, shape=[2**62, 2**62])}, b"12"),
    "shape-a-number": build({"a": {**entry(0, 2), "shape": 2}}, b"12"),
    "shape-of-rank-65": build({"a": entry(0, 1, shape=[1] * 65)}, b"1"),
    "size-not-dtype": build({"a": entry(0, 2, "F32", [1])}, b"12"),
    "entry-not-an-object": build({"a": 3}, b""),
    "entry-with-more": build({"a": {**entry(0, 2), "more": 1}}, b"12"),
    "entry-with-less": build({"a": {"dtype": "U8", "shape": [2]}}, b"12"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_FILES)
def test_a_damaged_safetensors_file_is_refused_naming_file_and_byte(tmp_path, name):
    path = write(tmp_path / f"{name}.safetensors", BAD_FILES[name])
    with pytest.raises(MalformedRecord, match=rf"{name}\.safetensors, byte \d+: .*Next: "):
        Manifest.of(path)


def test_an_unknown_dtype_is_refused_by_name(tmp_path):
    path = write(tmp_path / "x.safetensors", build({"a": entry(0, 2, "F4", [4])}, b"12"))
    with pytest.raises(UnsupportedTensor, match=r"'F4' of 'a'.*Next: convert"):
        Manifest.of(path)


def test_a_file_without_tensors_has_no_root(tmp_path):
    path = write(tmp_path / "x.safetensors", build({"__metadata__": {"a": "b"}}, b""))
    assert Manifest.of(path).weights_root is None


def test_any_cut_of_a_real_file_is_refused(tmp_path):
    save_file(STATE, tmp_path / "x.safetensors")
    whole = (tmp_path / "x.safetensors").read_bytes()
    for length in range(len(whole)):
        with pytest.raises(MalformedRecord):
            Manifest.of(write(tmp_path / "cut.safetensors", whole[:length]))


@pytest.mark.parametrize("name", ["m.safetensors", "m.pt", "m.bin", "m.safetensors.index.json"])
def test_a_pipe_or_device_in_place_of_a_weights_file_is_refused_at_once(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(OSError, match="not a regular file"):
        Manifest.of(tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/zero")
    with pytest.raises(OSError, match="not a regular file"):
        Manifest.of(tmp_path / name)


@pytest.mark.parametrize("name", ["weights.jsonl", "structure.jsonl"])
def test_a_pipe_in_place_of_a_saved_manifest_is_refused_at_once(tmp_path, name):
    os.mkfifo(tmp_path / name)
    with pytest.raises(OSError, match="not a regular file"):
        Manifest.load(tmp_path)


def test_a_header_of_many_names_of_which_one_is_repeated_is_refused(tmp_path):
    names = [
        f'"{number}":{{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}' for number in range(9**5)
    ]
    header = ("{" + ",".join([*names, names[-1]]) + "}").encode()
    path = tmp_path / "repeated.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header)
    with pytest.raises(MalformedRecord, match="'59048' is repeated"):
        Manifest.of(path)


def test_a_file_exchanged_for_another_while_it_is_read_is_refused(tmp_path, monkeypatch):
    path, other = tmp_path / "m.safetensors", tmp_path / "other"
    save_file({"a": torch.ones(1 << 20)}, path)
    other.write_bytes(path.read_bytes()[:200])

    def exchanged(*args):
        tensors = read_safetensors_header(*args)
        os.replace(other, path)
        return tensors

    monkeypatch.setattr(stored_lines, "read_safetensors_header", exchanged)
    with pytest.raises(MalformedRecord, match=r"m\.safetensors changed while it was hashed"):
        Manifest.of(path)


def test_a_checkpoint_that_reads_as_several_state_dicts_is_refused(tmp_path):
    good, evil = {"weight": torch.ones(2)}, {"weight": torch.zeros(2)}
    path = tmp_path / "model.pt"
    for content in (
        {"state_dict": good, "model_state_dict": evil},
        {"state_dict": good, **evil},
    ):
        torch.save(content, path)
        with pytest.raises(MalformedRecord, match="several state_dicts"):
            Manifest.of(path)


def test_what_lies_beside_a_state_dict_is_named_as_not_covered_and_not_pinned(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"state_dict": {"weight": torch.ones(2)}, "epoch": 3}, path)
    assert Manifest.of(path).unbound == ("epoch",)
    with pytest.raises(NotaryError, match="no tensor.*epoch"):
        pin(path, tmp_path / "model.lock")
    assert not (tmp_path / "model.lock").exists()


def test_the_pin_of_a_folder_notices_what_its_pickled_file_holds_beside_tensors(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    torch.save({"w": torch.ones(3), "scale": 2.0}, folder / "pytorch_model.bin")
    pin(folder, tmp_path / "model.lock")
    check_pin(folder, tmp_path / "model.lock")
    torch.save({"w": torch.ones(3), "scale": 99.0}, folder / "pytorch_model.bin")
    with pytest.raises(PinMismatch, match="pytorch_model.bin"):
        check_pin(folder, tmp_path / "model.lock")


def test_a_folders_pickled_file_is_not_searched_for_an_inner_state_dict(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    weights = {"weight": torch.ones(2)}
    torch.save({"weight": torch.zeros(2), "state_dict": weights}, folder / "pytorch_model.bin")
    lines = list(map(json.loads, Manifest.of(folder).weights_lines))
    digests = {line["name"]: line["digest"] for line in lines}
    assert digests["weight"] == commit(torch.zeros(2)).digest


def test_a_pickled_file_that_is_cut_short_after_it_was_read_ends_no_process(tmp_path):
    path = tmp_path / "model.pt"
    torch.save({"a": torch.zeros(1 << 16), "b": torch.ones(1 << 20)}, path)
    whole = Manifest.of(path)
    cut = Manifest.of(path, progress=lambda *_: os.truncate(path, 1000))
    assert cut.weights_root == whole.weights_root
