"""The steps witness and time: who saw the log beside its signer, and what their clocks say."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from time import time

import pytest

from torchnotary.errors import MalformedRecord, VerificationFailed
from torchnotary.log.checkpoint import SignedNote, signature_line
from torchnotary.verifier.policy import Policy
from torchnotary.verifier.steps import verify
from verifier_helpers import NOT_CHECKED, PASSED, only_failure
from witnessed_log import ENDED, INDEX, SIZE, Witness, WitnessedLog, at

ONE, TWO, THREE = (Witness(f"witness.example/{n}") for n in (1, 2, 3))


@pytest.fixture
def log(template):
    return WitnessedLog(template)


def policy(log, witnesses=(ONE, TWO, THREE), quorum=2, **fields):
    keys = tuple(witness.key for witness in witnesses)
    signers = frozenset({log.signer.public.fingerprint})
    return Policy(signers=signers, witnesses=keys, quorum=quorum, **fields)


def judged(log, record, **given):
    return verify(record, policy=given.pop("policy", policy(log)), **given)


def test_a_quorum_of_the_policys_witnesses_passes_witness_and_time(log):
    verdict = judged(log, log.record(SIZE, (ONE, at(minutes=1)), (TWO, at(hours=2))))
    assert verdict.ok and verdict["witness"].asked
    assert verdict["witness"].outcome == verdict["time"].outcome == PASSED
    assert "2 of the 2 witnesses" in verdict["witness"].detail
    # By then two of them had seen it; the first one alone is no quorum.
    assert "existed by 2026-11-21T12:02:03Z" in verdict["time"].detail
    assert "\ntime         existed by 2026-11-21T12:02:03Z (2 witnesses)\n" in str(verdict)


def test_the_record_existed_when_the_last_of_a_quorum_had_seen_it_however_many_came_later(log):
    seen = [(ONE, at(hours=9)), (TWO, at(hours=1)), (THREE, at(hours=2))]
    detail = judged(log, log.record(SIZE, *seen))["time"].detail
    assert "existed by 2026-11-21T12:02:03Z" in detail


def test_fewer_witnesses_than_the_quorum_leave_witness_and_time_unchecked(log):
    verdict = judged(log, log.record(SIZE, (ONE, at(minutes=1))))
    assert verdict.exit_code == 3
    assert verdict["witness"].outcome == verdict["time"].outcome == NOT_CHECKED
    assert "1 of the 2 witnesses" in verdict["witness"].detail
    # What would help is the same for both, so it is said once.
    assert len([step for step in verdict.next_steps if "--checkpoint FILE" in step]) == 1
    assert "--checkpoint FILE --consistency FILE" in verdict.next_steps[0]


def test_a_time_that_must_pass_asks_for_witnesses_not_for_a_checkpoint(log):
    required = Policy(
        signers=frozenset({log.signer.public.fingerprint}), required=frozenset({"time"})
    )
    verdict = judged(log, log.record(), policy=required)
    assert verdict["time"].outcome == NOT_CHECKED
    assert verdict.next_steps[0] == "time: --policy with witnesses (docs/log.md)"


def test_witnesses_that_the_policy_does_not_name_count_for_nothing(log):
    others = [Witness(f"crowd.example/{n}") for n in range(3)]
    # One of them takes the name of a witness that the policy does name.
    others.append(Witness(ONE.name))
    verdict = judged(log, log.record(SIZE, *((other, at(minutes=1)) for other in others)))
    assert verdict["log inclusion"].outcome == PASSED
    assert verdict["witness"].outcome == NOT_CHECKED
    assert "0 of the 2 witnesses" in verdict["witness"].detail


def test_without_a_policy_cosignatures_are_checked_but_say_nothing(log):
    record = log.record(SIZE, (ONE, at(minutes=1)))
    verdict = verify(record, signer=log.signer.public)
    assert verdict.ok and verdict["log inclusion"].outcome == PASSED
    assert verdict["witness"].detail == "only the signer's own log"


def test_one_witness_cannot_be_counted_twice(log):
    twice = log.record(SIZE, (ONE, at(minutes=1)), (ONE, at(minutes=2)))
    step = only_failure(judged(log, twice))
    assert step.name == "log inclusion" and isinstance(step.error, MalformedRecord)
    held = log.note(SIZE, (ONE, at(minutes=1)), (ONE, at(minutes=2)))
    step = only_failure(judged(log, log.record(), checkpoint=held))
    assert step.name == "witness" and "twice" in step.detail


def test_a_cosignature_of_another_time_or_checkpoint_is_refused(log):
    good, other = log.note(SIZE, (ONE, at(minutes=1))), log.note(SIZE - 1, (ONE, at(minutes=1)))
    line = SignedNote.parse(good).signatures[1]
    earlier = line[2][:7] + bytes([line[2][7] ^ 1]) + line[2][8:]
    for data in (earlier, SignedNote.parse(other).signatures[1][2]):
        forged = log.note(SIZE) + signature_line(ONE.name, ONE.key.key_id(), data)
        step = only_failure(judged(log, log.record(SIZE, (ONE, 0), note=forged)))
        assert step.name == "log inclusion" and isinstance(step.error, VerificationFailed)
        step = only_failure(judged(log, log.record(), checkpoint=forged))
        assert step.name == "witness"


def test_a_cosignature_without_its_key_and_a_key_without_its_cosignature_are_refused(log):
    cosigned, plain = log.note(SIZE, (ONE, at(minutes=1))), log.note(SIZE)
    for record in (log.record(note=cosigned), log.record(SIZE, (ONE, 0), note=plain)):
        assert only_failure(judged(log, record)).name == "log inclusion"


def test_a_cosigned_checkpoint_that_is_held_counts_once_it_is_connected(log):
    held = log.note(SIZE, (ONE, at(minutes=1)), (THREE, at(minutes=2)))
    verdict = judged(log, log.record(), checkpoint=held)
    assert verdict.ok and verdict["time"].outcome == PASSED
    # Of another size nothing connects it here, so what its witnesses saw is not known to be this.
    verdict = judged(log, log.record(SIZE - 1), checkpoint=held)
    assert verdict["witness"].outcome == verdict["time"].outcome == NOT_CHECKED


def test_a_call_said_to_begin_after_the_witnesses_saw_its_record_is_refused(log):
    step = only_failure(judged(log, log.record(SIZE, (ONE, at(days=-1)), (TWO, at(days=-1)))))
    assert step.name == "time" and "begun after" in step.detail
    # Clocks that are five minutes apart contradict nobody.
    near = log.record(SIZE, (ONE, at(minutes=-5)), (TWO, at(minutes=-5)))
    assert judged(log, near)["time"].outcome == PASSED


def test_a_call_said_to_end_after_the_witnesses_saw_its_record_is_refused(template):
    log = ended(template, "2020-11-21T10:02:03.000000Z", "2026-11-21T10:02:03.000000Z")
    seen = at(minutes=-6)
    step = only_failure(judged(log, log.record(SIZE, (ONE, seen), (TWO, seen))))
    assert step.name == "time" and "ended after" in step.detail


def connected(monkeypatch, log):
    """Lets the verifier find the proofs of this log, as if it lay on this machine."""
    monkeypatch.setattr(
        "torchnotary.verifier.history._proof_in_logs",
        lambda logs, first, second: log.consistency(first.size, second.size),
    )


def test_a_back_dated_record_is_refused_by_the_log_that_witnesses_saw_without_it(log, monkeypatch):
    connected(monkeypatch, log)
    record = log.record(SIZE, (ONE, at(days=9)), (TWO, at(days=9)))
    for days, delay, outcome in ((1, 1, PASSED), (2, 1, "failed"), (2, 3, PASSED)):
        without = log.note(INDEX, (ONE, at(days=days)), (TWO, at(days=days)))
        asked = policy(log, max_delay=timedelta(days=delay))
        verdict = verify(record, policy=asked, checkpoint=without)
        assert verdict["log consistency"].outcome == verdict["witness"].outcome == PASSED
        assert verdict["time"].outcome == outcome
    # Seen by fewer than a quorum it proves nothing.
    without = log.note(INDEX, (ONE, at(days=2)))
    assert verify(record, policy=policy(log), checkpoint=without).ok


def test_a_back_dated_record_is_refused_though_no_witness_saw_its_own_checkpoint(log, monkeypatch):
    connected(monkeypatch, log)
    without = log.note(INDEX, (ONE, at(days=2)), (TWO, at(days=2)))
    verdict = judged(log, log.record(), checkpoint=without)
    step = only_failure(verdict)
    assert step.name == "time" and "back-dated" in step.detail
    assert verdict["witness"].outcome == NOT_CHECKED


def test_a_pinned_checkpoint_of_the_policy_is_compared_beside_the_callers(log):
    fork = log.note(SIZE, leaves=[b"other"] * SIZE)
    pinned = Policy(signers=frozenset({log.signer.public.fingerprint}), checkpoint=log.note(SIZE))
    verdict = verify(log.record(), policy=pinned)
    assert verdict.ok and verdict["witness"].outcome == PASSED
    assert "the policy's checkpoint of size 7 covers" in verdict["witness"].detail
    forked = Policy(pinned.signers, checkpoint=fork)
    for asked, held in ((pinned, fork), (forked, log.note(SIZE))):
        step = only_failure(verify(log.record(), policy=asked, checkpoint=held))
        assert step.name == "log consistency"
    assert verify(log.record(), policy=pinned, checkpoint=log.note(SIZE)).ok
    verdict = verify(log.record(), policy=pinned, checkpoint=log.note(SIZE - 1))
    assert verdict["log consistency"].outcome == NOT_CHECKED and verdict.exit_code == 3


def now(**later: float) -> str:
    moment = datetime.now(timezone.utc) + timedelta(**later)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def ended(template, start: str, end: str) -> WitnessedLog:
    times = {"start": start, "end": end}
    return WitnessedLog(template, lambda s: s["predicate"]["time"].update(times))


@pytest.mark.parametrize(
    ("start", "end", "cause"),
    [
        ({"hours": -2}, {"hours": -1}, None),
        ({"hours": -26}, {"hours": -25}, "older"),
        ({}, {"minutes": 4}, None),
        ({}, {"minutes": 6}, "future"),
        ({"minutes": 6}, {}, "future"),
    ],
)
def test_a_claimed_end_that_is_too_old_or_lies_ahead_is_refused(template, start, end, cause):
    log = ended(template, now(**start), now(**end))
    asked = policy(log, (), 0, max_age=timedelta(days=1))
    verdict = verify(log.record(), policy=asked)
    if cause is None:
        # The clock is still the signer's: nothing was proven, and nobody asked for more.
        assert verdict.ok and verdict["time"].outcome == NOT_CHECKED
        assert "no older than the policy allows" in verdict["time"].detail
    else:
        step = only_failure(verdict)
        assert step.name == "time" and cause in step.detail


def test_what_witnesses_saw_long_ago_is_old_whatever_it_claims(template):
    log = ended(template, now(), now())
    seen = int((datetime.now(timezone.utc) - timedelta(days=2)).timestamp())
    record = log.record(SIZE, (ONE, seen), (TWO, seen))
    step = only_failure(verify(record, policy=policy(log, max_age=timedelta(days=1))))
    assert step.name == "time" and "older" in step.detail
    # Nor does it become fresh by being shown to witnesses late.
    log, seen = ended(template, now(days=-2), now(days=-2)), int(time())
    record = log.record(SIZE, (ONE, seen), (TWO, seen))
    step = only_failure(verify(record, policy=policy(log, max_age=timedelta(days=1))))
    assert step.name == "time" and "older" in step.detail


@pytest.mark.parametrize(
    "claimed",
    ["", "Z", "yesterday", "2026-11-21", "2026-11-21T10:02:03", "2026-11-21T10:02:03+14:00Z"]
    + ["0001-01-01T00:00:00+23:59", "9999-99-99T00:00:00Z", "2026-11-21T10:02:03.000000z"]
    + ["2026-11-21Z", "2026-W47-6T10:02:03Z", "20261121T100203Z", "2026-11-21 10:02:03Z"]
    + ["2026-11-21T10:02Z", "2026-11-21T10:02:03,500000Z", "2026-11-21T10:02:03.1234567Z"]
    + ["2026-11-21t10:02:03Z", "2026-11-21T24:00:00Z", "2026-11-21T10:02:60Z"]
    + ["2026-02-30T10:02:03Z", "2026-11-21T10:02:03Z\n", "2026-11-21T10:02:03ZZ"],
)
def test_a_claimed_time_that_is_none_is_refused_where_times_are_compared(template, claimed):
    log = ended(template, claimed, claimed)
    step = only_failure(verify(log.record(), policy=policy(log, (), 0, max_age=timedelta(1))))
    assert step.name == "time" and "no time" in step.detail
    assert verify(log.record(), signer=log.signer.public)["time"].outcome == NOT_CHECKED


@pytest.mark.parametrize("end", ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"])
@pytest.mark.parametrize("seen", [0, 2**33, 253402300799, 2**63 - 1])
def test_the_first_and_the_last_time_there_is_are_judged_without_a_crash(template, end, seen):
    log = ended(template, end, end)
    record = log.record(SIZE, (ONE, seen), (TWO, seen))
    asked = policy(log, max_age=timedelta(days=999_999), max_delay=timedelta(days=999_999))
    assert len(verify(record, policy=asked).steps) == 12


def test_the_time_the_signer_claims_never_passes_by_itself(log):
    verdict = verify(log.record(), signer=log.signer.public)
    assert verdict["time"].outcome == NOT_CHECKED
    assert verdict["time"].detail.startswith("asserted by the signer's clock: 2026-11-21T10:02:02")
    assert ENDED.strftime("%H:%M:%S") in verdict["time"].detail
