"""Witnesses that a policy names: how many of them saw the entry, and when."""

from __future__ import annotations

from collections.abc import Iterator

from .cases import Case, bad, good, unproven
from .consistency import proof
from .edits import base64, flip, last_word, line, put, repeat
from .genuine import LOGGED
from .identities import OTHER_LOG, SEEN, STRANGER, W1, W2, W3, Witness, cosigned
from .witnesses import COSIGNED

_STRANGER = Witness("witness.example/stranger", STRANGER, SEEN)


def policy(*witnesses: Witness, quorum: int, **more: str) -> str:
    """A policy that asks for a quorum of witnesses; ``more`` are fields as TOML writes them."""
    keys = ", ".join(f'"{witness.vkey}"' for witness in witnesses)
    fields = {"witnesses": f"[{keys}]", "quorum": str(quorum), **more}
    return "".join(f"{name} = {value}\n" for name, value in fields.items())


def cases() -> Iterator[Case]:
    yield from _met()
    yield from _not_met()
    yield from _wrong()
    yield from _times()


def _met() -> Iterator[Case]:
    for name, why, record, text in (
        ("1-of-1", "the one witness that the policy names", COSIGNED, policy(W1, quorum=1)),
        ("2-of-2", "both witnesses that the policy names", COSIGNED, policy(W2, W1, quorum=2)),
        ("2-of-3", "two witnesses of three", COSIGNED, policy(W1, W2, W3, quorum=2)),
        ("and-others", "the policy's witness, and one it does not know",
         LOGGED.but(witnesses=(W1, _STRANGER)), policy(W1, quorum=1)),
        ("of-a-batch", "a batch that two witnesses saw", COSIGNED.but(batch=(3, 8)),
         policy(W1, W2, quorum=2)),
    ):  # fmt: skip
        yield good(f"quorum-{name}", why, record, "witness, time", policy=text)
    yield good(
        "quorum-in-a-held-checkpoint",
        "a later checkpoint, which the verifier holds, is cosigned",
        LOGGED,
        "log consistency, witness, time",
        checkpoint=cosigned(LOGGED.checkpoint(20), W1, W2),
        consistency=proof(13, 20),
        policy=policy(W1, W2, quorum=2),
    )
    yield good(
        "quorum-in-a-pinned-checkpoint",
        "the checkpoint that the policy pins is cosigned",
        LOGGED,
        "log consistency, witness, time",
        policy=policy(W1, quorum=1, checkpoint=f'"""{cosigned(LOGGED.checkpoint(), W1)}"""'),
    )


def _not_met() -> Iterator[Case]:
    two = policy(W1, W2, quorum=2)
    for name, why, record, text, more in (
        ("of-nobody", "no witness cosigned", LOGGED, two, {}),
        ("1-of-2", "one witness too few", LOGGED.but(witnesses=(W1,)), two, {}),
        ("of-strangers", "two cosigned whom the policy does not know",
         LOGGED.but(witnesses=(_STRANGER, W3)), two, {}),
        ("of-one-witness-in-two-checkpoints", "one witness, in two checkpoints",
         LOGGED.but(witnesses=(W1,)), two,
         {"checkpoint": cosigned(LOGGED.checkpoint(), W1._replace(time=SEEN + 5))}),
        ("of-half-in-each-checkpoint", "each of two checkpoints has one of the two witnesses",
         LOGGED.but(witnesses=(W1,)), two, {"checkpoint": cosigned(LOGGED.checkpoint(), W2)}),
        ("before-the-entry", "two witnesses saw the log before the entry was made", LOGGED, two,
         {"checkpoint": cosigned(LOGGED.checkpoint(5), W1, W2), "consistency": proof(5, 13)}),
        ("of-another-key", "a stranger's key under the name of the policy's witness",
         LOGGED.but(witnesses=(W1._replace(key=STRANGER),)), policy(W1, quorum=1), {}),
        ("of-another-log", "the witness cosigned a log of the same entries, whose key is another",
         LOGGED, policy(W1, quorum=1),
         {"checkpoint": cosigned(LOGGED.but(log=OTHER_LOG).checkpoint(), W1)}),
        ("of-another-name", "a witness's key under another name",
         LOGGED.but(witnesses=(W1._replace(name="witness.example/alias"),)),
         policy(W1, quorum=1), {}),
    ):  # fmt: skip
        yield unproven(f"quorum-{name}", "witness", why, record, policy=text, **more)


