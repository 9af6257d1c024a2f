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


def is_module(value: Any) -> bool:
    """Whether a value is a ``torch.nn.Module`` (False while torch is not imported). Asked of the
    type alone: an object's own ``__class__`` may run code."""
    torch = sys.modules.get("torch")
    return torch is not None and issubclass(type(value), torch.nn.Module)


def has_state(module: Any) -> bool:
    """Whether a module holds any parameter or buffer; those without are activations and losses."""
    return next(module.parameters(), None) is not None or next(module.buffers(), None) is not None


class NamedModels:
    """The models that ``function`` names, looked up at each call of :meth:`find`."""

    def __init__(self, function: Callable) -> None:
        self._function = function
        self._places: list[_Place] = []
        self._chosen: tuple[list[tuple[str, weakref.ref]], dict[str, weakref.ref]] | None = None

    def find(self, owner: Any = None, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Name to module, outermost only: ``owner`` (a method's ``self``) first, then arguments,
        then closure and globals; a module that lies inside another one found is left out."""
        candidates: list[tuple[str, Any]] = []
        if owner is not None:
            candidates += _modules_of("self" if is_module(owner) else "", owner, True)
        for name, value in (arguments or {}).items():
            candidates += _modules_of(name, value, False)
        for name, value in self._named_values():
            candidates += _modules_of(name, value, True)
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

    def _named_values(self) -> list[tuple[str, Any]]:
        """What the names in question hold now; they are gathered anew where a function among
        them, or the kind of a value, is another one than when they were."""
        for _ in range(2):
            values = []
            for place in self._places:
                value = place.value()
                if type(value) is not place.kind or (
                    place.function is not None and plain_function(value) is not place.function
                ):
                    break
                if place.kind not in _PLAIN:
                    values.append((place.name, value))
            else:
                if self._places:
                    return values
            self._places = _places_named_by(self._function)
        return values


class _Place:
    """A name a function reaches, where its value is found, and what kind of value that was."""

    __slots__ = ("_namespace", "function", "kind", "name")

    def __init__(self, namespace: dict[str, Any] | types.CellType, name: str) -> None:
        self._namespace = namespace
        self.name = name
        value = self.value()
        self.kind = type(value)
        self.function = plain_function(value)

    def value(self) -> Any:
        if type(self._namespace) is dict:
            return self._namespace.get(self.name, _ABSENT)
        try:
            return self._namespace.cell_contents
        except ValueError:
            return _ABSENT


def _modules_of(name: str, value: Any, deep: bool) -> list[tuple[str, Any]]:
    """Modules a value is, holds in a list or tuple, is bound to, or (``deep``) has as attributes:
    a pipeline's ``model``, a service's encoder."""
    if is_module(value):
        return [(name, value)]
    kind = type(value)
    if kind in (list, tuple):
        if len(value) > MAX_LIST:
            return []
        return [(f"{name}_{i}", item) for i, item in enumerate(value) if is_module(item)]
    if kind is types.MethodType:
        return [(name, value.__self__)] if is_module(value.__self__) else []
    if not deep or kind in _PLAIN or issubclass(kind, type):
        return []
    return [(key, item) for key, item in own_attributes(value).items() if is_module(item)]


def own_attributes(value: Any) -> dict[str, Any]:
    """An object's own attributes, read past its class's attribute access; none where the class
    makes ``__dict__`` a property that raises, as proxies outside of a request do."""
    try:
        attributes = object.__getattribute__(value, "__dict__")
    except Exception:
        return {}
    return dict(attributes) if type(attributes) is dict else {}


def _choose(candidates: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    seen: set[int] = set()
    for name, module in candidates:
        if id(module) not in seen and has_state(module):
            found[free_name(found, name)] = module
        seen.add(id(module))
    return _outermost(found)


def free_name(found: Mapping[str, Any], name: str) -> str:
    """``name``, or ``name_2`` and so on where ``found`` has it already."""
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


def _places_named_by(function: Callable) -> list[_Place]:
    """Closure cells and globals a function names, and those of the Python functions it names."""
    places: list[_Place] = []
    pending: list[Any] = [function]
    visited: set[int] = set()
    while pending and len(visited) < MAX_FUNCTIONS:
        current = plain_function(pending.pop(0))
        if current is None or id(current) in visited:
            continue
        visited.add(id(current))
        found = [
            _Place(cell, name)
            for name, cell in zip(
                current.__code__.co_freevars, current.__closure__ or (), strict=True
            )
        ]
        found += [_Place(current.__globals__, name) for name in _global_names(current.__code__)]
        pending += [place.function for place in found if _is_followed(place.function)]
        places += found
    return places


_ABSENT = object()
_PLAIN = frozenset(
    (
        *(type(_ABSENT), type(None), type, types.ModuleType, types.FunctionType),
        *(types.BuiltinFunctionType, str, bytes, bool, int, float, complex, dict, set, frozenset),
    )
)


def plain_function(value: Any) -> types.FunctionType | None:
    """The Python function below decorators, partials and bound methods, or None; found without
    running any code of the value's."""
    for _ in range(32):
        kind = type(value)
        if kind is functools.partial:
            value = value.func
        elif kind is types.MethodType:
            value = value.__func__
        elif kind is types.FunctionType:
            inner = value.__dict__.get("__wrapped__")
            if inner is None:
                return value
            value = inner
        else:
            value = own_attributes(value).get("__wrapped__")
            if value is None:
                return None
    return None


def _is_followed(function: types.FunctionType | None) -> bool:
    if function is None:
        return False
    home = (function.__module__ or "").partition(".")[0]
    return home not in _LIBRARIES


_LIBRARIES = frozenset(
    ("torch", "numpy", "transformers", "torchnotary", "sentence_transformers", "builtins")
) | frozenset(getattr(sys, "stdlib_module_names", ()))


@functools.lru_cache(maxsize=1024)
def _global_names(code: types.CodeType) -> tuple[str, ...]:
    """Names the code and the code nested in it (lambdas, comprehensions) looks up globally."""
    names = dict.fromkeys(code.co_names)
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            names.update(dict.fromkeys(_global_names(constant)))
    return tuple(names)
