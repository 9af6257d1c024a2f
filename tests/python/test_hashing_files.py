"""Hashing files: bounded memory, every thread count alike, and nothing that changes or blocks."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file

from torchnotary import Opening, _core, check_pin, commit, pin
from torchnotary.cli import run
from torchnotary.errors import MalformedRecord, NotaryError, PinMismatch
from torchnotary.files import NotRegular
from torchnotary.lockfile import read_pin
from torchnotary.manifest import Manifest
from torchnotary.stored_lines import Home, plain_file, safetensors_file


def state_of(path) -> _core.FileState:
    with open(path, "rb") as stream:
        return _core.FileState(stream.fileno())


def files_of(manifest: Manifest) -> dict[str, dict]:
    return {line["name"]: line for line in map(json.loads, manifest.files_lines)}


PIECES = st.sampled_from([0, 1, 63, 1024, 1025, 4096, 524_288, 524_289, 786_432, 786_433, 2**21])


@given(st.lists(PIECES, max_size=8), st.lists(st.integers(0, 3), max_size=8), st.integers(1, 3))
@settings(deadline=None, max_examples=60)
def test_tensors_of_any_sizes_and_gaps_have_the_digests_of_their_bytes(
    tmp_path_factory, sizes, gaps, threads
):
    path = tmp_path_factory.getbasetemp() / "data"
    data = os.urandom(sum(sizes) + sum(gaps))
    path.write_bytes(data)
    tensors, begin = [], 0
    for index, size in enumerate(sizes):
        begin += gaps[index] if index < len(gaps) else 0
        tensors.append(_core.StoredTensor(str(index), "uint8", [size], begin))
        begin += size
    told: list[int] = []
    files = [(os.fsencode(path), state_of(path), tensors)] * 2
    roots, digests = _core.commit_files(files, threads, told.append)
    for index, tensor in enumerate(tensors * 2):
        raw = data[tensor.begin : tensor.begin + tensor.nbytes]
        assert roots[32 * index : 32 * index + 32] == blake3(raw).digest()
        memory = torch.frombuffer(bytearray(raw), dtype=torch.uint8) if raw else torch.empty(0)
        assert digests[32 * index : 32 * index + 32].hex() == commit(memory.byte()).digest
    assert sorted(told) == list(range(2 * len(tensors)))


def test_more_files_than_a_process_may_open_are_hashed(tmp_path):
    (tmp_path / "deep" / "er").mkdir(parents=True)
    for number in range(300):
        (tmp_path / "deep" / "er" / str(number)).write_bytes(b"x" * number)
    code = "import resource, sys; from torchnotary import Manifest;"
    code += "resource.setrlimit(resource.RLIMIT_NOFILE, (100, 100));"
    code += "print(Manifest.of(sys.argv[1]).files_root)"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == Manifest.of(tmp_path).files_root
    for name, line in files_of(Manifest.of(tmp_path)).items():
        number = int(Path(name).name)
        assert (line["digest"], line["size"]) == (blake3(b"x" * number).hexdigest(), number)


def test_a_bool_of_another_byte_is_true_as_it_is_in_memory(tmp_path):
    header = b'{"t":{"dtype":"BOOL","shape":[4],"data_offsets":[0,4]}}'
    path = tmp_path / "x.safetensors"
    path.write_bytes(struct.pack("<Q", len(header)) + header + b"\0\1\2\xff")
    [line] = map(json.loads, Manifest.of(path).weights_lines)
    assert line["digest"] == commit(torch.tensor([False, True, True, True])).digest


def test_a_gigabyte_is_hashed_within_64_megabytes(tmp_path):
    path = tmp_path / "large.safetensors"
    shapes = [1 << 29, 1 << 28, *[1 << 20] * 256]
    header, offset = {}, 0
    for index, size in enumerate(shapes):
        offsets = [offset, offset + size]
        header[str(index)] = {"dtype": "U8", "shape": [size], "data_offsets": offsets}
        offset += size
    text = json.dumps(header).encode()
    with open(path, "wb") as stream:
        stream.write(struct.pack("<Q", len(text)) + text)
        stream.truncate(8 + len(text) + offset)  # holes read as zeros
    code = """
