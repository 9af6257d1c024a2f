"""What the verifier holds against a record that is otherwise genuine: nonces, checkpoints."""

from __future__ import annotations

from collections.abc import Iterator

from torchnotary.log.checkpoint import Checkpoint
from torchnotary.statement.envelope import encode_base64

from .cases import Case, bad, unproven
from .draft import filler
from .edits import base64, flip, last_word, line
from .genuine import LOGGED, PLAIN
from .identities import LOG, OTHER_LOG, STRANGER, fixed

MONDAY, TUESDAY = "6d6f6e646179", "74756573646179"


def cases() -> Iterator[Case]:
    yield from _nonces()
    yield from _checkpoints()


def _nonces() -> Iterator[Case]:
    asked = PLAIN.but(record={"nonce": MONDAY})
    for name, why, record, nonce in (
        ("replayed-nonce", "Monday's record, on Tuesday", asked, TUESDAY),
        ("replayed-without-nonce", "a record made without a challenge", PLAIN, TUESDAY),
        ("replayed-nonce-begins-alike", "the nonce is longer than the one sent", asked, MONDAY[:4]),
        ("replayed-nonce-goes-on", "the nonce is shorter than the one sent", asked, MONDAY + "00"),
        ("replayed-nonce-zero-padded", "the nonce with a zero before it", asked, "00" + MONDAY),
    ):
        yield bad(name, "nonce", why, record, nonce=nonce)


def _checkpoints() -> Iterator[Case]:
    """Checkpoints the verifier holds; LOGGED is entry 5 of 13."""

    def signed(size: int, root: bytes) -> str:
        return Checkpoint(LOGGED.origin, size, root).sign(LOG)

    forked = LOGGED.but(others={3: fixed("another entry")}).checkpoint()
    for name, why, checkpoint in (
        ("forked-view", "the log showed somebody else another entry 3", forked),
        ("forked-view-of-this-entry", "the log showed somebody else another entry 5",
         LOGGED.but(others={5: filler(5)}).checkpoint()),
        ("forked-view-of-the-last-entry", "the log showed somebody else another last entry",
         LOGGED.but(others={12: fixed("another entry")}).checkpoint()),
        ("rewritten-log", "every entry of the log was replaced",
         LOGGED.but(others={n: fixed(f"entry {n}") for n in range(13)}).checkpoint()),
        ("held-empty-log-with-a-root", "the empty log has no other root than SHA-256 of nothing",
         signed(0, fixed("root"))),
    ):  # fmt: skip
        yield bad(name, "log consistency", why, LOGGED, checkpoint=checkpoint)

    own = LOGGED.checkpoint()
    moved = LOGGED.but(log=OTHER_LOG)
    stranger = Checkpoint.parse(own.partition("\n\n")[0] + "\n").sign(STRANGER)
    both = "log consistency, witness"
    for name, why, step, checkpoint in (
        ("held-earlier", "a checkpoint of before the entry, and no proof between the two", both,
         LOGGED.checkpoint(5)),
        ("held-later", "a checkpoint of later, and no proof between the two", both,
         LOGGED.checkpoint(20)),
        ("held-truncated-tail", "a checkpoint of a log whose later entries this one no longer has",
         both, LOGGED.but(others={14: fixed("entry that was taken away")}).checkpoint(20)),
        ("held-forked-view-earlier", "an earlier checkpoint with another entry 3", both,
         LOGGED.but(others={3: fixed("another entry")}).checkpoint(8)),
        ("held-of-the-empty-log", "a checkpoint of the empty log covers nothing", "witness",
         LOGGED.checkpoint(0)),
        ("held-of-another-log", "a checkpoint of another log", both, moved.checkpoint()),
        ("held-signed-by-stranger", "a checkpoint that the log did not sign", both, stranger),
        ("held-signature-wrong", "a checkpoint whose signature is wrong", both,
         line(4, last_word(base64(flip(99))))(own)),
        ("held-size-changed", "a checkpoint with another size under the old signature", both,
         own.replace("\n13\n", "\n12\n")),
        ("held-unsigned", "a checkpoint without a signature",
         both, own.partition("\n\n")[0] + "\n"),
        ("held-no-note", "a text that is no checkpoint", both, "The log is fine.\n"),
        ("held-only-a-root", "a root without its checkpoint",
         both, encode_base64(fixed("root")) + "\n"),
    ):  # fmt: skip
        yield unproven(name, step, why, LOGGED, checkpoint=checkpoint)
    unasked = LOGGED.but(record={"nonce": MONDAY})
    yield unproven(
        "stranger-with-checkpoint",
        "signer",
        "all that was asked agrees, but nobody vouches for the key",
        unasked.but(signer=STRANGER),
        signer=None,
        nonce=MONDAY,
    )
