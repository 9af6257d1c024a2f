"""A folder of logs: which one is gone on with, what a copy or a restore leads to, and the check."""

from __future__ import annotations

import errno
import json
import os
import shutil
import sqlite3
from pathlib import Path

import pytest

from log_helpers import RecordJob, open_folder, run, write_records
from torchnotary import folders
from torchnotary.errors import LogCorrupt, NotaryError
from torchnotary.keys import PublicKey, SigningKey
from torchnotary.log import registry, token, tree
from torchnotary.log.check import check_folder
from torchnotary.log.checkpoint import Checkpoint, SignedNote
from torchnotary.log.leaf import entry_leaf, leaf_hash
from torchnotary.log.proofs import TlogProof
from torchnotary.log.reader import LogFolder, find_anywhere, normal_time, private_anywhere
from torchnotary.log.store import LogReader
from torchnotary.log.writer import LogWriter
from torchnotary.statement.bundle import Bundle
from torchnotary.statement.envelope import verify
from torchnotary.statement.lines import canonical, parse


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "log"


def first_leaf(log: Path) -> dict:
    with LogReader.open(log) as reader:
        return parse(reader.leaf(0))


def last_checkpoint(log: Path) -> str:
    with LogReader.open(log) as reader:
        return reader.checkpoint()[1]


def signed_sizes(*roots: Path) -> dict[str, dict[int, set[bytes]]]:
    """Every root that was ever signed, by origin and size, in all the folders given."""
    found: dict[str, dict[int, set[bytes]]] = {}
    for log in {path.parent for root in roots for path in root.rglob("log.sqlite")}:
        with LogReader.open(log) as reader:
            for (note,) in reader.query("SELECT note FROM checkpoints"):
                signed = Checkpoint.parse(SignedNote.parse(note).text)
                found.setdefault(signed.origin, {}).setdefault(signed.size, set()).add(signed.root)
    return found


def assert_no_size_was_signed_twice(*roots: Path) -> None:
    for sizes in signed_sizes(*roots).values():
        assert all(len(seen) == 1 for seen in sizes.values())


def test_a_log_is_gone_on_with_by_the_next_process(folder):
    logs = [write_records(folder, 2)[0].log for _ in range(3)]
    assert len(set(logs)) == 1 and LogFolder(folder).logs() == [logs[0]]
    assert logs[0].name.startswith("0001-")
    report = check_folder(folder)
    assert report.ok and (report.logs, report.entries) == (1, 6)


def test_a_log_names_its_key_in_folder_and_origin(folder):
    log = write_records(folder)[0].log
    with LogReader.open(log) as reader:
        assert reader.origin == f"torchnotary.log/{reader.public_key.fingerprint[:32]}"
        assert log.name == f"0001-{reader.public_key.fingerprint[:8]}"


def test_the_log_is_not_signed_with_the_key_of_its_records(folder):
    write_records(folder)
    (entry,) = LogFolder(folder).list()
    assert entry.log_public_key != entry.public_key


def test_a_copied_folder_begins_the_next_log_and_names_its_predecessor(folder, tmp_path):
    log = write_records(folder, 3)[0].log
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    (there,) = write_records(copy)
    assert there.log.name.startswith("0002-") and there.index == 1
    leaf = first_leaf(there.log)
    assert leaf == {"checkpoint": last_checkpoint(log), "type": "predecessor/1"}
    (here,) = write_records(folder)
    assert here.log == log and here.index == 3
    assert check_folder(folder).ok and check_folder(copy).ok
    assert_no_size_was_signed_twice(folder, copy)


def test_a_restored_older_copy_in_place_is_not_signed_again(folder, tmp_path):
    log = write_records(folder, 3)[0].log
    backup = {path: path.read_bytes() for path in log.rglob("*") if path.is_file()}
    write_records(folder, 2)
    newer = tmp_path / "newer"
    shutil.copytree(folder, newer)
    for path, data in backup.items():
        path.write_bytes(data)
    problems = check_folder(folder).problems
    assert any("replaced or cut back" in problem.what for problem in problems)
    (entry,) = write_records(folder)
    assert entry.log.name.startswith("0002-")
    assert_no_size_was_signed_twice(folder, newer)


