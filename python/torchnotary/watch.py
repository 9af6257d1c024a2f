"""Notices, at every call, that a model is no longer what was committed to.

What is compared, in tens of microseconds for a hundred modules: the identity of every submodule,
parameter and buffer; the address and the version counter of every tensor; the identity of every
attribute that structure.jsonl binds (the contents of those that can change in place); how many
entries, attributes and hooks there are. Only where one of these moved are the values themselves
looked at, and named.

What this cannot see: writes through ``.data``, NumPy or another process that leave the version
counter alone (tensors made in inference mode have none), and changes inside unbound objects.
Sealing and hashing anew do. It guards against accidents and bugs.

A watch keeps tensors and plain values alive, but no module: modules are held weakly, so that one
whose hook refers back to its parent does not outlive it because it is watched.
"""

from __future__ import annotations

import copy
import enum
import functools
import types
import weakref
from collections.abc import Callable, Iterable
from operator import attrgetter, getitem, is_, itemgetter
from typing import Any

from . import _libtorch
from .attributes import key_of
from .manifest_diff import module_changes
from .structure import (
    HOOK_TABLES,
    Node,
    module_line,
    own_attributes,
    unwrap,
    walk_with_wrappers,
)

_version_of = attrgetter("_version")
_modules_of = itemgetter("_modules")
_parameters_of = itemgetter("_parameters")
_buffers_of = itemgetter("_buffers")
_hooks_of = itemgetter(*HOOK_TABLES)
# Held weakly: a bound method leads back to its module.
_METHODS = (types.MethodType, functools.partial)


class Watch:
    """The state of a module and everything below it at the time this was made."""

    def __init__(self, module: Any) -> None:
        module = unwrap(module)
        self._root = weakref.ref(module)
        self._taken = _Snapshot(module)

    def changes(self) -> list[str]:
        """What is no longer as it was, named; empty where nothing changed.

        A change is reported until a new Watch is made.
        """
        taken = self._taken
        if taken.holds():
            return []
        root = self._root()
        if root is None:
            return ["the model no longer exists"]
        now = _Snapshot(root)
        found = taken.differences(now)
        if not found:
            # Equal values in new objects, or something that is no part of the model.
            self._taken = now
        return found

    def tensors_changed(self) -> bool:
        """Whether a tensor is among the changes; where none is, the weights lines of the manifest
        made at the time of this watch still stand (Manifest.of takes them as ``reuse``)."""
        root = self._root()
        return root is None or bool(self._taken.tensor_changes(_Snapshot(root)))

    def tensors(self) -> list[Any]:
        """The parameters and buffers as they were taken."""
        return [tensor for tensor, _, _ in self._taken._tensors.values() if tensor is not None]

    def training(self) -> bool:
        """Whether any module is in training mode."""
        return self._taken.training()


