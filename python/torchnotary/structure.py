"""What a model is apart from its weights: structure.jsonl, one line a module.

    {"root":hex,"size":n,"type":"weights"}                          the tree of weights.jsonl
    {"digest","dtype","name","shape","type":"buffer"}               tensors state_dict leaves out:
    {"digest","dtype","name","shape","type":"parameter"}              buffers, then parameters
    {"attributes":{…},"class":"pkg.Cls","name","type":"module","unbound":[…]}

sorted by UTF-8 bytes of the name within each type; the first line is absent where there are no
weights. ``attributes`` are the instance's own (attributes.py has their encoding) and the class
constants named in ``__constants__``; ``unbound`` names what has no encoding, and so is admitted
not to be seen. ``training`` is no part of it: it belongs to a record's execution section.
"""

from __future__ import annotations

import functools
import types
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from .attributes import Unbound, class_name, describe_callable, encode, key_of
from .statement.lines import Tree, canonical

# Kept by torch.compile, transformers and sentence-transformers about how a model is compiled,
# where it was loaded from, how it is placed, saved and described: it differs between machines and
# calls, and computes nothing.
BOOKKEEPING = frozenset(
    {
        "_compiled_call_impl",
        "_ep_plan",
        "_fsdp_plan",
        "_is_hf_initialized",
        "_is_torch_compile",
        "_keep_in_fp32_modules",
        "_keep_in_fp32_modules_strict",
        "_keys_to_ignore_on_load_missing",
        "_keys_to_ignore_on_load_unexpected",
        "_keys_to_ignore_on_save",
        "_model_card_text",
        "_model_card_vars",
        "_no_split_modules",
        "_pp_plan",
        "_skip_keys_device_placement",
        "_tp_plan",
        "_weight_conversions",
        "all_tied_weights_keys",
        "hf_device_map",
        "model_card_data",
        "name_or_path",
    }
)
# Modules of these libraries keep caches under private names, which calls fill.
_CACHING_LIBRARIES = ("transformers", "sentence_transformers")
_WRAPPERS = {
    "OptimizedModule": "_orig_mod",
    "DistributedDataParallel": "module",
    "DataParallel": "module",
}
HOOK_TABLES = {"_forward_hooks": "hook", "_forward_pre_hooks": "pre_hook"}


class Node(NamedTuple):
    """One module of a tree: the name it is shown by, the name torch knows it by, the object,
    whether it is a wrapper, which only passes calls on, and under which key of which node (by its
    number; -1 at the root) it stands."""

    name: str
    real: str
    module: Any
    is_wrapper: bool = False
    parent: int = -1
    key: str = ""


def unwrap(module: Any) -> Any:
    """The module inside ``torch.compile``, DDP and DataParallel wrappers, however nested."""
    while (inner := _wrapped_under(type(module))) is not None:
        module = module._modules[inner]
    return module


def walk(module: Any) -> Iterator[Node]:
    """Every module below ``module`` (unwrapped), parents first; one reachable under two names
    comes twice; names leave out the segments that wrappers inside the tree add."""
    return (node for node in walk_with_wrappers(module) if not node.is_wrapper)


def walk_with_wrappers(module: Any) -> Iterator[Node]:
    """Like :func:`walk`, with the wrappers themselves before what they wrap."""
    pending, number = [Node("", "", unwrap(module))], 0
    while pending:
        node = pending.pop()
        yield node
        for key, child in reversed(list(node.module._modules.items())):
            if child is not None:
                name = node.name if node.is_wrapper else _joined(node.name, key)
                wraps = _wrapped_under(type(child)) is not None
                pending.append(Node(name, _joined(node.real, key), child, wraps, number, key))
        number += 1


def shown_name(real: str, nodes: Mapping[str, str]) -> tuple[str, str]:
    """Splits a state_dict name into the shown name of its module and the rest; ``nodes`` has the
    shown names of all modules by their real ones, and the longest that fits counts."""
    parts = real.split(".")
    cut = next(n for n in range(len(parts) - 1, -1, -1) if ".".join(parts[:n]) in nodes)
    return nodes[".".join(parts[:cut])], ".".join(parts[cut:])


