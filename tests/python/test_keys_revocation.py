"""Revocation by checkpoint: what a revoked key signed counts only where its log had it before."""

from __future__ import annotations

import json

import pytest

import torchnotary
from torchnotary.errors import MalformedRecord, RootMismatch
from torchnotary.keys import SigningKey, is_trusted, trust
from torchnotary.keys.keyring import revocation_path
from torchnotary.log.checkpoint import Checkpoint, origin_of
from torchnotary.log.leaf import entry_leaf, leaf_hash
from torchnotary.log.proofs import TlogProof
from torchnotary.log.revocation import Revocation, own_revocation, revoke
from torchnotary.statement.lines import canonical
from torchnotary.verifier.policy import Policy
from torchnotary.verifier.steps import verify
from verifier_helpers import FAILED, NOT_CHECKED, PASSED, only_failure, repacked


@pytest.fixture
def records(notary, tmp_path):
    """Paths of three records, each saved while it was its log's last entry."""
    recorded = notary.record(lambda x: x)
    paths = []
    for number in range(3):
        recorded(number)
        paths.append(tmp_path / f"{number}.tnr")
        notary.last.save(paths[-1])
    return paths


def _note(path):
    """The checkpoint that a record travels with: of as many entries as the log had then."""
    return TlogProof.from_text(torchnotary.Record.load(path).tlog_proof).checkpoint


def _revoke(*notes):
    revoke(Revocation.of(SigningKey.load().public.fingerprint, list(notes)))


def _log_key(home):
    (path,) = (home / "logs").glob("*.pem")
    return SigningKey.from_pem(path.read_bytes())


def test_a_revoked_key_counts_for_the_entries_its_log_had_before_and_for_no_later_one(records):
    _revoke(_note(records[1]))
    for path in records[:2]:
        verdict = verify(path)
        assert verdict.ok and "revoked since" in verdict["signer"].detail
    step = only_failure(verify(records[2]))
    assert step.name == "signer" and "after the key was revoked" in step.detail
    assert (step.error.expected, step.error.actual) == ("an entry below 2", "entry 2")


def test_a_key_revoked_wholly_counts_for_nothing(records):
    _revoke()
    for path in records:
        assert only_failure(verify(path)).name == "signer"


def test_a_checkpoint_of_another_log_covers_nothing(records):
    other = SigningKey.generate()
    _revoke(Checkpoint(origin_of(other.public), 100, bytes(32)).sign(other))
    step = only_failure(verify(records[0]))
    assert step.name == "signer" and step.error.expected == origin_of(other.public)


def test_naming_the_key_or_a_policy_that_does_does_not_undo_a_revocation(records, tmp_path):
    key = SigningKey.load().public
    policy = tmp_path / "policy.toml"
    policy.write_text(f'signers = ["{key.fingerprint}"]\n')
    _revoke(_note(records[0]))
    for options in ({"signer": key}, {"policy": policy}):
        assert verify(records[0], **options).ok
        assert only_failure(verify(records[2], **options)).name == "signer"


def test_of_two_revocations_the_stricter_one_decides(records, stranger):
    key, notes = SigningKey.load().public, [_note(path) for path in records]
    stranger()
    trust(key)
    revoke(Revocation(key.fingerprint, (notes[2],)))
    assert verify(records[1]).exit_code == 3
    policy = Policy(revoked=(Revocation(key.fingerprint, (notes[0],)),))
    assert only_failure(verify(records[1], policy=policy)).name == "signer"


def test_what_nothing_connects_to_the_revocation_is_not_checked(records, stranger, tmp_path):
    key, notes = SigningKey.load().public, [_note(path) for path in records]
    again = tmp_path / "again.tnr"
    torchnotary.Record.load(records[0]).save(again)
    stranger()
    trust(key)
    revoke(Revocation(key.fingerprint, (notes[2],)))
    verdict = verify(records[0])
    assert verdict["signer"].outcome == NOT_CHECKED and verdict.exit_code == 3
    assert "no proof at hand connects its size 1 to the revocation's 3" in str(verdict)
    assert verify(records[2]).ok


