"""The steps witness and time: who outside the signer's reach saw the log, and when."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone

from ..errors import VerificationFailed
from ..log.checkpoint import Checkpoint, SignedNote
from ..log.proofs import TlogProof
from ..statement.lines import brief
from .case import Case, Finding, Held, Sighting, not_checked, passed
from .policy import Policy

ONLY_THE_SIGNERS = "only the signer's own log"
# How far two clocks that are both kept right may be apart.
SKEW = timedelta(minutes=5)
_FRESH = "ask for a record of a call made now"
# As formats.md has it: each version of Python takes other forms of ISO 8601.
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{6})?Z")
_UNSEEN = (
    "ask for a copy saved under a cosigned checkpoint, or for the checkpoint and a proof: "
    "--checkpoint FILE --consistency FILE"
)


def check_witness(case: Case) -> Finding:
    """Whether somebody other than the signer saw this entry in the log: a quorum of the policy's
    witnesses where it names any, else whoever holds a checkpoint that covers it."""
    if case.policy.witnesses:
        return _check_quorum(case, case.policy)
    if not case.checkpoints:
        return not_checked(ONLY_THE_SIGNERS)
    if not case.held:
        whose = " and ".join(whose for whose, _ in case.checkpoints)
        return not_checked(f"{ONLY_THE_SIGNERS}: {whose} could not be connected to it")
    widest = max(case.held, key=lambda held: held.checkpoint.size)
    size = widest.checkpoint.size
    if size <= case.index:
        return not_checked(
            f"{ONLY_THE_SIGNERS}: {widest.whose} of size {size} ends before entry {case.index}"
        )
    return passed(f"{widest.whose} of size {size} covers entry {case.index}")


def _check_quorum(case: Case, policy: Policy) -> Finding:
    """Counts who cosigned the record's checkpoint and those connected to it; leaves in
    ``case.sightings`` what a quorum saw."""
    if case.entry is None:
        return not_checked("the record's own log entry is not proven")
    note = TlogProof.from_text(case.record.tlog_proof).checkpoint
    most: list[str] = []
    for held in [Held("the record's checkpoint", note, case.entry), *case.held]:
        times = _cosignatures(policy, SignedNote.parse(held.note))
        if len(times) >= policy.quorum:
            last = sorted(times.values())[policy.quorum - 1]
            case.sightings.append(Sighting(held.checkpoint, last))
        if held.checkpoint.size > case.index:
            most = max(most, sorted(times), key=len)
    count = f"{len(most)} of the {policy.quorum} witnesses that the policy asks for"
    if len(most) < policy.quorum:
        return not_checked(
            f"{count} saw entry {case.index}" + (f": {brief(', '.join(most))}" if most else ""),
            _UNSEEN,
        )
    return passed(f"{count} saw entry {case.index}: {brief(', '.join(most))}")


def _cosignatures(policy: Policy, note: SignedNote) -> dict[str, int]:
    """When each of the policy's witnesses cosigned, in POSIX seconds, by name and key id; raises
    where a line that is said to be one of theirs is wrong or stands twice."""
    lines = {(name, key_id) for name, key_id, _ in note.signatures}
    return {
        f"{witness.name}+{witness.key_id().hex()}": witness.verify(note)
        for witness in policy.witnesses
        if (witness.name, witness.key_id()) in lines
    }


def check_time(case: Case) -> Finding:
    """The claimed time against what others saw. Passes only where a quorum of the policy's
    witnesses saw the entry: a clock that the signer reads proves nothing by itself."""
    time, policy = case.record.predicate["time"], case.policy
    claimed = f"{brief(time['start'])} to {brief(time['end'])}"
    asserted = f"asserted by the signer's clock: {claimed}"
    unseen = _UNSEEN if policy.witnesses else None
    if not (policy.max_age or case.sightings):
        return not_checked(asserted, unseen)
    start, end = _moment(time["start"]), _moment(time["end"])
    seen = [sighting for sighting in case.sightings if sighting.checkpoint.size > case.index]
    first = min((_utc(sighting.time) for sighting in seen), default=None)
    if policy.max_age is not None:
        _check_age(policy.max_age, start, end, first)
    for sighting in case.sightings:
        if sighting not in seen:
            _check_not_backdated(policy, sighting.checkpoint, _utc(sighting.time), end)
    if first is None:
        return not_checked(f"{asserted}, no older than the policy allows", unseen)
    if max(start, end) - first > SKEW:
        begun = "begun" if start - first > SKEW else "ended"
        raise VerificationFailed(
            f"the call is said to have {begun} after the witnesses saw its record",
            expected=f"at or before {_text(first)}",
            actual=_text(max(start, end)),
            next_step=_FRESH,
        )
    count = "1 witness" if policy.quorum == 1 else f"{policy.quorum} witnesses"
    return passed(f"existed by {_text(first)} ({count}); claimed: {claimed}")


def _check_age(max_age: timedelta, start: datetime, end: datetime, seen: datetime | None) -> None:
    """Raises where the call ended, or its record was seen, longer than ``max_age`` ago by this
    machine's clock, or where it is said to lie ahead of it."""
    now = datetime.now(timezone.utc)
    if max(start, end) - now > SKEW:
        raise VerificationFailed(
            "the call is said to lie in the future",
            expected=f"at or before {_text(now)}",
            actual=_text(max(start, end)),
            next_step="compare the clocks, here and there",
        )
    oldest = min(end, seen or end)
    if now - oldest > max_age:
        raise VerificationFailed(
            "older than the policy allows",
            expected=f"at most {max_age}",
            actual=f"{timedelta(seconds=(now - oldest) // timedelta(seconds=1))}",
            next_step=_FRESH,
        )


def _check_not_backdated(
    policy: Policy, checkpoint: Checkpoint, seen: datetime, end: datetime
) -> None:
    """Raises where the call is said to have ended so long before the witnesses saw a log without
    its entry that the entry should have been in it."""
    if seen - end > policy.max_delay:
        raise VerificationFailed(
            f"back-dated: the log of size {checkpoint.size} that the witnesses saw "
            f"at {_text(seen)} did not have it yet",
            expected=f"an end after {_text(seen)} less {policy.max_delay}",
            actual=_text(end),
            next_step="ask its maker why it was logged so late",
        )


def _moment(text: str) -> datetime:
    """A claimed time; VerificationFailed where it is none that can be compared."""
    try:
        if _TIME.fullmatch(text):
            # Python 3.10 does not read the Z.
            return datetime.fromisoformat(text[:-1]).replace(tzinfo=timezone.utc)
    except ValueError:  # the 30th of February
        pass
    raise VerificationFailed(
        "the claimed time is no time", expected="RFC 3339 in UTC", actual=brief(text)
    )


def _utc(seconds: int) -> datetime:
    try:
        return datetime.fromtimestamp(seconds, timezone.utc)
    except (ValueError, OverflowError, OSError):
        raise VerificationFailed("a witness cosigned at no time", actual=seconds) from None


def _text(moment: datetime) -> str:
    return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
