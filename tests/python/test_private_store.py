"""The private store: for its owner only, each shared file once, nothing left of what is erased."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat

import pytest

from torchnotary.errors import LogCorrupt
from torchnotary.log import private
from torchnotary.log.private import PrivateParts, PrivateReader, PrivateStore, database_path


@pytest.fixture
def folder(tmp_path):
    before = os.umask(0)
    try:
        PrivateStore.create(tmp_path)
    finally:
        os.umask(before)
    return tmp_path


def raw_id(number: int) -> bytes:
    return hashlib.sha256(b"%d" % number).digest()


def record_id(number: int) -> str:
    return raw_id(number).hex()


def test_only_its_owner_can_enter_or_read_it(folder):
    path = database_path(folder)
    with PrivateStore.open(folder) as store:
        store.put([(0, raw_id(0), PrivateParts(bytes(32)))])
        for file in [path, *path.parent.glob("*-wal"), *path.parent.glob("*-shm")]:
            assert stat.S_IMODE(file.stat().st_mode) == 0o600, file
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_what_was_put_comes_back(folder):
    parts = PrivateParts(
        b"s" * 32, b"digests", {"inputs.jsonl": b"in\n", "outputs.jsonl": b"out\n"}, b"tensors"
    )
    with PrivateStore.open(folder) as store:
        store.put([(0, raw_id(0), PrivateParts(b"t" * 32)), (1, raw_id(1), parts)])
    with PrivateReader.open(folder) as reader:
        entry = reader.get(1, record_id(1))
        bare = reader.get(0, record_id(0))
        assert reader.get(2, record_id(2)) is None
    assert (entry.secret, entry.digests, entry.number) == (parts.secret, parts.digests, 1)
    assert entry.names == ("evidence.safetensors", "inputs.jsonl", "outputs.jsonl")
    assert entry.file("inputs.jsonl") == b"in\n" and entry.evidence == b"tensors"
    assert entry.file("weights.jsonl") is None
    assert bare.names == () and bare.evidence is None


def test_a_file_many_records_share_is_kept_once(folder):
    manifest = os.urandom(100_000)
    with PrivateStore.open(folder) as store:
        for number in range(50):
            # Equal bytes, but another object every other time, and a store opened again.
            shared = manifest if number % 2 else bytes(bytearray(manifest))
            store.put([(number, raw_id(number), PrivateParts(b"", files={"w": shared}))])
    with PrivateStore.open(folder) as store:
        store.put([(50, raw_id(50), PrivateParts(b"", files={"w": manifest}))])
        assert len(store.files(0, 9)) == 1
        assert store.get(50, record_id(50)).file("w") == manifest
    assert database_path(folder).stat().st_size < 250_000


@pytest.mark.parametrize("size", [0, 1, 99, 100, 101, 200, 1000])
def test_a_large_file_is_kept_in_parts(folder, size, monkeypatch):
    monkeypatch.setattr(private, "PART_BYTES", 100)
    data = os.urandom(size)
    with PrivateStore.open(folder) as store:
        other = os.urandom(250)
        parts = PrivateParts(b"", files={"a": other}, evidence=data)
        store.put([(0, raw_id(0), parts)])
        entry = store.get(0, record_id(0))
        assert entry.evidence == data and entry.file("a") == other


def test_a_put_that_fails_leaves_nothing_and_forgets_what_it_thought_it_kept(folder):
    data = os.urandom(1000)
    with PrivateStore.open(folder) as store:
        store.put([(0, raw_id(0), PrivateParts(b""))])
        clash = PrivateParts(b"", files={"w": data})
        with pytest.raises(sqlite3.IntegrityError):
            store.put([(1, raw_id(1), clash), (2, raw_id(2), clash), (0, b"", clash)])
        assert store.files(0, 9) == [] and store.get(1, record_id(1)) is None
        store.put([(1, raw_id(1), clash)])
        assert store.get(1, record_id(1)).file("w") == data


def test_a_damaged_file_is_named_with_both_digests(folder):
    with PrivateStore.open(folder) as store:
        store.put([(0, raw_id(0), PrivateParts(b"", files={"w": b"weights"}))])
    with sqlite3.connect(database_path(folder)) as raw:
        raw.execute("UPDATE parts SET data = ?", (b"Weights",))
    with PrivateReader.open(folder) as reader, pytest.raises(LogCorrupt, match="damaged") as caught:
        reader.get(0, record_id(0)).file("w")
    assert caught.value.expected == hashlib.sha256(b"weights").hexdigest()


def test_what_never_got_into_the_log_is_erased_without_a_trace(folder):
    secret, lost, shared = os.urandom(32), os.urandom(5000), os.urandom(5000)
    with PrivateStore.open(folder) as store:
        store.put([(0, raw_id(0), PrivateParts(b"k" * 32, files={"w": shared}))])
        store.put([(1, raw_id(1), PrivateParts(secret, files={"w": shared, "i": lost}))])
        store.forget_from(2)
        assert store.get(1, record_id(1)) is not None
        store.forget_from(1)
        assert store.get(1, record_id(1)) is None
        assert store.get(0, record_id(0)).file("w") == shared
        store.put([(1, raw_id(2), PrivateParts(b"n" * 32, files={"i": b"new"}))])
    kept = database_path(folder).read_bytes()
    middle, end = slice(2000, 2100), slice(4900, 5000)
    assert shared[middle] in kept
    assert secret not in kept and lost[middle] not in kept and lost[end] not in kept
