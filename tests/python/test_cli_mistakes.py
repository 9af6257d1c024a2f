"""What careless and hostile users give to the commands around logs, keys and model signatures."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from log_helpers import write_records
from torchnotary.cli import run
from torchnotary.log.claim import log_folders
from torchnotary.log.store import LogReader
from torchnotary.log.witness import WitnessKey


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A log of three entries, with its last checkpoint in ``cp``; the current folder is its own."""
    monkeypatch.chdir(tmp_path)
    write_records(Path("log"), 3)
    with LogReader.open(log_folders(Path("log"))[0]) as log:
        Path("cp").write_text(log.checkpoint()[1])
    return Path("log")


def refused(capsys, *words: object, code: int) -> str:
    """What a command says that ends with ``code``: a sentence and, below it, the next step."""
    assert run([str(word) for word in words]) == code
    captured = capsys.readouterr()
    said, next_step, _ = f"{captured.out}{captured.err}".partition("Next: ")
    assert next_step
    return said


@pytest.mark.parametrize("content", ["", "no checkpoint\n"])
@pytest.mark.parametrize(
    "words",
    [
        ("log", "prove", "--log", "log", "--from", "FILE"),
        ("log", "prove", "--log", "log", "--from", "cp", "--to", "FILE"),
        ("log", "consistency", "cp", "FILE", "--log-key", "KEY"),
        ("log", "consistency", "FILE", "cp", "--log-key", "KEY"),
        ("log", "cosigned", "FILE", "--witness", "VKEY", "--log", "log"),
    ],
)
def test_a_damaged_file_is_named(folder, capsys, words, content):
    Path("damaged").write_text(content)
    with LogReader.open(log_folders(folder)[0]) as log:
        Path("key.pem").write_bytes(log.public_key.to_pem())
    vkey = WitnessKey("witness.example/w1", log.public_key).vkey()
    given = {"FILE": "damaged", "KEY": "key.pem", "VKEY": vkey}
    said = refused(capsys, *(given.get(word, word) for word in words), code=1)
    assert said.startswith("damaged: ")


@pytest.mark.parametrize("text", ["missing", "cp", "", "a+b+c"])
def test_what_is_no_verifier_key_is_wrong_usage(folder, capsys, text):
    said = refused(capsys, "log", "cosigned", "cp", "--witness", text, "--log", "log", code=2)
    assert said.startswith(f"{text}: not a verifier key")


@pytest.mark.parametrize("public", ["missing", "cp"])
def test_what_is_no_folder_was_never_published(folder, capsys, public):
    said = refused(capsys, "log", "publish", public, "--log", "log", "--check", code=2)
    assert said == f"there is no folder {public}\n"


@pytest.mark.parametrize("log", ["missing", "cp"])
@pytest.mark.parametrize(
    "words",
    [
        ("log", "prove", "--from", "cp"),
        ("log", "prove", "0123456789abcdef"),
        ("log", "cosigned", "cp", "--witness", "w.example/w1+00000000+BA=="),
    ],
)
def test_what_is_no_folder_is_no_log(folder, capsys, words, log):
    said = refused(capsys, *words, "--log", log, code=2)
    assert said == f"there is no log folder {log}\n"


@pytest.mark.parametrize("key", [".", "cp"])
def test_only_a_file_is_told_to_be_made_private(folder, capsys, key):
    Path("cp").chmod(0o644)
    words = ("log", "witness", "--state", "w", "--name", "w.example/w1", "--key", key)
    said = refused(capsys, *words, code=2 if key == "." else 1)
    assert ("Is a directory" if key == "." else "can be read or written by other users") in said
    assert not Path("w").exists()


def test_the_folder_that_a_witness_cannot_have_is_named(folder, capsys):
    words = ("log", "witness", "--state", "cp", "--name", "w.example/w1")
    assert refused(capsys, *words, code=2) == "cp: File exists\n"


def program(home, *words: str, **streams) -> subprocess.CompletedProcess:
    """Runs the program in a process of its own, since its streams are at stake."""
    command = [sys.executable, "-m", "torchnotary", *words]
    return subprocess.run(command, env=os.environ | {"TORCHNOTARY_HOME": str(home)}, **streams)


def closed(*descriptors: int):
    return lambda: [os.close(descriptor) for descriptor in descriptors]


def test_a_reader_that_has_gone_away_is_no_verdict(home):
    read, write = os.pipe()
    os.close(read)
    try:
        ended = program(home, "keys", "list", stdout=write, stderr=subprocess.PIPE)
    finally:
        os.close(write)
    assert (ended.returncode, ended.stderr) == (128 + signal.SIGPIPE, b"")


def test_streams_that_are_closed_lead_nowhere(home):
    ended = program(home, "keys", "new", preexec_fn=closed(0, 1, 2))
    assert ended.returncode == 0 and (home / "keys" / "signing.pem").stat().st_size == 119


@pytest.mark.parametrize("both", [False, True])
def test_a_result_that_cannot_be_written_is_no_verdict(home, both):
    with open("/dev/full", "w") as full:
        errors = full if both else subprocess.PIPE
        ended = program(home, "keys", "list", "--json", stdout=full, stderr=errors)
    assert ended.returncode == 2
    assert both or ended.stderr.startswith(b"No space left on device\nNext: ")
