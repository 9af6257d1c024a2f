"""Pruning: of what old records said no byte is left, and all else still checks and is proven."""

from __future__ import annotations

import fcntl
import json
import os
import sqlite3
from pathlib import Path

import pytest

from log_helpers import RecordJob, run
from torchnotary import cli, verify
from torchnotary.errors import LogInUse, NotaryError
from torchnotary.keys import SigningKey
from torchnotary.log import database, private
from torchnotary.log.check import check_folder
from torchnotary.log.prune import prune_folder
from torchnotary.log.reader import LogFolder
from torchnotary.log.store import LogStore
from torchnotary.log.writer import LogWriter, Prepared
from torchnotary.statement.lines import canonical

OLD, NEW = "2025-11-21T10:02:03.123456Z", "2026-11-21T10:02:03.123456Z"
BETWEEN = "2026-01-01T00:00:00.000000Z"
SHARED = b"shared by old and new" * 1000


class Dated(RecordJob):
    """A record of a given time, everything in which begins with its ``mark``."""

    def __init__(self, mark: str, time: str, key: SigningKey, sign_every: int = 1):
        super().__init__(0)
        self.mark, self.time, self.key, self.sign_every = mark, time, key, sign_every

    def build(self, origin: str) -> Prepared:
        mark = self.mark
        labels = {f"{mark}key": f"{mark}value"}
        record = {"labels": labels, "text": f"{mark}statement{os.urandom(8).hex()}"}
        time = {"end": self.time, "start": self.time}
        data = f"{mark}data".encode()
        parts = private.PrivateParts(
            f"{mark}secret".encode().ljust(32, b"."),
            data,
            {"inputs.jsonl": data * 10, "weights.jsonl": SHARED, "own.jsonl": os.urandom(20_000)},
            data * 2000,
        )
        payload = canonical({"predicate": {"record": record, "time": time}})
        return Prepared(
            payload,
            self.time,
            f"{mark}name",
            labels,
            signer=self.key,
            private=parts,
            sign_every=self.sign_every,
        )


@pytest.fixture
def folder(tmp_path) -> Path:
    """A log of old and new records in turn, some signed by themselves and some together."""
    key = SigningKey.generate()
    with LogWriter.open(tmp_path / "log") as writer:
        for sign_every in (1, 4):
            jobs = [
                Dated("new-mark-" if i % 3 else "old-mark-", NEW if i % 3 else OLD, key, sign_every)
                for i in range(60)
            ]
            jobs += [Dated("old-mark-", OLD, key, sign_every) for _ in range(8)]
            tickets = [writer.submit(job) for job in jobs]
            tickets[-1].wait(60)
    return tmp_path / "log"


def count(folder: Path, mark: bytes) -> int:
    return sum(path.read_bytes().count(mark) for path in folder.rglob("*") if path.is_file())


def entries(folder: Path, time: str) -> list:
    return [entry for entry in LogFolder(folder).list() if entry.time == time]


def test_no_byte_of_old_records_is_left_and_the_log_still_checks(folder):
    old, new = entries(folder, OLD), entries(folder, NEW)
    assert len(old) == 56 and count(folder, b"old-mark-") > 56 * 4
    alone = [entry.envelope.signatures[0][1] for entry in old if entry.batch is None]
    bundles = {entry.record_id: LogFolder(folder).bundle(entry.record_id) for entry in new}
    assert prune_folder(folder, BETWEEN) == 56
    assert count(folder, b"old-mark-") == 0
    assert not any(count(folder, signature) for signature in alone)
    report = check_folder(folder)
    assert report.ok, report.problems
    assert (report.erased, report.records) == (56, 136)
    for entry in old:
        erased = LogFolder(folder).find(entry.record_id)
        assert (erased.payload, erased.envelope, erased.name, erased.labels) == (None, None, "", {})
        assert LogFolder(folder).private(entry.record_id) is None
        with pytest.raises(NotaryError, match="was erased"):
            LogFolder(folder).bundle(entry.record_id)
    for entry in new:
        assert LogFolder(folder).bundle(entry.record_id) == bundles[entry.record_id]
        kept = LogFolder(folder).private(entry.record_id)
        assert kept.file("weights.jsonl") == SHARED and kept.evidence == b"new-mark-data" * 2000


def test_pruning_twice_erases_nothing_more_and_records_are_made_as_before(folder):
    assert prune_folder(folder, BETWEEN) == 56
    assert prune_folder(folder, BETWEEN) == 0
    with LogWriter.open(folder) as writer:
        entry = writer.submit(Dated("new-mark-", NEW, SigningKey.generate())).wait(60)
    assert LogFolder(folder).logs() == [entry.log]
    assert check_folder(folder).ok


