"""The errors of torchnotary, defined once: each carries the two values compared, and what next."""

from __future__ import annotations

from typing import Any


class NotaryError(Exception):
    """Base of every error torchnotary raises on purpose.

    ``expected`` and ``actual`` are the two values that were compared (None where nothing was),
    and ``next_step`` is what the reader can do about it; the message ends with it.
    """

    def __init__(
        self,
        message: str,
        *,
        expected: Any = None,
        actual: Any = None,
        next_step: str | None = None,
    ) -> None:
        self.expected = expected
        self.actual = actual
        self.next_step = next_step
        self.reason = message
        text = f"{message}{self.values}"
        if next_step:
            text += f". Next: {next_step}"
        super().__init__(text)

    @property
    def values(self) -> str:
        """`` (expected X, got Y)`` of the values there are; empty where there is none."""
        pairs = (("expected", self.expected), ("got", self.actual))
        said = ", ".join(f"{word} {value}" for word, value in pairs if value is not None)
        return f" ({said})" if said else ""

    def __reduce__(self):
        return (_rebuild, (type(self), self.reason, self.expected, self.actual, self.next_step))


def _rebuild(cls, message, expected, actual, next_step):
    return cls(message, expected=expected, actual=actual, next_step=next_step)


class MalformedRecord(NotaryError):
    """A record, bundle, statement or line file that is not in its one encoding."""


class MalformedPolicy(NotaryError):
    """A policy file that is not TOML or does not follow its schema."""


class MalformedProof(NotaryError):
    """A Merkle proof whose sizes, indices or hash lengths cannot be (RFC 9162 §2.1)."""


class RootMismatch(NotaryError):
    """A root that was computed differs from the root that was claimed."""


class UnsupportedTensor(NotaryError):
    """A tensor whose layout, dtype or device has no commitment rule."""


class UnsupportedIndex(NotaryError):
    """An index out of range, or of a kind that selects no regular region of a tensor."""


class UnknownSigner(NotaryError):
    """An intact signature by a key that neither the user nor a policy trusts."""


class KeyLocked(NotaryError):
    """An encrypted signing key without its passphrase, or with a wrong one."""


class WeightsChanged(NotaryError):
    """Weights that changed after they were committed (strict recording refuses the call)."""


class NotExact(NotaryError):
    """Something the exact profile does not specify was asked for."""


class PinMismatch(NotaryError):
    """A model that differs from its pin; the message names what changed."""


class LogCorrupt(NotaryError):
    """A log whose store contradicts itself or its checkpoints."""


class CheckpointConflict(NotaryError):
    """A checkpoint that does not extend one that was cosigned or published before."""


class VerificationFailed(NotaryError):
    """A verification step refused the record; the message names the step."""


class Saturated(NotaryError):
    """The writer's queue is full: a record that would have had to wait was not taken."""


class LogInUse(NotaryError):
    """A log cannot be pruned while another writes or reads it."""