def _wrong() -> Iterator[Case]:
    held, one = cosigned(LOGGED.checkpoint(), W1), policy(W1, quorum=1)
    for name, why, checkpoint in (
        ("bit-flipped", "a witness's line in the checkpoint that is held has one bit flipped",
         line(5, last_word(base64(flip(300))))(held)),
        ("time-changed", "a witness's line has another time",
         line(5, last_word(base64(flip(8 * 11))))(held)),
        ("threshold-counted-twice", "a witness's line stands there twice", repeat(5)(held)),
    ):  # fmt: skip
        yield bad(f"quorum-{name}", "witness", why, LOGGED, checkpoint=checkpoint, policy=one)


def _times() -> Iterator[Case]:
    def claimed(start: str, end: str):
        return put(
            "predicate", "time", {"asserted": True, "clock": "system", "end": end, "start": start}
        )

    later = claimed("2026-11-21T11:02:00.000000Z", "2026-11-21T11:02:00.000000Z")
    ended_later = claimed("2020-11-21T10:02:00.000000Z", "2026-11-21T11:02:00.000000Z")
    old = claimed("2026-11-01T10:02:00.000000Z", "2026-11-01T10:02:01.000000Z")
    one = policy(W1, quorum=1)
    yield bad(
        "post-dated",
        "time",
        "a call that began an hour after the witness saw its record",
        COSIGNED.but(statement=later),
        policy=one,
    )
    backdated = LOGGED.but(statement=old)
    yield bad(
        "back-dated-into-a-seen-log",
        "time",
        "a call of three weeks before the witness saw the log without it",
        backdated,
        policy=one,
        checkpoint=cosigned(backdated.checkpoint(5), W1),
        consistency=proof(5, 13, backdated),
    )
    yield bad(
        "claimed-time-is-none",
        "time",
        "a time that is none",
        COSIGNED.but(statement=put("predicate", "time", "start", "yesterday")),
        policy=one,
    )
    yield bad(
        "post-dated-end",
        "time",
        "a call that began years ago and ended an hour after the witness saw its record",
        COSIGNED.but(statement=ended_later),
        policy=one,
    )
    for name, why, text in (
        ("has-an-offset", "a time in a time zone", "2026-11-21T10:02:00+01:00"),
        ("has-an-offset-of-nothing", "a second spelling of UTC", "2026-11-21T10:02:00+00:00"),
        ("has-an-offset-and-z", "an offset before the Z", "2026-11-21T10:02:00+01:00Z"),
        ("is-a-date", "a date without a time", "2026-11-21Z"),
        ("is-a-week-date", "a date by its week", "2026-W47-6T10:02:00Z"),
        ("is-basic", "the basic form of ISO 8601", "20261121T100200Z"),
        ("without-seconds", "no seconds", "2026-11-21T10:02Z"),
        ("with-space", "a space instead of T", "2026-11-21 10:02:00Z"),
        ("with-comma", "a decimal comma", "2026-11-21T10:02:00,250000Z"),
        ("with-nanoseconds", "nine digits of a second", "2026-11-21T10:02:00.250000000Z"),
        ("lower-case", "a lower-case T", "2026-11-21t10:02:00.250000Z"),
        ("leap-second", "a second 60", "2026-11-21T10:02:60.000000Z"),
        ("hour-24", "an hour 24", "2026-11-20T24:00:00.000000Z"),
        ("30-february", "a day that no year has", "2026-02-30T10:02:00.000000Z"),
        ("newline", "a line end behind it", "2026-11-21T10:02:00.250000Z\n"),
        ("arabic-digits", "digits of another script", "2026-11-2\u0661T10:02:00.250000Z"),
    ):
        yield bad(
            f"claimed-time-{name}",
            "time",
            why,
            COSIGNED.but(statement=put("predicate", "time", "end", text)),
            policy=one,
        )
