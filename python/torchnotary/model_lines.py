"""The lines of a model in memory: its tensors, each hashed once, and what state_dict leaves out.

Entries of a state_dict that are not tensors are cut into their parts: ``name[0]`` and
``name["key"]`` for what a tuple, list or mapping holds.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from .commitment import commit, commit_many, is_tensor
from .composite import STRIDED
from .errors import NotaryError, UnsupportedTensor
from .statement.lines import canonical, tree_of
from .structure import Node, shown_name, structure_lines, walk

Progress = Callable[[int, int, str], None]
"""Called as ``progress(bytes done, bytes in all, name)`` after every tensor."""


def tensor_line(kind: str, name: str, commitment: Any) -> dict[str, Any]:
    """The object of a tensor's line."""
    line = {
        "digest": commitment.digest,
        "dtype": commitment.dtype,
        "name": name,
        "shape": [int(size) for size in commitment.shape],
        "type": kind,
    }
    if commitment.layout != STRIDED:
        line["layout"] = commitment.layout
    return line


def sorted_lines(objects: Iterable[Mapping[str, Any]]) -> list[bytes]:
    """Canonical lines, sorted by the UTF-8 bytes of their names."""
    # A name that is no text is refused by canonical(), which says so.
    ordered = sorted(objects, key=lambda line: line["name"].encode("utf-8", "surrogatepass"))
    return [canonical(line) for line in ordered]


# Tensors of at most so many bytes do not fill vector lanes alone, and are hashed side by side.
_SMALL = 64 << 10


class _Committer:
    """Commits ``tensors``, one by one where they are large; tied ones, which share their memory,
    are hashed once."""

    def __init__(self, tensors: Iterable[Any], total: int, progress: Progress | None) -> None:
        self._total, self._done, self._progress = total, 0, progress
        self._known: dict[tuple, Any] = {}
        small = {_memory(tensor): tensor for tensor in tensors if _size(tensor) <= _SMALL}
        small.pop(None, None)
        try:
            self._known.update(zip(small, commit_many(small.values()), strict=True))
        except UnsupportedTensor:
            pass  # commit() meets the tensor again, and names it

    def commit(self, name: str, tensor: Any) -> Any:
        key = _memory(tensor)
        commitment = self._known.get(key) if key else None
        if commitment is None:
            try:
                commitment = commit(tensor)
            except UnsupportedTensor as error:
                raise UnsupportedTensor(
                    f"{name}: {error.reason}",
                    expected=error.expected,
                    actual=error.actual,
                    next_step=error.next_step,
                ) from None
            if key:
                self._known[key] = commitment
        self._done += commitment.nbytes
        if self._progress:
            self._progress(self._done, max(self._total, self._done), name)
        return commitment


def _memory(tensor: Any) -> tuple | None:
    """What tells the contents of two living torch tensors apart; None where nothing does, as with
    composite ones: their components lie elsewhere, or say more than the memory."""
    try:
        if str(tensor.layout) != "torch.strided" or tensor.is_quantized or tensor.is_nested:
            return None
        flags = (tensor.is_conj(), tensor.is_neg(), str(tensor.device), tensor.dtype)
        key = (tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), flags)
    except (AttributeError, RuntimeError):
        return None
    return key if key[0] else None


def of_modules(
    modules: Mapping[str, Any], progress: Progress | None, reuse: list[bytes] | None
) -> tuple[list[bytes], list[bytes]]:
    """Weights and structure lines of modules by prefix (""  for a single one); ``reuse`` are
    weights lines to take as they are."""
    tensors: dict[str, Any] = {}  # name -> tensor of state_dict
    left_out: list[tuple[str, str, Any]] = []  # type, name, tensor that state_dict leaves out
    extra: dict[str, dict[str, Any]] = {}  # module name -> its entries that are no tensors
    nodes: list[Node] = []
    for prefix, module in modules.items():
        own = list(walk(module))
        shown = {node.real: node.name for node in own}
        state = own[0].module.state_dict()
        for real, value in state.items():
            owner, rest = shown_name(real, shown)
            for name, leaf in _parts(rest, value):
                if is_tensor(leaf):
                    _add(tensors, _under(prefix, _under(owner, name)), leaf)
                else:
                    extra.setdefault(_under(prefix, owner), {})[name] = leaf
        left_out += [
            (kind, _under(prefix, name), tensor)
            for kind, name, tensor in _outside_state(own, state.keys())
        ]
        nodes += [node._replace(name=_under(prefix, node.name)) for node in own]
    _require_distinct(node.name for node in nodes)
    hashed = [tensor for _, _, tensor in left_out]
    hashed += tensors.values() if reuse is None else ()
    committer = _Committer(hashed, sum(map(_size, hashed)), progress)
    if reuse is not None:
        weights = list(reuse)
    else:
        weights = sorted_lines(
            tensor_line("tensor", name, committer.commit(name, tensor))
            for name, tensor in tensors.items()
        )
    others = [tensor_line(k, name, committer.commit(name, t)) for k, name, t in left_out]
    tree = tree_of(weights) if weights else None
    return weights, structure_lines(nodes, tree, others, extra)


def _outside_state(nodes: list[Node], state: Iterable[str]) -> Iterator[tuple[str, str, Any]]:
    """Type, shown name and tensor of every buffer and parameter that is not in the state_dict."""
    known = set(state)
    for node in nodes:
        for kind, table in (("buffer", "_buffers"), ("parameter", "_parameters")):
            for key, tensor in getattr(node.module, table).items():
                if tensor is not None and _under(node.real, key) not in known:
                    for name, leaf in _parts(_under(node.name, key), tensor):
                        yield kind, name, leaf


def of_entries(
    entries: Mapping[str, Any], progress: Progress | None
) -> tuple[list[bytes], tuple[str, ...]]:
    """Weights lines of a state_dict, and the names of its entries that are no tensors."""
    tensors: dict[str, Any] = {}
    unbound = []
    for name, value in entries.items():
        for part, leaf in _parts(name, value):
            if is_tensor(leaf):
                _add(tensors, part, leaf)
            else:
                unbound.append(part)
    committer = _Committer(tensors.values(), sum(map(_size, tensors.values())), progress)
    lines = sorted_lines(
        tensor_line("tensor", name, committer.commit(name, tensor))
        for name, tensor in tensors.items()
    )
    return lines, tuple(sorted(unbound))


def _parts(name: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The tensors and other leaves of one state_dict entry with their names; None has no part."""
    if isinstance(value, (tuple, list)):
        for index, item in enumerate(value):
            yield from _parts(f"{name}[{index}]", item)
    elif isinstance(value, Mapping) and all(isinstance(key, str) for key in value):
        for key, item in value.items():
            yield from _parts(f"{name}[{json.dumps(key)}]", item)
    elif value is not None:
        yield name, value


def _add(tensors: dict[str, Any], name: str, tensor: Any) -> None:
    if name in tensors:
        raise NotaryError(
            f"two entries of the state_dict have the name {name}",
            next_step="rename one of them, or commit to the models one by one",
        )
    tensors[name] = tensor


def _require_distinct(names: Iterable[str]) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise NotaryError(
                f"two modules have the name {name!r}",
                next_step="give the models names that are not prefixes of one another",
            )
        seen.add(name)


def _size(tensor: Any) -> int:
    try:
        return int(tensor.nbytes)
    except RuntimeError:
        return 0  # a layout without bytes of its own, which commit() refuses by name


def _under(prefix: str, name: str) -> str:
    return f"{prefix}.{name}" if prefix and name else prefix or name
