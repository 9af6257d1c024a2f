"""The models a function names: modules found in its closure, its globals and its ``self``.

Python decides at each call what a name means, and so does this: names are read off the code
object once, their values are looked up at every call.
"""

from __future__ import annotations

import functools
import sys
import types
import weakref
from collections.abc import Callable, Mapping
from typing import Any

MAX_FUNCTIONS = 64
MAX_LIST = 64
_OPAQUE = (type, types.ModuleType, types.FunctionType, types.BuiltinFunctionType, str, int, float)


def is_module(value: Any) -> bool:
    """Whether a value is a ``torch.nn.Module`` (False while torch is not imported)."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def has_state(module: Any) -> bool:
    """Whether a module holds any parameter or buffer; those without are activations and losses."""
    return next(module.parameters(), None) is not None or next(module.buffers(), None) is not None


class NamedModels:
    """The models that ``function`` names, looked up at each call of :meth:`find`."""

    def __init__(self, function: Callable) -> None:
        self._function = function
        self._chosen: tuple[list[tuple[str, weakref.ref]], dict[str, weakref.ref]] | None = None

    def find(self, owner: Any = None, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Name to module, outermost only: ``owner`` (a method's ``self``) first, then arguments,
        then closure and globals; a module that lies inside another one found is left out."""
        candidates = list(_candidates(self._function, owner, arguments or {}))
        if self._chosen is not None:
            known, chosen = self._chosen
            if len(known) == len(candidates) and all(
                name == label and reference() is module
                for (name, reference), (label, module) in zip(known, candidates, strict=True)
            ):
                return {name: reference() for name, reference in chosen.items()}
        found = _choose(candidates)
        self._chosen = (
            [(name, weakref.ref(module)) for name, module in candidates],
            {name: weakref.ref(module) for name, module in found.items()},
        )
        return found


def _candidates(function: Callable, owner: Any, arguments: Mapping[str, Any]):
    """Names and modules in the order they are looked for; the same module may come twice."""
    if owner is not None:
        yield from _modules_of("self" if is_module(owner) else "", owner, True)
    for name, value in arguments.items():
        yield from _modules_of(name, value, False)
    for name, value in _named_values(function):
        yield from _modules_of(name, value, True)


def _modules_of(name: str, value: Any, deep: bool):
    if is_module(value):
        yield name, value
    elif isinstance(value, (list, tuple)):
        if len(value) <= MAX_LIST:
            yield from ((f"{name}_{i}", item) for i, item in enumerate(value) if is_module(item))
    elif deep and not isinstance(value, _OPAQUE):
        yield from _modules_within(value)


def _choose(candidates: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    seen: set[int] = set()
    for name, module in candidates:
        if id(module) not in seen and has_state(module):
            found[_free_name(found, name)] = module
        seen.add(id(module))
    return _outermost(found)


def _modules_within(value: Any) -> list[tuple[str, Any]]:
    """Modules among an object's own attributes: a pipeline's ``model``, a service's encoder."""
    attributes = getattr(value, "__dict__", None)
    if not isinstance(attributes, dict):
        return []
    return [(key, item) for key, item in list(attributes.items()) if is_module(item)]


def _free_name(found: dict[str, Any], name: str) -> str:
    free, number = name or "model", 2
    while free in found:
        free, number = f"{name}_{number}", number + 1
    return free


def _outermost(found: dict[str, Any]) -> dict[str, Any]:
    if len(found) < 2:
        return found
    inner: set[int] = set()
    for module in found.values():
        inner.update(id(child) for child in module.modules() if child is not module)
    return {name: module for name, module in found.items() if id(module) not in inner}


def _named_values(function: Callable):
    """Names and values a function can reach: closure cells, globals it names, and those of the
    Python functions it names in turn."""
    pending: list[Any] = [function]
    visited: set[int] = set()
    while pending and len(visited) < MAX_FUNCTIONS:
        current = plain_function(pending.pop(0))
        if current is None or id(current) in visited:
            continue
        visited.add(id(current))
        for name, value in _cells(current):
            yield name, value
            if _is_followed(value):
                pending.append(value)
        names = _global_names(current.__code__)
        for name in names:
            value = current.__globals__.get(name, _ABSENT)
            if value is _ABSENT:
                continue
            yield name, value
            bound = getattr(value, "__self__", None)
            if is_module(bound):
                yield name, bound
            if _is_followed(value):
                pending.append(value)


_ABSENT = object()


def plain_function(value: Any) -> types.FunctionType | None:
    """The Python function below decorators, partials and bound methods, or None."""
    for _ in range(32):
        if isinstance(value, functools.partial):
            value = value.func
        elif isinstance(value, types.MethodType):
            value = value.__func__
        elif hasattr(value, "__wrapped__"):
            value = value.__wrapped__
        else:
            break
    return value if isinstance(value, types.FunctionType) else None


def _is_followed(value: Any) -> bool:
    function = plain_function(value)
    if function is None:
        return False
    home = (function.__module__ or "").partition(".")[0]
    return home not in _LIBRARIES


_LIBRARIES = frozenset(
    ("torch", "numpy", "transformers", "torchnotary", "sentence_transformers", "builtins")
) | frozenset(getattr(sys, "stdlib_module_names", ()))


def _cells(function: types.FunctionType):
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        try:
            yield name, cell.cell_contents
        except ValueError:
            continue


@functools.lru_cache(maxsize=1024)
def _global_names(code: types.CodeType) -> tuple[str, ...]:
    """Names the code and the code nested in it (lambdas, comprehensions) looks up globally."""
    names = dict.fromkeys(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names.update(dict.fromkeys(_global_names(constant)))
    return tuple(names)
