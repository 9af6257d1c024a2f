"""The commands that share a log: checkpoints, proofs, publishing, witnessing."""

from __future__ import annotations

import json
import shutil

import pytest

from log_helpers import write_records
from published_logs import contents
from torchnotary.cli import run
from torchnotary.keys import SigningKey
from torchnotary.log.checkpoint import Checkpoint, SignedNote, vkey
from torchnotary.log.claim import log_folders
from torchnotary.log.proofs import ConsistencyProof, TlogProof
from torchnotary.log.reader import LogFolder
from torchnotary.log.store import LogReader
from torchnotary.log.witness import WitnessKey, verify_every_line

NAME = "witness.example/w1"
VKEY = WitnessKey(NAME, SigningKey.generate().public).vkey()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_records(tmp_path / "log", 3)
    return tmp_path / "log"


@pytest.fixture
def key(folder):
    with LogReader.open(log_folders(folder)[0]) as log:
        return log.public_key


def last_note(folder) -> str:
    with LogReader.open(log_folders(folder)[0]) as log:
        return log.checkpoint()[1]


def ask(capsys, *arguments: object, code: int = 0) -> str:
    """What a command printed; its exit code must be ``code``."""
    assert run([str(argument) for argument in arguments]) == code
    captured = capsys.readouterr()
    return captured.out if code == 0 else captured.out + captured.err


def ask_json(capsys, *arguments: object) -> dict:
    return json.loads(ask(capsys, *arguments, "--json"))


def test_a_checkpoint_is_printed_as_it_was_signed(folder, key, capsys, tmp_path):
    assert ask(capsys, "log", "checkpoint", folder) == last_note(folder)
    document = ask_json(capsys, "log", "checkpoint", log_folders(folder)[0])
    assert (document["size"], document["checkpoint"]) == (3, last_note(folder))
    assert document["vkey"] == vkey(document["origin"], key)
    ask(capsys, "log", "checkpoint", folder, "-o", tmp_path / "kept")
    assert (tmp_path / "kept").read_text() == last_note(folder)


def test_a_folder_of_several_logs_is_not_guessed_at(folder, capsys):
    shutil.rmtree(folder.parent / "torchnotary-home" / "logs")
    write_records(folder, 1)
    assert "there are 2 logs" in ask(capsys, "log", "checkpoint", folder, code=1)
    second = log_folders(folder)[1]
    assert ask(capsys, "log", "checkpoint", second).splitlines()[1] == "2"


def test_a_record_is_proven_to_be_in_the_log(folder, key, capsys):
    entry = list(LogFolder(folder).list())[1]
    for place in [["--log", folder], []]:
        proof = TlogProof.from_text(ask(capsys, "log", "prove", entry.record_id[:16], *place))
        with LogReader.open(entry.log) as log:
            assert proof.verify(log.leaf(entry.index), key).size == 3


def test_a_log_is_proven_to_have_grown_and_a_stranger_checks_it(folder, key, capsys, tmp_path):
    ask(capsys, "log", "checkpoint", folder, "-o", "old")
    write_records(folder, 2)
    ask(capsys, "log", "checkpoint", folder, "-o", "middle")
    write_records(folder, 2)
    text = ask(capsys, "log", "prove", "--from", "old", "--log", folder)
    old = Checkpoint.verify((tmp_path / "old").read_text(), key)
    assert ConsistencyProof.from_text(text).verify(old, key).size == 7

    ask(capsys, "log", "prove", "--from", "old", "--to", "middle", "-o", "proof")
    log_key = vkey(old.origin, key)
    shutil.rmtree(folder)
    said = ask(capsys, "log", "consistency", "old", "proof", "--log-key", log_key)
    assert said == "OK: the first 3 of 5 entries are those of your checkpoint\n"
    said = ask(capsys, "log", "consistency", "middle", "proof", "--log-key", log_key, code=1)
    assert "begins at another size" in said
    other = vkey(old.origin, SigningKey.generate().public)
    said = ask(capsys, "log", "consistency", "old", "proof", "--log-key", other, code=1)
    assert "not that of a log" in said


def test_anyone_proves_from_a_published_log_that_it_grew(folder, key, capsys, tmp_path):
    ask(capsys, "log", "checkpoint", folder, "-o", "old")
    write_records(folder, 2)
    ask(capsys, "log", "publish", "out", "--log", folder)
    shutil.rmtree(folder)
    text = ask(capsys, "log", "prove", "--from", "old", "--log", "out")
    old = Checkpoint.verify((tmp_path / "old").read_text(), key)
    assert ConsistencyProof.from_text(text).verify(old, key).size == 5
    said = ask(capsys, "log", "prove", "--from", "old", code=1)
    assert "no log of yours is" in said
    said = ask(capsys, "log", "cosigned", "old", "--witness", VKEY, "--log", "out", code=2)
    assert "is a published log" in said


def test_a_saved_record_stands_for_its_checkpoint(folder, key, capsys, tmp_path):
    from torchnotary.statement.bundle import Bundle
    from torchnotary.statement.container import pack

    entry = next(LogFolder(folder).list())
    bundle = Bundle.from_json(LogFolder(folder).bundle(entry.record_id))
    (tmp_path / "run.tnr").write_bytes(pack({"bundle.json": bundle.encode()}))
    write_records(folder, 2)
    text = ask(capsys, "log", "prove", "--from", "run.tnr")
    old = Checkpoint.verify(TlogProof.from_text(bundle.tlog_proof).checkpoint, key)
    assert ConsistencyProof.from_text(text).verify(old, key).size == 5


def test_prove_wants_one_thing(folder, capsys):
    for arguments in ([], ["00112233", "--from", "old"], ["00112233", "--to", "new"]):
        assert "either a record id or --from" in ask(capsys, "log", "prove", *arguments, code=2)


