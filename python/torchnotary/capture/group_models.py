"""The models of a group's calls, put together into one commitment without hashing them again."""

from __future__ import annotations

import weakref
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ..manifest import STRUCTURE, WEIGHTS, Manifest
from ..model_constants import constants_of
from ..model_lines import sorted_lines
from ..statement.lines import canonical, encode_file, parse
from .models import CommittedModel
from .subjects import free_name


class GroupedModels:
    """What the calls of one record committed to: one state of each module."""

    def __init__(self) -> None:
        self._committed: list[CommittedModel] = []
        self._parts: list[_Part] = []  # of all of them, once there are two

    def takes(self, committed: CommittedModel | None) -> bool:
        """Whether each of its modules is new here, or is in the state it was in before."""
        if self._knows(committed):
            return True
        known = self._parts or [part for one in self._committed for part in _parts(one)]
        return all(
            ours.lines == theirs.lines
            for theirs in _parts(committed)
            for ours in known
            if ours.is_of_same_module(theirs)
        )

    def add(self, committed: CommittedModel | None) -> None:
        if self._knows(committed):
            return
        self._committed.append(committed)
        if len(self._committed) == 2:
            self._parts = _parts(self._committed[0])
        if len(self._committed) > 1:
            self._parts += [
                part
                for part in _parts(committed)
                if not any(part.is_of_same_module(known) for known in self._parts)
            ]

    def merged(self) -> Any:
        """The one commitment there is, else one to all their modules by name; None without any."""
        if len(self._parts) > 1:
            return MergedModels(self._committed, self._parts)
        return self._committed[0] if self._committed else None

    def _knows(self, committed: CommittedModel | None) -> bool:
        return committed is None or any(committed is known for known in self._committed)


class MergedModels:
    """Several commitments as one: what a record needs of a `CommittedModel`."""

    def __init__(self, committed: Sequence[CommittedModel], parts: Sequence[_Part]) -> None:
        self.references = [part.reference for part in parts]
        named: dict[str, _Part] = {}
        for part in parts:
            named[free_name(named, part.name)] = part
        self._named = named
        manifest = _manifest(named)
        lines = {WEIGHTS: manifest.weights_lines, STRUCTURE: manifest.structure_lines}
        self.files = {name: encode_file(found) for name, found in lines.items() if found}
        self.section: dict[str, Any] = {
            "changed": any(one.section["changed"] for one in committed),
            "class": "+".join(part.cls for part in parts),
            "name": "+".join(named),
            "sealed": all(one.section["sealed"] for one in committed),
            "structure": manifest.structure.to_json(),
            "weights": manifest.weights.to_json() if manifest.weights else None,
        }

    def constants(self) -> bytes | None:
        """As a `CommittedModel`'s, under the names of the group."""
        found = {name: part.reference() for name, part in self._named.items()}
        return constants_of([(name, one) for name, one in found.items() if one is not None])


@dataclass(frozen=True)
class _Part:
    """One module of a commitment: a reference to it, its name and class, and its lines as objects
    under the names they have in a commitment to it alone."""

    reference: weakref.ref
    name: str
    cls: str
    lines: list[dict[str, Any]]

    def is_of_same_module(self, other: _Part) -> bool:
        module = self.reference()
        return module is not None and module is other.reference()


def _parts(committed: CommittedModel) -> list[_Part]:
    manifest, names = committed.manifest, list(committed.watches)
    lines: dict[str, list[dict[str, Any]]] = {name: [] for name in names}
    for line in map(parse, manifest.weights_lines + manifest.structure_lines):
        if line["type"] == "weights":
            continue
        if not committed.prefixed:
            lines[names[0]].append(line)
            continue
        owner = max((n for n in names if f"{line['name']}.".startswith(f"{n}.")), key=len)
        lines[owner].append({**line, "name": line["name"][len(owner) + 1 :]})
    classes = committed.section["class"].split("+")
    return [
        _Part(reference, name, cls, lines[name])
        for reference, name, cls in zip(committed.references, names, classes, strict=True)
    ]


def _manifest(parts: Mapping[str, _Part]) -> Manifest:
    """The manifest ``Manifest.of`` would make of the modules by these names."""
    lines = [
        {**line, "name": f"{name}.{line['name']}" if line["name"] else name}
        for name, part in parts.items()
        for line in part.lines
    ]
    by_type = {
        kind: sorted_lines(line for line in lines if line["type"] == kind)
        for kind in ("tensor", "buffer", "parameter", "module")
    }
    weights = by_type.pop("tensor")
    tree = Manifest(weights, []).weights
    first = [] if tree is None else [canonical({**tree.to_json(), "type": "weights"})]
    return Manifest(weights, [*first, *(line for lines in by_type.values() for line in lines)])