import resource, sys
from torchnotary.manifest import Manifest
from torchnotary.stored_lines import Home, plain_file, safetensors_file
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
print(Manifest.of(sys.argv[1]).weights_size, peak() - before)
"""
    environment = {**os.environ, "TORCHNOTARY_NUM_THREADS": "8"}
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        check=True,
        capture_output=True,
        text=True,
        env=environment,
    )
    size, grown = map(int, done.stdout.split())
    assert size == len(shapes) and grown < 64 * 1024  # KiB


CHANGES = {
    "cut": lambda path: os.truncate(path, 10),
    "longer": lambda path: path.open("ab").write(b"x"),
    "touched": lambda path: os.utime(path, ns=(1, 1)),
    "exchanged": lambda path: os.replace(path.with_name("other"), path),
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("when", ["before", "during"])
def test_a_file_that_changes_before_its_hash_is_done_is_refused(tmp_path, name, when):
    path = tmp_path / "data"
    path.write_bytes(os.urandom(1000))
    (tmp_path / "other").write_bytes(path.read_bytes())
    state = state_of(path)
    files = [(os.fsencode(path), state, [_core.StoredTensor("t", "uint8", [1000], 0)])]
    if when == "before":
        CHANGES[name](path)
        with pytest.raises(MalformedRecord, match=r"data changed while it was hashed.*Next: try"):
            _core.commit_files(files)
        return
    # A large file first gives a second thread the time to change the other.
    large = tmp_path / "large"
    large.touch()
    os.truncate(large, 1 << 30)
    big = _core.StoredTensor("l", "uint8", [1 << 30], 0)
    changer = threading.Timer(0.02, CHANGES[name], [path])
    changer.start()
    with pytest.raises(MalformedRecord, match=r"data(, byte \d+: the file ends| changed while)"):
        _core.commit_files([(os.fsencode(large), state_of(large), [big]), *files])
    changer.join()


def test_reading_beyond_the_end_of_a_file_is_refused_naming_the_byte(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(b"x" * 100)
    tensor = _core.StoredTensor("t", "uint8", [90], 20)
    with pytest.raises(MalformedRecord, match=r"data, byte 20: the file ends"):
        _core.commit_files([(os.fsencode(path), state_of(path), [tensor])])


def test_hashing_ends_at_an_interrupt(tmp_path):
    path = tmp_path / "data"
    path.touch()
    os.truncate(path, 1 << 36)  # minutes
    tensor = _core.StoredTensor("t", "uint8", [1 << 36], 0)
    # A process that a shell started in the background ignores interrupts, its children too.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        threading.Timer(0.3, os.kill, [os.getpid(), signal.SIGINT]).start()
        with pytest.raises(KeyboardInterrupt):
            _core.commit_files([(os.fsencode(path), state_of(path), [tensor])], 2)
    finally:
        signal.signal(signal.SIGINT, before)


def test_an_exception_of_the_progress_callback_ends_the_work(tmp_path):
    save_file({"a": torch.ones(3)}, tmp_path / "x.safetensors")

    def progress(done, total, name):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        Manifest.of(tmp_path / "x.safetensors", progress=progress)


def test_pipes_sockets_and_circles_in_a_folder_are_refused_at_once(tmp_path):
    def made(name):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        return folder

    folder = made("pipe")
    os.mkfifo(folder / "vocab.txt")
    with pytest.raises(NotRegular, match=r"vocab\.txt"):
        Manifest.of(folder)
    folder = made("socket")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(folder / "s"))
        with pytest.raises(NotRegular, match="socket/s"):
            Manifest.of(folder)
    folder = made("device")
    (folder / "zero").symlink_to("/dev/zero")
    with pytest.raises(NotRegular, match="zero"):
        Manifest.of(folder)
    folder = made("circle")
    (folder / "a").symlink_to("b")
    (folder / "b").symlink_to("a")
    with pytest.raises(OSError, match="Too many levels of symbolic links: .*circle/"):
        Manifest.of(folder)
    folder = made("dangling")
    (folder / "gone").symlink_to("nowhere")
    with pytest.raises(FileNotFoundError, match="dangling/gone"):
        Manifest.of(folder)
    folder = made("upwards")
    (folder / "up").symlink_to(".")
    with pytest.raises(NotaryError, match=r"upwards/up is a link to a folder.*Next: "):
        Manifest.of(folder)
    folder = made("latin")
    (folder / os.fsdecode(b"caf\xe9")).touch()
    with pytest.raises(MalformedRecord, match="is not UTF-8"):
        Manifest.of(folder)


def test_a_folder_without_read_permission_is_refused_by_name(tmp_path):
    (tmp_path / "m" / "closed").mkdir(parents=True)
    (tmp_path / "m" / "config.json").write_text("{}")
    (tmp_path / "m" / "closed").chmod(0)
    if os.getuid() != 0:
        with pytest.raises(PermissionError, match="closed"):
            Manifest.of(tmp_path / "m")
        return
    # To root no folder is closed: another user looks. The path down to it is opened for them.
    for folder in (tmp_path, *tmp_path.parents):
        if folder.stat().st_mode & 0o777 == 0o700:
            folder.chmod(0o755)
    code = "import os, sys; from torchnotary.manifest import Manifest; os.setuid(65534);"
    code += "Manifest.of(sys.argv[1])"
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "m")], capture_output=True, text=True
    )
    (tmp_path / "m" / "closed").chmod(0o700)
    assert done.returncode == 1
    assert "PermissionError: [Errno 13] Permission denied: " in done.stderr
    assert "m/closed" in done.stderr


def test_a_folder_of_links_as_the_hugging_face_cache_makes_it_is_the_folder(tmp_path):
    plain, blobs, links = (tmp_path / name for name in ("plain", "blobs", "links"))
    for folder in (plain, blobs, links):
        folder.mkdir()
    save_file({"a": torch.ones(3)}, plain / "model.safetensors")
    (plain / "config.json").write_text("{}")
    for index, path in enumerate(sorted(plain.iterdir())):
        (blobs / str(index)).write_bytes(path.read_bytes())
        (links / path.name).symlink_to(f"../blobs/{index}")
    assert Manifest.of(links) == Manifest.of(plain)


def test_what_torchnotary_git_and_downloads_leave_in_a_folder_does_not_count(tmp_path):
    (tmp_path / "config.json").write_text("{}")
    before = Manifest.of(tmp_path)
    for name in (".git/HEAD", ".cache/huggingface/download/x.metadata"):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text("x")
    before.save(tmp_path)
    pin(before, tmp_path / "torchnotary.lock")
    assert Manifest.of(tmp_path) == before
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "weights.jsonl").write_text("x")
    assert files_of(Manifest.of(tmp_path)).keys() == {"config.json", "sub/weights.jsonl"}


def test_a_saved_manifest_of_a_folder_loads_with_its_files(tmp_path):
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "tokenizer.json").write_text("{}")
    save_file({"a": torch.ones(3)}, tmp_path / "m" / "model.safetensors")
    manifest = Manifest.of(tmp_path / "m")
    manifest.save(tmp_path / "saved")
    assert Manifest.load(tmp_path / "saved") == manifest.__class__(
        manifest.weights_lines, [], files_lines=manifest.files_lines, saved=True
    )
    damaged = (tmp_path / "saved" / "files.jsonl").read_text().replace('"size":2', '"size":-2')
    (tmp_path / "saved" / "files.jsonl").write_text(damaged)
    with pytest.raises(MalformedRecord, match=r"files\.jsonl line 1 is not a file line"):
        Manifest.load(tmp_path / "saved")


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "m"
    folder.mkdir()
    (folder / "tokenizer.json").write_text('{"a": 1}')
    save_file({"a": torch.ones(3)}, folder / "model.safetensors")
    return folder


def test_the_pin_of_a_folder_covers_its_other_files(folder, tmp_path):
    lock = tmp_path / "torchnotary.lock"
    manifest = pin(folder, lock)
    assert read_pin(lock) == manifest
    check_pin(folder, lock)
    header, *lines = lock.read_bytes().splitlines()
    assert json.loads(header)["files"] == {"root": manifest.files_root, "size": 1}
    assert lines == manifest.weights_lines + manifest.files_lines
    check_pin(folder / "model.safetensors", lock)
    (folder / "tokenizer.json").write_text('{"a": 2}')
    with pytest.raises(PinMismatch, match=r"file tokenizer\.json: content changed") as refusal:
        check_pin(folder, lock)
    assert refusal.value.expected == f"files {manifest.files_root}"
    (folder / "tokenizer.json").unlink()
    with pytest.raises(PinMismatch, match=r"file tokenizer\.json removed \(8 bytes\)"):
        check_pin(folder, lock)


def test_code_that_was_added_to_a_pinned_folder_without_other_files_is_noticed(folder, tmp_path):
    lock = tmp_path / "torchnotary.lock"
    (folder / "tokenizer.json").unlink()
    pin(folder, lock)
    assert json.loads(lock.read_bytes().splitlines()[0])["files"] is None
    (folder / "modeling.py").write_text("import os")
    with pytest.raises(PinMismatch, match=r"file modeling\.py added"):
        check_pin(folder, lock)


def test_a_pin_whose_files_lines_were_changed_is_refused(folder, tmp_path):
    lock = tmp_path / "torchnotary.lock"
    pin(folder, lock)
    *lines, last = lock.read_bytes().splitlines()
    for changed in (
        [*lines, last.replace(b'"size":8', b'"size":9')],
        lines,
        [lines[0].replace(b'"files":{', b'"filez":{'), *lines[1:], last],
    ):
        lock.write_bytes(b"\n".join(changed) + b"\n")
        with pytest.raises(MalformedRecord):
            check_pin(folder, lock)


def tied_model():
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=16, intermediate_size=32, num_hidden_layers=2,
        num_attention_heads=2, num_key_value_heads=1, tie_word_embeddings=True,
    )  # fmt: skip
    return LlamaForCausalLM(config).eval()


@pytest.mark.parametrize("shard", ["1KB", "1GB"])
def test_a_model_with_tied_weights_and_its_files_agree_tensor_by_tensor(tmp_path, shard):
    model = tied_model()
    model.save_pretrained(tmp_path / "m", max_shard_size=shard)
    assert (len(list((tmp_path / "m").glob("*.safetensors"))) > 1) == (shard == "1KB")
    own, file = Manifest.of(model), Manifest.of(tmp_path / "m")
    in_file = {line["name"]: line for line in map(json.loads, file.weights_lines)}
    for line in map(json.loads, own.weights_lines):
        # The head is not stored: it is the embedding.
        name = line["name"].replace("lm_head.weight", "model.embed_tokens.weight")
        assert {**line, "name": name} == in_file[name]
    assert len(own.weights_lines) == len(in_file) + 1
    pin(tmp_path / "m", tmp_path / "torchnotary.lock")
    check_pin(type(model).from_pretrained(tmp_path / "m"), tmp_path / "torchnotary.lock")


def test_a_bar_moves_on_terminals_and_nowhere_else(folder, monkeypatch, capsys):
    assert run(["manifest", str(folder)]) == 0
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    assert run(["manifest", str(folder)]) == 0
    found = capsys.readouterr()
    assert "\x1b[" in found.err and "\x1b[" not in found.out


def test_an_opening_from_a_file_is_the_opening_from_memory(tmp_path):
    tensors = {
        "small": torch.arange(7, dtype=torch.int16),
        "flags": torch.tensor([[True, False, True]] * 700),
        "weight": torch.randn(700, 1030),
    }
    path = tmp_path / "model.safetensors"
    save_file(tensors, path)
    for stored in safetensors_file(path).tensors:
        home, tensor = Home(safetensors_file(path), stored), tensors[stored.name]
        for index in (0, slice(2, 6, 3), slice(0, 0), ..., (slice(None), None)):
            assert Opening.of_stored(home, index) == commit(tensor).open(tensor, index)


@pytest.mark.parametrize("name", CHANGES)
def test_a_file_that_changed_since_its_header_was_read_is_not_opened(tmp_path, name):
    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.randn(700, 1030)}, path)
    (tmp_path / "other").write_bytes(path.read_bytes())
    file = safetensors_file(path)
    CHANGES[name](path)
    with pytest.raises(MalformedRecord, match="changed while it was hashed"):
        Opening.of_stored(Home(file, file.tensors[0]), 3)


def test_a_tensor_placed_beyond_the_end_of_its_file_is_not_opened(tmp_path):
    path = tmp_path / "data"
    path.write_bytes(b"x" * 100)
    file = plain_file(path, "t")
    tensor = _core.StoredTensor("t", "uint8", [90], 20)
    with pytest.raises(MalformedRecord, match=r"data, byte 20: the file ends"):
        Opening.of_stored(Home(file, tensor), 3)
