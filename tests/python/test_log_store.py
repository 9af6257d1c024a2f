"""The log's store and tree: proofs from stored nodes, all-or-nothing appends, readers."""

from __future__ import annotations

import os
import shutil
import sqlite3

import pytest

from log_helpers import TIME, open_folder, run
from torchnotary import merkle
from torchnotary.errors import LogCorrupt, NotaryError
from torchnotary.keys import SigningKey
from torchnotary.log import database, store, tree
from torchnotary.log.checkpoint import Checkpoint
from torchnotary.log.leaf import entry_leaf
from torchnotary.log.store import APPLICATION_ID, Entry, LogReader, LogStore
from torchnotary.statement.envelope import sign
from torchnotary.statement.lines import canonical

KEY = SigningKey.generate()
SIGNER = SigningKey.generate()


def entry(number: int, labels=None, time=TIME, signer=SIGNER) -> Entry:
    envelope = sign(canonical({"n": number}), signer)
    return Entry.single(envelope, signer.public, time, f"name {number}", labels or {})


def leaf_of(one: Entry) -> bytes:
    return entry_leaf(one.envelope, one.signer.fingerprint)


@pytest.fixture
def folder(tmp_path):
    LogStore.create(tmp_path, KEY.public)
    return tmp_path


SIZES = [1, 2, 3, 4, 5, 7, 8, 9, 31, 32, 33, 64, 65]


def test_nodes_read_back_give_the_roots_and_proofs_of_the_reference():
    leaves = [b"%d" % i for i in range(65)]
    frontier, nodes = tree.Frontier(), []
    for size, leaf in enumerate(leaves, 1):
        nodes += frontier.extend(merkle.leaf_hash(leaf))
        assert len(nodes) == tree.node_count(size)
        assert frontier.root() == merkle.root(leaves[:size])

    def read(level, index):
        if level == 0:
            return merkle.leaf_hash(leaves[index])
        return nodes[tree.position(level, index)]

    for size in SIZES:
        assert tree.root(read, size) == merkle.root(leaves[:size])
        assert tree.Frontier.load(size, read).root() == tree.root(read, size)
        for index in range(size):
            expected = merkle.inclusion_proof(leaves[:size], index)
            assert tree.inclusion_proof(read, index, size) == expected
        for smaller in range(1, size + 1):
            expected = merkle.consistency_proof(leaves[:size], smaller)
            assert tree.consistency_proof(read, smaller, size) == expected
    assert tree.root(read, 0) == tree.Frontier().root() == merkle.root([])


