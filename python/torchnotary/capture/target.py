"""What is known of a recorded callable before it is called: its models, signature and code."""

from __future__ import annotations

import inspect
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from .subjects import NamedModels, plain_function
from .surroundings import CodeFacts


class Target:
    """A recorded function. ``models`` is what the caller said they are: a module, several by name,
    or None, in which case those the function names are looked up at each call."""

    def __init__(self, function: Callable, models: Any, name: str | None) -> None:
        self.function = function
        self.code = CodeFacts.of_function(function, name)
        self.name = name
        self.models_are_named = isinstance(models, Mapping)
        if models is not None:
            models = dict(models) if self.models_are_named else {name or "model": models}
        self._models = models
        self._named = NamedModels(function) if models is None else None
        self._signature = signature_of(function)
        self.owner_name = self._owner_parameter()
        self._own_object = getattr(function, "__self__", None)
        if plain_function(function) is None and self._own_object is None:
            self._own_object = function  # a callable object is its own self

    def bind(self, args: tuple, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The owner (``self``) and the arguments by name, defaults applied, of a call.

        Raises TypeError where the arguments do not fit the signature.
        """
        owner, arguments = self._own_object, bind(self._signature, args, kwargs)
        if self.owner_name is not None:
            owner = arguments.pop(self.owner_name, owner)
        return owner, arguments

    def models(self, owner: Any, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        """The models of a call, by name."""
        if self._models is not None:
            return self._models
        return self._named.find(owner, arguments)

    def _owner_parameter(self) -> str | None:
        """Name of the parameter that takes ``self`` or ``cls``; None for plain functions."""
        if self._signature is None or inspect.ismethod(self.function):
            return None
        qualname = getattr(self.function, "__qualname__", "").rpartition("<locals>.")[2]
        first = next(iter(self._signature.parameters), None)
        return first if "." in qualname and first in ("self", "cls") else None


class ModuleTarget:
    """Calls of one module by a method of its. It holds the module weakly, so that remembering how
    to record a module does not keep it alive."""

    models_are_named = False

    def __init__(self, module: Any, method: str, name: str | None) -> None:
        self.name = name or type(module).__name__
        self.code = CodeFacts.of_module(module, name)
        if method != "forward":
            self.code.name += f".{method}"
        self._signature = signature_of(getattr(module, method))
        self._module = weakref.ref(module)

    def bind(self, args: tuple, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return None, bind(self._signature, args, kwargs)

    def models(self, owner: Any, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return {self.name: self._module()}


def signature_of(function: Callable) -> inspect.Signature | None:
    """A callable's signature; None for builtins that tell none."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


def bind(
    signature: inspect.Signature | None, args: tuple, kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Arguments by name: ``*args`` under that name where there are any, ``**kwargs`` under the
    names in it where each can be a path of its own."""
    if signature is None:
        arguments: dict[str, Any] = {"args": args} if args else {}
        if _can_stand_alone(kwargs, arguments):
            return {**arguments, **kwargs}
        return {**arguments, "kwargs": kwargs}
    bound = signature.bind(*args, **kwargs)
    bound.apply_defaults()
    arguments = {}
    for name, value in bound.arguments.items():
        kind = signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_KEYWORD and _can_stand_alone(value, arguments):
            arguments.update(value)
        elif kind is not inspect.Parameter.VAR_POSITIONAL or value:
            arguments[name] = value
    return arguments


def _can_stand_alone(keywords: dict[str, Any], arguments: dict[str, Any]) -> bool:
    return not keywords.keys() & arguments.keys() and all(map(str.isidentifier, keywords))
