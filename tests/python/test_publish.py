"""Logs as static files: laid out as tlog-tiles says, made from the store alone, and checked."""

from __future__ import annotations

import shutil

import pytest

import rfc9162_reference as reference
from published_logs import GrowingLog, contents
from torchnotary.errors import (
    CheckpointConflict,
    LogCorrupt,
    MalformedProof,
    MalformedRecord,
    NotaryError,
    VerificationFailed,
)
from torchnotary.log import publish as publishing
from torchnotary.log.checkpoint import Checkpoint
from torchnotary.log.publish import check_published, publish
from torchnotary.log.tiles import PublishedLog, Tile, widths


@pytest.fixture
def log(tmp_path) -> GrowingLog:
    return GrowingLog(tmp_path / "log")


@pytest.fixture(scope="module")
def published(tmp_path_factory):
    """A log of 600 entries, published once at 300 and once at its end; nobody may change it."""
    folder = tmp_path_factory.mktemp("published")
    log = GrowingLog(folder / "log").grow(300)
    publish(folder / "log", folder / "out")
    log.grow(600)
    publish(folder / "log", folder / "out")
    return folder, log


@pytest.fixture
def copy(published, tmp_path):
    """The published log, for a test that damages it: its folder of logs, the copy, the log."""
    folder, log = published
    shutil.copytree(folder / "out", tmp_path / "out")
    return folder / "log", tmp_path / "out", log


def test_paths_are_those_of_the_specification():
    assert Tile(0, 1234067, 256).path == "tile/0/x001/x234/067"
    assert Tile(None, 7, 112).path == "tile/entries/007.p/112"
    assert Tile(2, 1000, 1).path == "tile/2/x001/000.p/1"
    for tile in [Tile(0, 0, 256), Tile(63, 999, 255), Tile(None, 10**9, 3)]:
        assert Tile.from_path(tile.path) == tile
    for path in ["tile/0/1", "tile/00/001", "tile/0/001.p/0", "tile/0/001.p/256", "tile/0/x001"]:
        assert Tile.from_path(path) is None
    for path in ["tile/0/x000/001", "tile/64/001/002", "tile/0/001.p/01", "checkpoint", "../x"]:
        assert Tile.from_path(path) is None


def test_a_tree_has_the_tiles_of_the_specification():
    # Its example: 273 full tiles and one 112 wide; one full and one 17 wide; one 1 wide.
    assert [divmod(n, 256) for n in widths(70_000)] == [(273, 112), (1, 17), (0, 1)]
    assert [divmod(n, 256) for n in widths(256)] == [(1, 0), (0, 1)]
    assert widths(0) == []


@pytest.mark.parametrize("size", [1, 2, 255, 256, 257, 513])
def test_what_is_published_is_what_the_specification_says(log, tmp_path, size):
    log.grow(size)
    (done,) = publish(tmp_path / "log", tmp_path / "out")
    assert (done.name, done.origin, done.size) == (log.name, log.origin, size)
    assert contents(tmp_path / "out" / log.name) == log.files()
    assert list(check_published(tmp_path / "log", tmp_path / "out")) == []


def test_a_deleted_folder_is_made_again_byte_by_byte(published, tmp_path):
    folder, log = published
    assert contents(folder / "out" / log.name) == log.files()
    publish(folder / "log", tmp_path / "again")
    assert contents(tmp_path / "again") == contents(folder / "out")


def test_publishing_twice_writes_nothing(published):
    folder, _ = published
    (done,) = publish(folder / "log", folder / "out")
    assert done.files == 0


def test_partial_tiles_stay_until_the_full_one_is_there(log, tmp_path):
    out = tmp_path / "out" / log.name
    for size in (3, 5, 255):
        publish(log.grow(size).path.parent, tmp_path / "out")
    assert {path.name for path in (out / "tile/0/000.p").iterdir()} == {"3", "5", "255"}
    publish(log.grow(256).path.parent, tmp_path / "out")
    assert not (out / "tile/0/000.p").exists() and (out / "tile/0/000").exists()


