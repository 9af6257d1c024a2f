"""One verification under way: the record, what the caller brought along, and how a step answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from ..errors import NotaryError
from ..leaves import Leaf
from ..log.checkpoint import Checkpoint
from ..statement.batch import BatchStatement
from ..statement.evidence import decode_evidence
from ..statement.record import Record
from .policy import ANY, Policy
from .verdict import FAILED, NOT_CHECKED, PASSED


@dataclass(frozen=True)
class Finding:
    """What a step found: outcome, detail, the typed error where it refused, and what to do where
    that depends on what was found."""

    outcome: str
    detail: str
    error: NotaryError | None = None
    next_step: str | None = None


class Held(NamedTuple):
    """A checkpoint that somebody other than the signer holds: ``whose`` says who, ``note`` is its
    text with every signature line."""

    whose: str
    note: str
    checkpoint: Checkpoint


class Sighting(NamedTuple):
    """A checkpoint of the record's log that a quorum of the policy's witnesses cosigned; at
    ``time`` (POSIX seconds) the last of the quorum had seen it."""

    checkpoint: Checkpoint
    time: int


def passed(detail: str) -> Finding:
    return Finding(PASSED, detail)


def not_checked(detail: str, next_step: str | None = None) -> Finding:
    return Finding(NOT_CHECKED, detail, None, next_step)


def failed(error: NotaryError) -> Finding:
    return Finding(FAILED, f"{error.reason}{error.values}", error, error.next_step)


@dataclass
class Case:
    """What is verified and against what; steps leave here what later steps build on.

    ``signer`` is a fingerprint, ``checkpoint`` the text of a signed note, ``consistency`` the text
    of a consistency file or a folder of logs, ``nonce`` hexadecimal, ``model`` is a `Manifest` once
    the record is known to be intact; None means that the caller did not ask.
    """

    source: Any
    signer: str | None = None
    checkpoint: str | None = None
    consistency: str | Path | None = None
    policy: Policy = ANY
    model: Any = None
    inputs: Any = None
    outputs: Any = None
    nonce: str | None = None
    record: Record | None = None
    signature_error: NotaryError | None = None
    revoked: bool = False  # whether the record's key was, so that its step must answer
    batch: BatchStatement | None = None  # what was signed, where that is many records together
    entry: Any = None  # the checkpoint that proves the record is its entry `index`
    index: int = -1
    held: list[Held] = field(default_factory=list)  # of `checkpoints`, those connected to `entry`
    sightings: list[Sighting] = field(default_factory=list)

    @cached_property
    def evidence(self) -> dict[str, list[Leaf]]:
        """Leaves by tree whose values travel with the record; raises `MalformedRecord`."""
        data = self.record.evidence
        return decode_evidence(data) if data is not None else {}

    @property
    def checkpoints(self) -> list[tuple[str, str]]:
        """The checkpoints to compare with, as (whose, text of the signed note)."""
        pinned = ("the policy's checkpoint", self.policy.checkpoint)
        given = [("your checkpoint", self.checkpoint), pinned]
        return [(whose, note) for whose, note in given if note is not None]

    def asked(self, step: str) -> bool:
        """Whether the caller, or the policy, wants an answer from that step."""
        policy, held = self.policy, bool(self.checkpoints)
        return step in policy.required or {
            "signer": self.signer is not None or self.revoked,
            "log consistency": held or self.consistency is not None,
            "witness": held or bool(policy.witnesses),
            "nonce": self.nonce is not None or policy.nonce is not False,
            "weights": self.model is not None,
            "structure": getattr(self.model, "structure_root", None) is not None,
            "inputs": self.inputs is not None,
            "outputs": self.outputs is not None,
        }.get(step, False)
