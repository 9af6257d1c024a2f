"""What running a record again showed, and how it reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..statement.values import Difference
from ..verifier.verdict import printable
from . import settings
from .culprit import Divergence
from .tolerance import Distance

MAX_LINE = 1000
BITWISE = "bitwise"
WITHIN_TOLERANCE = "within tolerance"
DIVERGED = "diverged"
NOT_COMPARABLE = "not comparable"
_EXIT_CODES = {BITWISE: 0, WITHIN_TOLERANCE: 0, DIVERGED: 1, NOT_COMPARABLE: 3}


@dataclass(frozen=True)
class Reproduction:
    """What running a record again showed.

    ``outcome`` is ``bitwise``, ``within tolerance``, ``diverged`` or ``not comparable``;
    ``first_divergence`` names where the run left the recorded one, ``cause`` why nothing could be
    compared, ``differences`` the output leaves that differ, ``settings`` what surrounds the call
    otherwise than it did, ``distances`` how far apart results are where both were at hand.
    """

    outcome: str
    record_id: str
    leaves: int = 0
    model: str = "no model"
    first_divergence: Divergence | None = None
    cause: str | None = None
    next_step: str | None = None
    differences: list[Difference] = field(default_factory=list)
    settings: list[settings.Change] = field(default_factory=list)
    distances: list[Distance] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0 bitwise or within tolerance, 1 diverged, 3 not comparable."""
        return _EXIT_CODES[self.outcome]

    @property
    def ok(self) -> bool:
        """True for ``bitwise`` and ``within tolerance``."""
        return self.exit_code == 0

    def __bool__(self) -> bool:
        return self.ok

    @property
    def next_steps(self) -> list[str]:
        """What to do next; empty where the record was reproduced."""
        if self.ok:
            return []
        if self.next_step:
            return [self.next_step]
        if self.model == "another model":
            return ["run it with the model that was recorded"]
        if self.settings:
            return ["run it again with the recorded settings"]
        return ["compare with a record of this run: torchnotary diff A B"]

    def to_json(self) -> dict[str, Any]:
        """The reproduction as one JSON document, type ``reproduction/1``."""
        return {
            "cause": self.cause,
            "differences": [str(difference) for difference in self.differences],
            "distances": [
                {"bound": d.bound, "largest": d.largest, "path": d.path, "ulps": d.ulps}
                for d in self.distances
                if d.largest != float("inf")
            ],
            "exit_code": self.exit_code,
            "divergence": self.first_divergence and self.first_divergence.to_json(),
            "first_divergence": str(self.first_divergence) if self.first_divergence else None,
            "model": self.model,
            "next": self.next_steps,
            "outcome": self.outcome,
            "record": self.record_id,
            "settings": [
                {"here": c.after, "name": c.name, "recorded": c.before} for c in self.settings
            ],
            "type": "reproduction/1",
        }

    def __str__(self) -> str:
        lines = [f"{self.outcome.upper()}: {self._sentence()} (exit {self.exit_code})"]
        lines.append(f"record   {self.record_id[:16]}")
        lines.append(f"model    {self.model}")
        if self.first_divergence is not None:
            lines.append(f"first    {self.first_divergence}")
            if self.first_divergence.spread is not None:
                lines.append(f"spread   {self.first_divergence.spread}")
        lines += [f"output   {difference}" for difference in self.differences[:3]]
        lines += [f"distance {distance}" for distance in self.distances[:3]]
        if self.settings and not self.ok:
            lines.append(settings.in_words(self.settings))
        lines += [("      " if n else "Next: ") + step for n, step in enumerate(self.next_steps)]
        return "\n".join(printable(line, MAX_LINE) for line in lines)

    def _sentence(self) -> str:
        if self.outcome == BITWISE:
            count = self.leaves
            return f"the same bits in {count} of {count} outputs" if count else "the same end"
        if self.outcome == WITHIN_TOLERANCE:
            return (
                f"other bits, but no further apart than rounding in {len(self.distances)} outputs"
            )
        if self.outcome == NOT_COMPARABLE:
            return self.cause or "nothing to compare with"
        if not self.differences:
            return "the same outputs, but by another model"
        return "other outputs than recorded"
