"""``reproduce``: a recorded call run again under its own conditions, and what came of it."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..errors import NotaryError
from ..leaves import Leaf, flatten_given
from ..model_constants import FILE as CONSTANTS
from ..model_constants import installed
from ..statement.record import Record
from ..statement.values import (
    compare,
    differences_in_words,
    has_all_digests,
    unbound_in_words,
)
from ..verifier.content import recorded_lines
from ..verifier.model_comparison import manifest_of
from ..verifier.steps import verify
from ..verifier.verdict import FAILED
from . import settings
from .culprit import TRACE_HINT, Divergence, in_model, in_outputs, in_traces, merged
from .group import GroupSubject, rerun_group
from .rerun import Outcome, conditions, items_of, rerun
from .result import BITWISE, DIVERGED, NOT_COMPARABLE, WITHIN_TOLERANCE, Reproduction
from .subject import Subject
from .tolerance import Distance, distances
from .traces import retrace, trace_of, trace_of_run

if TYPE_CHECKING:
    from ..capture.tracing import Tracing


class _NotComparable(Exception):
    """Ends a reproduction that cannot be compared, with its cause and the next step."""

    def __init__(self, cause: str, next_step: str) -> None:
        super().__init__(cause)
        self.cause, self.next_step = cause, next_step


def reproduce(
    record: str | os.PathLike[str] | Record,
    call: Any,
    inputs: Any = None,
    *,
    outputs: Any = None,
    model: Any = None,
) -> Reproduction:
    """Runs ``call`` again with the record's inputs, profile, threads and random state, and
    compares the results bit for bit, without recording anything.

    ``call`` is what was recorded (function, decorated function or module), ``inputs`` its
    arguments (by name, or a tuple; the kept ones if None), ``outputs`` the recorded results if
    they were kept elsewhere (they measure how far apart the results are), ``model`` the model to
    compare with the record's where the call does not name it.

    Of a group, ``call`` is the callable of all calls or a list with one for each, ``inputs`` and
    ``outputs`` are lists with those of each call (None for a call without any).

    Raises OSError for a file that cannot be opened, MalformedRecord or VerificationFailed for a
    record that is not intact. What the call itself raises is an outcome.
    """
    record = record if isinstance(record, Record) else Record.load(record)
    require_intact(record)
    try:
        subject = Subject(call) if record.calls is None else GroupSubject(record, call)
        return _reproduce(record, subject, inputs, outputs, model)
    except _NotComparable as stop:
        return Reproduction(
            NOT_COMPARABLE, record.id, cause=stop.cause, next_step=stop.next_step, model="not run"
        )


def _reproduce(
    record: Record, subject: Subject | GroupSubject, inputs: Any, outputs: Any, model: Any
) -> Reproduction:
    args, kwargs = _arguments(record, subject, inputs)
    models = subject.models(args, kwargs)
    prefixed = subject.prefixes_names(models)
    named = [(name if prefixed else "", module) for name, module in models.items()]
    with installed(_constants(record), named):
        return _compared(record, subject, args, kwargs, outputs, model, models, prefixed)


def _constants(record: Record) -> bytes | None:
    return record.private.file(CONSTANTS) if record.private is not None else None


def _compared(
    record: Record,
    subject: Subject | GroupSubject,
    args: Any,
    kwargs: Any,
    outputs: Any,
    model: Any,
    models: Mapping[str, Any],
    prefixed: bool,
) -> Reproduction:
    lines, digests = _recorded(record, "outputs")
    kept = _kept_outputs(record, outputs, lines, digests)
    shown, culprit = _compare_model(record, model, models, prefixed)
    found = settings.changes(
        record.predicate["execution"],
        _execution_here(record, subject.surroundings(args, kwargs).values()),
    )
    tracing, hint = _begin_trace(record, models, prefixed)
    leaves = _run(record, subject, args, kwargs, lines, kept is not None, tracing)
    differences = compare(lines, digests, leaves)
    traced = _trace_divergence(record, tracing)
    first = None
    if differences or culprit is not None:
        first = merged(culprit, traced) or in_outputs(differences, hint)
    measured = distances(kept, leaves) if kept is not None and differences else []
    return Reproduction(
        _judge(differences, culprit, measured),
        record.id,
        leaves=len(lines),
        model=shown,
        settings=found,
        first_divergence=first,
        differences=differences,
        distances=measured,
    )


def _judge(
    differences: Sequence[Any], culprit: Divergence | None, measured: Sequence[Distance]
) -> str:
    if not differences and culprit is None:
        return BITWISE
    if culprit is None and measured and all(d.within for d in measured):
        return WITHIN_TOLERANCE
    return DIVERGED


def _begin_trace(
    record: Record, models: Mapping[str, Any], prefixed: bool
) -> tuple[Tracing | None, str]:
    """The trace of the run to come, or None and how to learn the operator all the same."""
    if record.predicate["trace"] is None:
        return None, TRACE_HINT
    try:
        tracing = retrace(record, models, prefixed=prefixed)
    except NotaryError as error:
        return None, f"its operators cannot be traced here: {error.reason}"
    if tracing is None:
        return None, "ask for a copy saved with --disclose trace to learn which operator"
    return tracing, "its trace does not differ"


def _trace_divergence(record: Record, tracing: Tracing | None) -> Divergence | None:
    recorded = trace_of(record) if tracing is not None else None
    found = trace_of_run(tracing) if tracing is not None else None
    if recorded is None or found is None:
        return None
    return in_traces(recorded, found)[0]


def require_intact(record: Record) -> None:
    """Raises the first refusal of the verifier; who signed it does not matter here."""
    verdict = verify(record)
    if verdict.named(FAILED):
        verdict.raise_for_failure()


def _recorded(record: Record, tree: str) -> tuple[list[dict], list[list[bytes]]]:
    """Lines and unsalted digests of a tree; both empty where the record has none of it."""
    if record.predicate[tree] is None:
        return [], []
    lines, digests = recorded_lines(record, tree), record.digests(tree)
    if lines is None or digests is None or not has_all_digests(lines, digests):
        raise _NotComparable(
            f"the digests of its {tree} are not here",
            f"ask its maker for a copy saved with --disclose {tree}",
        )
    unbound = unbound_in_words(lines)
    if unbound:
        raise _NotComparable(
            f"{unbound} among the {tree} is of a kind that no record binds",
            "record a function whose arguments and results are tensors and plain values",
        )
    return lines, digests


def _arguments(
    record: Record, subject: Subject | GroupSubject, inputs: Any
) -> tuple[tuple, dict[str, Any]]:
    """Arguments to call with, once they are known to be the recorded ones."""
    lines, digests = _recorded(record, "inputs")
    if inputs is None:
        args, kwargs = _kept_arguments(record, subject, lines)
        leaves = record.kept_leaves("inputs") or []
    else:
        try:
            args, kwargs = subject.arguments(inputs)
        except NotaryError as error:
            raise _NotComparable(error.reason, error.next_step or "") from error
        leaves = subject.leaves(args, kwargs)
    differences = compare(lines, digests, leaves)
    if differences:
        raise _NotComparable(
            f"these are not the recorded inputs: {differences_in_words(differences)}",
            "give the inputs of the recorded call",
        )
    return args, kwargs


def _kept_arguments(
    record: Record, subject: Subject | GroupSubject, lines: Sequence[Any]
) -> tuple[tuple, dict[str, Any]]:
    nothing = {} if record.calls is None else [{}] * record.calls
    kept = record.kept("inputs") if lines else nothing
    if kept is None:
        raise _NotComparable(
            "its inputs were not kept", "give the inputs of the recorded call (--inputs F)"
        )
    try:
        return subject.arguments(kept)
    except NotaryError as error:
        raise _NotComparable(
            f"the kept inputs do not suffice: {error.reason}",
            "give all inputs yourself; modules among them are never kept",
        ) from error


def _kept_outputs(
    record: Record, outputs: Any, lines: list[dict], digests: list[list[bytes]]
) -> list[Any] | None:
    """Recorded results with their values, given by the caller or kept; None where they are not
    at hand."""
    if outputs is None:
        return record.kept_leaves("outputs")
    leaves = flatten_given("outputs", outputs, lines, calls=record.calls, keep=True)
    differences = compare(lines, digests, leaves)
    if differences:
        raise _NotComparable(
            f"the outputs given are not the recorded ones: {differences_in_words(differences)}",
            "give the outputs of the recorded call, or leave them out",
        )
    return leaves


def _compare_model(
    record: Record, given: Any, models: Mapping[str, Any], prefixed: bool
) -> tuple[str, Divergence | None]:
    """What to say of the model, and the first part of it that is not as recorded; names begin with
    those of the ``models`` that ran where ``prefixed``."""
    if record.predicate["model"] is None:
        return "none recorded", None
    ran = dict(models) if prefixed else next(iter(models.values()), None)
    if given is None and ran is None:
        return "not found, so not compared (give model=)", None
    complete = False
    for subject in (given, ran):
        if subject is None:
            continue
        manifest = manifest_of(subject)
        named = models or (subject if isinstance(subject, Mapping) else {"": subject})
        culprit = in_model(record, manifest, named)
        if culprit is not None:
            return "another model", culprit
        complete |= bool(manifest.structure_lines) and not manifest.saved
    return ("weights and structure" if complete else "weights") + " as recorded", None


def _execution_here(record: Record, models: Any) -> dict[str, Any]:
    """The execution section this run has, under the record's conditions."""
    execution = record.predicate["execution"]
    modules = list(models)
    device = next((p.device.type for m in modules for p in m.parameters()), "cpu")
    training = any(part.training for module in modules for part in module.modules())
    with conditions(record):
        here = settings.execution_now(str(execution.get("profile")), device, training)
    # Without a model there is nothing whose mode or device could differ.
    return here if modules else {**here, **{k: execution.get(k) for k in ("device", "training")}}


