"""Attribute values of a module as JSON that two processes write alike: no ids, no addresses.

    null, true, "text", 3                    as they are; larger integers {"int":"…"}
    {"f64":"<16 hex digits>"}                float; {"complex":[re, im]} two of them
    [ … ]                                    tuple, list, torch.Size
    {"dict":{key: value}}                    mapping whose keys are strings
    {"dict":[[key, value], …]}               any other mapping, sorted by the keys' encodings
    {"set":[ … ]}                            set or frozenset, sorted by the members' encodings
    {"class":"pkg.Cls","values":{ … }}       transformers configuration, dataclass, namespace
    {"callable":"pkg.name"}                  function or class that this name leads back to
    {"arguments":[…],"callable":…,"keywords":{…}}      functools.partial of such a callable
    {"dtype":"float32"} {"device":"cpu"} …   torch constants: the type's name, then str()
    {"enum":"pkg.Cls.NAME"}                  enumeration member
    {"numpy":"float32","value":…}            NumPy scalar
    {"bytes":n,"sha256":hex}                 an encoding of n > 65,536 bytes, by its digest

Keys of JSON objects are ASCII: a name is written as ``json.dumps`` writes it, without the quotes
(``größe`` becomes ``gr\\u00f6\\u00dfe``). Everything else is unbound, and says so.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import hashlib
import json
import re
import sys
import types
from argparse import Namespace
from collections.abc import Callable, Mapping
from typing import Any

from .errors import MalformedRecord
from .statement.lines import brief, canonical, from_number, number

MAX_INLINE_BYTES = 65_536
MAX_VALUES = 1_000_000
MAX_DEPTH = 32

# What a configuration knows of the machine and the moment it was loaded, not of the model.
VOLATILE_KEYS = frozenset(
    {
        "_commit_hash",
        "_from_model_config",
        "_name_or_path",
        "_original_object_hash",
        "name_or_path",
        "transformers_version",
    }
)
# transformers chooses kernels by these, but leaves them out of to_dict().
_CONFIGURATION_CHOICES = ("_attn_implementation", "_experts_implementation")
_CONFIGURATIONS = ("PreTrainedConfig", "PretrainedConfig", "GenerationConfig")
_TORCH_CONSTANTS = ("dtype", "device", "layout", "memory_format", "qscheme")
_HEX64 = re.compile(r"[0-9a-f]{64}")


class Unbound(Exception):
    """A value that has no encoding; the caller lists it by name."""


def encode(value: Any, owner: Any = None) -> Any:
    """JSON form of an attribute value; raises Unbound where it has none.

    ``owner`` is the module that holds the attribute: its own bound methods are named.
    """
    encoded = _Encoder(owner).encode(value, 0)
    text = canonical(encoded) if isinstance(encoded, (dict, list, str)) else b""
    if len(text) > MAX_INLINE_BYTES:
        return {"bytes": len(text), "sha256": hashlib.sha256(text).hexdigest()}
    return encoded


def key_of(name: str) -> str:
    """A name as an ASCII key of a JSON object."""
    return json.dumps(name)[1:-1]


def name_of(key: str) -> str:
    """The name that :func:`key_of` wrote; a key that it did not write is its own name."""
    return json.loads(f'"{key}"') if _is_key(key) else key


def check_attributes(attributes: Mapping[str, Any], where: str) -> None:
    """Raises MalformedRecord unless every attribute of a module line is one that
    :func:`encode` writes, under a key that :func:`key_of` does."""
    for key, value in attributes.items():
        if not (_is_key(key) and _is_encoded(value)):
            raise MalformedRecord(
                f"{where}: the attribute {brief(key)} is in no encoding of a value",
                actual=brief(value),
                next_step="make the manifest anew; torchnotary does not write this",
            )


def _is_key(key: str) -> bool:
    try:
        return key_of(json.loads(f'"{key}"')) == key
    except ValueError:
        return False


def _is_encoded(value: Any) -> bool:
    """Whether a parsed JSON value follows the grammar at the top of this file."""
    if isinstance(value, list):
        return all(map(_is_encoded, value))
    if not isinstance(value, dict):
        return True
    if len(value) == 1:
        return _is_tagged(*next(iter(value.items())))
    parts = value.get
    match sorted(value):
        case ["class", "values"]:
            return isinstance(parts("class"), str) and _is_keyed(parts("values"))
        case ["arguments", "callable", "keywords"]:
            return (
                isinstance(parts("callable"), str)
                and isinstance(parts("arguments"), list)
                and _is_encoded(parts("arguments"))
                and _is_keyed(parts("keywords"))
            )
        case ["enum", "value"] | ["numpy", "value"]:
            named = parts("enum", parts("numpy"))
            return isinstance(named, str) and _is_encoded(parts("value"))
        case ["bytes", "sha256"]:
            size, digest = parts("bytes"), parts("sha256")
            known = isinstance(digest, str) and _HEX64.fullmatch(digest) is not None
            return known and type(size) is int and size > MAX_INLINE_BYTES
    return False


def _is_tagged(tag: str, inner: Any) -> bool:
    if tag in ("callable", "enum", *_TORCH_CONSTANTS):
        return isinstance(inner, str)
    if tag in ("f64", "int"):
        return _is_number({tag: inner})
    if tag == "complex":
        return isinstance(inner, list) and len(inner) == 2 and all(map(_is_number, inner))
    if tag == "set":
        return isinstance(inner, list) and _is_encoded(inner)
    if tag != "dict":
        return False
    if isinstance(inner, list):
        return all(
            isinstance(pair, list) and len(pair) == 2 and _is_encoded(pair) for pair in inner
        )
    return _is_keyed(inner)


def _is_keyed(value: Any) -> bool:
    return isinstance(value, dict) and all(
        _is_key(key) and _is_encoded(item) for key, item in value.items()
    )


def _is_number(value: Any) -> bool:
    try:
        from_number(value)
    except MalformedRecord:
        return False
    return True


def class_name(value: Any) -> str:
    """Qualified class name of a value."""
    return f"{type(value).__module__}.{type(value).__qualname__}"


def callable_name(function: Callable, owner: Any = None) -> str | None:
    """The qualified name that leads back to this very callable, or None: a lambda, a closure or
    a method of some other object has a name too, but the name does not say what it does."""
    if isinstance(function, types.MethodType):
        if owner is not None and function.__self__ is owner:
            return callable_name(function.__func__)
    elif type(function).__module__ == "torch._ops":
        return f"torch.ops.{function}"
    home = getattr(function, "__objclass__", None)
    module = home.__module__ if home is not None else getattr(function, "__module__", None)
    for attribute in ("__qualname__", "__name__"):
        name = getattr(function, attribute, None)
        if isinstance(name, str) and isinstance(module, str):
            found = _lookup(module, name)
            # Built-in methods are made anew at each look-up, so identity alone is too strict.
            if found is function or (type(found) is type(function) and found == function):
                return f"{module}.{name}"
    return None


def describe_callable(function: Any) -> str:
    """A name for people, free of addresses, for a callable that may lead nowhere (a hook)."""
    while isinstance(function, functools.partial):
        function = function.func
    name = getattr(function, "__qualname__", None)
    if isinstance(name, str):
        return f"{getattr(function, '__module__', None)}.{name}"
    return class_name(function)


def _lookup(module: str, name: str) -> Any:
    found: Any = sys.modules.get(module)
    for part in name.split("."):
        found = getattr(found, part, None)
    return found


class _Encoder:
    """Encodes one attribute value within a budget of nested values."""

    def __init__(self, owner: Any) -> None:
        self.owner = owner
        self.left = MAX_VALUES

    def encode(self, value: Any, depth: int) -> Any:
        self.left -= 1
        if depth > MAX_DEPTH or self.left < 0:
            raise Unbound
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, enum.Enum):
            return self.enumeration(value, depth)
        if isinstance(value, (int, float)):
            return _number(value)
        if isinstance(value, complex):
            return {"complex": [_number(value.real), _number(value.imag)]}
        if isinstance(value, str):
            return _text(value)
        if isinstance(value, (tuple, list)):
            return [self.encode(item, depth + 1) for item in value]
        if isinstance(value, (set, frozenset)):
            return {"set": sorted((self.encode(v, depth + 1) for v in value), key=canonical)}
        return self.composite(value, depth)

    def composite(self, value: Any, depth: int) -> Any:
        if _is_configuration(value):
            return self.configuration(value, depth)
        if isinstance(value, Mapping):
            return {"dict": self.mapping(value, depth)}
        if isinstance(value, functools.partial):
            return self.partial(value, depth)
        if isinstance(value, (type, *_FUNCTIONS)) or _is_operator(value):
            # Inside a container, a method would let the container lead back to the module.
            return {"callable": _required(callable_name(value, None if depth else self.owner))}
        if dataclasses.is_dataclass(value):
            names = [
                field.name for field in dataclasses.fields(value) if hasattr(value, field.name)
            ]
            return self.named(value, {name: getattr(value, name) for name in names}, depth)
        if isinstance(value, (Namespace, types.SimpleNamespace)):
            return self.named(value, vars(value), depth)
        return self.constant(value, depth)

    def constant(self, value: Any, depth: int) -> Any:
        kind = type(value)
        if kind.__module__ == "torch" and kind.__name__ in _TORCH_CONSTANTS:
            return {kind.__name__: str(value).removeprefix("torch.")}
        if kind.__module__ == "numpy" and hasattr(value, "item") and not hasattr(value, "__len__"):
            return {"numpy": str(value.dtype), "value": self.encode(value.item(), depth + 1)}
        raise Unbound

    def enumeration(self, value: enum.Enum, depth: int) -> Any:
        if isinstance(value.name, str):
            return {"enum": f"{class_name(value)}.{value.name}"}
        return {"enum": class_name(value), "value": self.encode(value.value, depth + 1)}

    def mapping(self, value: Mapping, depth: int) -> Any:
        if all(isinstance(key, str) for key in value):
            return self.keyed(value, depth)
        pairs = [
            [self.encode(key, depth + 1), self.encode(item, depth + 1)]
            for key, item in value.items()
        ]
        return sorted(pairs, key=lambda pair: canonical(pair[0]))

    def keyed(self, value: Mapping[str, Any], depth: int) -> dict[str, Any]:
        return {key_of(key): self.encode(item, depth + 1) for key, item in value.items()}

    def named(self, value: Any, values: Mapping[str, Any], depth: int) -> dict[str, Any]:
        return {"class": class_name(value), "values": self.keyed(values, depth)}

    def configuration(self, value: Any, depth: int) -> dict[str, Any]:
        try:
            values = dict(value.to_dict())
        except Exception as error:
            raise Unbound from error
        for name in _CONFIGURATION_CHOICES:
            if (choice := getattr(value, name, None)) is not None:
                values[name] = choice
        return self.named(value, _without_volatile(values), depth)

    def partial(self, value: functools.partial, depth: int) -> dict[str, Any]:
        return {
            "arguments": [self.encode(item, depth + 1) for item in value.args],
            "callable": _required(callable_name(value.func)),
            "keywords": self.keyed(value.keywords, depth),
        }


_FUNCTIONS = (
    types.FunctionType,
    types.BuiltinFunctionType,
    types.MethodType,
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
)


def _is_operator(value: Any) -> bool:
    return type(value).__module__ == "torch._ops" and callable(value)


def _is_configuration(value: Any) -> bool:
    return hasattr(value, "to_dict") and any(
        base.__name__ in _CONFIGURATIONS and base.__module__.startswith("transformers.")
        for base in type(value).__mro__
    )


def _without_volatile(value: Any) -> Any:
    if isinstance(value, dict):
        return {k: _without_volatile(v) for k, v in value.items() if k not in VOLATILE_KEYS}
    return value


def _required(name: str | None) -> str:
    if name is None:
        raise Unbound
    return _text(name)


def _number(value: int | float) -> Any:
    try:
        return number(float(value) if isinstance(value, float) else int(value))
    except MalformedRecord as error:
        raise Unbound from error


def _text(value: str) -> str:
    try:
        value.encode("utf-8")
    except UnicodeEncodeError as error:
        raise Unbound from error
    return str(value)
