"""Execution settings of two calls, side by side: which differ, with both values."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

# What most often explains other bits comes first; the rest follows by name.
FIRST = ("profile", "threads", "device", "cpu.capability", "torch", "training")
# How the call ended, which random state it drew, what was traced, and what is said of single calls
# of a group are compared elsewhere.
APART = ("outcome", "rng", "trace", "calls")


@dataclass(frozen=True)
class Change:
    """A setting that differs: its name and the value on each side (None: absent)."""

    name: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.name} {_shown(self.before)} → {_shown(self.after)}"


def changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[Change]:
    """The settings in which two ``execution`` sections differ, the telling ones first."""
    old, new = _flat(before), _flat(after)
    names = sorted(old.keys() | new.keys(), key=lambda n: (_rank(n), n))
    found = [Change(name, old.get(name), new.get(name)) for name in names]
    return [change for change in found if change.before != change.after]


def in_words(found: Iterable[Change]) -> str:
    """``Only setting that differs: …`` or ``Settings that differ: …``; empty for none."""
    found = list(found)
    if not found:
        return ""
    label = "Only setting that differs" if len(found) == 1 else "Settings that differ"
    return f"{label}: {', '.join(map(str, found))}."


def execution_now(profile: str, device: str, training: bool) -> dict[str, Any]:
    """The ``execution`` section a call made now would have, but for its outcome."""
    from ..capture import environment, surroundings
    from ..capture.interposed import interposed

    return {
        **surroundings.machine(),
        **surroundings.execution_now(profile, interposed()),
        "device": device,
        "environment_changed": environment.environment_changed(),
        "training": training,
    }


def _flat(section: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for name, value in section.items():
        if not prefix and name in APART:
            continue
        if isinstance(value, Mapping):
            flat |= _flat(value, "" if name == "settings" and not prefix else f"{prefix}{name}.")
        else:
            flat[prefix + name] = value
    return flat


def _rank(name: str) -> int:
    return FIRST.index(name) if name in FIRST else len(FIRST)


def _shown(value: Any) -> str:
    if value is None:
        return "absent"
    if isinstance(value, bool):
        return "on" if value else "off"
    text = str(value)
    if _is_digest(text):
        return f"{text[:12]}…"
    return f"{text[:79]}…" if len(text) > 80 else text


def _is_digest(text: str) -> bool:
    return len(text) == 64 and set(text) <= set("0123456789abcdef")