def test_a_log_of_equal_size_with_other_entries_is_not_signed_again(folder, tmp_path):
    log = write_records(folder, 2)[0].log
    with sqlite3.connect(log / "log.sqlite") as raw:
        raw.execute("UPDATE nodes SET hash = zeroblob(32) WHERE position = 0")
        raw.execute("DELETE FROM checkpoints")
    (entry,) = write_records(folder)
    assert entry.log.name.startswith("0002-")


@pytest.mark.parametrize("lost", ["*.token", "*.pem", "*"])
def test_a_log_without_its_token_or_key_is_left_for_the_next(folder, home, lost):
    first = write_records(folder)[0].log
    for path in (home / "logs").glob(lost):
        path.unlink()
    (second,) = write_records(folder)
    assert second.log != first and second.log.name.startswith("0002-")
    assert check_folder(folder).ok


@pytest.mark.parametrize(
    "content",
    [b"", b"junk", b"\0" * 384, b'{"place":"","root":"","size":0,"type":"token/2"}', b"{}\n"],
)
def test_a_damaged_token_is_left_for_the_next(folder, home, content):
    write_records(folder)
    (path,) = (home / "logs").glob("*.token")
    path.write_bytes(content)
    assert write_records(folder)[0].log.name.startswith("0002-")


def test_a_moved_folder_and_another_machine_begin_the_next_log(folder, tmp_path, monkeypatch):
    write_records(folder)
    moved = tmp_path / "moved"
    folder.rename(moved)
    assert write_records(moved)[0].log.name.startswith("0002-")
    assert write_records(moved)[0].log.name.startswith("0002-")
    here = os.uname()
    elsewhere = os.uname_result(("Linux", "another-pod", *tuple(here)[2:]))
    monkeypatch.setattr(token.os, "uname", lambda: elsewhere)
    assert write_records(moved)[0].log.name.startswith("0003-")
    report = check_folder(moved)
    assert report.ok, report.problems


def test_the_token_is_written_before_the_checkpoint_is_signed(folder, monkeypatch):
    """A power loss between the two loses a signature, never the knowledge of one."""
    write_records(folder, 2)
    order = []
    advance, sign = token.Custody.advance, Checkpoint.sign

    def advanced(self, size, root):
        advance(self, size, root)
        order.append(("token", size))

    def signed(self, key):
        order.append(("sign", self.size))
        return sign(self, key)

    monkeypatch.setattr(token.Custody, "advance", advanced)
    monkeypatch.setattr(Checkpoint, "sign", signed)
    write_records(folder)
    assert order == [("token", 2), ("token", 3), ("sign", 3)]


def test_what_was_durable_but_unsigned_when_its_writer_died_is_signed_by_the_next(
    folder, monkeypatch
):
    def dies(self, size, note):
        raise OSError("killed here")

    write_records(folder)
    with monkeypatch.context() as patched:
        patched.setattr("torchnotary.log.store.LogStore.put_checkpoint", dies)
        with LogWriter.open(folder) as writer:
            with pytest.raises(NotaryError, match="killed here"):
                writer.submit(RecordJob(1)).wait()
    entries = list(LogFolder(folder).list())
    assert len(entries) == 2
    with pytest.raises(NotaryError, match="no signed checkpoint covers it yet"):
        LogFolder(folder).bundle(entries[1].record_id)
    write_records(folder)
    LogFolder(folder).bundle(entries[1].record_id)
    report = check_folder(folder)
    assert report.ok and (report.logs, report.entries) == (1, 3)


READ_ONLY_HOME = """
    import os, sys
    from log_helpers import RecordJob, become_nobody
    from torchnotary.keys import SigningKey
    from torchnotary.log.writer import LogWriter
    become_nobody()
    key = SigningKey.generate()
    with LogWriter.open(sys.argv[1]) as writer:
        print(writer.submit(RecordJob(0, key=key)).wait().log.name)
        print(writer.submit(RecordJob(1, key=key)).wait().log.name)
"""


def test_with_a_read_only_home_every_start_is_the_next_log():
    with open_folder() as parent:
        home, folder = parent / "home", parent / "log"
        home.mkdir(mode=0o555)
        folder.mkdir()
        folder.chmod(0o777)
        names = [
            run(READ_ONLY_HOME, folder, TORCHNOTARY_HOME=str(home)).stdout.split() for _ in range(3)
        ]
        assert [first for first, _ in names] == [second for _, second in names]
        assert [first[:5] for first, _ in names] == ["0001-", "0002-", "0003-"]
        assert os.listdir(home) == []
        report = check_folder(folder)
        assert report.ok, report.problems
        assert (report.logs, report.entries) == (3, 8)


