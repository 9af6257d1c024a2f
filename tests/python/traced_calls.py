"""What the tests of operator traces share: a trace read back, and independent witnesses."""

from __future__ import annotations

import contextlib
import struct
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import msgspec
import torch
from torch import nn
from torch.profiler import ProfilerActivity, profile, record_function
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

import torchnotary as tn
from torchnotary.statement.kept import Kept

MODULE = "module:"


@dataclass(frozen=True)
class Call:
    """A traced call: what it returned, its lines and their unsalted digests in slot order, the
    values of operators' outputs, the record's facts, and the tensors that lines may name."""

    result: Any
    lines: list[dict]
    digests: list[list[str]]
    kept: Kept
    facts: dict
    named: dict[tuple[str, str], torch.Tensor]

    def operators(self) -> list[tuple[str, str | None]]:
        """Operator (without overload) and module path of each line."""
        return [(line["operator"].partition(".")[0], line["module"]) for line in self.lines]

    @cached_property
    def named_digests(self) -> dict[tuple[str, str], str]:
        return {name: digest(tensor) for name, tensor in self.named.items()}

    @cached_property
    def by_digest(self) -> dict[str, torch.Tensor]:
        """Every tensor that was kept or named, by its digest."""
        kept = (self.kept.tensor(*place) for place in self.kept)
        named = {self.named_digests[name]: tensor for name, tensor in self.named.items()}
        return named | {digest(tensor): tensor for tensor in kept}

    def value(self, item: dict, unsalted: str) -> torch.Tensor | None:
        """The tensor that an object with this digest stands for; None where it was not kept."""
        value = self.by_digest.get(unsalted)
        if "view" not in item:
            return value
        return value.as_strided(item["shape"], item["view"]["strides"], item["view"]["offset"])

    def tensors(self, number: int) -> Iterator[tuple[dict, str, bool]]:
        """The tensors of a line in the order of its text: object, unsalted digest, is it made."""
        line = self.lines[number]
        items = [(item, False) for item in _committed(line["args"])]
        items += [(item, True) for item in _committed(line["outputs"])]
        digests = self.digests[number][("commitment" in line) :]
        for (item, is_output), unsalted in zip(items, digests, strict=True):
            if "dtype" in item:
                yield item, unsalted, is_output


def _committed(value: Any) -> Iterator[dict]:
    """The objects with a commitment, in the order of the text."""
    if isinstance(value, list):
        for item in value:
            yield from _committed(item)
    elif isinstance(value, dict) and "commitment" in value:
        yield value
    elif isinstance(value, dict):
        for item in value.values():
            yield from _committed(item)


def traced(
    folder: Path,
    model: nn.Module,
    inputs: dict,
    call: Callable | None = None,
    evidence: str = "full",
) -> Call:
    """One recorded, traced call of the model, or of ``call``, which uses it."""
    notary = tn.Notary(folder, trace="operators", evidence=evidence)
    recorded = notary.attach(model) if call is None else notary.record(call, model=model)
    result = recorded(**inputs)
    notary.detach(model)
    notary.flush()
    record = notary.last
    private = record.private
    lines = [msgspec.json.decode(line) for line in bytes(private.file("trace.jsonl")).splitlines()]
    digests = list(_digests(bytes(private.file("trace.digests"))))
    kept = Kept(b"", [])
    if "trace.kept" in private.names:
        kept = Kept.decode(private.file("trace.kept"), private.file("trace.kept.index"))
    notary.close()
    named = {("parameter", name): value for name, value in model.named_parameters()}
    named |= {("buffer", name): value for name, value in model.named_buffers()}
    given = {name: value for name, value in inputs.items() if isinstance(value, torch.Tensor)}
    named |= {("input", name): value for name, value in given.items()}
    return Call(result, lines, digests, kept, record.predicate["execution"]["trace"], named)


def _digests(data: bytes) -> Iterator[list[str]]:
    while data:
        (count,) = struct.unpack_from("<I", data)
        end = 4 + 32 * count
        yield [data[start : start + 32].hex() for start in range(4, end, 32)]
        data = data[end:]


class Witness(TorchDispatchMode):
    """Every operator below the composite ones, in order: its name, and the digests of the tensors
    it received and made, each taken at that moment. What is in memory that nobody wrote, ``out``
    arguments included, is not received. ``keep`` keeps copies of all of them by digest."""

    def __init__(self, *, keep: bool = False) -> None:
        super().__init__()
        self.seen: list[tuple[str, list[str], list[str]]] = []
        self.copies: dict[str, torch.Tensor] = {}
        self._keep = keep
        self._unwritten: set[int] = set()

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        given = tree_leaves((args, {k: v for k, v in kwargs.items() if not _is_out(function, k)}))
        received = self._digests_of(x for x in given if not self._is_unwritten(x))
        result = function(*args, **kwargs)
        made = tree_leaves(result)
        if function.name().startswith("aten::empty"):
            self._unwritten.update(x.data_ptr() for x in made)
            made = []
        else:
            self._unwritten.difference_update(x.data_ptr() for x in made if _is_tensor(x))
        self.seen.append((function.name(), received, self._digests_of(made)))
        return result

    def _is_unwritten(self, value: Any) -> bool:
        return _is_tensor(value) and value.data_ptr() in self._unwritten

    def _digests_of(self, values: Iterable[Any]) -> list[str]:
        tensors = [x for x in values if _is_tensor(x)]
        if self._keep:
            self.copies.update((digest(x), x.clone()) for x in tensors)
        return [digest(x) for x in tensors]

    @property
    def made(self) -> list[str]:
        return [unsalted for _, _, made in self.seen for unsalted in made]

    @property
    def known(self) -> set[str]:
        return {unsalted for _, received, _ in self.seen for unsalted in received} | set(self.made)


def _is_tensor(value: Any) -> bool:
    return isinstance(value, torch.Tensor)


def _is_out(function: Any, name: str) -> bool:
    return any(x.name == name and x.is_out for x in function._schema.arguments)


def digest(tensor: torch.Tensor) -> str:
    return tn.commit(tensor.detach()).digest


def profiled(model: nn.Module, call: Callable[[], Any]) -> list[tuple[str, str | None]]:
    """Operators that no other operator called, as torch's profiler sees them, each with the path of
    the module that ran; None where none did."""
    with _labelled(model), profile(activities=[ProfilerActivity.CPU]) as seen:
        call()
    found = []
    for event in seen.events():
        above = list(_ancestors(event))
        if event.name.startswith("aten::") and all(x.startswith(MODULE) for x in above):
            found.append((event.name, above[0].removeprefix(MODULE) if above else None))
    return found


def _ancestors(event: Any) -> Iterator[str]:
    while event.cpu_parent is not None:
        event = event.cpu_parent
        yield event.name


@contextlib.contextmanager
def _labelled(model: nn.Module) -> Iterator[None]:
    """Every module's call stands under its path in the profile."""
    handles, open_labels = [], []

    def enter(path: str) -> Callable:
        def hook(*_: Any) -> None:
            open_labels.append(record_function(MODULE + path))
            open_labels[-1].__enter__()

        return hook

    def leave(*_: Any) -> None:
        open_labels.pop().__exit__(None, None, None)

    for path, module in model.named_modules():
        handles.append(module.register_forward_pre_hook(enter(path)))
        handles.append(module.register_forward_hook(leave))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def is_subsequence(part: list, whole: list) -> bool:
    rest = iter(whole)
    return all(any(item == other for other in rest) for item in part)
