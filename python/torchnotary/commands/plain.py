"""Reads command lines that are plain without typer's parser, which takes longer to load than a
record to verify.

What a command takes is what it declares to typer. Plain are options and arguments of text, paths
and flags, each given once as typer's help shows them; whatever else there is (help, mistakes,
``--option=value``) is left to typer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args, get_type_hints

from typer.models import ArgumentInfo

_KINDS = (str, Path, bool)


def arguments(command: Callable[..., None], words: Sequence[str]) -> dict[str, Any] | None:
    """The keyword arguments that ``words`` give to ``command``; None where they are not plain."""
    options, places = _declared(command)
    found: dict[str, Any] = {}
    rest = iter(words)
    for word in rest:
        if word in options:
            name, kind = options[word]
            value = "" if kind is bool else next(rest, "-")
        elif places:
            (name, kind), value = places.pop(0), word
        else:
            return None
        if name in found or value.startswith("-"):
            return None
        found[name] = True if kind is bool else kind(value)
    return None if places else found


Parameter = tuple[str, Callable[[str], Any]]


def _declared(command: Callable[..., None]) -> tuple[dict[str, Parameter], list[Parameter]]:
    """The parameters of a command, as (name, type): options by each of their spellings, and
    arguments in their order."""
    options, places = {}, []
    hints = get_type_hints(command, include_extras=True)
    del hints["return"]
    for name, hint in hints.items():
        annotated, info = get_args(hint)
        (kind,) = set(get_args(annotated) or (annotated,)) & set(_KINDS)
        if isinstance(info, ArgumentInfo):
            places.append((name, kind))
        else:
            # Where a type is annotated, typer keeps the first spelling as the default.
            spellings = [info.default, *(info.param_decls or [])]
            spellings = [text for text in spellings if isinstance(text, str)] or [f"--{name}"]
            options |= dict.fromkeys(spellings, (name, kind))
    return options, places
