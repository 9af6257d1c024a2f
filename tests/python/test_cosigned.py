"""Cosigned checkpoints beside a log: kept, merged, used for records, and checked."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from log_helpers import write_records
from torchnotary.errors import CheckpointConflict, LogCorrupt, NotaryError, VerificationFailed
from torchnotary.keys import SigningKey
from torchnotary.log import cosigned
from torchnotary.log.check import check_folder
from torchnotary.log.checkpoint import Checkpoint
from torchnotary.log.claim import log_folders
from torchnotary.log.proofs import TlogProof
from torchnotary.log.reader import LogFolder
from torchnotary.log.store import LogReader
from torchnotary.log.token import Custody
from torchnotary.log.witness import WitnessKey, cosign, verify_every_line
from torchnotary.statement.bundle import Bundle

KEYS = [SigningKey(Ed25519PrivateKey.from_private_bytes(bytes([n] * 32))) for n in range(40)]
W1 = WitnessKey("witness.example/w1", KEYS[1].public)
W2 = WitnessKey("witness.example/w2", KEYS[2].public)


@pytest.fixture
def folder(tmp_path):
    write_records(tmp_path / "log", 3)
    return tmp_path / "log"


@pytest.fixture
def log(folder):
    with LogReader.open(log_folders(folder)[0]) as opened:
        yield opened


def by(note: str, *seeds_and_times: tuple[int, int]) -> str:
    for seed, time in seeds_and_times:
        note = cosign(note, f"witness.example/w{seed}", KEYS[seed], time)
    return note


def test_lines_of_several_witnesses_come_together(log):
    _, note = log.checkpoint()
    first = cosigned.keep(log, by(note, (2, 70)), [W2])
    both = cosigned.keep(log, by(note, (1, 80)), [W1])
    assert (first.size, first.witnesses) == (3, (W2,)) and both.witnesses == (W1, W2)
    assert both == cosigned.at(log, 3)
    _, lines = verify_every_line(both.note, log.public_key, [W1, W2])
    assert lines == ((W1, 80), (W2, 70))
    assert cosigned.keep(log, both.note, [W1, W2]) == both


def test_of_two_cosignatures_by_one_witness_the_earlier_stays(log):
    _, note = log.checkpoint()
    for time, kept in [(80, 80), (90, 80), (70, 70)]:
        found = cosigned.keep(log, by(note, (1, time)), [W1])
        assert verify_every_line(found.note, log.public_key, [W1])[1] == ((W1, kept),)


def test_lines_that_nobody_vouches_for_are_left_out(log):
    _, note = log.checkpoint()
    kept = cosigned.keep(log, by(note, (2, 70), (1, 80)), [W1])
    assert kept.note == by(note, (1, 80))


def test_a_witness_that_did_not_cosign_is_refused(log):
    _, note = log.checkpoint()
    with pytest.raises(VerificationFailed, match="not cosigned by this witness"):
        cosigned.keep(log, by(note, (2, 70)), [W1, W2])
    assert cosigned.sizes(log.path) == []


def test_a_checkpoint_the_log_contradicts_is_refused(log, folder):
    key = Custody.find(log_folders(folder)[0]).key
    for size, root in [(3, bytes(32)), (4, bytes(32)), (2**40, bytes(32))]:
        other = Checkpoint(log.origin, size, root).sign(key)
        with pytest.raises(CheckpointConflict, match="another one now"):
            cosigned.keep(log, by(other, (1, 80)), [W1])


def test_more_witnesses_than_a_record_can_carry_are_refused(log):
    _, note = log.checkpoint()
    seeds = range(1, 34)
    witnesses = [WitnessKey(f"witness.example/w{seed}", KEYS[seed].public) for seed in seeds]
    note = by(note, *((seed, 70) for seed in seeds))
    with pytest.raises(NotaryError, match="no room"):
        cosigned.keep(log, note, witnesses)
    assert len(cosigned.keep(log, note, witnesses[:32]).witnesses) == 32


def test_a_record_is_proven_under_the_largest_cosigned_checkpoint_that_covers_it(folder, log):
    _, note = log.checkpoint()
    cosigned.keep(log, by(note, (1, 70), (2, 80)), [W1, W2])
    write_records(folder, 2)
    records = list(LogFolder(folder).list())
    for entry, (size, witnesses) in zip(records, [(3, (W1, W2))] * 3 + [(5, ())] * 2, strict=True):
        bundle = Bundle.from_json(LogFolder(folder).bundle(entry.record_id))
        proof = TlogProof.from_text(bundle.tlog_proof)
        checkpoint = proof.verify(log.leaf(entry.index), log.public_key, alone=not witnesses)
        assert checkpoint.size == size
        assert bundle.witnesses == tuple((w.name, w.key.spki) for w in witnesses)
        verify_every_line(proof.checkpoint, log.public_key, witnesses)


def damage_line(path):
    path.write_text(path.read_text()[:-10] + "AAAAAAAA=\n")


def swap_sizes(path):
    path.rename(path.with_name("2"))


def forget_keys(path):
    (path.parent / "keys.jsonl").unlink()


def break_keys(path):
    (path.parent / "keys.jsonl").write_text('{"name":7,"publicKey":"","type":"witness/1"}\n')


def in_the_way(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("damage", [damage_line, swap_sizes, forget_keys, break_keys, in_the_way])
def test_check_names_what_is_damaged_and_no_record_carries_it(log, folder, damage):
    _, note = log.checkpoint()
    cosigned.keep(log, by(note, (1, 70)), [W1])
    assert check_folder(folder).ok
    path = log.path / "witnessed" / "3"
    damage(path)
    report = check_folder(folder)
    (problem,) = report.problems
    assert "witnessed" in problem.what and "is damaged" in problem.what
    with pytest.raises(LogCorrupt, match="is damaged"):
        LogFolder(folder).bundle(next(LogFolder(folder).list()).record_id)


def test_check_names_a_cosigned_checkpoint_that_the_log_contradicts(log, folder):
    key = Custody.find(log_folders(folder)[0]).key
    _, note = log.checkpoint()
    cosigned.keep(log, by(note, (1, 70)), [W1])
    other = Checkpoint(log.origin, 3, bytes(32)).sign(key)
    (log.path / "witnessed" / "3").write_text(by(other, (1, 70)))
    (problem,) = check_folder(folder).problems
    assert "is another one now" in problem.what