def test_a_log_whose_key_was_held_in_memory_only_is_never_gone_on_with(folder, home):
    home.write_bytes(b"a file where the home should be")
    with LogWriter.open(folder) as writer:
        key = SigningKey.generate()
        first = writer.submit(RecordJob(0, key=key)).wait()
    home.unlink()
    assert write_records(folder)[0].log != first.log


def test_a_half_made_log_is_not_seen(folder):
    write_records(folder)
    (folder / ".0002-00000000").mkdir()
    (folder / "0003-00000000").mkdir()
    (folder / "notes.txt").write_text("mine")
    assert len(LogFolder(folder).logs()) == 1
    assert check_folder(folder).ok
    assert len(write_records(folder)) == 1


@pytest.mark.parametrize("step", ["LogStore.create", "LogStore.open", "Custody.create"])
def test_a_log_that_cannot_be_begun_leaves_nothing_behind(folder, monkeypatch, step):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(f"torchnotary.log.claim.{step}", full)
        with pytest.raises(NotaryError, match="No space left on device.*Next: free space"):
            write_records(folder)
        assert os.listdir(folder) == []
    assert write_records(folder)[0].log.name.startswith("0001-")


def test_a_bundle_proves_its_record_to_anyone(folder):
    entries = write_records(folder, 5) + write_records(folder, 3)
    for ref in entries:
        bundle = Bundle.from_json(json.loads(json.dumps(LogFolder(folder).bundle(ref.record_id))))
        key, log_key = PublicKey(bundle.public_key[12:]), PublicKey(bundle.log_public_key[12:])
        assert verify(bundle.envelope, key) and bundle.envelope.record_id == ref.record_id
        proof = TlogProof.from_text(bundle.tlog_proof)
        leaf = entry_leaf(bundle.envelope, key.fingerprint)
        assert (proof.verify(leaf, log_key).size, proof.index) == (8, ref.index)


def test_records_are_read_as_one_folder_over_all_its_logs(folder, tmp_path):
    write_records(folder, 2, labels={"run": "a"})
    copy = tmp_path / "copy"
    shutil.copytree(folder, copy)
    write_records(copy, 3, labels={"run": "b"})
    reader = LogFolder(copy)
    assert [entry.labels["run"] for entry in reader.list()] == ["a", "a", "b", "b", "b"]
    assert len(list(reader.list({"run": "b"}))) == 3
    assert len(list(reader.list(since="2026-11-21"))) == 5
    assert list(reader.list(since="2026-11-22")) == []
    for entry in reader.list():
        assert reader.find(entry.record_id[:12].upper()) == entry
        assert reader.bundle(entry.record_id)["type"] == "bundle/1"
        assert reader.private(entry.record_id).record_id == entry.record_id


def test_an_id_that_is_none_and_a_record_that_is_not_there_are_told_apart(folder):
    write_records(folder)
    reader = LogFolder(folder)
    for wrong in ("", "run.tnr", "abcdefg", "0" * 65, "xyz" * 10):
        with pytest.raises(NotaryError, match="not a record id"):
            reader.find(wrong)
    assert reader.find("0" * 64) is None and reader.private("0" * 64) is None
    with pytest.raises(NotaryError, match="no log in .* has the record 00000000"):
        reader.bundle("0" * 8)
    assert LogFolder(folder / "missing").logs() == []


def test_times_are_compared_in_utc():
    for text, expected in [
        ("2026-11-21", "2026-11-21T00:00:00.000000Z"),
        ("2026-11-21T10:02:03Z", "2026-11-21T10:02:03.000000Z"),
        ("2026-11-21T10:02:03.123456+02:00", "2026-11-21T08:02:03.123456Z"),
        ("2026-11-21 23:00:00-02:00", "2026-11-22T01:00:00.000000Z"),
        ("0226-11-21", "0226-11-21T00:00:00.000000Z"),
    ]:
        assert normal_time(text) == expected
    for wrong in ("", "yesterday", "2026-13-01", "10:02", "0001-01-01T00:00:00+14:00"):
        with pytest.raises(NotaryError, match="not a time"):
            normal_time(wrong)


