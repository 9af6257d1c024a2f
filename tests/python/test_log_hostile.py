"""Logs a stranger may hand over: the check names what is wrong, and neither crashes nor hangs."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import stat
from pathlib import Path

import pytest

from log_helpers import RecordJob, run, write_records
from torchnotary.errors import LogCorrupt, NotaryError
from torchnotary.log.check import check_folder
from torchnotary.log.reader import LogFolder, find_anywhere
from torchnotary.log.store import LogReader
from torchnotary.log.writer import LogWriter


@pytest.fixture
def folder(tmp_path) -> Path:
    write_records(tmp_path / "log", 5, files={"inputs.jsonl": b"shared\n"})
    assert check_folder(tmp_path / "log").ok
    return tmp_path / "log"


def _edit(folder: Path, script: str, *, private: bool = False) -> None:
    (log,) = LogFolder(folder).logs()
    raw = sqlite3.connect(log / ("private/private.sqlite" if private else "log.sqlite"))
    raw.executescript(script)
    raw.close()


VALUES = [
    ("UPDATE entries SET leaf = 5 WHERE idx = 2", 2, "int is stored where bytes belong"),
    ("UPDATE entries SET leaf = 3000000000 WHERE idx = 2", 2, "int is stored"),
    ("UPDATE entries SET leaf = 1.5 WHERE idx = 2", 2, "float is stored"),
    ("UPDATE records SET payload = 4000000000 WHERE number = 1", 1, "int is stored"),
    ("UPDATE entries SET signature = 7 WHERE idx = 1", 1, "int is stored"),
    ("UPDATE checkpoints SET note = CAST(note AS BLOB)", None, "it is not text"),
    (
        'UPDATE entries SET leaf = CAST(\'{"type":"predecessor/1"}\' AS BLOB) WHERE idx = 0',
        0,
        "no checkpoint",
    ),
    (
        'UPDATE entries SET leaf = CAST(\'{"checkpoint":5,"type":"predecessor/1"}\' AS BLOB)'
        " WHERE idx = 0",
        0,
        "no checkpoint",
    ),
    ("UPDATE records SET record_id = 'abc' WHERE number = 1", 1, "damaged"),
    ("UPDATE records SET time = 5 WHERE number = 1", 1, "another time"),
    ("UPDATE records SET time = CAST(x'ff' AS TEXT)", None, "cannot be read"),
    ("UPDATE signers SET spki = 7", 0, "damaged"),
    ("UPDATE meta SET value = 5 WHERE key = 'origin'", None, "another key's origin"),
    ("UPDATE meta SET value = 5 WHERE key = 'spki'", None, "who it is"),
    ("INSERT INTO labels VALUES (x'00', 5, 0)", 0, "under other labels"),
    ("INSERT INTO entries (idx, leaf) VALUES (9223372036854775807, x'00')", 5, "missing"),
    ("INSERT INTO entries (idx, leaf) VALUES (1000000000000000, x'00')", 5, "missing"),
    ("INSERT INTO checkpoints VALUES (9223372036854775807, 'x')", None, "5 entries are here"),
    ("UPDATE entries SET signature = NULL WHERE idx = 1", 1, "its signature is missing"),
    (
        "UPDATE entries SET signature = x'00', payload = NULL WHERE idx = 1",
        1,
        "its signature is not",
    ),
    ("UPDATE entries SET leaf = CAST(leaf AS TEXT) WHERE idx = 2", 2, "not in its one form"),
    ("UPDATE records SET payload = CAST(payload AS TEXT) WHERE number = 3", 3, "text is stored"),
    ("UPDATE records SET name = 'other' WHERE number = 2", 2, "under another name"),
    ("UPDATE records SET payload = NULL WHERE number = 2", 2, "a name or labels are left"),
    (
        "UPDATE records SET payload = NULL, name = '' WHERE number = 2;"
        " UPDATE entries SET signature = x'00' WHERE idx = 2",
        2,
        "its signature is not the one its leaf names",
    ),
    ("UPDATE records SET record_id = x'' WHERE number = 1", 1, "names another record"),
    ("UPDATE ids SET number = number + 1 WHERE number = 4", 4, "not found by its id"),
    ("UPDATE ids SET prefix = prefix + (1 << 40) WHERE number = 4", 4, "not found by its id"),
    ("UPDATE ids SET bucket = 1 WHERE number = 4", 4, "not found by its id"),
    ("UPDATE ids SET number = x'' WHERE number = 0", 0, "not found by its id"),
    ("INSERT INTO ids VALUES (0, 5, 2)", None, "the index of ids holds more"),
    ("UPDATE checkpoints SET size = -1", None, "1 rows are numbered below 0"),
    ("INSERT INTO entries (idx, leaf) VALUES (-1, x'00')", None, "1 rows are numbered below 0"),
]
EXCHANGED = (
    "CREATE TEMP TABLE two AS SELECT number, prefix FROM ids WHERE number IN (1, 3);"
    " DELETE FROM ids WHERE number IN (1, 3);"
    " INSERT INTO ids SELECT 0, prefix, 4 - number FROM two"
)


@pytest.mark.parametrize("sql, index, what", VALUES)
def test_a_value_of_any_kind_is_damage_that_is_named(folder, sql, index, what):
    _edit(folder, sql)
    report = check_folder(folder)
    named = [(problem.index, problem.what) for problem in report.problems]
    assert any(at == index and what in said for at, said in named), named
    with pytest.raises(LogCorrupt):
        report.raise_for_problems()


def test_two_records_that_are_found_by_each_others_ids_are_named(folder):
    _edit(folder, EXCHANGED)
    assert [problem.what for problem in check_folder(folder).problems] == [
        "record 1 is not found by its id",
        "record 3 is not found by its id",
    ]


SCHEMAS = [
    "DROP TABLE entries; CREATE TABLE entries (idx, leaf); INSERT INTO entries VALUES ('a', x'00')",
    "DROP TABLE checkpoints; CREATE TABLE checkpoints (size, note)",
    "DROP TABLE entries",
    "DROP TABLE entries; CREATE VIEW entries AS WITH RECURSIVE t(idx, leaf) AS (SELECT 0, x'00'"
    " UNION ALL SELECT idx + 1, leaf FROM t) SELECT * FROM t",
    "CREATE TABLE more (x)",
    "CREATE TRIGGER t AFTER INSERT ON entries BEGIN DELETE FROM entries; END",
    "DROP INDEX records_by_time",
]


@pytest.mark.parametrize("script", SCHEMAS)
def test_a_log_with_other_tables_than_a_log_has_is_refused_unread(folder, script):
    _edit(folder, script)
    (problem,) = check_folder(folder).problems
    assert "other tables" in problem.what
    (log,) = LogFolder(folder).logs()
    with pytest.raises(LogCorrupt, match="other tables"):
        LogReader.open(log)


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE files SET sha256 = 5",
        "UPDATE files SET id = 9223372036854775807",
        "UPDATE parts SET data = 'text'",
        "UPDATE parts SET data = 3000000000",
        "UPDATE records SET number = 9223372036854775807 WHERE number = 4;"
        " UPDATE files SET sha256 = 1",
        "DROP TABLE parts; CREATE VIEW parts AS SELECT 1 AS id, x'00' AS data",
    ],
)
def test_a_private_store_of_any_content_is_damage_that_is_named(folder, sql):
    _edit(folder, sql, private=True)
    assert check_folder(folder).problems


PRIVATE = [
    ("DELETE FROM record_files WHERE number = 2", [2], "file inputs.jsonl is missing"),
    ("DELETE FROM record_files", [0], "file inputs.jsonl is missing"),
    ("UPDATE record_files SET name = 'x' WHERE number = 3", [3], "file inputs.jsonl is missing"),
    (
        f"INSERT INTO files VALUES (9, x'{hashlib.sha256().hexdigest()}', 0);"
        " UPDATE record_files SET file = 9 WHERE number = 1",
        [1],
        "file inputs.jsonl is not the signed one",
    ),
    ("UPDATE records SET secret = x'00' WHERE number = 2", [2], "secret or digests are damaged"),
    ("UPDATE records SET digests = 5 WHERE number = 2", [2], "secret or digests are damaged"),
]


@pytest.mark.parametrize(("sql", "entries", "what"), PRIVATE)
def test_private_parts_that_are_not_the_records_are_named(folder, sql, entries, what):
    _edit(folder, sql, private=True)
    problems = check_folder(folder).problems
    assert [problem.index for problem in problems] == entries
    assert all(what in problem.what for problem in problems)


def test_a_log_that_claims_an_endless_size_is_refused(folder):
    _edit(folder, "INSERT INTO entries (idx, leaf) VALUES (9223372036854775807, x'00')")
    (log,) = LogFolder(folder).logs()
    with LogReader.open(log) as reader, pytest.raises(LogCorrupt, match="no log reaches"):
        reader.size()


def test_a_damaged_checkpoint_is_named_when_a_record_is_asked_for(folder):
    record_id = next(LogFolder(folder).list()).record_id
    _edit(folder, "UPDATE checkpoints SET note = 5.5; UPDATE checkpoints SET note = x'00'")
    with pytest.raises(LogCorrupt, match="not text"):
        LogFolder(folder).bundle(record_id)


def test_an_id_that_begins_two_records_in_two_logs_is_ambiguous(folder):
    # Another process cannot go on with a log that this one holds, so it begins the next.
    with LogWriter.open(folder) as writer:
        writer.submit(RecordJob(9)).wait(60)
        run(
            """
            from pathlib import Path
            from log_helpers import write_records
            write_records(Path(sys.argv[1]))
            """,
            folder,
        )
    first, second = LogFolder(folder).logs()
    (theirs,) = [entry for entry in LogFolder(folder).list() if entry.log == second]
    twin = theirs.record_id[:20] + "f" * 44
    raw = sqlite3.connect(first / "log.sqlite")
    raw.execute("UPDATE records SET record_id = ? WHERE number = 1", (bytes.fromhex(twin),))
    prefix = int.from_bytes(bytes.fromhex(twin[:16]), "big", signed=True)
    raw.execute("UPDATE ids SET prefix = ? WHERE number = 1", (prefix,))
    raw.commit()
    raw.close()
    prefix = theirs.record_id[:16]
    for find in (LogFolder(folder).find, LogFolder(folder).bundle, find_anywhere):
        with pytest.raises(NotaryError, match="two records begin with"):
            find(prefix)
    assert LogFolder(folder).find(theirs.record_id).log == second
    assert LogFolder(folder).find(theirs.record_id[:24]).log == second
    assert find_anywhere(theirs.record_id[:24]).log == second


def test_a_damaged_log_does_not_hide_a_record_of_another(folder):
    record_id = next(LogFolder(folder).list()).record_id
    broken = folder / "0009-00000000"
    broken.mkdir()
    (broken / "log.sqlite").write_bytes(b"no database")
    assert LogFolder(folder).find(record_id[:16]).record_id == record_id
    with pytest.raises(NotaryError):
        LogFolder(folder).find("0" * 64)


def test_nobody_else_may_write_in_a_log_whatever_the_umask(tmp_path):
    before = os.umask(0)
    try:
        write_records(tmp_path / "deep" / "log", files={"inputs.jsonl": b"x\n"})
    finally:
        os.umask(before)
    made = [tmp_path / "deep", *(tmp_path / "deep").rglob("*")]
    assert len(made) > 5
    for path in made:
        assert not stat.S_IMODE(path.stat().st_mode) & 0o022, path