def structure_lines(
    nodes: Iterable[Node],
    weights: Tree | None,
    tensors: Iterable[dict[str, Any]],
    extra: Mapping[str, Mapping[str, Any]],
) -> list[bytes]:
    """The lines of structure.jsonl.

    ``tensors`` are the objects of the buffer and parameter lines; ``extra`` holds, by module
    name, the entries of state_dict that are no tensors.
    """
    lines = [] if weights is None else [canonical({**weights.to_json(), "type": "weights"})]
    ordered = sorted(tensors, key=lambda line: (line["type"], line["name"].encode()))
    lines += [canonical(line) for line in ordered]
    for node in sorted(nodes, key=lambda node: node.name.encode()):
        lines.append(canonical(module_line(node.name, node.module, extra.get(node.name, {}))))
    return lines


def module_line(name: str, module: Any, extra: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The object of one module's line; ``extra`` entries appear under the name ``state:…``."""
    bound, unbound = attributes_of(module)
    for rest, value in (extra or {}).items():
        try:
            bound[key_of(f"state:{rest}")] = encode(value)
        except Unbound:
            unbound.append(f"state:{rest}")
    return {
        "attributes": bound,
        "class": class_name(module),
        "name": name,
        "type": "module",
        "unbound": sorted(_speakable(unbound), key=str.encode),
    }


def attributes_of(module: Any) -> tuple[dict[str, Any], list[str]]:
    """Encoded attributes of a module by ASCII key, and the names of those without encoding;
    forward hooks and pre-hooks are among the latter."""
    bound: dict[str, Any] = {}
    unbound: list[str] = []
    constants = getattr(type(module), "__constants__", None)
    constants = constants if isinstance(constants, (list, tuple, set, frozenset)) else ()
    for name in constants:
        value = getattr(type(module), name, None)
        # Annotated slots and properties are no constants; their values are the instance's.
        if isinstance(value, (bool, int, float, str, tuple)):
            bound[key_of(name)] = encode(value)
    for name, value in own_attributes(module).items():
        try:
            bound[key_of(name)] = encode(value, module)
        except Unbound:
            bound.pop(key_of(name), None)
            unbound.append(name)
    for table, kind in HOOK_TABLES.items():
        hooks = [hook for hook in getattr(module, table).values() if not is_recorder(hook)]
        unbound += [f"{kind}:{describe_callable(hook)}" for hook in hooks]
    return bound, unbound


def own_attributes(module: Any) -> dict[str, Any]:
    """The entries of a module's ``__dict__`` that are attributes of the model: not torch's own
    tables, not a library's bookkeeping, not a recorder of ours."""
    left_out = own_tables() | BOOKKEEPING
    caches = type(module).__module__.partition(".")[0] in _CACHING_LIBRARIES
    return {
        name: value
        for name, value in list(vars(module).items())
        if isinstance(name, str)
        and name not in left_out
        and not (caches and name.startswith("_"))
        and not is_recorder(value)
    }


def is_recorder(value: Any) -> bool:
    """Whether a value is something torchnotary itself put on a module."""
    if isinstance(value, types.MethodType):
        value = value.__self__
    if isinstance(value, types.FunctionType):
        return "__torchnotary_recorder__" in vars(value)
    return bool(getattr(type(value), "__torchnotary_recorder__", False))


@functools.cache
def own_tables() -> frozenset[str]:
    """Names in the ``__dict__`` of every module: torch's own tables, and ``training``."""
    from torch.nn import Module

    return frozenset(vars(Module()))


@functools.cache
def _wrapped_under(cls: type) -> str | None:
    for base in cls.__mro__:
        if base.__name__ in _WRAPPERS and base.__module__.startswith("torch."):
            return _WRAPPERS[base.__name__]
    return None


def _joined(prefix: str, key: str) -> str:
    return f"{prefix}.{key}" if prefix else key


def _speakable(names: Iterable[str]) -> Iterator[str]:
    for name in names:
        yield name.encode("utf-8", "backslashreplace").decode()