def _run(
    record: Record,
    subject: Subject | GroupSubject,
    args: tuple,
    kwargs: dict[str, Any],
    lines: Sequence[Any],
    keep: bool,
    tracing: Tracing | None,
) -> list[Leaf]:
    """The leaves of the results, once it is known that every call ended as the recorded one."""
    if isinstance(subject, Subject):
        items = items_of(line["path"] for line in lines)
        outcome = rerun(record, subject, args, kwargs, keep=keep, items=items, tracing=tracing)
        _require_same_end(record.predicate["execution"]["outcome"], outcome, "the recorded call")
        return outcome.leaves
    leaves: list[Leaf] = []
    runs = rerun_group(record, subject, args, lines, keep=keep, tracing=tracing)
    for number, end, outcome in runs:
        _require_same_end(end, outcome, f"call {number} of the recorded group")
        leaves += outcome.leaves
    return leaves


def _require_same_end(recorded: Mapping[str, Any], outcome: Outcome, what: str) -> None:
    status, exception = recorded.get("status"), recorded.get("exception")
    if outcome.status == status and outcome.exception == exception:
        return
    before = f"raised {exception}" if status == "raised" else status
    now = f"{outcome.exception}: {outcome.error}" if outcome.error else outcome.status
    raise _NotComparable(
        f"{what} {before}, this one {'raised ' if outcome.error else ''}{now}",
        "mend what made it end otherwise, then run it again",
    )