def test_a_log_that_is_written_is_left_as_it_is_and_named(folder):
    with LogWriter.open(folder) as writer:
        log = writer.submit(Dated("old-mark-", OLD, SigningKey.generate())).wait(60).log
        before = count(folder, b"old-mark-")
        source = """
            import sys
            from torchnotary.errors import LogInUse
            from torchnotary.log.prune import prune_folder
            from pathlib import Path
            try:
                prune_folder(Path(sys.argv[1]), sys.argv[2])
            except LogInUse as error:
                print(error)
        """
        with pytest.raises(LogInUse, match=f"{log.name}.*cannot be pruned while.*prune again"):
            prune_folder(folder, BETWEEN)
        assert log.name in run(source, folder, BETWEEN).stdout
        assert count(folder, b"old-mark-") >= before
    assert prune_folder(folder, BETWEEN) == 57


def test_a_log_that_is_written_does_not_keep_the_others_from_being_pruned(folder, tmp_path):
    held = LogFolder(folder).logs()[0]
    connection = os.open(held / "lock", os.O_RDWR)
    fcntl.flock(connection, fcntl.LOCK_EX)
    with LogWriter.open(folder) as writer:
        second = writer.submit(Dated("old-mark-", OLD, SigningKey.generate())).wait(60).log
    assert second != held
    with pytest.raises(LogInUse, match=f"{held.name}.*1 records were erased"):
        prune_folder(folder, BETWEEN)
    assert count(second, b"old-mark-") == 0 and count(held, b"old-mark-") > 0
    os.close(connection)


def test_what_a_reader_keeps_from_being_overwritten_is_overwritten_the_next_time(
    folder, monkeypatch
):
    monkeypatch.setattr(database, "BUSY_MILLISECONDS", 10)
    (log,) = LogFolder(folder).logs()
    reader = sqlite3.connect(log / "log.sqlite")
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM records").fetchall()
    with pytest.raises(LogInUse, match="is being read"):
        prune_folder(folder, BETWEEN)
    assert count(log, b"old-mark-") > 0
    reader.close()
    assert prune_folder(folder, BETWEEN) == 0
    assert count(log, b"old-mark-") == 0


def test_where_no_space_is_left_the_error_says_how_much_is_needed(folder, monkeypatch):
    def full(*_):
        raise sqlite3.OperationalError("database or disk is full")

    with monkeypatch.context() as patched:
        patched.setattr(LogStore, "compact", full)
        with pytest.raises(NotaryError, match="disk is full.*as much space as the log takes"):
            prune_folder(folder, BETWEEN)
    assert count(folder, b"old-mark-") > 0
    prune_folder(folder, BETWEEN)
    assert count(folder, b"old-mark-") == 0


@pytest.mark.parametrize("step", ["erase", "compact", "end_erasing"])
def test_pruning_that_was_cut_short_is_finished_by_the_next(folder, monkeypatch, step):
    def killed(self, *_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(LogStore, step, killed)
        with pytest.raises(KeyboardInterrupt):
            prune_folder(folder, BETWEEN)
    assert check_folder(folder).ok
    prune_folder(folder, BETWEEN)
    assert count(folder, b"old-mark-") == 0
    report = check_folder(folder)
    assert report.ok and report.erased == 56


def test_a_record_that_was_saved_before_it_was_pruned_is_still_valid(call, notary, tmp_path):
    call[0].save(tmp_path / "run.tnr", disclose=["inputs"])
    notary.close()
    before = verify(tmp_path / "run.tnr").steps
    assert prune_folder(notary.folder, "2999-01-01T00:00:00.000000Z") == 1
    assert verify(tmp_path / "run.tnr").steps == before
    assert check_folder(notary.folder).erased == 1


def test_the_command_prunes_by_age_and_by_date(folder, capsys):
    assert cli.run(["log", "prune", str(folder), "--older-than", "99999d", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["erased"] == 0
    assert cli.run(["log", "prune", str(folder), "--older-than", "2026-01-01"]) == 0
    assert "erased 56 records from before 2026-01-01T00:00:00Z" in capsys.readouterr().out
    assert cli.run(["log", "list", str(folder)]) == 0
    assert capsys.readouterr().out.count("(erased)") == 56
    assert cli.run(["log", "prune", str(folder), "--older-than", "soon"]) == 2
    assert "--older-than 90d" in capsys.readouterr().err