def test_a_record_is_found_from_anywhere_by_its_id_alone(folder, tmp_path):
    (first,) = write_records(folder)
    (second,) = write_records(tmp_path / "other log, with é and %20")
    for ref in (first, second):
        assert find_anywhere(ref.record_id).log == ref.log
        assert private_anywhere(ref.record_id).record_id == ref.record_id
    assert find_anywhere("0" * 64) is None and private_anywhere("0" * 64) is None
    shutil.rmtree(folder)
    assert find_anywhere(first.record_id) is None
    assert find_anywhere(second.record_id) is not None


def test_the_log_that_is_named_comes_before_a_copy_elsewhere(folder, tmp_path, monkeypatch):
    (ref,) = write_records(folder)
    shutil.copytree(folder, tmp_path / "copy")
    monkeypatch.setenv("TORCHNOTARY_LOG", str(tmp_path / "copy"))
    assert find_anywhere(ref.record_id).log.parent == tmp_path / "copy"


def test_a_damaged_log_elsewhere_does_not_hide_a_record(folder, tmp_path):
    (damaged,) = write_records(tmp_path / "damaged")
    (ref,) = write_records(folder)
    (damaged.log / "log.sqlite").write_bytes(b"junk" * 1000)
    assert find_anywhere(ref.record_id) is not None
    assert find_anywhere(damaged.record_id) is None


def test_the_default_log_is_found_even_if_nothing_was_remembered(home):
    (ref,) = write_records(folders.default_log())
    (home / "logs.jsonl").unlink()
    assert find_anywhere(ref.record_id).log == ref.log


def test_a_folder_is_remembered_once_whatever_the_file_went_through(folder, home, tmp_path):
    for _ in range(3):
        write_records(folder)
    path = home / "logs.jsonl"
    assert len(path.read_bytes().splitlines()) == 1
    path.write_bytes(path.read_bytes() + b'{"folder":"file:///cut sho')
    other = tmp_path / "other"
    write_records(other)
    write_records(other)
    assert registry.known_folders() == [other, folder]
    assert len(path.read_bytes().splitlines()) == 3
    path.write_bytes(b"junk\n\xff\n[]\n" + path.read_bytes() + b'{"folder":5,"type":"x"}\n')
    assert registry.known_folders() == [other, folder]


def test_a_folder_whose_name_is_not_text_is_remembered(tmp_path):
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/log-\xff"))
    (ref,) = write_records(odd)
    assert find_anywhere(ref.record_id).log == ref.log


@pytest.fixture
def checked(folder) -> Path:
    """A folder whose only log has ten records in two batches, with files; its check is clean."""
    write_records(folder, 6, labels={"run": "a"}, files={"inputs.jsonl": b"shared\n"})
    write_records(folder, 4, evidence=os.urandom(100))
    report = check_folder(folder)
    assert report.ok and report.entries == 10
    return folder


def _change(folder: Path, sql: str, *values, private: bool = False) -> Path:
    (log,) = LogFolder(folder).logs()
    name = "private/private.sqlite" if private else "log.sqlite"
    with sqlite3.connect(log / name) as raw:
        assert raw.execute(sql, values).rowcount > 0
    return log


NAMED = [
    ("UPDATE records SET payload = payload || ' ' WHERE number = 3", 3, "statement is not the one"),
    (
        "UPDATE entries SET signature = zeroblob(64) WHERE idx = 4",
        4,
        "signature is not the one its leaf names",
    ),
    ("UPDATE entries SET leaf = CAST(leaf || ' ' AS BLOB) WHERE idx = 5", 5, "whitespace"),
    ("UPDATE entries SET leaf = x'7b7d' WHERE idx = 5", 5, "unknown type"),
    ("UPDATE entries SET leaf = 'text' WHERE idx = 5", 5, "not JSON"),
    ("UPDATE nodes SET hash = zeroblob(32) WHERE position = 0", 1, "node of the tree"),
    ("UPDATE nodes SET hash = zeroblob(32) WHERE position = 7", 9, "node of the tree"),
    ("DELETE FROM nodes WHERE position = 3", 5, "node of the tree"),
    ("DELETE FROM entries WHERE idx = 7", 7, "missing"),
    ("DELETE FROM records WHERE number = 2", 2, "lost its record"),
    ("UPDATE records SET record_id = zeroblob(32) WHERE number = 2", 2, "names another record"),
    ("UPDATE records SET time = '2020-01-01T00:00:00.000000Z' WHERE number = 1", 1, "another time"),
    ("UPDATE records SET name = 'other' WHERE number = 1", 1, "another name"),
    ("UPDATE records SET name = 'a' || char(10) || 'b' WHERE number = 1", 1, "another name"),
    ("UPDATE labels SET value = 'b' WHERE number = 1", 1, "under other labels"),
    ("DELETE FROM labels WHERE number = 1", 1, "under other labels"),
]


