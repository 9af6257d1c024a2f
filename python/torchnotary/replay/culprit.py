"""What made a run differ first: a part of the model if one differs, else where the output does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from ..errors import VerificationFailed
from ..manifest import STRUCTURE, WEIGHTS, Manifest
from ..manifest_diff import tensor_changes
from ..statement.lines import parse, tree_of
from ..statement.record import Record
from ..statement.values import Difference
from ..verifier.model import claimed_tree
from ..verifier.model_comparison import apart_from_weights, compare_file, recorded_lines
from ..verifier.verdict import PASSED
from .divergence import OUTPUT, TraceDifference, compare_traces
from .spread import Spread, spread_of
from .traces import Trace

TRACE_HINT = 'record with trace="operators" to learn which operator'


@dataclass(frozen=True)
class Divergence:
    """Where a run first differs, and ``what`` differs there, the recorded call before the arrow.

    ``module`` is a path as in ``named_modules()``: empty for the model itself, None where none ran
    or none is known. Where traces were compared ``operator`` (or the class of a module traced as a
    whole) and ``line`` of trace.jsonl (from 0; None where only the other run has it) say where,
    ``kind`` whether the ``operator``, an ``argument`` or the ``output`` alone differs, ``argument``
    which, ``more`` how many other lines differ by themselves, and ``spread`` how far apart values
    are from there on, where they were kept."""

    what: str
    module: str | None = None
    hint: str | None = None
    operator: str | None = None
    line: int | None = None
    kind: str | None = None
    argument: str | None = None
    more: int = 0
    spread: Spread | None = None

    @property
    def place(self) -> str:
        """Where it is, in words; empty where that is not known."""
        if self.operator is None:
            return "" if self.module is None else self.module or "the model itself"
        if self.module is None:
            return f"outside of the model ({self.operator})"
        return f"{self.module or 'the model itself'} ({self.operator})"

    def __str__(self) -> str:
        text = f"{self.place}: {self.what}" if self.place else self.what
        if self.more:
            verb = "differs by itself" if self.more == 1 else "differ by themselves"
            text += f"; {self.more} more {verb}"
        return text + (f"; {self.hint}" if self.hint else "")

    def to_json(self) -> dict[str, Any]:
        return {
            "argument": self.argument,
            "kind": self.kind,
            "line": self.line,
            "module": self.module,
            "more": self.more,
            "operator": self.operator,
            "spread": self.spread and self.spread.to_json(),
            "what": self.what,
        }


def in_traces(
    a: Trace, b: Trace, *, other_inputs: bool = False, steered: bool = False
) -> tuple[Divergence | None, TraceDifference]:
    """The first line of two traces that differs by itself, and all that is known of how they do;
    ``other_inputs`` and ``steered`` as `compare_traces` takes them."""
    found = compare_traces(a, b, other_inputs=other_inputs, steered=steered)
    first = found.first
    if first is None:
        return None, found
    spread = spread_of(a, b, found.pairs, (first.line, first.other_line))
    divergence = Divergence(
        first.what,
        first.module,
        operator=first.operator,
        line=first.line,
        kind=first.kind,
        argument=first.argument,
        more=found.more,
        spread=spread,
    )
    return divergence, found


def merged(in_model: Divergence | None, in_trace: Divergence | None) -> Divergence | None:
    """What to name first, of what differs in the model and what differs in the traces: the
    operator, and beside it what of the model differs where the trace cannot show that."""
    if in_model is None or in_trace is None:
        return in_trace or in_model
    return replace(in_trace, hint=str(in_model)) if in_trace.kind == OUTPUT else in_trace


def in_model(record: Record, manifest: Manifest, models: Mapping[str, Any]) -> Divergence | None:
    """The first part of the model that is not as recorded, None where all of it is."""
    weights = claimed_tree(record, "weights")
    structure = claimed_tree(record, "structure")
    if structure is not None and manifest.structure_lines:
        given = apart_from_weights(manifest, weights)
        if tree_of(given) != structure:
            return _in_structure(recorded_lines(record, STRUCTURE), given)
    if weights == manifest.weights:
        return None
    lines = recorded_lines(record, WEIGHTS)
    if weights is not None and manifest.weights and not manifest.structure_lines:
        # A file may hold more than the module loads, and under other names.
        try:
            found = compare_file(manifest, weights, lines)
        except VerificationFailed:
            return _in_weights(lines, manifest.weights_lines, models)
        if found.outcome == PASSED:
            return None
        return Divergence(f"the weights cannot be compared: {found.detail}")
    return _in_weights(lines, manifest.weights_lines, models)


def _in_structure(recorded: list[bytes] | None, given: list[bytes]) -> Divergence:
    if recorded is None:
        return Divergence(
            "the structure differs from the recorded one",
            hint="ask for structure.jsonl (save --disclose structure) to name the module",
        )
    changes = Manifest([], recorded).diff(Manifest([], given)).lines
    more = f" ({len(changes)} differences in all)" if len(changes) > 1 else ""
    return Divergence((changes[0] if changes else "the order of modules") + more)


def _in_weights(
    recorded: list[bytes] | None, given: list[bytes], models: Mapping[str, Any]
) -> Divergence:
    if recorded is None:
        return Divergence(
            "the weights differ from the recorded ones",
            hint="ask for weights.jsonl (save --disclose weights) to name the tensor",
        )
    old = {value["name"]: value for value in map(parse, recorded)}
    new = {value["name"]: value for value in map(parse, given)}
    changed = [name for name in old if name in new and old[name] != new[name]]
    if not changed:
        changes = Manifest(recorded, []).diff(Manifest(given, [])).lines
        return Divergence(changes[0] if changes else "the weights differ")
    first = min(changed, key=_order(models))
    module, _, entry = first.rpartition(".")
    parts = tensor_changes(old[first], new[first])
    what = f"{entry} differs from the recorded one ({', '.join(parts) or 'other values'})"
    if len(changed) > 1:
        what += f"; {len(changed)} tensors differ in all"
    return Divergence(what, module)


def _order(models: Mapping[str, Any]):
    """A sort key that puts tensors in the order the modules hold them, which is mostly the order
    they are used in; unknown ones by name."""
    prefixes = models.items() if len(models) > 1 else [("", next(iter(models.values()), None))]
    places: dict[str, int] = {}
    for prefix, module in prefixes:
        for name in getattr(module, "state_dict", dict)():
            places.setdefault(f"{prefix}.{name}" if prefix else name, len(places))
    return lambda name: (places.get(name, len(places)), name)


def in_outputs(differences: Sequence[Difference], hint: str = TRACE_HINT) -> Divergence:
    """The first output leaf that differs, and how to learn more."""
    return Divergence(str(differences[0]), hint=hint)
