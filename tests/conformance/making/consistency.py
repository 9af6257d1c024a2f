"""Proofs that the verifier's checkpoint and the record's are of one history."""

from __future__ import annotations

from collections.abc import Iterator

from torchnotary import merkle
from torchnotary.log.proofs import ConsistencyProof

from .cases import Case, bad, good, unproven
from .draft import Draft, filler
from .edits import base64, exchange, flip, insert, instead, line
from .genuine import LOGGED
from .identities import OTHER_LOG, W1, cosigned, fixed

_BOTH = "log consistency, witness"


def proof(old: int, new: int, log: Draft = LOGGED) -> str:
    """The consistency file between two sizes of a log."""
    hashes = tuple(merkle.consistency_proof(log.entries(new), old))
    return ConsistencyProof(old, hashes, log.checkpoint(new)).to_text()


def cases() -> Iterator[Case]:
    yield from _valid()
    yield from _contradicting()
    yield from _beside_the_point()


def _valid() -> Iterator[Case]:
    """LOGGED is entry 5 of 13."""
    for size in (6, 7, 8, 12):
        yield good(
            f"consistency-from-{size}",
            f"the verifier's checkpoint of size {size} covers the entry",
            LOGGED,
            _BOTH,
            checkpoint=LOGGED.checkpoint(size),
            consistency=proof(size, 13),
        )
    for size in (14, 16, 20, 64):
        yield good(
            f"consistency-to-{size}",
            f"the verifier's checkpoint is of later, of size {size}",
            LOGGED,
            _BOTH,
            checkpoint=LOGGED.checkpoint(size),
            consistency=proof(13, size),
        )
    yield good(
        "consistency-cosigned",
        "a proof whose checkpoint is cosigned, for one that is too",
        LOGGED,
        _BOTH,
        checkpoint=cosigned(LOGGED.checkpoint(20), W1),
        consistency=cosigned(proof(13, 20), W1),
    )


def _contradicting() -> Iterator[Case]:
    """A proof of these two sizes that does not connect these two roots."""
    later, between = LOGGED.checkpoint(20), proof(13, 20)
    forked = LOGGED.but(others={3: fixed("another entry")})
    cut = LOGGED.but(others={14: fixed("entry that was taken away")})
    removed = LOGGED.but(others={5: filler(5)})
    for name, why, checkpoint, text in (
        ("forked-view-earlier", "the log showed somebody else another entry 3",
         forked.checkpoint(8), proof(8, 13)),
        ("forked-view-earlier-proven", "the same, with the proof of the other history",
         forked.checkpoint(8), proof(8, 13, forked)),
        ("forked-view-later", "a later log in which entry 3 is another",
         forked.checkpoint(20), proof(13, 20, forked)),
        ("omitted-later", "a later log in which the entry is another one's",
         removed.checkpoint(20), proof(13, 20, removed)),
        ("truncated-tail", "a log from which later entries were taken, and others put there",
         cut.checkpoint(20), between),
        ("hash-missing", "a hash is missing", later, line(1, lambda text: None)(between)),
        ("hash-added", "a hash too many", later, insert(2, "A" * 43 + "=")(between)),
        ("hashes-exchanged", "two hashes in each other's place", later, exchange(1, 2)(between)),
        ("hash-bit-flipped", "one bit of a hash", later, line(2, base64(flip(77)))(between)),
    ):  # fmt: skip
        yield bad(
            f"consistency-{name}",
            "log consistency",
            why,
            LOGGED,
            checkpoint=checkpoint,
            consistency=text,
        )


def _beside_the_point() -> Iterator[Case]:
    """Files that say nothing about these two checkpoints."""
    later, between = LOGGED.checkpoint(20), proof(13, 20)
    for name, why, text in (
        ("of-other-sizes", "a proof between two other sizes", proof(8, 20)),
        ("of-another-log", "a proof about another log", proof(13, 20, LOGGED.but(log=OTHER_LOG))),
        ("old-changed", "another older size", instead("old 13", "old 12")(between)),
        ("old-missing", "no older size", line(0, lambda text: None)(between)),
        ("old-leading-zero", "a second spelling of the older size",
         instead("old 13", "old 013")(between)),
        ("hash-short", "a hash of 31 bytes", line(1, base64(lambda data: data[:-1]))(between)),
        ("carriage-returns", "lines end in CR LF", between.replace("\n", "\r\n")),
        ("empty", "an empty file", ""),
        ("of-an-entry", "the proof of an entry", LOGGED.proof),
    ):  # fmt: skip
        yield unproven(
            f"consistency-{name}", _BOTH, why, LOGGED, checkpoint=later, consistency=text
        )
    yield unproven(
        "consistency-before-the-entry",
        "witness",
        "the verifier's checkpoint is connected, and of before the entry",
        LOGGED,
        checkpoint=LOGGED.checkpoint(5),
        consistency=proof(5, 13),
    )
    yield unproven(
        "consistency-without-checkpoint",
        "log consistency",
        "a proof, and no checkpoint of the verifier's own",
        LOGGED,
        consistency=between,
    )
