"""What verification found: every step with its outcome, and the one page a person reads of it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from ..errors import NotaryError, UnknownSigner, VerificationFailed
from ..keys import short

STEP_NAMES = (
    "format",
    "signature",
    "signer",
    "log inclusion",
    "log consistency",
    "witness",
    "time",
    "nonce",
    "weights",
    "structure",
    "inputs",
    "outputs",
)
PASSED, FAILED, NOT_CHECKED = "passed", "failed", "not checked"

VALID, INVALID, USAGE, INCONCLUSIVE = 0, 1, 2, 3

# What to do next where a step did not pass and its error does not say better.
NEXT_STEPS = {
    "format": "ask its maker for the file again; this one is not as torchnotary writes it",
    "signature": "do not rely on this file; ask its maker for the original",
    "signer": "get their key another way, then --signer KEY",
    "log inclusion": "ask its maker to save it again from their log (torchnotary save ID -o FILE)",
    "log consistency": "ask its maker for a proof between the two checkpoints",
    "witness": "date: --checkpoint FILE",
    "time": "time: --policy with witnesses (docs/log.md)",
    "nonce": "send a fresh nonce and ask for a record made with it",
    "weights": "weights: --model PATH",
    "structure": "structure: --model with the live module (torchnotary.verify in Python)",
    "inputs": "in/outputs: ask for a disclosed copy",
    "outputs": "in/outputs: ask for a disclosed copy",
}
# Questions that nobody asked are offered only when the verdict is not plainly valid.
OFFERED = ("weights", "witness", "inputs", "outputs")


def printable(text: str, limit: int = 200) -> str:
    """``text`` on one line without control characters: records are other people's data."""
    clean = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return clean if len(clean) <= limit else clean[: limit - 1] + "…"


def short_root(root: str) -> str:
    """The first eight hexadecimal digits of a root, in two groups."""
    return f"{root[:4]} {root[4:8]}"


@dataclass(frozen=True)
class Step:
    """One numbered step: ``outcome`` is ``passed``, ``failed`` or ``not checked``.

    ``asked`` is True where the caller named something to check it against; ``error`` is the typed
    refusal of a failed step.
    """

    name: str
    outcome: str
    detail: str
    error: NotaryError | None = field(default=None, compare=False)
    next_step: str | None = None
    asked: bool = False


@dataclass(frozen=True)
class Claims:
    """What the signer says happened, as far as one line shows it."""

    callable: str
    model: str | None
    weights_root: str | None
    time: str
    status: str = "returned"
    exception: str | None = None
    calls: int | None = None

    @classmethod
    def of(cls, predicate: dict[str, Any]) -> Claims:
        """The claims of a parsed predicate, whatever a signer put there."""
        root = _text(predicate, "model", "weights", "root")
        return cls(
            callable=_text(predicate, "code", "callable") or "?",
            model=_text(predicate, "model", "name") or _text(predicate, "model", "class"),
            weights_root=root,
            time=_text(predicate, "time", "start") or "?",
            status=_text(predicate, "execution", "outcome", "status") or "?",
            exception=_text(predicate, "execution", "outcome", "exception"),
            calls=_count(predicate.get("record")),
        )

    def __str__(self) -> str:
        parts = [self.callable.rpartition(".")[2] + "()"]
        if self.calls is not None:
            names = (name.rpartition(".")[2] + "()" for name in self.callable.split("+"))
            parts = [f"{self.calls} call{'s' if self.calls > 1 else ''} of {' and '.join(names)}"]
        one = " of which one" if self.calls is not None and self.calls > 1 else ""
        if self.status == "raised":
            parts[0] += f"{one} raised {self.exception}"
        elif self.status == "closed":
            parts[0] += f"{one} stopped early"
        if self.model or self.weights_root:
            root = short_root(self.weights_root) if self.weights_root else "without weights"
            parts.append(f"{self.model or 'model'} {root}")
        else:
            parts.append("no model")
        day, _, clock = self.time.partition("T")
        parts.append(f"{day} {clock[:5]} UTC (their clock)")
        return printable(", ".join(parts))


