"""What the tests of the verifier share: reading verdicts, and forging records piece by piece."""

from __future__ import annotations

import json

from torchnotary.keys import SigningKey
from torchnotary.log.checkpoint import Checkpoint
from torchnotary.log.leaf import entry_leaf, leaf_hash
from torchnotary.log.proofs import TlogProof
from torchnotary.statement import container, envelope
from torchnotary.statement.bundle import Bundle
from torchnotary.statement.lines import canonical, parse
from torchnotary.statement.record import Record

PASSED, FAILED, NOT_CHECKED = "passed", "failed", "not checked"


def saved(record, tmp_path, **options):
    path = tmp_path / "record.tnr"
    record.save(path, **options)
    return path


def outcomes(verdict):
    return {step.name: step.outcome for step in verdict.steps}


def only_failure(verdict):
    """The one step that failed."""
    failed = verdict.named(FAILED)
    assert [step.name for step in failed] == [failed[0].name]
    assert verdict.exit_code == 1
    return failed[0]


def repacked(path, members=None, **changes):
    """The bytes of a record whose bundle (or other members) were exchanged."""
    held = container.read(path)
    bundle = Bundle.decode(held["bundle.json"])
    fields = {
        "envelope": bundle.envelope,
        "public_key": bundle.public_key,
        "log_public_key": bundle.log_public_key,
        "tlog_proof": bundle.tlog_proof,
    }
    held["bundle.json"] = Bundle(**{**fields, **changes}).encode()
    return container.pack({**held, **(members or {})})


def resigned(path, edit, key=None, keep_proof=False):
    """A record with an edited statement, signed anew by ``key`` (default: the user's own) and
    entered into a log of its own: intact, but saying something else."""
    record = Record.load(path)
    statement = parse(record.payload)
    key = key or SigningKey.load()
    log_key = SigningKey.generate()
    origin = f"torchnotary.log/{log_key.public.fingerprint[:32]}"
    if not keep_proof:
        statement["predicate"]["record"]["log"] = origin
    edit(statement)
    sealed = envelope.sign(canonical(statement), key)
    leaf = entry_leaf(sealed, key.public.fingerprint)
    checkpoint = Checkpoint(origin, 1, leaf_hash(leaf))
    proof = TlogProof(0, (), checkpoint.sign(log_key)).to_text()
    changes = {"envelope": sealed, "public_key": key.public.spki}
    if not keep_proof:
        changes |= {"tlog_proof": proof, "log_public_key": log_key.public.spki}
    return repacked(path, **changes)


ANYTHING = (None, True, -1, 2**53 - 1, "", "x", "x[", "[0]", [], [[]], {}, {"a": 1}, "ab" * 32)


def everywhere(value, path=()):
    """The paths of every value nested in a JSON value."""
    if path:
        yield path
    for key in (
        value if isinstance(value, dict) else range(len(value) if type(value) is list else 0)
    ):
        yield from everywhere(value[key], (*path, key))


def replaced(value, path, by):
    """A copy of a JSON value with another value at that path."""
    copied = json.loads(json.dumps(value))
    place = copied
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = by
    return copied
