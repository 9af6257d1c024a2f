"""Weights on disk: which files a path stands for, and what a pickled one holds.

A path is a .safetensors file, a *.safetensors.index.json with its shards, a .pt, .pth or .bin
file (read by ``torch.load(weights_only=True)``, so nothing in it runs), any other file (one
tensor, its bytes), or a folder: its index, else all its .safetensors files, else
pytorch_model.bin, else no weights. In a sentence-transformers folder (modules.json) the files of
its subfolders come too, their names prefixed by the module's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from . import _core
from .errors import MalformedRecord, NotaryError
from .files import open_regular, read_regular

_INDEX = ".safetensors.index.json"
_PICKLED = (".pt", ".pth", ".bin")
_STATE_KEYS = ("state_dict", "model_state_dict")
_MODULES = "modules.json"
_PICKLED_MODEL = "pytorch_model.bin"
# The largest index in use has 100,000 tensors and 9 MB; each value takes some 200 bytes of memory.
_MAX_JSON_BYTES = 16 * 2**20
_MAX_JSON_VALUES = 250_000


@dataclass(frozen=True)
class WeightsFiles:
    """The files a path stands for: safetensors files with the prefix of their tensors' names and
    the names they must hold, pickled ones, or one that counts as its bytes."""

    safetensors: list[tuple[str, Path, frozenset[str]]] = field(default_factory=list)
    pickled: list[Path] = field(default_factory=list)
    plain: Path | None = None

    @property
    def paths(self) -> set[Path]:
        """All of them."""
        plain = [self.plain] if self.plain else []
        return {*(path for _, path, _ in self.safetensors), *self.pickled, *plain}


def find(path: Path) -> WeightsFiles:
    """The weights files of ``path``; none in a folder that has no weights. Raises MalformedRecord
    for an index or a modules.json that cannot be, NotaryError where several indexes lie there."""
    if path.is_dir():
        return _in_folder(path)
    if path.name.endswith(_INDEX):
        return WeightsFiles(_shards(path, ""))
    if path.suffix == ".safetensors":
        return WeightsFiles([("", path, frozenset())])
    if path.suffix in _PICKLED:
        return WeightsFiles(pickled=[path])
    return WeightsFiles(plain=path)


def holds_weights(folder: Path) -> bool:
    """Whether anything in a folder looks like weights, be it readable or not."""
    return any(
        path.name == _MODULES or path.name.endswith((".safetensors", _INDEX, *_PICKLED))
        for path in folder.iterdir()
    )


def load_pickled(paths: list[Path]) -> dict[str, Any]:
    """The entries of torch-saved state_dicts; raises MalformedRecord for a file that changes."""
    entries: dict[str, Any] = {}
    for path in paths:
        loaded = _load(path)
        # A folder's files are read as they are; a checkpoint alone may hold the weights by a key.
        if len(paths) == 1 and path.name != _PICKLED_MODEL:
            loaded = _unwrapped(loaded, path)
        if not isinstance(loaded, Mapping) or not all(isinstance(key, str) for key in loaded):
            raise MalformedRecord(
                f"{path} holds no state_dict",
                actual=type(loaded).__name__,
                next_step="save one: torch.save(model.state_dict(), path)",
            )
        if repeated := entries.keys() & loaded.keys():
            raise MalformedRecord(f"{path} repeats the tensor {min(repeated)!r} of another file")
        entries.update(loaded)
    return entries


def _unwrapped(loaded: Any, path: Path) -> Any:
    """The state_dict in a checkpoint; what lies beside it stays under its own names."""
    keys = [key for key in _STATE_KEYS if isinstance(loaded, Mapping) and key in loaded]
    if not keys or not isinstance(loaded[keys[0]], Mapping):
        return loaded
    inner, beside = loaded[keys[0]], {k: v for k, v in loaded.items() if k != keys[0]}
    if len(keys) > 1 or inner.keys() & beside.keys():
        raise MalformedRecord(
            f"{path} can be read as several state_dicts",
            actual=", ".join(keys if len(keys) > 1 else sorted(map(str, inner.keys() & beside))),
            next_step="save the weights alone: torch.save(model.state_dict(), path)",
        )
    return {**inner, **beside}


def _load(path: Path) -> Any:
    try:
        import torch
    except ImportError:
        raise NotaryError(
            f"reading {path} needs torch, which is not installed",
            next_step="install torch, or give a .safetensors file",
        ) from None
    try:
        # Read, not mapped: a mapped file that is cut short meanwhile would end the process.
        with open_regular(path) as stream:
            before = _core.FileState(stream.fileno())
            loaded = torch.load(stream, map_location="cpu", weights_only=True)
            changed = _core.FileState(stream.fileno()) != before
    except OSError:
        raise
    except Exception as error:
        # On damaged bytes torch's reader fails as they happen to make it: IndexError, KeyError …
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise MalformedRecord(
            f"{path} is not a file of plain tensors: {first}",
            next_step="save the weights alone, as .safetensors or torch.save(model.state_dict())",
        ) from error
    if changed:
        raise MalformedRecord(f"{path} changed while it was read", next_step="try again")
    return loaded


def _in_folder(folder: Path) -> WeightsFiles:
    found = _safetensors_in(folder, "")
    for prefix, inner in _parts_of_sentence_transformer(folder):
        found += _safetensors_in(inner, prefix)
    if found:
        return WeightsFiles(found)
    index = folder / "pytorch_model.bin.index.json"
    if index.exists():
        shards = sorted(set(_weight_map(index).values()))
        return WeightsFiles(pickled=[folder / name for name in shards])
    if (folder / _PICKLED_MODEL).exists():
        return WeightsFiles(pickled=[folder / _PICKLED_MODEL])
    return WeightsFiles()


def _safetensors_in(folder: Path, prefix: str) -> list[tuple[str, Path, frozenset[str]]]:
    preferred = folder / f"model{_INDEX}"
    indexes = [preferred] if preferred.exists() else sorted(folder.glob(f"*{_INDEX}"))
    if len(indexes) > 1:
        raise NotaryError(
            f"{folder} has several weights indexes: {', '.join(path.name for path in indexes)}",
            next_step="give the path of the one that the model loads",
        )
    if indexes:
        return _shards(indexes[0], prefix)
    return [(prefix, path, frozenset()) for path in sorted(folder.glob("*.safetensors"))]


def _shards(index: Path, prefix: str) -> list[tuple[str, Path, frozenset[str]]]:
    names: dict[str, set[str]] = {}
    for tensor, shard in _weight_map(index).items():
        names.setdefault(shard, set()).add(tensor)
    return [(prefix, index.parent / shard, frozenset(names[shard])) for shard in sorted(names)]


def _weight_map(index: Path) -> dict[str, str]:
    """Tensor name to shard name, both checked: a shard lies beside its index."""
    entries = _read_json(index)
    shards = entries.get("weight_map") if isinstance(entries, dict) else None
    if not isinstance(shards, dict) or not shards:
        raise MalformedRecord(f"{index} has no weight_map")
    for name in shards.values():
        if not isinstance(name, str) or name != os.path.basename(name) or name in ("", ".", ".."):
            raise MalformedRecord(f"{index} names a shard outside its folder: {name!r}")
    return shards


def _parts_of_sentence_transformer(folder: Path) -> Iterator[tuple[str, Path]]:
    description = folder / _MODULES
    if not description.exists():
        return
    parts = _read_json(description)
    if not isinstance(parts, list):
        raise MalformedRecord(f"{description} is not a list of modules")
    for part in parts:
        name, path = (part.get("name"), part.get("path")) if isinstance(part, dict) else (0, 0)
        if not isinstance(name, str) or not isinstance(path, str):
            raise MalformedRecord(f"{description} has a module without name or path")
        if os.path.isabs(path) or ".." in Path(path).parts:
            raise MalformedRecord(f"{description} names a module outside its folder: {path!r}")
        if Path(path) != Path():
            yield f"{name}.", folder / path


def _read_json(path: Path) -> Any:
    data = read_regular(path, _MAX_JSON_BYTES)
    if sum(map(data.count, (b",", b"[", b"{"))) > _MAX_JSON_VALUES:
        raise MalformedRecord(
            f"{path} has too many values",
            expected=f"at most {_MAX_JSON_VALUES}",
            next_step="give the files themselves",
        )
    try:
        return json.loads(data)
    except (ValueError, RecursionError) as error:
        raise MalformedRecord(f"{path} is not JSON: {error}") from None