@dataclass(frozen=True)
class Verdict:
    """The outcome of ``verify``: one `Step` for each of `STEP_NAMES`, in that order.

    ``not checked`` never counts as passed: `ok` is True only when no step failed, the signer is
    known, and everything that was asked for was checked. ``policy`` is the name of the policy that
    was used.
    """

    steps: tuple[Step, ...]
    record_id: str | None = None
    signer: str | None = None
    claims: Claims | None = None
    policy: str | None = None

    def __getitem__(self, name: str) -> Step:
        """The step of that name."""
        for step in self.steps:
            if step.name == name:
                return step
        raise KeyError(name)

    def named(self, outcome: str) -> list[Step]:
        """The steps with that outcome, in order."""
        return [step for step in self.steps if step.outcome == outcome]

    @property
    def unanswered(self) -> list[Step]:
        """Steps that had to be answered and were not: the signer, and what was asked for."""
        return [s for s in self.named(NOT_CHECKED) if s.asked or s.name == "signer"]

    @property
    def exit_code(self) -> int:
        """0 valid, 1 invalid, 3 inconclusive."""
        if self.named(FAILED):
            return INVALID
        if self.unanswered or not self.named(PASSED):
            return INCONCLUSIVE
        return VALID

    @property
    def ok(self) -> bool:
        """True for exit code 0 only."""
        return self.exit_code == VALID

    def __bool__(self) -> bool:
        return self.ok

    @property
    def headline(self) -> str:
        """The verdict in one line, with its exit code."""
        failed = self.named(FAILED)
        if failed:
            text = f"INVALID: {_names(failed)} failed"
        elif self.ok:
            text = "VALID: intact, and by a key you trust"
        elif self.unanswered == [self["signer"]]:
            text = "UNKNOWN SIGNER: intact, but not a key you trust"
        elif self.unanswered:
            text = f"INCONCLUSIVE: intact, but {_names(self.unanswered)} could not be checked"
        else:
            text = "INCONCLUSIVE: nothing could be checked"
        return f"{text} (exit {self.exit_code})"

    @property
    def next_steps(self) -> list[str]:
        """What to do next, most pressing first; empty for a valid record."""
        pressing = [_next_of(s) for s in self.named(FAILED) or self.unanswered]
        offered = []
        if not self.ok and not self.named(FAILED):
            offered = [_next_of(self[n]) for n in OFFERED if self[n].outcome == NOT_CHECKED]
        return list(dict.fromkeys(pressing + offered))

    def raise_for_failure(self) -> None:
        """Raises unless `ok`: the failed step's own error type, `UnknownSigner` where nobody
        vouches for the key, `VerificationFailed` naming a step that was asked for in vain."""
        failed = self.named(FAILED)
        if failed:
            raise _error_of(failed[0])
        if self.ok:
            return
        step = self.unanswered[0] if self.unanswered else self.steps[0]
        kind = UnknownSigner if step.name == "signer" else VerificationFailed
        raise kind(f"{step.name} not checked: {step.detail}", next_step=_next_of(step))

    def to_json(self) -> dict[str, Any]:
        """The verdict as one JSON document, type ``verdict/1``."""
        claims = None
        if self.claims is not None:
            claims = {
                "callable": self.claims.callable,
                "exception": self.claims.exception,
                "model": self.claims.model,
                "status": self.claims.status,
                "time": self.claims.time,
                "weights_root": self.claims.weights_root,
            }
        return {
            "claims": claims,
            "exit_code": self.exit_code,
            "headline": self.headline,
            "next": self.next_steps,
            "not_proven": "that it ran",
            "ok": self.ok,
            "policy": self.policy,
            "record": self.record_id,
            "signer": self.signer,
            "steps": [
                {"asked": s.asked, "detail": s.detail, "name": s.name, "outcome": s.outcome}
                for s in self.steps
            ],
            "type": "verdict/1",
        }

    def __str__(self) -> str:
        lines = [self.headline]
        if self.signer:
            lines.append(f"signer       {short(self.signer)}")
        if self.claims:
            lines.append(f"claims       {self.claims}")
        lines += [f"time         {_seen(s)}" for s in self.named(PASSED) if s.name == "time"]
        if self.policy:
            lines.append(f"policy       {printable(self.policy)}")
        lines += _listed("yes", self.named(PASSED))
        failed = self.named(FAILED)
        lines += _listed("no", failed)
        lines += map(_explained, failed)
        lines += _listed("not checked", self.named(NOT_CHECKED))
        if not failed:
            lines += [_explained(s) for s in self.unanswered if s.asked]
        for number, text in enumerate(_in_lines(self.next_steps)):
            lines.append(("      " if number else "Next: ") + text)
        if not failed:
            lines.append("Not proven: that it ran. To test: torchnotary reproduce")
        return "\n".join(lines)


def _text(section: Any, *keys: str) -> str | None:
    for key in keys:
        section = section.get(key) if isinstance(section, dict) else None
    return section if isinstance(section, str) else None


def _count(record: Any) -> int | None:
    calls = record.get("calls") if isinstance(record, dict) else None
    return calls if type(calls) is int else None


def _names(steps: Iterable[Step]) -> str:
    return ", ".join(step.name for step in steps)


def _listed(label: str, steps: list[Step]) -> list[str]:
    text = _names(steps) or "none"
    return textwrap.wrap(
        text,
        width=88,
        initial_indent=f"{label:<13}",
        subsequent_indent=" " * 13,
        break_long_words=False,
    )


def _explained(step: Step) -> str:
    return f"             {step.name}: {printable(step.detail, 400)}"


def _in_lines(next_steps: list[str], width: int = 62) -> list[str]:
    """Next steps, the first on a line of its own, short ones after it side by side."""
    lines = next_steps[:1]
    for text in next_steps[1:]:
        joined = f"{lines[-1]}    {text}"
        if len(lines) > 1 and len(joined) <= width:
            lines[-1] = joined
        else:
            lines.append(text)
    return lines


def _seen(time: Step) -> str:
    """What witnesses say of the time, without what the record claims."""
    return printable(time.detail.partition(";")[0])


def _next_of(step: Step) -> str:
    return step.next_step or NEXT_STEPS[step.name]


def _error_of(step: Step) -> NotaryError:
    """The step's error with the step named in it, in the type it was raised with."""
    error = step.error
    if error is None:
        return VerificationFailed(f"{step.name} failed: {step.detail}", next_step=_next_of(step))
    return type(error)(
        f"{step.name} failed: {error.reason}",
        expected=error.expected,
        actual=error.actual,
        next_step=_next_of(step),
    )
