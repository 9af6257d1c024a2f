"""The step log consistency with a proof at hand: one history, or a fork that is named as one."""

from __future__ import annotations

import pytest
import torch

from torchnotary.errors import RootMismatch
from torchnotary.log.proofs import ConsistencyProof
from torchnotary.log.publish import publish
from torchnotary.log.reader import LogFolder
from torchnotary.log.store import LogReader
from torchnotary.verifier.steps import verify
from verifier_helpers import NOT_CHECKED, PASSED, only_failure, saved
from witnessed_log import INDEX, SIZE, WitnessedLog


@pytest.fixture
def log(template):
    return WitnessedLog(template)


def proof(log, old, new=SIZE, hashes=None, note=None):
    """The text of a consistency file."""
    hashes = log.consistency(old, new) if hashes is None else hashes
    return ConsistencyProof(old, tuple(hashes), note or log.note(new)).to_text()


def judged(log, record, checkpoint, consistency):
    return verify(record, signer=log.signer.public, checkpoint=checkpoint, consistency=consistency)


@pytest.mark.parametrize("old", range(1, SIZE))
def test_a_proof_connects_an_older_and_a_newer_checkpoint_to_the_records(log, old, tmp_path):
    file = tmp_path / "consistency"
    file.write_text(proof(log, old))
    for given in (file, str(file), file.read_text(), file.read_bytes()):
        verdict = judged(log, log.record(), log.note(old), given)
        assert verdict["log consistency"].outcome == PASSED
        assert f"the first {old} of {SIZE} entries" in verdict["log consistency"].detail
        assert verdict["witness"].outcome == (PASSED if old > INDEX else NOT_CHECKED)
    if old > INDEX:
        verdict = judged(log, log.record(old), log.note(SIZE), file)
        assert verdict.ok and verdict["witness"].outcome == PASSED


@pytest.mark.parametrize("place", [0, INDEX, 3])
def test_a_forked_view_is_refused_whatever_proof_comes_with_it(log, place):
    fork = log.leaves[:place] + [b"rewritten"] * (SIZE - place)
    held = log.note(SIZE, leaves=fork)
    honest, theirs = log.consistency(4, SIZE), log.consistency(4, SIZE, leaves=fork)
    for hashes in (honest, theirs, [], honest[:-1], [bytes(32)] * len(honest)):
        given = proof(log, 4, hashes=hashes, note=held)
        step = only_failure(judged(log, log.record(4), held, given))
        assert step.name == "log consistency" and isinstance(step.error, RootMismatch)
        assert "keep both files" in step.next_step


def test_a_log_whose_tail_was_cut_off_and_grown_anew_is_refused(log):
    held = log.note(SIZE - 1)
    regrown = log.leaves[: INDEX + 1] + [b"new tail"] * (SIZE - INDEX)
    cut = log.note(SIZE, leaves=regrown)
    hashes = log.consistency(SIZE - 1, SIZE)
    later = log.note(SIZE + 1, leaves=regrown)
    for newer in (cut, later):
        size = SIZE if newer is cut else SIZE + 1
        given = proof(log, SIZE - 1, hashes=hashes, note=newer)
        verdict = judged(log, log.record(SIZE - 1), newer, given)
        assert verdict["log consistency"].outcome == "failed"
        assert f"of {size} entries are not those" in verdict["log consistency"].detail
    assert judged(log, log.record(SIZE - 1), held, None).ok


def test_a_proof_of_another_log_or_of_other_sizes_proves_nothing(log, template):
    other = WitnessedLog(template)
    cases = {
        "of " + other.origin: proof(other, 4),
        "from 5 to 7": proof(log, 5),
        "from 4 to 6": proof(log, 4, 6),
        "is none": "old 4\n",
    }
    for named, given in cases.items():
        verdict = judged(log, log.record(), log.note(4), given)
        assert verdict["log consistency"].outcome == NOT_CHECKED and verdict.exit_code == 3
        assert named in verdict["log consistency"].detail
        assert "log prove --from" in str(verdict)


def test_the_checkpoint_of_another_log_is_not_connected_by_that_logs_proof(log, template):
    other = WitnessedLog(template)
    verdict = judged(log, log.record(), other.note(4), proof(other, 4))
    assert verdict["log consistency"].outcome == NOT_CHECKED
    assert "says nothing about this log" in verdict["log consistency"].detail


def test_a_proof_without_a_checkpoint_of_yours_compares_nothing(log):
    verdict = judged(log, log.record(), None, proof(log, 4))
    assert verdict["log consistency"].outcome == NOT_CHECKED and verdict.exit_code == 3


@pytest.fixture
def grown(call, score, notary, tmp_path, stranger):
    """A saved record, and what to verify it with against a later checkpoint, as somebody else."""
    path = saved(call[0], tmp_path)
    score(torch.ones(2, 8))
    notary.flush()
    with LogReader.open(LogFolder(notary.folder).logs()[-1]) as reader:
        later = reader.checkpoint()[1]
    stranger()
    return path, {"signer": call[0].public_key, "checkpoint": later}


def test_a_folder_of_logs_holds_the_proof_stored_or_published(grown, notary, tmp_path):
    path, given = grown
    assert verify(path, **given, consistency=notary.folder).ok
    publish(notary.folder, tmp_path / "published")
    verdict = verify(path, **given, consistency=tmp_path / "published")
    assert verdict.ok and verdict["log consistency"].outcome == PASSED


def test_a_folder_without_the_log_or_with_a_damaged_list_proves_nothing(grown, notary, tmp_path):
    path, given = grown
    (tmp_path / "empty").mkdir()
    publish(notary.folder, tmp_path / "published")
    (tmp_path / "published" / "logs.jsonl").write_bytes(b"{}")
    for folder in ("empty", "published"):
        verdict = verify(path, **given, consistency=tmp_path / folder)
        assert verdict.exit_code == 3 and "none in" in verdict["log consistency"].detail


@pytest.mark.parametrize("name", ["checkpoint", "0001-0123abcd/checkpoint", "logs.jsonl"])
def test_a_folder_of_other_things_holds_no_proof(log, tmp_path, name):
    (tmp_path / "given" / name).parent.mkdir(parents=True)
    (tmp_path / "given" / name).write_text(log.note(SIZE))
    verdict = judged(log, log.record(), log.note(SIZE - 1), tmp_path / "given")
    assert verdict["log consistency"].outcome == NOT_CHECKED


def test_a_consistency_file_that_cannot_be_opened_is_an_os_error(log, tmp_path):
    with pytest.raises(FileNotFoundError):
        judged(log, log.record(), log.note(4), tmp_path / "absent")