@pytest.mark.parametrize("size", [2**20, 2**20 + 1, 2**33 - 1])
def test_a_proof_reads_few_nodes_however_large_the_log(size):
    reads = []

    def read(level, index):
        reads.append((level, index))
        return bytes(32)

    for index in (0, size // 3, size - 1):
        reads.clear()
        assert len(tree.inclusion_proof(read, index, size)) <= size.bit_length()
        assert len(reads) <= 2 * size.bit_length()
        assert all((i + 1) << level <= size for level, i in reads)


def test_appended_records_are_proven_after_reopening(folder):
    entries = [entry(i) for i in range(33)]
    leaves = [leaf_of(one) for one in entries]
    sizes = [1, 1, 3, 4, 24]
    log = LogStore.open(folder)
    for count in sizes:
        first = log.head()[0]
        assert log.append(entries[first : first + count]) == first
        assert log.head() == (first + count, merkle.root(leaves[: first + count]))
        assert log.size() == first + count
        if count == 3:
            log.close()
            log = LogStore.open(folder)
    log.close()
    with LogReader.open(folder) as reader:
        root = merkle.root(leaves)
        assert reader.size() == 33 and reader.root(33) == root
        for index in range(33):
            assert reader.leaf(index) == leaves[index]
            proof = reader.inclusion_proof(index, 33)
            merkle.verify_inclusion(index, 33, merkle.leaf_hash(leaves[index]), proof, root)
        for size in range(1, 34):
            proof = reader.consistency_proof(size, 33)
            merkle.verify_consistency(size, 33, proof, reader.root(size), root)


def test_an_append_that_fails_leaves_nothing_behind(folder):
    log = LogStore.open(folder)
    log.append([entry(0), entry(1)])
    before, another = log.head(), SigningKey.generate()

    def breaking():
        yield entry(2, signer=another)
        yield entry(3, {"label": object()})

    with pytest.raises(sqlite3.Error):
        log.append(breaking())
    log._connection.execute("PRAGMA max_page_count=1")
    with pytest.raises(sqlite3.OperationalError, match="full"):
        log.append([entry(i) for i in range(4, 200)])
    log._connection.execute("PRAGMA max_page_count=1000000")
    assert log.head() == before and log.size() == 2
    assert log.append([entry(5, signer=another)]) == 2
    assert log.find(entry(5, signer=another).envelope.record_id).public_key == another.public
    log.close()
    leaves = [LogReader.open(folder).leaf(i) for i in range(3)]
    with LogStore.open(folder) as again:
        assert again.head() == (3, merkle.root(leaves))
    with sqlite3.connect(folder / "log.sqlite") as raw:
        tables = ("entries", "records", "ids", "labels")
        counts = [raw.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]
        assert counts == [3, 3, 3, 0]


def test_records_are_found_by_id_and_by_its_beginning(folder):
    entries = [entry(i, {"run": str(i)}) for i in range(40)]
    with LogStore.open(folder) as log:
        log.append(entries)
    with LogReader.open(folder) as reader:
        for index, one in enumerate(entries):
            wanted = one.envelope.record_id
            for given in (wanted, wanted[:8], wanted[:9], wanted[:63]):
                found = reader.find(given)
                assert (found.record_id, found.index) == (wanted, index)
            assert found.envelope == one.envelope and found.labels == {"run": str(index)}
            assert (found.public_key, found.log_public_key) == (SIGNER.public, KEY.public)
            assert (found.time, found.name, found.log) == (TIME, f"name {index}", folder)
        assert reader.find("0" * 64) is None and reader.find("f" * 64) is None


def test_an_ambiguous_beginning_is_refused_but_a_record_stored_twice_is_found(folder):
    with LogStore.open(folder) as log:
        log.append([entry(1), entry(2), entry(1)])
        assert log.find(entry(1).envelope.record_id).index == 0
        log._connection.execute(
            "UPDATE records SET record_id = CAST(x'00' || substr(record_id, 2) AS BLOB)"
        )
        log._connection.execute("UPDATE ids SET prefix = prefix & (1 << 56) - 1")
        with pytest.raises(NotaryError, match="two records begin with 00"):
            log.find("00")


def test_records_are_listed_by_all_labels_and_by_time(folder, monkeypatch):
    monkeypatch.setattr(store, "_PAGE", 3)
    times = [f"2026-11-21T10:00:0{i}.000000Z" for i in range(10)]
    labels = [{"parity": str(i % 2), "third": str(i % 3)} for i in range(10)]
    with LogStore.open(folder) as log:
        log.append([entry(i, labels[i], times[i]) for i in range(10)])

        def listed(wanted, since):
            return [one.index for one in log.records(wanted, since)]

        assert listed({}, None) == list(range(10))
        assert listed({"parity": "1"}, None) == [1, 3, 5, 7, 9]
        assert listed({"parity": "1", "third": "0"}, None) == [3, 9]
        assert listed({"parity": "1"}, times[5]) == [5, 7, 9]
        assert listed({"parity": "2"}, None) == listed({"none": "0"}, None) == []
        assert listed({}, "2026-11-21T10:00:09.000001Z") == []


def test_readers_see_every_commit_while_the_writer_is_open(folder):
    with LogStore.open(folder) as log, LogReader.open(folder) as reader:
        for count in range(1, 4):
            log.append([entry(count)])
            assert reader.size() == count
            note = Checkpoint(log.origin, *log.head()).sign(KEY)
            log.put_checkpoint(count, note)
            assert reader.checkpoint() == (count, note)
        listing = reader.records({}, None)
        next(listing)
        log.append([entry(9)])


READ_AS_NOBODY = """
    import sys
    from pathlib import Path
    from log_helpers import become_nobody
    from torchnotary.errors import NotaryError
    from torchnotary.log.store import LogReader
    from torchnotary import merkle
    become_nobody()
    try:
        with LogReader.open(Path(sys.argv[1])) as reader:
            print(reader.size())
    except NotaryError as error:
        print(error)
"""


def test_a_log_on_read_only_media_is_read():
    with open_folder() as parent:
        path = parent / "log"
        path.mkdir()
        LogStore.create(path, KEY.public)
        with LogStore.open(path) as log:
            log.append([entry(i) for i in range(3)])
        path.chmod(0o555)
        assert run(READ_AS_NOBODY, path).stdout == "3\n"
        assert os.listdir(path) == ["log.sqlite"]


def test_a_copy_of_an_open_log_on_read_only_media_says_what_to_do(folder):
    with open_folder() as parent:
        path = parent / "log"
        with LogStore.open(folder) as log:
            log.append([entry(i) for i in range(3)])
            shutil.copytree(folder, path, ignore=lambda *_: ["log.sqlite-shm"])
        path.chmod(0o555)
        assert "copy its folder to where you can write" in run(READ_AS_NOBODY, path).stdout
        path.chmod(0o777)
        assert run(READ_AS_NOBODY, path).stdout == "3\n"


def test_a_file_that_is_no_log_is_refused_by_name(tmp_path):
    path = tmp_path / "log.sqlite"
    with pytest.raises(NotaryError, match="cannot be opened"):
        LogReader.open(tmp_path)
    path.write_bytes(b"this is not a database, but it is long enough to be one" * 100)
    with pytest.raises(LogCorrupt, match="not a log"):
        LogReader.open(tmp_path)
    path.unlink()
    with sqlite3.connect(path) as foreign:
        foreign.execute("CREATE TABLE other (x)")
    with pytest.raises(LogCorrupt, match="not a log") as caught:
        LogReader.open(tmp_path)
    assert (caught.value.expected, caught.value.actual) == (APPLICATION_ID, 0)


def test_a_log_of_an_unknown_version_is_refused_with_both(folder):
    with sqlite3.connect(folder / "log.sqlite") as raw:
        raw.execute(f"PRAGMA user_version={database.VERSION + 1}")
    for opening in (LogReader.open, LogStore.open):
        with pytest.raises(LogCorrupt, match="format this version does not know") as caught:
            opening(folder)
        assert (caught.value.expected, caught.value.actual) == (
            database.VERSION,
            database.VERSION + 1,
        )


def test_a_log_that_claims_another_keys_origin_is_refused(folder):
    with sqlite3.connect(folder / "log.sqlite") as raw:
        raw.execute("UPDATE meta SET value = 'torchnotary.log/0' WHERE key = 'origin'")
    with pytest.raises(LogCorrupt, match="another key's origin"):
        LogReader.open(folder)


def test_a_missing_node_is_named_and_not_worked_around(folder):
    with LogStore.open(folder) as log:
        log.append([entry(i) for i in range(8)])
        log._connection.execute("DELETE FROM nodes WHERE position = ?", (tree.position(1, 0),))
        with pytest.raises(LogCorrupt, match="level 1, index 0"):
            log.inclusion_proof(7, 8) and log.inclusion_proof(2, 8)


def test_a_damaged_database_is_log_corrupt(folder):
    with LogStore.open(folder) as log:
        log.append([entry(i) for i in range(300)])
    path = folder / "log.sqlite"
    data = bytearray(path.read_bytes())
    data[4096 * 3 :] = b"\xff" * (len(data) - 4096 * 3)
    path.write_bytes(data)
    with pytest.raises(LogCorrupt):
        with LogReader.open(folder) as reader:
            list(reader.records({}, None))
            reader.root(reader.size())
