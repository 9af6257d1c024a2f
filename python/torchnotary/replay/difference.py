"""What ``diff`` found, and how it reads: lines that are the same, that differ, that are unknown."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ..statement.values import Difference, differences_in_words, rows_in_words
from ..verifier.verdict import printable
from . import settings
from .culprit import TRACE_HINT, Divergence

WIDTH = 88
MAX_LINE = 1000


class Line(str):
    """One line of a comparison: the name of what is compared (``weights``, ``threads`` …), and as
    ``detail`` what it is, how it differs, or why it cannot be compared."""

    detail: str

    def __new__(cls, name: str, detail: str = "") -> Line:
        line = super().__new__(cls, name)
        line.detail = detail
        return line


@dataclass(frozen=True)
class Comparison:
    """What two records have in common: lines that are the ``same``, that ``differ``, and that are
    ``not_comparable`` since one side's digests are not here; ``first_divergence`` is where their
    traces first differ by themselves. True where anything differs."""

    same: list[Line] = field(default_factory=list)
    differ: list[Line] = field(default_factory=list)
    not_comparable: list[Line] = field(default_factory=list)
    settings: list[settings.Change] = field(default_factory=list)
    outputs: list[Difference] = field(default_factory=list)
    distance: str | None = None
    first_divergence: Divergence | None = None

    def __bool__(self) -> bool:
        return bool(self.differ)

    @property
    def exit_code(self) -> int:
        """0 the same, 1 different, 3 nothing differs but something could not be compared."""
        if self.differ:
            return 1
        return 3 if self.not_comparable else 0

    @property
    def next_steps(self) -> list[str]:
        """What to do next; empty where everything is the same."""
        if "outputs" in self.differ and self.distance is None:
            return ["torchnotary reproduce B --call module:function --outputs F measures how far"]
        if self.differ:
            return ["torchnotary reproduce A --call module:function, under the settings of A"]
        if self.not_comparable:
            return ["compare where the records were made, or ask for disclosed copies"]
        return []

    def to_json(self) -> dict[str, Any]:
        """The comparison as one JSON document, type ``diff/1``."""

        def listed(lines: list[Line]) -> list[dict[str, str]]:
            return [{"detail": line.detail, "name": str(line)} for line in lines]

        return {
            "differ": listed(self.differ),
            "distance": self.distance,
            "divergence": self.first_divergence and self.first_divergence.to_json(),
            "exit_code": self.exit_code,
            "first_divergence": str(self.first_divergence) if self.first_divergence else None,
            "next": self.next_steps,
            "not_comparable": listed(self.not_comparable),
            "outputs": [
                {"path": d.path, "rows": list(d.rows), "what": d.what} for d in self.outputs
            ],
            "same": listed(self.same),
            "settings": [
                {"a": change.before, "b": change.after, "name": change.name}
                for change in self.settings
            ],
            "type": "diff/1",
        }

    def __str__(self) -> str:
        lines = [self._first_sentence()]
        if self.settings:
            lines.append(settings.in_words(self.settings))
        lines += _listed("same", [f"{line} {line.detail}".strip() for line in self.same])
        lines += _listed("differ", self.differ)
        told = {
            "outputs",
            *(("trace",) if self.first_divergence else ()),
            *(change.name for change in self.settings),
        }
        lines += [
            f"        {line}: {printable(line.detail, 400)}"
            for line in self.differ
            if line.detail and line not in told
        ]
        unknown = [f"{line} ({line.detail})" for line in self.not_comparable]
        lines += _listed("not comparable", unknown)
        if self.outputs:
            lines.append(f"How far: {self.distance}" if self.distance else _UNKNOWN_DISTANCE)
        if self.first_divergence is not None and self.first_divergence.spread is not None:
            lines.append(f"Spread: {self.first_divergence.spread}")
        return "\n".join(printable(line, MAX_LINE) for line in lines)

    def _first_sentence(self) -> str:
        if self.outputs:
            rows = self.outputs[0].rows
            if len(self.outputs) == 1 and rows and self.outputs[0].path == "output":
                place = f"Outputs differ in {rows_in_words(rows)}"
            else:
                place = f"Outputs differ: {differences_in_words(self.outputs)}"
            return f"{place}{self._where()}."
        if self.differ:
            return f"These differ: {', '.join(self.differ)}{self._where()}."
        if self.not_comparable:
            return "Nothing that could be compared differs."
        return "The same: model, inputs, outputs, code and settings."

    def _where(self) -> str:
        """Where the calls first differed, as far as their traces tell."""
        if self.first_divergence is not None:
            first = str(self.first_divergence).replace("(aten::", "(", 1)
            return f"; first at {first}"
        if "trace" in self.differ:
            return "; what differs in between follows from the inputs"
        if self.outputs and "trace" not in [*self.same, *self.not_comparable]:
            return f"; {TRACE_HINT}"
        return ""


_UNKNOWN_DISTANCE = (
    "How far: unknown (no tensors kept); reproduce(b, score, inputs, outputs=y) measures it."
)


def _listed(label: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    indent = max(8, len(label) + 2)
    return textwrap.wrap(
        ", ".join(names),
        width=WIDTH,
        initial_indent=f"{label:<{indent}}",
        subsequent_indent=" " * indent,
        break_long_words=False,
    )