def test_all_logs_of_a_folder_are_published_and_named(tmp_path):
    logs = [GrowingLog(tmp_path / "log", seed, seed).grow(seed) for seed in (1, 2)]
    GrowingLog(tmp_path / "log", 3, 3)  # nothing is signed in it
    publish(tmp_path / "log", tmp_path / "out")
    found = PublishedLog.all_in(tmp_path / "out")
    assert [(log.path.name, log.origin) for log in found] == [(g.name, g.origin) for g in logs]
    with pytest.raises(NotaryError, match="does not name"):
        PublishedLog.open(tmp_path / "out" / "0003-00000000")


def test_a_log_without_a_signed_checkpoint_has_nothing_to_publish(tmp_path):
    GrowingLog(tmp_path / "log")
    with pytest.raises(NotaryError, match="no log in .* has a signed checkpoint"):
        publish(tmp_path / "log", tmp_path / "out")


def test_a_checkpoint_appears_only_once_all_it_needs_is_there(log, tmp_path, monkeypatch):
    out = tmp_path / "out" / log.name
    publish(log.grow(3).path.parent, tmp_path / "out")
    before = (out / "checkpoint").read_bytes()
    log.grow(300)
    real, left = publishing.write_atomically, 6
    while (out / "checkpoint").read_bytes() == before:
        left -= 1
        budget = [6 - left]

        def failing(path, data, budget=budget):
            if not budget[0]:
                raise OSError(28, "No space left on device")
            budget[0] -= 1
            real(path, data)

        monkeypatch.setattr(publishing, "write_atomically", failing)
        try:
            publish(log.path.parent, tmp_path / "out")
        except OSError:
            assert PublishedLog.open(out).size() == 3
            assert PublishedLog.open(out).leaf(2) == log.leaves[2]
    assert contents(out) == log.files()


def test_a_log_that_lost_what_was_published_is_refused(log, tmp_path):
    publish(log.grow(5).path.parent, tmp_path / "out")
    before = contents(tmp_path / "out")
    shutil.rmtree(log.path)
    cut = GrowingLog(tmp_path / "log").grow(3)
    with pytest.raises(CheckpointConflict, match="does not extend") as caught:
        publish(cut.path.parent, tmp_path / "out")
    assert "size 5" in caught.value.expected and caught.value.actual == "size 3"
    assert contents(tmp_path / "out") == before


@pytest.mark.parametrize("size", [5, 9])
def test_a_log_that_was_rewritten_is_refused(log, tmp_path, size):
    publish(log.grow(5).path.parent, tmp_path / "out")
    before = contents(tmp_path / "out")
    shutil.rmtree(log.path)
    forked = GrowingLog(tmp_path / "log").grow(size, "another")
    with pytest.raises(CheckpointConflict, match="does not extend"):
        publish(forked.path.parent, tmp_path / "out")
    assert contents(tmp_path / "out") == before


def test_another_logs_folder_is_not_written_over(log, tmp_path):
    publish(log.grow(2).path.parent, tmp_path / "out")
    other = GrowingLog(tmp_path / "other", 2).grow(9)
    (tmp_path / "out" / log.name).rename(tmp_path / "out" / other.name)
    with pytest.raises(VerificationFailed, match="not signed by the log's key"):
        publish(tmp_path / "other", tmp_path / "out")


@pytest.mark.parametrize("place", ["log", "log/LOG", "log/LOG/public", "link"])
def test_nothing_is_published_where_the_private_parts_lie(log, tmp_path, place):
    log.grow(2)
    (tmp_path / "link").symlink_to("log")
    with pytest.raises(NotaryError, match="private parts included"):
        publish(log.path.parent, tmp_path / place.replace("LOG", log.name))
    assert sorted(path.name for path in log.path.parent.iterdir()) == [log.name]
    assert not (log.path / "tile").exists()


