"""Policies: what a record is held against, met and not met."""

from __future__ import annotations

from collections.abc import Iterator

from .cases import Case, bad, unproven
from .genuine import LOGGED, PLAIN
from .identities import OTHER_LOG, SIGNER, STRANGER


def cases() -> Iterator[Case]:
    stranger, mine = STRANGER.public.fingerprint, SIGNER.public.fingerprint
    elsewhere = LOGGED.but(log=OTHER_LOG).origin
    for name, step, why, policy in (
        ("signer-not-named", "signer",
         "a policy that names another signer", f'signers = ["{stranger}"]\n'),
        ("no-signer-named", "signer", "a policy under which nobody counts", "signers = []\n"),
        ("origin-not-named", "log inclusion",
         "a policy that names another log", f'origins = ["{elsewhere}"]\n'),
        ("no-origin-named", "log inclusion",
         "a policy under which no log counts", "origins = []\n"),
        ("origin-as-prefix", "log inclusion", "a policy that names the beginning of an origin",
         'origins = ["torchnotary.log/"]\n'),
        ("both-not-named", "signer, log inclusion", "a policy of other people",
         f'signers = ["{stranger}"]\norigins = ["{elsewhere}"]\n'),
    ):  # fmt: skip
        yield bad(f"policy-{name}", step, why, LOGGED, policy=policy)
    yield bad(
        "policy-and-signer-differ",
        "signer",
        "the policy names its signer, the caller another one",
        PLAIN.but(signer=STRANGER),
        policy=f'signers = ["{stranger}", "{mine}"]\n',
    )
    for step in ("log consistency", "witness", "time", "nonce", "weights", "structure", "inputs"):
        name = f"policy-requires-{step.replace(' ', '-')}"
        yield unproven(
            name,
            step,
            f"a policy wants {step}, and nothing was given to check it against",
            PLAIN,
            policy=f'required = ["{step}"]\n',
        )
