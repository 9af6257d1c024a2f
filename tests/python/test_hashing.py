"""BLAKE3 and SHA-256 against the public vectors and the packaged implementations."""

from __future__ import annotations

import array
import hashlib
import json
import mmap
import os
import subprocess
import sys
import threading
import time

import blake3 as packaged
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from torchnotary import NotaryError, _core, hashing

# Around every boundary: blocks (64), chunks (1024), 8 and 16 lanes, threads' pieces (1,024 chunks).
_EDGES = (0, 64, 128, 1024, 2048, 3072, 4096, 8192, 16384, 31 * 1024, 131072, 1 << 20, 3 << 20)
LENGTHS = sorted({n + d for n in _EDGES for d in (-1, 0, 1) if n + d >= 0})
MATERIAL = np.random.default_rng(1).bytes(max(LENGTHS) + (9 << 20))


@pytest.fixture(scope="module")
def blake3_vectors(vectors):
    file = vectors / "blake3" / "test_vectors.json"
    if not file.is_file():
        pytest.skip(f"the BLAKE3 vectors are absent: no file {file}")
    return json.loads(file.read_text())


def test_the_public_vectors_hold_in_every_mode_and_for_extended_output(blake3_vectors):
    key, context = blake3_vectors["key"].encode(), blake3_vectors["context_string"]
    assert len(blake3_vectors["cases"]) == 35
    for case in blake3_vectors["cases"]:
        data = bytes(i % 251 for i in range(case["input_len"]))
        for mode, options in (
            ("hash", {}),
            ("keyed_hash", {"key": key}),
            ("derive_key", {"context": context}),
        ):
            expected = bytes.fromhex(case[mode])
            assert hashing.blake3(data, length=len(expected), **options) == expected
            assert hashing.blake3(data, **options) == expected[:32]
            hasher = _core.Blake3(**options)
            hasher.update(data)
            assert hasher.digest(len(expected)) == expected


@pytest.mark.parametrize("length", LENGTHS)
def test_digests_equal_the_packaged_ones_around_every_boundary(length):
    data = MATERIAL[:length]
    assert hashing.blake3(data) == packaged.blake3(data).digest()
    assert hashing.sha256(data) == hashlib.sha256(data).digest()


@given(st.integers(0, 300_000), st.integers(0, 64), st.sampled_from([1, 2, 3]))
@settings(max_examples=150, deadline=None)
def test_digests_equal_the_packaged_ones_at_any_length_and_alignment(length, offset, threads):
    data = memoryview(MATERIAL)[offset : offset + length]
    assert _core.blake3(data, threads=threads) == packaged.blake3(data).digest()
    assert hashing.sha256(data) == hashlib.sha256(data).digest()


@given(st.lists(st.sampled_from([0, 1, 64, 65, 1000, 1024, 4096, 70_000, 2 << 20]), max_size=40))
@settings(max_examples=60, deadline=None)
def test_many_buffers_have_the_digests_that_each_has_alone(lengths):
    buffers = [memoryview(MATERIAL)[i : i + n] for i, n in enumerate(lengths)]
    assert hashing.blake3_many(iter(buffers)) == [packaged.blake3(b).digest() for b in buffers]


def test_a_buffer_with_gaps_among_many_is_a_type_error():
    with pytest.raises(TypeError, match="contiguous"):
        hashing.blake3_many([b"a", memoryview(b"abcd")[::2]])
    with pytest.raises(TypeError):
        hashing.blake3_many([b"a", "text"])


@given(st.lists(st.sampled_from([0, 1, 63, 64, 65, 1023, 1024, 1025, 5000, 131072, 200_001])))
@settings(max_examples=100, deadline=None)
def test_an_incremental_digest_does_not_depend_on_where_the_input_is_cut(pieces):
    hasher, whole = _core.Blake3(), packaged.blake3()
    at = 0
    for piece in pieces:
        hasher.update(MATERIAL[at : at + piece], threads=2)
        whole.update(MATERIAL[at : at + piece])
        at += piece
        assert hasher.digest() == whole.digest()  # and asking does not disturb what follows
    assert hasher.digest() == hashing.blake3(MATERIAL[:at])


@pytest.mark.parametrize("length", [(1 << 20) - 1, (1 << 20) + 1, (8 << 20), (8 << 20) + 12345])
@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_the_number_of_threads_never_shows(length, threads):
    data = memoryview(MATERIAL)[:length]
    assert _core.blake3(data, threads=threads) == packaged.blake3(data).digest()