@pytest.mark.parametrize("name", ["logs.jsonl", "LOG/checkpoint"])
def test_a_damaged_file_is_made_again_once_it_is_deleted(log, tmp_path, name):
    logs, out = log.grow(2).path.parent, tmp_path / "out"
    publish(logs, out)
    before, damaged = contents(out), out / name.replace("LOG", log.name)
    damaged.write_text("damaged")
    with pytest.raises(MalformedRecord, match=f"{name[-9:]} is damaged.*Next: delete it"):
        publish(logs, out)
    damaged.unlink()
    publish(logs, out)
    assert contents(out) == before


def flip(path):
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def cut(path):
    path.write_bytes(path.read_bytes()[:-1])


@pytest.mark.parametrize("damage", [flip, cut, lambda path: path.unlink()])
@pytest.mark.parametrize(
    "name", ["tile/0/001", "tile/0/002.p/88", "tile/1/000.p/2", "tile/entries/000", "checkpoint"]
)
def test_checking_names_the_file_that_differs(copy, name, damage):
    logs, out, log = copy
    assert list(check_published(logs, out)) == []
    damage(out / log.name / name)
    differences = list(check_published(logs, out))
    assert differences and all(what.startswith(f"{log.name}/{name}") for what in differences)


def test_checking_names_what_does_not_belong(copy, tmp_path):
    logs, out, log = copy
    for name in ["notes.txt", "tile/0/003", "tile/0/002.p/89", "tile/3/000.p/1", "tile/0/001.p/9"]:
        path = out / log.name / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")
        assert list(check_published(logs, out)) == [f"{log.name}/{name} is not what the log has"]
        path.unlink()
    assert list(check_published(tmp_path, out)) == [f"{log.name} is no log of {tmp_path}"]
    (out / "logs.jsonl").unlink()
    assert list(check_published(logs, out)) == ["logs.jsonl is missing"]


def test_checking_names_what_cannot_be_read(copy):
    logs, out, log = copy
    for name in ["tile/0/001", "tile/0/009"]:
        (out / log.name / name).unlink(missing_ok=True)
        (out / log.name / name).symlink_to("nowhere")
    assert list(check_published(logs, out)) == [
        f"{log.name}/tile/0/001 is missing",
        f"{log.name}/tile/0/001 is not what the log has",
        f"{log.name}/tile/0/009 is not what the log has",
    ]
    (out / log.name / "checkpoint").unlink()
    assert list(check_published(logs, out)) == [f"{log.name}/checkpoint: No such file or directory"]
    (out / "logs.jsonl").write_text("damaged")
    (said,) = check_published(logs, out)
    assert said.startswith("logs.jsonl: ")


def test_checking_names_a_checkpoint_of_another_history(copy):
    logs, out, log = copy
    other = Checkpoint(log.origin, 600, bytes(32)).sign(log.key)
    (out / log.name / "checkpoint").write_text(other)
    assert list(check_published(logs, out)) == [
        f"{log.name}/checkpoint: the log does not extend it (size 600)"
    ]


def test_a_reader_proves_what_it_reads(published):
    folder, log = published
    reader = PublishedLog.open(folder / "out" / log.name)
    assert reader.checkpoint() == (600, log.checkpoint(600))
    for size in (1, 255, 256, 257, 512, 600):
        assert reader.root(size) == reference.mth(log.leaves[:size])
        assert reader.consistency_proof(size, 600) == reference.proof(size, log.leaves)
        index = size - 1
        assert reader.leaf(index) == log.leaves[index]
        for of in (size, 600):
            assert reader.inclusion_proof(index, of) == reference.path(index, log.leaves[:of])
    assert reader.consistency_proof(255, 257) == reference.proof(255, log.leaves[:257])


