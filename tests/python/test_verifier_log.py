"""The verifier and the log: one record is one entry, and the log you hold is the same."""

from __future__ import annotations

import pytest
import torch

from torchnotary.errors import RootMismatch
from torchnotary.keys import SigningKey
from torchnotary.log.checkpoint import Checkpoint, SignedNote
from torchnotary.log.leaf import entry_leaf, leaf_hash
from torchnotary.log.proofs import TlogProof
from torchnotary.log.reader import LogFolder
from torchnotary.log.store import LogReader
from torchnotary.log.token import Custody
from torchnotary.log.tree import EMPTY_ROOT
from torchnotary.statement.record import Record
from torchnotary.verifier.steps import verify
from verifier_helpers import (
    FAILED,
    NOT_CHECKED,
    PASSED,
    only_failure,
    repacked,
    resigned,
    saved,
)


def test_a_record_whose_log_entry_is_another_record_is_refused(score, notary, tmp_path):
    score(torch.ones(1, 8))
    first = notary.last
    score(torch.zeros(1, 8))
    path = saved(first, tmp_path)
    step = only_failure(verify(repacked(path, tlog_proof=notary.last.tlog_proof)))
    assert step.name == "log inclusion"


def test_a_signature_by_another_key_over_the_same_statement_is_not_the_logged_one(call, tmp_path):
    path = saved(call[0], tmp_path)
    forged = resigned(path, lambda s: None, key=SigningKey.generate(), keep_proof=True)
    assert only_failure(verify(forged)).name == "log inclusion"


def test_the_logs_key_must_be_the_one_its_origin_names(call, tmp_path):
    path, impostor = saved(call[0], tmp_path), SigningKey.generate()
    proof = TlogProof.from_text(call[0].tlog_proof)
    held = Checkpoint.parse(SignedNote.parse(proof.checkpoint).text)
    resigned_note = held.sign(impostor)
    forged = TlogProof(proof.index, proof.hashes, resigned_note).to_text()
    data = repacked(path, tlog_proof=forged, log_public_key=impostor.public.spki)
    assert only_failure(verify(data)).name == "log inclusion"


def in_a_log_of(log_key, record):
    """Proof and key that enter a genuine record into somebody else's log of one entry."""
    leaf = entry_leaf(record.envelope, record.public_key.fingerprint)
    origin = f"torchnotary.log/{log_key.public.fingerprint[:32]}"
    note = Checkpoint(origin, 1, leaf_hash(leaf)).sign(log_key)
    return {
        "tlog_proof": TlogProof(0, (), note).to_text(),
        "log_public_key": log_key.public.spki,
    }


def test_a_genuine_record_moved_into_another_log_is_refused(call, tmp_path):
    path = saved(call[0], tmp_path)
    data = repacked(path, **in_a_log_of(SigningKey.generate(), call[0]))
    step = only_failure(verify(data))
    assert step.name == "log inclusion" and "another log" in step.detail


def test_a_log_signed_with_the_records_own_key_is_refused(call, tmp_path):
    path, key = saved(call[0], tmp_path), SigningKey.load()
    origin = f"torchnotary.log/{key.public.fingerprint[:32]}"

    def name_it(statement):
        statement["predicate"]["record"]["log"] = origin

    forged = Record.from_bytes(resigned(path, name_it))
    data = repacked(path, envelope=forged.envelope, **in_a_log_of(key, forged))
    step = only_failure(verify(data))
    assert step.name == "log inclusion" and "one key" in step.detail


def checkpoint_of(record):
    return TlogProof.from_text(record.tlog_proof).checkpoint


def log_of(notary):
    return LogReader.open(LogFolder(notary.folder).logs()[-1])


def forged_checkpoint(notary, size, root=b"\0" * 32):
    """A checkpoint the log's own key signed for a history that is not the stored one."""

    custody = Custody.find(LogFolder(notary.folder).logs()[-1])
    return Checkpoint(custody.origin, size, root).sign(custody.key)


