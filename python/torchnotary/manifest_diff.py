"""What differs between two manifests, in words a person acts on."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Protocol

from .attributes import key_of, name_of
from .composite import STRIDED
from .errors import MalformedRecord
from .statement.lines import canonical, from_number
from .stored_lines import Home, shards_of
from .tensor_values import value_changes

MAX_SHOWN = 12
_KINDS = ("tensor", "buffer", "parameter", "module", "file")
_SAID = ("dtype", "shape", "layout")


class Lines(Protocol):
    """What is compared: a manifest's lines, and where tensors lie, as far as that is known."""

    weights_lines: list[bytes]
    structure_lines: list[bytes]
    files_lines: list[bytes]
    covers_files: bool
    homes: Mapping[str, Home]


@dataclass(frozen=True)
class ManifestDiff:
    """The differences between two manifests; true where there are any.

    ``lines`` are all of them, most telling first; ``str()`` shows the first few, and what could
    not be compared.
    """

    lines: list[str] = field(default_factory=list)
    not_compared: str | None = None

    def __bool__(self) -> bool:
        return bool(self.lines)

    def __str__(self) -> str:
        shown = self.lines[:MAX_SHOWN]
        if len(self.lines) > MAX_SHOWN:
            shown.append(f"… and {len(self.lines) - MAX_SHOWN} more")
        if self.not_compared:
            shown.append(f"not compared: {self.not_compared}")
        return "\n".join(shown or ["nothing differs"])


def compare(before: Lines, after: Lines) -> ManifestDiff:
    """The differences of ``after`` as against ``before``: modules and attributes first, then
    tensors, matched by content before they are called added or removed."""
    found: list[str] = []
    missing: list[str] = []
    if before.structure_lines and after.structure_lines:
        old, new = _by_type(before.structure_lines), _by_type(after.structure_lines)
        found += module_changes(old["module"], new["module"])
        for kind in ("buffer", "parameter"):
            found += _tensors(kind, old[kind], new[kind])
    elif before.structure_lines or after.structure_lines:
        side = "second" if before.structure_lines else "first"
        missing.append(f"structure (the {side} one has tensors only, no modules)")
    old, new = _by_type(before.weights_lines)["tensor"], _by_type(after.weights_lines)["tensor"]
    found += _tensors("tensor", old, new, partial(value_changes, before.homes, after.homes))
    found += _moves(old, new, shards_of(before.homes), shards_of(after.homes))
    if before.covers_files and after.covers_files:
        old, new = _by_type(before.files_lines), _by_type(after.files_lines)
        found += _tensors("file", old["file"], new["file"])
    elif before.files_lines or after.files_lines:
        side = "second" if before.files_lines else "first"
        missing.append(f"files (the {side} one is not of a folder)")
    return ManifestDiff(list(map(_printable, found)), "; ".join(missing) or None)


def show(value: Any) -> str:
    """An encoded attribute value as a person writes it: ``1e-12``, ``'gelu'``, ``float32``; what
    is in no encoding of a value is shown as it is."""
    if isinstance(value, list):
        return f"[{', '.join(map(show, value))}]"
    if not isinstance(value, dict):
        return repr(value)
    if len(value) == 1:
        return _show_tagged(*next(iter(value.items())))
    if "sha256" in value:
        return f"{value.get('bytes')} bytes, SHA-256 {value['sha256']}"
    if "class" in value:
        return str(value["class"])
    return str(value.get("callable", value))


def _show_tagged(tag: str, inner: Any) -> str:
    if tag in ("f64", "int"):
        try:
            return repr(from_number({tag: inner}))
        except MalformedRecord:
            return str(inner)
    if isinstance(inner, list):
        if tag == "complex":
            return f"({' + '.join(map(show, inner))}j)"
        if tag == "set":
            return "{" + ", ".join(map(show, inner)) + "}"
        if tag == "dict" and all(isinstance(pair, list) and len(pair) == 2 for pair in inner):
            return "{" + ", ".join(f"{show(k)}: {show(v)}" for k, v in inner) + "}"
    if tag == "dict" and isinstance(inner, dict):
        return "{" + ", ".join(f"{name_of(k)!r}: {show(v)}" for k, v in inner.items()) + "}"
    return inner if isinstance(inner, str) else str({tag: inner})


def _printable(line: str) -> str:
    """A line without what would move the cursor or cannot be written: names are a stranger's."""
    return "".join(
        char if char.isprintable() else char.encode("unicode_escape").decode() for char in line
    )