class _Snapshot:
    """Flat lists about every module and tensor, made to be compared without a Python loop."""

    def __init__(self, root: Any) -> None:
        from torch import Tensor
        from torch.nn import Module
        from torch.utils.hooks import RemovableHandle

        self._address_of, self._handles = Tensor.data_ptr, RemovableHandle
        # The descriptor itself is a third faster than attrgetter("__dict__").
        self._dict_of = Module.__dict__["__dict__"].__get__
        self._lines: dict[str, dict[str, Any]] = {}
        self._tensors: dict[str, tuple[Any, int | None, int | None]] = {}
        nodes = list(walk_with_wrappers(root))
        self._modules = [weakref.ref(node.module) for node in nodes]
        # Scripted modules keep their children elsewhere, and are compared in full.
        self._is_plain = all(isinstance(vars(n.module).get("_modules"), dict) for n in nodes)
        self._take_children(nodes)
        self._take_tensors((node.name, node.module) for node in nodes)
        self._take_attributes(nodes)
        self._take_counts()
        self._native = self._take_native(nodes)

    def _take_children(self, nodes: list[Node]) -> None:
        # Every node but the root stands under a key in its parent's table.
        self._table_of_parent = _picker([node.parent for node in nodes[1:]])
        self._keys = [node.key for node in nodes[1:]]
        self._absent = [
            (index, key)
            for index, node in enumerate(nodes)
            for key, child in node.module._modules.items()
            if child is None
        ]
        self._absent_keys = [key for _, key in self._absent]
        self._child_entries = sum(len(node.module._modules) for node in nodes)

    def _take_tensors(self, modules: Iterable[tuple[str, Any]]) -> None:
        tables: list[Any] = []
        places: list[tuple[Any, str, Any]] = []
        for name, module in modules:
            for table in (module._parameters, module._buffers):
                tables.append(table)
                for key, tensor in table.items():
                    places.append((table, key, tensor))
                    state = (tensor, self._address(tensor), _version(tensor))
                    self._tensors[f"{name}.{key}" if name else key] = state
        self._tables = tables
        self._parameter_tables, self._buffer_tables = tables[::2], tables[1::2]
        self._empty = [table for table in tables if not len(table)]
        self._filled = [table for table in tables if len(table)]
        self._tensor_tables = [table for table, _, _ in places]
        self._tensor_keys = [key for _, key, _ in places]
        self._held = [tensor for _, _, tensor in places]
        states = self._tensors.values()
        self._addressed = [(t, address) for t, address, _ in states if address is not None]
        self._versioned = [(t, version) for t, _, version in states if version is not None]
        self._addressed, self._addresses = _unzipped(self._addressed)
        self._versioned, self._versions = _unzipped(self._versioned)

    def _take_attributes(self, nodes: list[Node]) -> None:
        self._methods: list[tuple[int, str, weakref.ref]] = []
        owners, names, values, live = [], [], [], {}
        for index, node in enumerate(nodes):
            if node.is_wrapper:
                continue
            line = self._lines[node.name] = module_line(node.name, node.module)
            for name, value in own_attributes(node.module).items():
                if key_of(name) not in line["attributes"]:
                    continue
                if isinstance(value, _METHODS):
                    self._methods.append((index, name, weakref.ref(value)))
                    continue
                owners.append(index)
                names.append(name)
                values.append(value)
                if (contents := _contents(value)) is not None:
                    live[id(contents)] = contents
        self._owner, self._owners = _picker(owners), owners
        self._names, self._values = names, values
        self._live = list(live.values())
        self._copies = [_copied(contents) for contents in self._live]

    def _take_counts(self) -> None:
        dicts = [vars(ref()) for ref in self._modules]
        self._entries = sum(map(len, dicts))
        self._tensor_entries = sum(map(len, self._filled))
        self._hooks = self._hook_keys(dicts)
        self._last_handle = self._handles.next_id
        self._has_hooks = any(keys for pair in self._hooks for keys in pair)

    def _take_native(self, nodes: list[Node]) -> Any:
        """The same as ``_torch`` compares it, an order of magnitude faster; None without it, and
        where it could not read something that Python can."""
        extension = _libtorch.available()
        if extension is None or not self._is_plain:
            return None
        try:
            native = extension.ModuleSnapshot(
                self._modules,
                [node.parent for node in nodes[1:]],
                self._keys,
                [index for index, _ in self._absent],
                self._absent_keys,
                self._owners,
                self._names,
                self._values,
                self._tables,
                self._tensor_tables,
                self._tensor_keys,
                self._held,
            )
            return native if native.holds() else None
        except (RuntimeError, TypeError):
            return None  # a tensor or a module of another making

    def training(self) -> bool:
        """Whether any module that still exists is in training mode."""
        if self._native is not None:
            return self._native.training()
        return True in [getattr(ref(), "training", False) for ref in self._modules]

    def holds(self) -> bool:
        """Whether nothing moved. False may be wrong, and asks for a comparison in full."""
        try:
            if self._native is not None:
                return self._native.holds() and self._rest_holds()
            return self._is_plain and self._nothing_moved()
        except Exception:
            # Something of another kind stands where it stood (a KeyError, a tensor compared with
            # a number): what it is, the comparison in full will name.
            return False

    def _nothing_moved(self) -> bool:
        modules = [ref() for ref in self._modules]
        dicts = list(map(self._dict_of, modules))
        tables = list(map(_modules_of, dicts))
        return (
            sum(map(len, dicts)) == self._entries
            and sum(map(len, tables)) == self._child_entries
            and all(map(is_, map(_parameters_of, dicts), self._parameter_tables))
            and all(map(is_, map(_buffers_of, dicts), self._buffer_tables))
            and sum(map(len, self._filled)) == self._tensor_entries
            and not any(self._empty)
            and all(map(is_, map(getitem, self._table_of_parent(tables), self._keys), modules[1:]))
            and all([tables[i][key] is None for i, key in self._absent])
            and all(map(is_, map(getitem, self._tensor_tables, self._tensor_keys), self._held))
            and list(map(_version_of, self._versioned)) == self._versions
            and list(map(self._address_of, self._addressed)) == self._addresses
            and all(map(is_, map(getitem, self._owner(dicts), self._names), self._values))
            and self._live == self._copies
            and all([dicts[i][name] is method() for i, name, method in self._methods])
            and self._hooks_hold(dicts)
        )

    def _rest_holds(self) -> bool:
        """Whether what only Python can compare is as it was."""
        if self._live != self._copies:
            return False
        number = self._handles.next_id
        if number == self._last_handle and not self._methods and not self._has_hooks:
            return True
        dicts = list(map(self._dict_of, [ref() for ref in self._modules]))
        return all(
            [dicts[i][name] is method() for i, name, method in self._methods]
        ) and self._hooks_hold(dicts)

    def _hooks_hold(self, dicts: list[dict]) -> bool:
        # torch numbers the hooks of a process; without a new number none was added anywhere.
        number = self._handles.next_id
        if number == self._last_handle and not self._has_hooks:
            return True
        if self._hook_keys(dicts) != self._hooks:
            return False
        self._last_handle = number
        return True

    def _hook_keys(self, dicts: list[dict]) -> list[tuple[tuple, ...]]:
        return [tuple(map(tuple, _hooks_of(entries))) for entries in dicts]

    def differences(self, now: _Snapshot) -> list[str]:
        """What is different now, module attributes first, by name."""
        return [*module_changes(self._lines, now._lines), *self.tensor_changes(now)]

    def tensor_changes(self, now: _Snapshot) -> list[str]:
        """What is different now about parameters and buffers, by name."""
        found = []
        before, after = self._tensors, now._tensors
        for name in sorted(before.keys() | after.keys()):
            if name not in after:
                found.append(f"{name}: removed")
            elif name not in before:
                found.append(f"{name}: added")
            elif before[name][0] is not after[name][0]:
                found.append(f"{name}: replaced by another tensor")
            elif before[name][1] != after[name][1]:
                found.append(f"{name}: moved to other memory")
            elif before[name][2] != after[name][2]:
                found.append(f"{name}: edited in place")
        return found

    def _address(self, tensor: Any) -> int | None:
        try:
            return self._address_of(tensor)
        except (RuntimeError, TypeError):
            return None  # None itself, or a tensor without memory of its own


def _version(tensor: Any) -> int | None:
    try:
        return tensor._version
    except (RuntimeError, AttributeError):
        return None  # None itself, or a tensor made in inference mode


def _contents(value: Any) -> Any:
    """The container to compare by value, where an attribute can change in place."""
    if isinstance(value, (list, dict, set)):
        return value
    if callable(value) or isinstance(value, enum.Enum):
        return None
    return getattr(value, "__dict__", None)


def _copied(contents: Any) -> Any:
    try:
        copied = copy.deepcopy(contents)
        is_faithful = bool(copied == contents)
    except Exception:
        # What cannot be copied or compared deeply is watched one level deep.
        is_faithful = False
    return copied if is_faithful else copy.copy(contents)


def _picker(indices: list[int]) -> Callable[[list[Any]], tuple[Any, ...]]:
    """A function that takes these items of a list, in this order, as a tuple."""
    if len(indices) > 1:
        return itemgetter(*indices)
    return lambda items: tuple([items[index] for index in indices])


def _unzipped(pairs: list[tuple[Any, int]]) -> tuple[list[Any], list[int]]:
    return [first for first, _ in pairs], [second for _, second in pairs]
