"""What a record of several calls says of their code, settings and random states."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

from ..random_states import NAMES
from .call import Call
from .surroundings import CodeFacts


class GroupedCode:
    """The code of several calls, as `CodeFacts` is that of one."""

    def __init__(self, codes: Sequence[CodeFacts]) -> None:
        self._codes = list({id(code): code for code in codes}.values())
        self.name = _joined(code.name for code in self._codes)

    def section(self) -> dict[str, Any]:
        """The ``code`` section: that of the one callable, else names and kinds joined by ``+`` in
        the order of their first calls, and the SHA-256 of their sources' lines of hex."""
        sections: list[dict[str, Any]] = []
        for code in self._codes:
            if code.section() not in sections:
                sections.append(code.section())
        first = sections[0]
        if len(sections) == 1:
            return first
        sources = "".join(f"{section['source'] or '-'}\n" for section in sections)
        return {
            "callable": self.name,
            "git": first["git"] if all(s["git"] == first["git"] for s in sections) else None,
            "kind": _joined(section["kind"] for section in sections),
            "packages": {k: v for section in sections for k, v in section["packages"].items()},
            "source": hashlib.sha256(sources.encode()).hexdigest(),
        }


def grouped_execution(calls: Sequence[Call], sections: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The ``execution`` section of a group from those of its calls: that of the first one, the
    outcome of the first that did not return, the random state of the first that drew, and in
    ``calls`` what else is to say of single ones."""
    first = sections[0]
    ends = [s["outcome"] for s in sections if s["outcome"]["status"] != "returned"]
    drawn = [number for number, section in enumerate(sections) if _drew(section)]
    entries = []
    for number, (call, section) in enumerate(zip(calls, sections, strict=True)):
        entry = _differing(first, section)
        if call.code.name != calls[0].code.name:
            entry["callable"] = call.code.name
        if section["outcome"]["status"] != "returned":
            entry["outcome"] = section["outcome"]
        if number in drawn[1:]:
            entry["rng"] = section["rng"]
        if entry:
            entries.append({"call": number, **entry})
    return {
        **first,
        "calls": entries,
        "outcome": ends[0] if ends else first["outcome"],
        "rng": sections[drawn[0]]["rng"] if drawn else first["rng"],
    }


def _drew(section: Mapping[str, Any]) -> bool:
    return any(state is not None for state in section["rng"].values())


def _differing(first: Mapping[str, Any], later: Mapping[str, Any]) -> dict[str, Any]:
    """The members of ``later`` that are not as in ``first``, of objects theirs that are not."""
    found: dict[str, Any] = {}
    for name in first.keys() | later.keys():
        ours, theirs = first.get(name), later.get(name)
        if name in ("outcome", "rng") or ours == theirs:
            continue
        both = isinstance(ours, Mapping) and isinstance(theirs, Mapping)
        found[name] = _differing(ours, theirs) if both else theirs
    return found


class RandomStates:
    """Keeps of the calls' random states only what running them again needs: those that a call drew
    from and that are not where the calls before had left them."""

    def __init__(self) -> None:
        self._left: dict[str, bytes] = {}
        self._found: dict[Call, dict[str, bytes]] = {}

    def begins(self, call: Call, *, alone: bool) -> None:
        """A call begins; ``alone`` says that none of the calls before it is still running."""
        self._found[call] = dict(self._left) if alone else {}

    def ended(self, call: Call) -> None:
        after = dict(zip(NAMES, call.random_after, strict=True))
        found, states = self._found.pop(call, {}), call.drawn_states()
        self._left.update({name: after[name] for name in states})
        call.drew = {name: state for name, state in states.items() if found.get(name) != state}


def _joined(names: Any) -> str:
    return "+".join(dict.fromkeys(names))