def _by_type(lines: Sequence[bytes]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {kind: {} for kind in _KINDS}
    for line in lines:
        value = json.loads(line)
        if value["type"] in found:
            found[value["type"]][value["name"]] = value
    return found


def _content(line: Mapping[str, Any]) -> tuple[str, ...]:
    if line["type"] == "file":
        return line["digest"], str(line["size"])
    return line["digest"], line["dtype"], str(line["shape"]), line.get("layout", STRIDED)


def _tensors(
    kind: str,
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    values: Callable[[str], str | None] = lambda name: None,
) -> list[str]:
    """Differences between two sets of tensor or file lines by name; ``values`` says more of a
    tensor whose values alone changed, where it can."""
    found: list[str] = []
    holders: dict[tuple, str] = {}
    for name, line in old.items():
        holders.setdefault(_content(line), name)
    for name in sorted(old.keys() & new.keys()):
        if _content(old[name]) != _content(new[name]):
            change = _change(old[name], new[name], holders)
            if change is None:
                more = values(name)
                change = "values changed" + (f" ({more})" if more else "")
            found.append(f"{kind} {name}: {change}")
    removed = {name: line for name, line in old.items() if name not in new}
    added = {name: line for name, line in new.items() if name not in old}
    renamed = _renamed(removed, added)
    found += _renamings(kind, renamed)
    for name in sorted(removed.keys() - renamed.keys()):
        found.append(f"{kind} {name} removed ({_shape(removed[name])})")
    for name in sorted(added.keys() - set(renamed.values())):
        found.append(f"{kind} {name} added ({_shape(added[name])})")
    return found


def _moves(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    before: Mapping[str, str],
    after: Mapping[str, str],
) -> list[str]:
    """Tensors of the same name and content that lie in another shard."""
    moved: dict[tuple[str, str], list[str]] = {}
    for name in sorted(before.keys() & after.keys()):
        if before[name] != after[name] and _content(old[name]) == _content(new[name]):
            moved.setdefault((before[name], after[name]), []).append(name)
    found = []
    for (source, target), names in moved.items():
        which = f"tensor {names[0]}" if len(names) == 1 else f"{len(names)} tensors"
        found.append(f"{which} moved from shard {source} to {target}")
    return found


def _change(
    old: Mapping[str, Any], new: Mapping[str, Any], holders: Mapping[tuple, str]
) -> str | None:
    """What a line says of a change; None where that is its values alone."""
    is_file = old["type"] == "file"
    parts = _size_changes(old, new) if is_file else tensor_changes(old, new)
    if (holder := holders.get(_content(new))) is not None:
        parts.append(f"now holds what {holder} held")
    if is_file and not parts:
        return "content changed"
    return ", ".join(parts) or None


def _size_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    return [f"size {old['size']} → {new['size']}"] if old["size"] != new["size"] else []


def tensor_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What two tensor lines say of dtype, shape and layout, where they differ."""
    said = [(key, old.get(key, STRIDED), new.get(key, STRIDED)) for key in _SAID]
    return [f"{key} {before} → {after}" for key, before, after in said if before != after]


def _renamed(removed: Mapping[str, Any], added: Mapping[str, Any]) -> dict[str, str]:
    """Old name to new name where the content stayed; equal contents pair up in order."""
    waiting: dict[tuple, list[str]] = {}
    for name in sorted(added, reverse=True):
        waiting.setdefault(_content(added[name]), []).append(name)
    pairs: dict[str, str] = {}
    for name in sorted(removed):
        if names := waiting.get(_content(removed[name])):
            pairs[name] = names.pop()
    return pairs


def _renamings(kind: str, pairs: Mapping[str, str]) -> list[str]:
    """One line a renaming, or a single one where only a common prefix came or went."""
    if len(pairs) > 1:
        changes = {_prefixes(old, new) for old, new in pairs.items()}
        if len(changes) == 1 and (change := changes.pop()) is not None:
            old, new = (f"'{prefix}'" for prefix in change)
            return [f"{len(pairs)} {kind}s renamed, otherwise the same: prefix {old} → {new}"]
    return [f"{kind} {old} renamed to {pairs[old]}" for old in sorted(pairs)]


def _prefixes(old: str, new: str) -> tuple[str, str] | None:
    if new.endswith(old):
        return "", new[: len(new) - len(old)]
    if old.endswith(new):
        return old[: len(old) - len(new)], ""
    return None


def module_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[str]:
    """Differences between the objects of module lines by name, classes first; what happened
    alike in many modules is one line."""
    both = sorted(old.keys() & new.keys())
    replaced = [name for name in both if old[name]["class"] != new[name]["class"]]
    classes: dict[str, list[str]] = {}
    for name in replaced:
        change = f"class {old[name]['class']} → {new[name]['class']}"
        classes.setdefault(change, []).append(name)
    values: dict[str, list[str]] = {}
    for name in both:
        for change in (*_attributes(old[name], new[name]), *_unbound(old[name], new[name])):
            values.setdefault(change, []).append(name)
    yield from _together(classes, "module {}: {}")
    yield from _together(values, "{}.{}")
    # What came or went inside a module of another class goes without saying.
    for name in _outermost(old.keys() - new.keys(), replaced):
        yield f"module {name} removed ({old[name]['class']})"
    for name in _outermost(new.keys() - old.keys(), replaced):
        yield f"module {name} added ({new[name]['class']})"


def _together(changes: Mapping[str, list[str]], form: str) -> Iterator[str]:
    for change, names in changes.items():
        if len(names) <= 3:
            for name in names:
                yield form.format(name, change) if name else f"the model's {change}"
        else:
            shown = ", ".join(name or "the model itself" for name in names[:2])
            yield f"{change} (in {len(names)} modules: {shown}, …)"


def _attributes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """Differences between the attributes of one module."""
    old, new = before["attributes"], after["attributes"]
    for key in sorted(old.keys() | new.keys()):
        name = name_of(key)
        if key in old and key in new:
            yield from _values(old[key], new[key], name)
        elif name in before["unbound"]:
            yield f"{name} something not bound → {show(new[key])}"
        elif name in after["unbound"]:
            yield f"{name} {show(old[key])} → something not bound"
        elif key in new:
            yield f"{name} added: {show(new[key])}"
        else:
            yield f"{name} removed (was {show(old[key])})"


def _values(old: Any, new: Any, path: str) -> Iterator[str]:
    """The parts in which two encoded values differ, with both values."""
    # Encoded, because True equals 1 in Python.
    if canonical(old) == canonical(new):
        return
    inner_old, inner_new = _inside(old), _inside(new)
    if inner_old is None or inner_new is None or old.get("class") != new.get("class"):
        yield f"{path} {show(old)} → {show(new)}"
        return
    for key in sorted(inner_old.keys() | inner_new.keys()):
        inner = f"{path}.{name_of(key)}"
        if key not in inner_old:
            yield f"{inner} added: {show(inner_new[key])}"
        elif key not in inner_new:
            yield f"{inner} removed (was {show(inner_old[key])})"
        else:
            yield from _values(inner_old[key], inner_new[key], inner)


def _inside(value: Any) -> dict[str, Any] | None:
    """The named parts of a configuration or of a mapping with text keys."""
    if isinstance(value, dict):
        for tag in ("values", "dict"):
            if isinstance(value.get(tag), dict):
                return value[tag]
    return None


def _unbound(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterator[str]:
    """What came or went that no line binds, apart from attributes that merely changed sides."""
    old, new = before["unbound"], after["unbound"]
    for name in sorted(set(old) | set(new)):
        if old.count(name) < new.count(name) and key_of(name) not in before["attributes"]:
            yield f"{name} is new, and what it does is not bound"
        elif old.count(name) > new.count(name) and key_of(name) not in after["attributes"]:
            yield f"{name} is gone (what it did was not bound)"


def _outermost(names: Iterable[str], told: Iterable[str]) -> list[str]:
    """The names that lie below no other and below none of those already told."""
    kept: list[str] = []
    roots = {f"{name}." if name else "" for name in told}
    for name in sorted(names, key=lambda name: (name.count("."), name)):
        above = {".".join(name.split(".")[:n]) + "." for n in range(1, name.count(".") + 1)}
        if not (above & roots or "" in roots):
            kept.append(name)
            roots.add(f"{name}.")
    return sorted(kept)


def _shape(line: Mapping[str, Any]) -> str:
    if line["type"] == "file":
        return f"{line['size']} bytes"
    layout = f"{line['layout']} " if "layout" in line else ""
    return f"{layout}{line['dtype']} {line['shape']}"
