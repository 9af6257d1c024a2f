"""Keys that a policy says were revoked: what they signed counts where its log had it before."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from torchnotary.keys import SigningKey
from torchnotary.log.checkpoint import Checkpoint
from torchnotary.log.revocation import Revocation

from .cases import Beside, Case, bad, good, unproven
from .consistency import proof
from .edits import line, put
from .genuine import LOGGED
from .identities import OTHER_LOG, SIGNER, STRANGER, fixed


def cases() -> Iterator[Case]:
    """LOGGED is entry 5 of 13."""
    own, elsewhere = LOGGED.checkpoint(), LOGGED.but(log=OTHER_LOG).checkpoint()
    later = {"checkpoint": LOGGED.checkpoint(20), "consistency": proof(13, 20)}
    for name, why, notes, options in (
        ("after-the-entry", "the key was revoked when the log had its 13 entries", [own], {}),
        ("later", "the key was revoked later, when the log had 20", [LOGGED.checkpoint(20)], later),
        ("in-two-logs", "the revocation lists two logs", [elsewhere, own], {}),
    ):
        yield _revoked(good(f"revoked-{name}", why, LOGGED, **options), notes)
    yield _revoked(good("revoked-another-key", "another key was revoked", LOGGED), [], STRANGER)
    old = put("predicate", "time", "end", "2020-01-01T00:00:00.000000Z")
    forked = LOGGED.but(others={3: fixed("another entry")})
    stranger = Checkpoint.parse(own.partition("\n\n")[0] + "\n").sign(STRANGER)
    for name, why, record, notes, options in (
        ("before-the-entry", "the key was revoked when the log had 5 entries", LOGGED,
         [LOGGED.checkpoint(5)], {}),
        ("back-dated", "the same, and the record says that it is older than that",
         LOGGED.but(statement=old), [LOGGED.checkpoint(5)], {}),
        ("for-good", "the key was revoked, and no log is listed", LOGGED, [], {}),
        ("in-another-log", "another log is listed", LOGGED, [elsewhere], {}),
        ("forked-view", "the log showed another entry 3 when the key was revoked", LOGGED,
         [forked.checkpoint()], {}),
        ("forked-view-later", "a later log in which entry 3 is another", LOGGED,
         [forked.checkpoint(20)], {"checkpoint": own, "consistency": proof(13, 20)}),
        ("signed-by-stranger", "the checkpoint that is listed is not signed by the log", LOGGED,
         [stranger], {}),
    ):  # fmt: skip
        yield _revoked(bad(f"revoked-{name}", "signer", why, record, **options), notes)
    case = bad(
        "revoked-and-not-in-the-log",
        "signer, log inclusion",
        "the key was revoked, and the entry is not proven",
        LOGGED.but(proof=line(2, lambda text: None)),
    )
    yield _revoked(case, [own])
    case = unproven(
        "revoked-unconnected",
        "signer",
        "the key was revoked later, and no proof connects the two checkpoints",
        LOGGED,
    )
    yield _revoked(case, [LOGGED.checkpoint(20)])


def _revoked(case: Case, notes: list[str], key: SigningKey = SIGNER) -> Case:
    """The case under a policy that names a revocation with these checkpoints."""
    revocation = Revocation.of(key.public.fingerprint, notes)
    file = Beside(f"{case.name}.revocation", revocation.encode())
    policy = f'revoked = ["{file.name}"]\n'
    return replace(case, options={**case.options, "policy": policy}, beside=(file,))