@pytest.mark.parametrize("name", ["tile/0/000", "tile/0/002.p/88", "tile/1/000.p/2"])
def test_a_reader_believes_no_hash_that_the_checkpoint_does_not_prove(copy, name):
    _, out, log = copy
    flip(out / log.name / name)
    reader = PublishedLog.open(out / log.name)
    with pytest.raises(LogCorrupt, match="do not add up"):
        for size in range(1, 600, 7):
            reader.consistency_proof(size, 600)
    with pytest.raises(LogCorrupt, match="do not add up"):
        for index in range(0, 600, 7):
            reader.inclusion_proof(index, 600)


def test_a_reader_believes_no_entry_that_the_tree_does_not_prove(copy):
    _, out, log = copy
    path = out / log.name / "tile/entries/001"
    other = log.leaves[300].replace(b"leaf", b"lead")
    path.write_bytes(path.read_bytes().replace(log.leaves[300], other))
    reader = PublishedLog.open(out / log.name)
    assert reader.leaf(299) == log.leaves[299]
    with pytest.raises(LogCorrupt, match="entry 300 is not the one"):
        reader.leaf(300)
    cut(path)
    with pytest.raises(LogCorrupt, match="cut short"):
        PublishedLog.open(out / log.name).leaf(256)


def test_a_reader_takes_the_full_tile_where_the_partial_one_is_gone(copy):
    logs, out, log = copy
    home = out / log.name / "tile/0"
    full = b"".join([(home / "002.p/88").read_bytes(), bytes(32 * 168)])
    shutil.rmtree(home / "002.p")
    with pytest.raises(LogCorrupt, match="cannot be read"):
        PublishedLog.open(out / log.name).leaf(599)
    (home / "002").write_bytes(full)
    assert PublishedLog.open(out / log.name).leaf(599) == log.leaves[599]


def test_a_reader_has_no_proof_beyond_its_checkpoint(published):
    folder, log = published
    reader = PublishedLog.open(folder / "out" / log.name)
    for ask in [
        lambda: reader.root(601),
        lambda: reader.leaf(600),
        lambda: reader.leaf(-1),
        lambda: reader.inclusion_proof(5, 5),
        lambda: reader.inclusion_proof(5, 601),
        lambda: reader.consistency_proof(0, 600),
        lambda: reader.consistency_proof(7, 6),
        lambda: reader.consistency_proof(600, 601),
    ]:
        with pytest.raises(MalformedProof, match="there is no such"):
            ask()


@pytest.mark.parametrize(
    "old, new",
    [
        ('"log":"', '"log":"../'),
        ("torchnotary.log/", "torchnotary.log/0"),
        ("published-log/1", "published-log/1 "),
        ('"type"', '"typed"'),
    ],
)
def test_an_index_that_names_something_else_is_refused(copy, old, new):
    _, out, log = copy
    index = out / "logs.jsonl"
    index.write_text(index.read_text().replace(old, new, 1))
    with pytest.raises(MalformedRecord):
        PublishedLog.open(out / log.name)


def test_the_published_checkpoint_carries_its_cosignatures(log, tmp_path):
    from torchnotary.log import cosigned
    from torchnotary.log.store import LogReader
    from torchnotary.log.witness import WitnessKey, cosign

    publish(log.grow(5).path.parent, tmp_path / "out")
    witness = GrowingLog(tmp_path / "witness", 2).key
    note = cosign(log.checkpoint(5), "witness.example/w1", witness, 70)
    with LogReader.open(log.path) as reader:
        cosigned.keep(reader, note, [WitnessKey("witness.example/w1", witness.public)])
    assert list(check_published(log.path.parent, tmp_path / "out")) == []
    publish(log.path.parent, tmp_path / "out")
    path = tmp_path / "out" / log.name / "checkpoint"
    assert path.read_text() == note
    assert list(check_published(log.path.parent, tmp_path / "out")) == []
    path.write_text(cosign(note, "witness.example/w2", witness, 70))
    (difference,) = check_published(log.path.parent, tmp_path / "out")
    assert "nobody checks" in difference
