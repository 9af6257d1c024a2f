"""The calls of a group run again, one after the other."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..capture.subjects import free_name
from ..errors import NotaryError
from ..group_paths import by_call, path_in
from ..leaves import Leaf
from ..random_states import set_states
from ..statement.record import Record
from .rerun import Outcome, Run, conditions, items_of, set_threads
from .subject import Subject

if TYPE_CHECKING:
    from ..capture.tracing import Tracing


class GroupSubject:
    """What a group called: one callable for all of its calls, or a list with one for each.

    Stands where `Subject` does; its positional arguments are one (args, kwargs) a call.
    """

    def __init__(self, record: Record, call: Any) -> None:
        several = isinstance(call, (list, tuple))
        if several and len(call) != record.calls:
            raise NotaryError(
                "there is not one callable for each call of the group",
                expected=record.calls,
                actual=len(call),
                next_step="give a list with one for each call, or one callable for all",
            )
        known = {id(one): Subject(one) for one in (call if several else [call])}
        self.subjects = [known[id(one)] for one in (call if several else [call] * record.calls)]
        self._record = record

    def arguments(self, inputs: Any) -> tuple[tuple, dict[str, Any]]:
        """One (args, kwargs) a call, from a list with the inputs of each; None where a call has no
        inputs. Raises NotaryError where the list does not fit the calls."""
        count = len(self.subjects)
        if not isinstance(inputs, (list, tuple)) or len(inputs) != count:
            given = len(inputs) if isinstance(inputs, (list, tuple)) else type(inputs).__name__
            raise NotaryError(
                f"the record is of a group of {count} calls, these inputs are not ({given})",
                next_step="give a list with the inputs of each call",
            )
        return tuple(
            subject.arguments(() if one is None else one)
            for subject, one in zip(self.subjects, inputs, strict=True)
        ), {}

    def leaves(self, args: tuple, kwargs: dict[str, Any]) -> list[Leaf]:
        """The leaves of all arguments, as the record lists them."""
        return [
            leaf.at(path_in(number, leaf.path))
            for number, (subject, own) in enumerate(zip(self.subjects, args, strict=True))
            for leaf in subject.leaves(*own)
        ]

    def models(self, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The modules the calls run, by the names the record has for as many."""
        found: dict[str, Any] = {}
        for subject, own in zip(self.subjects, args, strict=True):
            for name, module in subject.models(*own).items():
                if not any(module is known for known in found.values()):
                    found[free_name(found, name)] = module
        names = str((self._record.predicate["model"] or {}).get("name")).split("+")
        same = len(found) > 1 and len(names) == len(found)
        return dict(zip(names, found.values(), strict=True)) if same else found

    def prefixes_names(self, models: Mapping[str, Any]) -> bool:
        """Whether names of tensors and modules begin with their model's own name."""
        return len(models) > 1 or any(one.prefixes_names(models) for one in self.subjects)

    def surroundings(self, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
        """The modules of the first call: the record's settings are those of that one."""
        return self.subjects[0].models(*args[0])


def rerun_group(
    record: Record,
    subject: GroupSubject,
    args: tuple,
    lines: Sequence[Any],
    *,
    keep: bool,
    tracing: Tracing | None = None,
) -> Iterator[tuple[int, Mapping[str, Any], Outcome]]:
    """Number, recorded outcome and outcome of each call, run again in their order under the
    record's conditions, with the thread count and random state of the single call."""
    execution, states = record.predicate["execution"], record.random_states_by_call
    said = {entry.get("call"): entry for entry in execution.get("calls") or []}
    recorded = by_call(lines, record.calls, lambda line: line["path"])
    with conditions(record):
        for number, (one, own) in enumerate(zip(subject.subjects, args, strict=True)):
            entry = said.get(number, {})
            end = entry.get("outcome", {"exception": None, "status": "returned"})
            if execution.get("torch") is not None:
                set_threads(entry.get("threads", execution.get("threads")))
            if number in states:
                set_states(states[number])
            items = items_of(path for path, _ in recorded[number])
            run = Run(keep, tracing, path_in(number, ""))
            run.call(one, *own, end, items)
            outcome = run.outcome
            outcome.leaves = [leaf.at(path_in(number, leaf.path)) for leaf in outcome.leaves]
            yield number, end, outcome