@pytest.mark.parametrize("seek", [0, 1, 63, 64, 65, 1000, 2**32 * 64 - 3])
def test_extended_output_can_be_read_from_any_position(seek):
    hasher, whole = _core.Blake3(), packaged.blake3(b"seed")
    hasher.update(b"seed")
    assert hasher.digest(200, seek=seek) == whole.digest(200, seek=seek)


def test_any_contiguous_buffer_is_hashed_in_place(tmp_path):
    data = MATERIAL[:5000]
    expected = hashing.blake3(data)
    (tmp_path / "data").write_bytes(data)
    with open(tmp_path / "data", "rb") as stream:
        with mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
            assert hashing.blake3(mapped) == expected
    wide = np.frombuffer(data, np.int64)
    for buffer in (bytearray(data), memoryview(data), array.array("b", data), wide):
        assert hashing.blake3(buffer) == expected
        assert hashing.sha256(buffer) == hashlib.sha256(data).digest()


def test_a_buffer_with_gaps_is_refused():
    for hash_function in (hashing.blake3, hashing.sha256):
        for gaps in (memoryview(bytes(10))[::2], np.zeros(10, np.uint8)[::2]):
            with pytest.raises((TypeError, ValueError)):
                hash_function(gaps)
        with pytest.raises(TypeError):
            hash_function("text")


def test_a_key_of_another_length_and_key_with_context_are_refused():
    with pytest.raises(ValueError, match="32 bytes, not 31"):
        hashing.blake3(b"", key=bytes(31))
    with pytest.raises(ValueError, match="not both"):
        hashing.blake3(b"", key=bytes(32), context="context")


def _run(code: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("path", ["portable", "avx2", "avx512", "neon"])
def test_every_cpu_path_gives_the_same_digests_or_is_refused_as_lacking(path):
    code = """
import hashlib, sys
import blake3
from torchnotary import NotaryError, _core, hashing
try:
    used = _core.cpu_path()
except NotaryError as error:
    print("lacking", error.actual)
    sys.exit()
for n in (0, 1, 64, 65, 1024, 1025, 8191, 8193, 16384, 16385, 17 * 1024, 31 * 1024 + 7, 400_001):
    data = bytes(i * 31 % 251 for i in range(n))
    assert hashing.blake3(data) == blake3.blake3(data).digest(), n
    assert hashing.sha256(data) == hashlib.sha256(data).digest(), n
print("used", used)
"""
    done = _run(code, TORCHNOTARY_CPU=path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() in (["used", path], ["lacking", path])
    if path == "portable":
        assert done.stdout.startswith("used")


def test_an_unknown_cpu_path_is_refused_by_every_hash():
    code = """
from torchnotary import NotaryError, hashing
for call in (hashing.blake3, hashing.sha256):
    try:
        call(bytes(5000))
    except NotaryError as error:
        assert error.actual == "sse9" and "TORCHNOTARY_CPU" in str(error)
    else:
        raise SystemExit("hashed")
"""
    done = _run(code, TORCHNOTARY_CPU="sse9")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_thread_count_follows_the_variable_then_torch(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.delenv("TORCHNOTARY_NUM_THREADS", raising=False)
    assert hashing.thread_count() == torch.get_num_threads()
    monkeypatch.setenv("TORCHNOTARY_NUM_THREADS", "7")
    assert hashing.thread_count() == 7
    assert hashing.threads_for(1 << 30) == 7
    assert hashing.threads_for(1000) == 1
    for wrong in ("0", "-1", "many", "1.5"):
        monkeypatch.setenv("TORCHNOTARY_NUM_THREADS", wrong)
        with pytest.raises(NotaryError, match="TORCHNOTARY_NUM_THREADS"):
            hashing.thread_count()


def test_other_threads_run_while_a_large_buffer_is_hashed():
    data = bytes(256 << 20)
    started, finished = threading.Event(), threading.Event()

    def hash_it():
        started.set()
        _core.blake3(data)
        finished.set()

    thread = threading.Thread(target=hash_it)
    thread.start()
    started.wait()
    turns = 0
    while not finished.is_set():
        time.sleep(0)
        turns += 1
    thread.join()
    assert turns > 100  # a held GIL would leave a handful, before and after


def test_threads_may_share_one_incremental_hasher():
    hasher = _core.Blake3()
    piece = bytes(100_000)
    threads = [
        threading.Thread(target=lambda: [hasher.update(piece) for _ in range(20)]) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert hasher.digest() == packaged.blake3(piece * 80).digest()
