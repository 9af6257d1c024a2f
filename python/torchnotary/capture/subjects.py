"""The models a function names: modules found in its closure, its globals and its ``self``.

Python decides at each call what a name means, and so does this: where the names lead is remembered
and checked at every call, and gone through again where anything differs. Most of the values met are
somebody else's: they are told apart by their real type and read without running any of their code.
What is remembered keeps no model alive.
"""

from __future__ import annotations

import abc
import enum
import functools
import itertools
import sys
import types
import weakref
from collections.abc import Callable, Mapping
from typing import Any

MAX_FUNCTIONS = 64
MAX_LIST = 64


def is_module(value: Any) -> bool:
    """Whether a value is a ``torch.nn.Module`` (False while torch is not imported)."""
    return issubclass(type(value), _module_class())


def _module_class() -> Any:
    return getattr(sys.modules.get("torch.nn"), "Module", ())


def has_state(module: Any) -> bool:
    """Whether a module holds any parameter or buffer; those without are activations and losses."""
    return next(module.parameters(), None) is not None or next(module.buffers(), None) is not None


class NamedModels:
    """The models that ``function`` names, looked up at each call of :meth:`find`."""

    def __init__(self, function: Callable) -> None:
        self._function = function
        self._reached: _Reached | None = None
        self._chosen: tuple[list[tuple[str, weakref.ref]], dict[str, weakref.ref]] | None = None

    def find(self, owner: Any = None, arguments: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Name to module, outermost only: ``owner`` (a method's ``self``) first, then arguments,
        then closure and globals; a module that lies inside another one found is left out."""
        candidates: list[tuple[str, Any]] = []
        if owner is not None:
            candidates += _modules_of("self" if is_module(owner) else "", owner, True)
        for name, value in (arguments or {}).items():
            candidates += _modules_of(name, value, False)
        candidates += self._named()
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

    def _named(self) -> list[tuple[str, Any]]:
        reached = self._reached
        if reached is not None and reached.stands():
            modules = [(name, reference()) for name, reference in reached.modules]
            if all(module is not None for _, module in modules):
                return modules
        self._reached = reached = _Reached(self._function)
        return [(name, module) for name, module in reached.taken() if module is not None]


class _Reached:
    """What a function's names, and those of the Python functions it names, lead to."""

    def __init__(self, function: Callable) -> None:
        self.modules: list[tuple[str, weakref.ref]] = []
        self._found: list[tuple[str, Any]] = []
        self._functions: list[tuple[Callable, types.CodeType]] = []
        self._globals: list[_Globals] = []
        self._cells: list[tuple[Callable, int, _Fact]] = []
        self._go_through(function)
        self.modules = [(name, weakref.ref(module)) for name, module in self._found]

    def taken(self) -> list[tuple[str, Any]]:
        """The modules as they were met; once, since holding them would keep them alive."""
        found, self._found = self._found, []
        return found

    def stands(self) -> bool:
        """Whether every name still leads where it led."""
        try:
            for reference, code in self._functions:
                if getattr(reference(), "__code__", None) is not code:
                    return False
            for reference, index, fact in self._cells:
                if not fact.holds(_content(reference().__closure__[index])):
                    return False
            return all(space.stands() for space in self._globals)
        except Exception:  # changed by another thread meanwhile
            return False

    def _go_through(self, function: Callable) -> None:
        pending: list[Any] = [plain_function(function)]
        visited: set[int] = set()
        spaces: dict[int, _Globals] = {}
        while pending and len(visited) < MAX_FUNCTIONS:
            current = pending.pop(0)
            if current is None or id(current) in visited:
                continue
            visited.add(id(current))
            reference, code = weakref.ref(current), current.__code__
            self._functions.append((reference, code))
            for index, cell in enumerate(current.__closure__ or ()):
                value = _content(cell)
                self._cells.append((reference, index, _Fact(value)))
                pending.append(self._take(code.co_freevars[index], value))
            namespace = current.__globals__
            space = spaces.get(id(namespace))
            if space is None:
                space = spaces[id(namespace)] = _Globals(reference)
                self._globals.append(space)
            for name in _global_names(code):
                if name not in space.names:
                    value = namespace.get(name, _ABSENT)
                    space.add(name, value)
                    pending.append(self._take(name, value))

    def _take(self, name: str, value: Any) -> types.FunctionType | None:
        """Note the modules of a named value; returns the function to go through next, if any."""
        if type(value) in _INERT:
            return None
        self._found += _modules_of(name, value, True)
        function = plain_function(value)
        return function if _is_followed(function) else None


class _Globals:
    """The names looked up in one namespace, which is reached through a function: held itself, it
    would keep all that is in it alive."""

    __slots__ = ("_facts", "_function", "_inert", "names")

    def __init__(self, function: weakref.ref) -> None:
        self._function = function
        self._inert: list[str] = []
        self._facts: list[tuple[str, _Fact]] = []
        self.names: set[str] = set()

    def add(self, name: str, value: Any) -> None:
        self.names.add(name)
        if type(value) in _INERT:
            self._inert.append(name)
        else:
            self._facts.append((name, _Fact(value)))

    def stands(self) -> bool:
        get = self._function().__globals__.get
        # Nearly all names lead to constants, library modules or nowhere: these are one loop in C.
        values = map(get, self._inert, itertools.repeat(_ABSENT))
        return _INERT.issuperset(map(type, values)) and all(
            fact.holds(get(name, _ABSENT)) for name, fact in self._facts
        )


class _Fact:
    """What was read off a value: its type, itself where it is a function or module, and which of
    its attributes or items are worth following."""

    __slots__ = ("_attributes", "_followed", "_itself", "_type")

    def __init__(self, value: Any) -> None:
        kind = type(value)
        self._itself = self._attributes = self._followed = None
        self._type = kind if kind in _INERT else weakref.ref(kind)
        if issubclass(kind, _CODE) or is_module(value):
            self._itself = _reference(value)
        elif kind not in _INERT:
            self._attributes = _reader(kind)
            if self._attributes is not None:
                followed = _followed(self._attributes(value))
                self._followed = [(key, _reference(item)) for key, item in followed]

    def holds(self, value: Any) -> bool:
        if self._itself is not None:
            return self._itself() is value
        kind = self._type
        if type(value) is not (kind() if type(kind) is weakref.ref else kind):
            return kind in _INERT and type(value) in _INERT
        if self._attributes is None:
            return True
        attributes = self._attributes(value)
        if not self._followed and _INERT.issuperset(map(type, attributes.values())):
            return True
        now = _followed(attributes)
        return len(now) == len(self._followed) and all(
            key == known and reference() is item
            for (key, item), (known, reference) in zip(now, self._followed, strict=True)
        )


def _reference(value: Any) -> Callable[[], Any]:
    """A weak reference, a strong one where the value's type has none."""
    try:
        return weakref.ref(value)
    except TypeError:
        return lambda: value


def _modules_of(name: str, value: Any, deep: bool) -> list[tuple[str, Any]]:
    """Modules a value is, holds in a list or tuple, is bound to, or (``deep``) has as attributes:
    a pipeline's ``model``, a service's encoder."""
    kind = type(value)
    module = _module_class()
    if issubclass(kind, module):
        return [(name, value)]
    if kind in _INERT:
        return []
    if kind is types.MethodType:
        return [(name, value.__self__)] if issubclass(type(value.__self__), module) else []
    listed = issubclass(kind, (list, tuple))
    if not deep and not listed or issubclass(kind, _CODE):
        return []
    found = [item for item in _followed(own_attributes(value)) if issubclass(type(item[1]), module)]
    return [(f"{name}_{key}", item) for key, item in found] if listed else found


def own_attributes(value: Any) -> dict[Any, Any]:
    """An object's own attributes, or the items of a list or tuple by position, read without
    running any code of its class."""
    read = _reader(type(value))
    return read(value) if read is not None else {}


def _reader(kind: type) -> Callable[[Any], dict[Any, Any]] | None:
    """How to read the attributes of that type's values; None where they have none of their own, or
    a ``__dict__`` that is code."""
    if issubclass(kind, list):
        return _list_items
    if issubclass(kind, tuple):
        return _tuple_items
    if issubclass(kind, _OPAQUE) or issubclass(
        kind, getattr(sys.modules.get("torch"), "Tensor", ())
    ):
        return None
    for base in _mro(kind):
        descriptor = _dict(base).get("__dict__")
        if descriptor is not None:
            built_in = type(descriptor) in (types.GetSetDescriptorType, types.MemberDescriptorType)
            return descriptor.__get__ if built_in else None
    return None


_mro = type.__dict__["__mro__"].__get__
_dict = type.__dict__["__dict__"].__get__


def _list_items(value: list) -> dict[int, Any]:
    return dict(enumerate(list.copy(value))) if list.__len__(value) <= MAX_LIST else {}


def _tuple_items(value: tuple) -> dict[int, Any]:
    return dict(enumerate(tuple.__iter__(value))) if tuple.__len__(value) <= MAX_LIST else {}


def _followed(attributes: dict[Any, Any]) -> list[tuple[Any, Any]]:
    """The attributes that lead further: modules, and the function below a decorator."""
    module = _module_class()
    return [
        (key, item)
        for key, item in list(attributes.items())
        if issubclass(type(item), module) or type(key) is str and key == "__wrapped__"
    ]


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return _ABSENT


_ABSENT = object()
# Types whose values lead nowhere, whichever they are; values of these may change unnoticed.
_INERT = frozenset(
    (
        *(type(None), bool, int, float, complex, str, bytes, bytearray, dict, set, frozenset),
        *(object, range, slice, type, abc.ABCMeta, enum.EnumMeta, types.ModuleType),
        types.BuiltinFunctionType,
    )
)
_CODE = (types.FunctionType, types.MethodType, functools.partial, staticmethod, classmethod)
_OPAQUE = (type, types.ModuleType, types.BuiltinFunctionType, str, int, float, *_CODE)


def plain_function(value: Any) -> types.FunctionType | None:
    """The Python function below decorators, partials and bound methods, or None; found without
    running any code of the value's."""
    for _ in range(32):
        kind = type(value)
        if issubclass(kind, functools.partial):
            value = functools.partial.func.__get__(value)
        elif kind in (types.MethodType, staticmethod, classmethod):
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
    home = str(function.__module__ or "").partition(".")[0]
    return home not in _LIBRARIES


def _choose(candidates: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    seen: set[int] = set()
    for name, module in candidates:
        if id(module) not in seen and has_state(module):
            found[_free_name(found, name)] = module
        seen.add(id(module))
    return _outermost(found)


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