def test_a_checkpoint_of_the_same_size_passes_consistency_and_witness(call, tmp_path):
    note = tmp_path / "checkpoint"
    note.write_text(checkpoint_of(call[0]))
    for given in (note, str(note), note.read_text(), note.read_bytes()):
        verdict = verify(call[0], checkpoint=given)
        assert verdict.ok
        assert verdict["log consistency"].outcome == verdict["witness"].outcome == PASSED


def test_a_checkpoint_that_contradicts_the_log_is_a_failure_with_both_roots(call, notary):
    verdict = verify(call[0], checkpoint=forged_checkpoint(notary, 1))
    step = only_failure(verdict)
    assert step.name == "log consistency"
    assert isinstance(step.error, RootMismatch)
    assert "0" * 64 in step.detail
    assert verdict["witness"].outcome == NOT_CHECKED


def test_a_later_checkpoint_is_connected_through_the_log_on_this_machine(
    call, score, notary, tmp_path, stranger
):
    path = saved(call[0], tmp_path)
    for _ in range(3):
        score(torch.ones(2, 8))
    notary.flush()
    later = log_of(notary).checkpoint()[1]
    verdict = verify(path, checkpoint=later)
    assert verdict.ok and verdict["witness"].outcome == PASSED
    assert "covers entry 0" in verdict["witness"].detail
    stranger()
    verdict = verify(path, checkpoint=later, signer=call[0].public_key)
    assert verdict.exit_code == 3
    assert verdict["log consistency"].outcome == verdict["witness"].outcome == NOT_CHECKED
    assert "no proof at hand" in verdict["log consistency"].detail


def test_a_later_checkpoint_of_a_rewritten_history_is_a_failure(call, score, notary, tmp_path):
    path = saved(call[0], tmp_path)
    for _ in range(3):
        score(torch.ones(2, 8))
    notary.flush()
    step = only_failure(verify(path, checkpoint=forged_checkpoint(notary, 4)))
    assert step.name == "log consistency"


def test_a_checkpoint_of_the_empty_log_has_the_root_of_the_empty_tree(call, notary):
    _ = call[0].bundle
    (log,) = LogFolder(notary.folder).logs()
    custody = Custody.find(log)
    for root, outcome in ((EMPTY_ROOT, PASSED), (bytes(32), FAILED)):
        held = Checkpoint(custody.origin, 0, root).sign(custody.key)
        assert verify(call[0], checkpoint=held)["log consistency"].outcome == outcome
    assert isinstance(verify(call[0], checkpoint=held)["log consistency"].error, RootMismatch)


def test_a_checkpoint_that_ends_before_the_record_is_no_witness_of_it(score, notary, tmp_path):
    score(torch.ones(2, 8))
    early = checkpoint_of(notary.last)
    score(torch.zeros(2, 8))
    verdict = verify(notary.last, checkpoint=early)
    assert verdict["log consistency"].outcome == PASSED
    assert verdict["witness"].outcome == NOT_CHECKED
    assert "ends before entry 1" in verdict["witness"].detail
    assert verdict.exit_code == 3


@pytest.mark.parametrize("given", ["not a note\n", "a\n1\nAAAA\n\n\u2014 a AAAA\n"])
def test_a_checkpoint_that_says_nothing_of_this_log_leaves_the_question_open(call, given):
    verdict = verify(call[0], checkpoint=given)
    assert verdict["log consistency"].outcome == NOT_CHECKED
    assert verdict.exit_code == 3


def test_another_logs_checkpoint_leaves_the_question_open(call):
    key = SigningKey.generate()
    other = Checkpoint(f"torchnotary.log/{key.public.fingerprint[:32]}", 1, b"\1" * 32).sign(key)
    verdict = verify(call[0], checkpoint=other)
    assert verdict["log consistency"].outcome == NOT_CHECKED and verdict.exit_code == 3
    assert f"it is of torchnotary.log/{key.public.fingerprint[:32]}" in str(verdict)