@pytest.mark.parametrize("sql, index, what", NAMED)
def test_the_check_names_the_entry_somebody_broke_by_hand(checked, sql, index, what):
    record_id = [entry.record_id for entry in LogFolder(checked).list()][index]
    log = _change(checked, sql)
    report = check_folder(checked)
    first = report.problems[0]
    assert (first.log, first.index) == (log, index) and what in first.what, report.problems
    assert f"{log.name} entry {index}" in str(first)
    if first.record_id is not None and "names another record" not in what:
        assert first.record_id == record_id
    with pytest.raises(LogCorrupt, match=f"entry {index}.*Next: "):
        report.raise_for_problems()


def test_the_check_names_a_signer_that_was_exchanged(checked):
    _change(checked, "UPDATE signers SET spki = ?", SigningKey.generate().public.spki)
    problems = check_folder(checked).problems
    assert [problem.index for problem in problems] == list(range(10))
    assert "signer is not the one its leaf names" in problems[0].what


def test_the_check_notices_a_tail_that_was_cut_off(checked, home):
    _change(checked, "DELETE FROM entries WHERE idx >= 8")
    _change(checked, "DELETE FROM records WHERE number >= 8")
    _change(checked, "DELETE FROM nodes WHERE position >= 7")
    whats = " / ".join(problem.what for problem in check_folder(checked).problems)
    assert "checkpoint of size 10 was signed, but 8 entries are here" in whats
    assert "cut back" in whats
    _change(checked, "DELETE FROM checkpoints WHERE size = 10")
    whats = [problem.what for problem in check_folder(checked).problems]
    assert any("cut back" in what for what in whats)


def test_the_check_notices_entries_behind_a_gap(checked):
    _change(checked, "UPDATE entries SET idx = 100000 WHERE idx = 9")
    first = check_folder(checked).problems[0]
    assert first.index == 9 and "missing" in first.what


def test_the_check_notices_checkpoints_that_do_not_fit(checked):
    (log,) = LogFolder(checked).logs()
    note = last_checkpoint(log)
    _change(checked, "UPDATE checkpoints SET note = ? WHERE size = 6", note)
    assert "kept for size 6 is of size 10" in check_folder(checked).problems[0].what
    _change(checked, "UPDATE checkpoints SET note = ? WHERE size = 6", note.replace("10", "6", 1))
    assert "the checkpoint of size 6: " in check_folder(checked).problems[0].what
    _change(checked, "UPDATE checkpoints SET note = 'junk' WHERE size = 6")
    assert "the checkpoint of size 6: " in check_folder(checked).problems[0].what


def test_the_check_notices_that_leaves_and_nodes_were_rewritten_together(checked, home):
    """A consistent tree over other entries contradicts what was signed."""
    shutil.rmtree(home / "logs")
    (log,) = LogFolder(checked).logs()
    with sqlite3.connect(log / "log.sqlite") as raw:
        raw.execute("DELETE FROM entries WHERE idx = 9")
        raw.execute(
            "INSERT INTO entries SELECT 9, leaf, signer, 9, count, signature, payload"
            " FROM entries WHERE idx = 8"
        )
        raw.execute("DELETE FROM records WHERE number = 9")
        raw.execute(
            "INSERT INTO records SELECT 9, 9, record_id, time, name, payload"
            " FROM records WHERE number = 8"
        )
        leaves = [leaf for (leaf,) in raw.execute("SELECT leaf FROM entries ORDER BY idx")]
        frontier, nodes = tree.Frontier(), []
        for leaf in leaves:
            nodes += frontier.extend(leaf_hash(leaf))
        rows = [(node, position) for position, node in enumerate(nodes)]
        raw.executemany("UPDATE nodes SET hash = ? WHERE position = ?", rows)
    problems = check_folder(checked).problems
    assert "the checkpoint of size 10 has the root" in problems[0].what
    assert problems[0].what.endswith("entries 6 to 9 are not what was signed")
    assert not any("node" in problem.what for problem in problems)