def test_a_log_is_published_checked_and_its_damage_named(folder, capsys, tmp_path):
    document = ask_json(capsys, "log", "publish", "out", "--log", folder)
    (published,) = document["logs"]
    assert published["size"] == 3
    before = contents(tmp_path / "out")
    assert "0 files written" in ask(capsys, "log", "publish", "out", "--log", folder)
    assert ask(capsys, "log", "publish", "out", "--log", folder, "--check").startswith("OK: ")
    tile = tmp_path / "out" / published["log"] / "tile/0/000.p/3"
    tile.write_bytes(bytes(96))
    said = ask(capsys, "log", "publish", "out", "--log", folder, "--check", code=1)
    assert f"{published['log']}/tile/0/000.p/3 is not what the log has" in said
    shutil.rmtree(tmp_path / "out")
    ask(capsys, "log", "publish", "out", "--log", folder)
    assert contents(tmp_path / "out") == before


def test_a_witness_is_made_and_says_who_it_is(capsys, tmp_path):
    said = ask(capsys, "log", "witness", "--state", tmp_path / "w", "--name", NAME)
    made = WitnessKey.from_vkey(said.removeprefix("witness ").strip())
    assert made.name == NAME
    assert ask_json(capsys, "log", "witness", "--state", tmp_path / "w")["vkey"] == made.vkey()


@pytest.mark.parametrize("source", ["published", "file"])
def test_from_the_log_to_the_witness_and_back_into_a_record(folder, key, source, capsys, tmp_path):
    """The whole way: cosigned from each kind of source, kept by the owner, carried by a record."""
    state = ["--state", tmp_path / "w", "--name", NAME]
    witness = ask_json(capsys, "log", "witness", *state)["vkey"]
    ask(capsys, "log", "publish", "out", "--log", folder)
    for size in (3, 5):
        if source == "file":
            empty = Checkpoint(log_origin(folder), 0, reference_empty())
            held = last_note(folder) if size == 5 else empty.sign(log_signing_key(folder))
            (tmp_path / "held").write_text(held)
        if size == 5:
            write_records(folder, 2)
            ask(capsys, "log", "publish", "out", "--log", folder)
        if source == "file":
            ask(capsys, "log", "prove", "--from", "held", "-o", "proof")
            how = ["proof", "--log-key", vkey(log_origin(folder), key)]
        else:
            how = ["out", "--trust-on-first-use"]
        ask(capsys, "log", "witness", *how, *state, "-o", "cosigned")
        note = (tmp_path / "cosigned").read_text()
        checkpoint, _ = verify_every_line(note, key, [WitnessKey.from_vkey(witness)])
        assert checkpoint.size == size
    ask(capsys, "log", "cosigned", "cosigned", "--witness", witness)
    entry = next(LogFolder(folder).list())
    bundle = LogFolder(folder).bundle(entry.record_id)
    assert bundle["tlogProof"].endswith(note)
    assert [w["name"] for w in bundle["witnesses"]] == [NAME]
    assert ask(capsys, "log", "checkpoint", folder) == note
    assert ask(capsys, "log", "check", folder).startswith("OK")


def test_a_witness_watches_only_logs_it_was_told_to(folder, key, capsys, tmp_path):
    state = ["--state", tmp_path / "w", "--name", NAME]
    said = ask(capsys, "log", "witness", folder, *state, code=1)
    assert "does not watch" in said and "--trust-on-first-use" in said
    ask(capsys, "log", "witness", folder, *state, "--log-key", vkey(log_origin(folder), key))
    ask(capsys, "log", "witness", folder, "--state", tmp_path / "w")


def test_a_witness_says_that_it_fetches_nothing(folder, capsys, tmp_path):
    how = ["--state", tmp_path / "w", "--name", NAME, "--trust-on-first-use"]
    said = ask(capsys, "log", "witness", "https://logs.example/public", *how, code=2)
    assert "fetch the log first" in said


def test_a_witness_refuses_a_log_that_was_cut_back(folder, capsys, tmp_path):
    copy = shutil.copytree(folder, tmp_path / "copy")
    write_records(folder, 1)
    how = ["--state", tmp_path / "w", "--name", NAME, "--trust-on-first-use"]
    ask(capsys, "log", "witness", folder, *how)
    said = ask(capsys, "log", "witness", copy, *how, code=1)
    assert "not shown to extend" in said and "size 4, root" in said and "keep " in said


def test_a_witness_signs_with_a_key_that_nobody_else_reads(folder, capsys, tmp_path):
    key = tmp_path / "w.pem"
    key.write_bytes(SigningKey.generate().to_pem())
    how = ["--state", tmp_path / "w", "--name", NAME, "--key", key]
    key.chmod(0o644)
    assert "read or written by other users" in ask(capsys, "log", "witness", *how, code=1)
    key.chmod(0o600)
    assert NAME in ask(capsys, "log", "witness", *how)
    assert not (tmp_path / "w" / "key.pem").exists()


def test_the_note_itself_is_printed_where_no_file_is_named(folder, capsys, tmp_path):
    how = ["--state", tmp_path / "w", "--name", NAME, "--trust-on-first-use"]
    printed = ask(capsys, "log", "witness", folder, *how)
    assert [name for name, _, _ in SignedNote.parse(printed).signatures][1:] == [NAME]


def log_origin(folder) -> str:
    return last_note(folder).splitlines()[0]


def log_signing_key(folder) -> SigningKey:
    from torchnotary.log.token import Custody

    return Custody.find(log_folders(folder)[0]).key


def reference_empty() -> bytes:
    from rfc9162_reference import mth

    return mth([])