def test_a_record_forged_with_both_stolen_keys_is_not_taken_for_an_old_one(records, home, stranger):
    """Whoever holds the log's key too can sign a history of their own that begins earlier."""
    key, log_key, genuine = SigningKey.load(), _log_key(home), _note(records[1])
    record = torchnotary.Record.load(records[2])
    leaf = entry_leaf(record.envelope, key.public.fingerprint)
    forged = {}
    for size, root, hashes in [
        (1, leaf_hash(leaf), ()),
        (2, torchnotary.merkle.root([leaf, b"x"]), (leaf_hash(b"x"),)),
    ]:
        note = Checkpoint(origin_of(log_key.public), size, root).sign(log_key)
        forged[size] = repacked(records[2], tlog_proof=TlogProof(0, hashes, note).to_text())
    _revoke(genuine)
    for data in forged.values():
        verdict = verify(data)
        assert verdict["signer"].outcome == FAILED and verdict["log inclusion"].outcome == PASSED
        assert isinstance(verdict["signer"].error, RootMismatch)
    stranger()
    trust(key.public)
    revoke(Revocation(key.public.fingerprint, (genuine,)))
    assert verify(forged[1])["signer"].outcome == NOT_CHECKED
    assert verify(forged[2])["signer"].outcome == FAILED


def test_a_revocations_checkpoint_that_the_log_did_not_sign_covers_nothing(records, home):
    origin = origin_of(_log_key(home).public)
    _revoke(Checkpoint(origin, 3, bytes(32)).sign(SigningKey.generate()))
    step = only_failure(verify(records[0]))
    assert step.name == "signer" and "not signed by the log's key" in step.detail


def test_a_record_without_its_log_entry_is_refused_under_a_revoked_key(records):
    _revoke(_note(records[2]))
    proof = TlogProof.from_text(torchnotary.Record.load(records[2]).tlog_proof)
    data = repacked(records[0], tlog_proof=proof.to_text())
    verdict = verify(data)
    assert verdict["signer"].outcome == verdict["log inclusion"].outcome == FAILED
    assert "no entry of a log before that" in verdict["signer"].detail


def test_an_unknown_key_stays_unknown_where_its_revocation_covers_the_record(records, stranger):
    fingerprint, note = SigningKey.load().public.fingerprint, _note(records[0])
    stranger()
    revoke(Revocation(fingerprint, (note,)))
    verdict = verify(records[0])
    assert verdict.exit_code == 3 and "UNKNOWN SIGNER" in verdict.headline
    assert only_failure(verify(records[1])).name == "signer"


def test_a_revocation_that_is_damaged_lets_nothing_pass(records):
    _revoke(_note(records[2]))
    path = revocation_path(SigningKey.load().public.fingerprint)
    whole = path.read_bytes()
    other = SigningKey.generate().public.fingerprint
    for data in (b"", whole[:-1], b"{}\n", Revocation(other, (_note(records[2]),)).encode()):
        path.write_bytes(data)
        assert only_failure(verify(records[0])).name == "signer"
    path.write_bytes(whole)
    assert verify(records[0]).ok


def test_a_later_revocation_takes_the_place_of_the_earlier_one(records):
    key = SigningKey.load().public
    _revoke()
    _revoke(_note(records[2]))
    assert own_revocation(key.fingerprint).covered == {
        torchnotary.Record.load(records[0]).predicate["record"]["log"]: 3
    }
    assert is_trusted(key)


def _signed(size, key=None):
    key = key or SigningKey.generate()
    return Checkpoint(origin_of(key.public), size, bytes(32)).sign(key)


def test_a_revocation_has_one_encoding():
    notes = [_signed(size) for size in (0, 1, 5)]
    revocation = Revocation.of("ab" * 32, notes)
    assert Revocation.decode(revocation.encode()) == revocation
    assert Revocation.of("ab" * 32, notes[::-1]) == revocation
    assert sorted(revocation.covered.values()) == [0, 1, 5]
    value = json.loads(revocation.encode())
    assert value == {
        "checkpoints": list(revocation.checkpoints),
        "key": "ab" * 32,
        "type": "revocation/1",
    }
    log_key = SigningKey.generate()
    twice = [_signed(1, log_key), _signed(2, log_key)]
    for change in (
        {"type": "revocation/2"},
        {"key": "AB" * 32},
        {"key": None},
        {"more": 1},
        {"checkpoints": None},
        {"checkpoints": [1]},
        {"checkpoints": ["junk"]},
        {"checkpoints": value["checkpoints"][::-1]},
        {"checkpoints": twice},
        {"checkpoints": value["checkpoints"] * 100},
    ):
        with pytest.raises(MalformedRecord):
            Revocation.decode(canonical({**value, **change}) + b"\n")
    with pytest.raises(MalformedRecord, match="one checkpoint a log"):
        Revocation.of("ab" * 32, twice)