def test_a_wrong_leaf_is_named_once_however_many_checkpoints_cover_it(folder):
    for count in (2, 1, 3):
        write_records(folder, count)
    _change(folder, "UPDATE entries SET leaf = x'00' WHERE idx = 2")
    problems = check_folder(folder).problems
    first = problems[0]
    assert first.index == 2 and first.what.startswith("its leaf is damaged: ")
    (root,) = (problem for problem in problems if "has the root" in problem.what)
    assert root.index == 2 and root.what.endswith(" (and so on, 2 checkpoints)")
    assert root.what.startswith("the checkpoint of size 3 has the root")


def test_an_erased_envelope_is_counted_and_the_log_still_checks(checked):
    (log,) = LogFolder(checked).logs()
    record_id = [entry.record_id for entry in LogFolder(checked).list()][3]
    _change(checked, "DELETE FROM labels WHERE number = 3")
    _change(checked, "UPDATE records SET payload = NULL, name = '' WHERE number = 3")
    report = check_folder(checked)
    assert report.ok and report.erased == 1
    assert LogFolder(checked).find(record_id).envelope is None
    with pytest.raises(NotaryError, match="was erased"):
        LogFolder(checked).bundle(record_id)


def test_the_check_names_damage_in_the_private_store(checked):
    ids = [entry.record_id for entry in LogFolder(checked).list()]
    _change(checked, "UPDATE parts SET data = x'00' WHERE id = 1 << 16", private=True)
    problems = check_folder(checked).problems
    assert [problem.index for problem in problems] == list(range(6))
    assert problems[0].record_id == ids[0] and "inputs.jsonl is damaged" in problems[0].what
    _change(checked, "DELETE FROM files WHERE id = 1", private=True)
    assert "inputs.jsonl is missing" in check_folder(checked).problems[0].what
    _change(checked, "UPDATE records SET record_id = zeroblob(32) WHERE number = 9", private=True)
    problems = check_folder(checked).problems
    assert any("another record's" in problem.what and problem.index == 9 for problem in problems)


def test_a_log_without_its_private_store_still_checks(checked):
    (log,) = LogFolder(checked).logs()
    shutil.rmtree(log / "private")
    assert check_folder(checked).ok
    assert LogFolder(checked).private(next(LogFolder(checked).list()).record_id) is None


def test_a_log_that_is_no_database_any_more_is_one_problem_among_the_others(checked, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(checked, copy)
    write_records(copy)
    first, second = LogFolder(copy).logs()
    (first / "log.sqlite").write_bytes(b"junk" * 5000)
    problems = check_folder(copy).problems
    assert [problem.log for problem in problems] == [first, second]
    assert "not a log" in problems[0].what
    assert "is not in this folder" in problems[1].what


def test_the_check_notices_a_predecessor_that_was_removed_or_rewritten(checked, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(checked, copy)
    write_records(copy)
    first, second = LogFolder(copy).logs()
    with sqlite3.connect(first / "log.sqlite") as raw:
        raw.execute("UPDATE nodes SET hash = zeroblob(32) WHERE position = 7")
    problems = [p for p in check_folder(copy).problems if p.log == second]
    assert "is not the log this one goes on from any more" in problems[0].what
    shutil.rmtree(first)
    (problem,) = check_folder(copy).problems
    assert problem.index == 0 and "is not in this folder" in problem.what


def test_a_renamed_log_is_noticed(checked):
    (log,) = LogFolder(checked).logs()
    log.rename(log.with_name("0001-00000000"))
    (problem,) = check_folder(checked).problems
    assert "the folder's name is not the one of" in problem.what


def test_a_folder_without_logs_has_nothing_to_check(tmp_path):
    with pytest.raises(NotaryError, match="there is no log"):
        check_folder(tmp_path / "missing")


def test_the_check_works_while_the_log_is_written(folder):
    with LogWriter.open(folder) as writer:
        writer.submit(RecordJob(0)).wait()
        tickets = [writer.submit(RecordJob(i), block=True) for i in range(500)]
        while not tickets[-1].settled:
            report = check_folder(folder)
            assert report.ok, report.problems
    assert check_folder(folder).entries == 501


def test_a_foreign_predecessor_line_is_not_believed(folder):
    """Whoever can write the store can write any first leaf; its checkpoint must still be signed."""
    write_records(folder)
    (log,) = LogFolder(folder).logs()
    with sqlite3.connect(log / "log.sqlite") as raw:
        line = canonical({"checkpoint": "junk", "type": "predecessor/1"})
        raw.execute("UPDATE entries SET leaf = ?", (line,))
    assert not check_folder(folder).ok
