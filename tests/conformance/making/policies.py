"""Policies: what a record is held against, met and not met."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torchnotary.statement.lines import tree_of

from .cases import Case, bad, good, unproven
from .edits import put
from .genuine import LOGGED, MODEL, MODELLED, PLAIN
from .held import MONDAY, TUESDAY
from .identities import LOG, OTHER_LOG, SIGNER, STRANGER, fixed
from .values import WEIGHTS, weights_lines


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
    yield from _fields()
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


def _fields() -> Iterator[Case]:
    """What else a policy may ask for, met and not met."""
    log, other_log = LOG.public.fingerprint, OTHER_LOG.public.fingerprint
    root = tree_of(weights_lines(WEIGHTS)).root
    model = MODELLED.but(name="model", disclose=())
    asked = PLAIN.but(record={"nonce": MONDAY})
    ancient = put("predicate", "time", _at("2020-02-02T02:02:02.000000Z"))
    future = put("predicate", "time", _at("2999-02-02T02:02:02.000000Z"))
    forked = LOGGED.but(others={3: fixed("another entry")}).checkpoint()
    for name, why, record, passes, text, more in (
        ("log-key", "a policy that names the log's key", LOGGED, "", f'log_keys = ["{log}"]', {}),
        ("model", "a policy that names the root of the weights", model, "weights",
         f'models = ["{root}"]', {"model": MODEL}),
        ("profile", "a policy that allows the profile", PLAIN, "", 'profiles = ["native"]', {}),
        ("age", "a policy that allows almost any age", PLAIN.but(statement=ancient), "",
         'max_age = "999999d"', {}),
        ("nonce", "a policy that names the nonce", asked, "nonce", f'nonce = "{MONDAY}"', {}),
        ("any-nonce", "a policy that wants a nonce, and the one that was sent", asked, "nonce",
         "nonce = true", {"nonce": MONDAY}),
        ("checkpoint", "a policy that pins the record's checkpoint", LOGGED,
         "log consistency, witness", f'checkpoint = """{LOGGED.checkpoint()}"""', {}),
    ):  # fmt: skip
        yield good(f"policy-{name}-met", why, record, passes, policy=text + "\n", **more)
    for name, step, why, record, text, more in (
        ("log-key", "log inclusion", "a policy that names another log's key", LOGGED,
         f'log_keys = ["{other_log}"]', {}),
        ("model", "weights", "a policy that names other weights", model,
         f'models = ["{"0" * 64}"]', {}),
        ("model-with-weights", "weights", "the recorded weights, which the policy does not name",
         model, f'models = ["{"0" * 64}"]', {"model": MODEL}),
        ("no-model", "weights", "a policy that names weights, and a record without any", PLAIN,
         f'models = ["{root}"]', {}),
        ("profile", "structure", "another profile than the policy allows", model,
         'profiles = ["exact/1"]', {}),
        ("age", "time", "older than the policy allows", PLAIN.but(statement=ancient),
         'max_age = "1m"', {}),
        ("future", "time", "a call that is yet to come", PLAIN.but(statement=future),
         'max_age = "30d"', {}),
        ("nonce", "nonce", "another nonce than the policy names", asked,
         f'nonce = "{TUESDAY}"', {}),
        ("no-nonce", "nonce", "a policy that wants a nonce, and a record without one", PLAIN,
         "nonce = true", {}),
        ("checkpoint", "log consistency", "a policy that pins another history", LOGGED,
         f'checkpoint = """{forked}"""', {}),
    ):  # fmt: skip
        yield bad(f"policy-{name}-not-met", step, why, record, policy=text + "\n", **more)


def _at(time: str) -> dict[str, Any]:
    return {"asserted": True, "clock": "system", "end": time, "start": time}
