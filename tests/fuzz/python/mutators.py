"""Changes that keep a format's outer form, which chance rarely does: values within canonical JSON,
base64 and JSON within strings, members within a ``.tnr``, the header of a safetensors file."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable
from contextlib import suppress
from random import Random
from typing import Any

import msgspec

from torchnotary.errors import NotaryError
from torchnotary.statement import container
from torchnotary.statement.lines import canonical

Mutate = Callable[[bytes, int], bytes]
ODD: list[Any] = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        2**31,
        2**32,
        2**53 - 1,
        1 - 2**53,
        "",
        "\x00",
        "é",
        "\U0001f600",
    ),
    *("", "\U0001f600", "0" * 64, "f" * 32, "0.weight", "inputs", "output", "x[0]", 'x["a"]'),
    *([], {}, [[]], {"": {}}),
    *({"int": "9007199254740993"}, {"f64": "7ff8000000000000"}, "float32", "bool", [0], [2, 0]),
]


def lines(data: bytes, limit: int, random: Random, mutate: Mutate) -> bytes:
    """One value of one line changed, or a line left out, repeated or moved."""
    end = b"\n" if data.endswith(b"\n") else b""
    parts = data.removesuffix(b"\n").split(b"\n")
    at = random.randrange(len(parts))
    way = random.randrange(8) if len(parts) > 1 else 7
    if way == 0:
        del parts[at]
    elif way == 1:
        parts.insert(random.randrange(len(parts)), parts[at])
    elif way == 2:
        other = random.randrange(len(parts))
        parts[at], parts[other] = parts[other], parts[at]
    else:
        parts[at] = _line(parts[at], random, mutate)
    return (b"\n".join(parts) + end)[:limit]


def members(data: bytes, limit: int, random: Random, mutate: Mutate) -> bytes:
    """One member of a ``.tnr`` changed by its own rules, left out, or in another's place."""
    try:
        held = container.unpack(data)
    except NotaryError:
        return mutate(data, limit)
    name = random.choice(list(held))
    way = random.randrange(8)
    if way == 0 and name != "bundle.json":
        del held[name]
    elif way == 1:
        held[random.choice(list(container.MEMBERS))] = held[name]
    else:
        content = held[name]
        by = headed if name.endswith("safetensors") else lines
        held[name] = by(content, limit, random, mutate)
    try:
        return container.pack(held)[:limit]
    except NotaryError:
        return mutate(data, limit)


def headed(data: bytes, limit: int, random: Random, mutate: Mutate) -> bytes:
    """A value changed in the JSON header of a safetensors file, whose length is mended."""
    end = 8 + int.from_bytes(data[:8], "little")
    try:
        header = _changed(json.loads(data[8:end]), random, mutate)
        text = json.dumps(header, separators=(",", ":")).encode()
    except (ValueError, RecursionError):
        return mutate(data, limit)
    text += b" " * (-len(text) % 8)
    return (len(text).to_bytes(8, "little") + text + data[end:])[:limit]


def _line(line: bytes, random: Random, mutate: Mutate) -> bytes:
    try:
        value = msgspec.json.decode(line)
        return canonical(_changed(value, random, mutate))
    except (ValueError, RecursionError, NotaryError):
        return mutate(line, len(line) + 64)


def _changed(value: Any, random: Random, mutate: Mutate) -> Any:
    """The value with one place in it changed."""
    if isinstance(value, (dict, list)) and value and random.random() < 0.85:
        key = (
            random.choice(list(value)) if isinstance(value, dict) else random.randrange(len(value))
        )
        way = random.randrange(10)
        if way == 0:
            del value[key]
        elif way == 1 and isinstance(value, dict):
            value[random.choice(["type", "name", "path", "line", "run", "root"])] = value[key]
        elif way == 1:
            value.insert(random.randrange(len(value)), value[key])
        else:
            value[key] = _changed(value[key], random, mutate)
        return value
    if isinstance(value, str) and random.random() < 0.7:
        return _text(value, random, mutate)
    if type(value) is int and random.random() < 0.5:
        return value + random.choice([-1, 1, 2**16, -(2**16)])
    return random.choice(ODD)


def _text(text: str, random: Random, mutate: Mutate) -> str:
    """Text changed as text, as the bytes that its base64 stands for, or as JSON within it."""
    if text[:1] == "[" and random.random() < 0.9:
        with suppress(ValueError, RecursionError):
            inside = _changed(json.loads(text), random, mutate)
            return json.dumps(inside, sort_keys=True, separators=(",", ":"))
    if random.random() < 0.5:
        try:
            inner = base64.b64decode(text, validate=True)
        except (ValueError, binascii.Error):
            inner = b""
        if inner:
            changed = (
                _line(inner, random, mutate) if inner[:1] == b"{" else mutate(inner, len(inner))
            )
            return base64.b64encode(changed).decode()
    return mutate(text.encode(), len(text.encode()) + 16).decode("utf-8", "replace")
