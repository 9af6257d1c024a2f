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
        self.committed: Callable[[], Any] = _nothing
        self.code = CodeFacts.of_function(function, name)
        self.name = name
        self.models_are_named = isinstance(models, Mapping)
        if models is not None:
            models = dict(models) if self.models_are_named else {name or "model": models}
        self._models = models
        self._named = NamedModels(function) if models is None else None
        signature = self._signature = signature_of(function)
        self._binder = Binder(signature)
        self.owner_name = self._owner_parameter()
        self._own_object = getattr(function, "__self__", None)
        if plain_function(function) is None and self._own_object is None:
            self._own_object = function  # a callable object is its own self

    def bind(self, args: tuple, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """The owner (``self``) and the arguments by name, defaults applied, of a call.

        Raises TypeError where the arguments do not fit the signature.
        """
        owner, arguments = self._own_object, self._binder.bind(args, kwargs)
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
        self.committed: Callable[[], Any] = _nothing
        self.code = CodeFacts.of_module(module, name)
        if method != "forward":
            self.code.name += f".{method}"
        self._binder = Binder(signature_of(getattr(module, method)))
        self._module = weakref.ref(module)

    def bind(self, args: tuple, kwargs: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        return None, self._binder.bind(args, kwargs)

    def models(self, owner: Any, arguments: Mapping[str, Any]) -> Mapping[str, Any]:
        return {self.name: self._module()}


def _nothing() -> None:
    """Stands for a weak reference to the commitment of the last call, before there is one."""


def signature_of(function: Callable) -> inspect.Signature | None:
    """A callable's signature; None for builtins that tell none."""
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        return None


class Binder:
    """:func:`bind` for one signature; what is the same for all its calls is found out once."""

    def __init__(self, signature: inspect.Signature | None) -> None:
        self._signature = signature
        parameters = list(signature.parameters.values()) if signature is not None else []
        named = [p for p in parameters if p.kind not in _MANY]
        self._names = tuple(p.name for p in named)
        self._positional = sum(p.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD for p in named)
        self._defaults = {p.name: p.default for p in named if p.default is not p.empty}
        self._is_plain = signature is not None and all(
            p.kind is not inspect.Parameter.POSITIONAL_ONLY for p in named
        )

    def bind(self, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Arguments by name; raises TypeError where they do not fit."""
        count, names = len(args), self._names
        if not self._is_plain or count > self._positional:
            return bind(self._signature, args, kwargs)
        if not kwargs and count == len(names):
            return {names[0]: args[0]} if count == 1 else dict(zip(names, args, strict=True))
        arguments = dict(zip(names, args, strict=False))
        left = len(kwargs)
        for name in names[count:]:
            if name in kwargs:
                arguments[name] = kwargs[name]
                left -= 1
            elif name in self._defaults:
                arguments[name] = self._defaults[name]
            else:
                break
        if left or len(arguments) < len(names):
            return bind(self._signature, args, kwargs)  # **kwargs, or the error to raise
        return arguments


_MANY = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


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
