"""Manifests: the line files that commit to a model's weights, structure and other files.

weights.jsonl has ``{"digest","dtype","name","shape","type":"tensor"}`` for every tensor of the
``state_dict``, sorted by the UTF-8 bytes of the name (model_lines.py says what becomes of entries
that are no plain tensors); structure.py has structure.jsonl; files.jsonl has
``{"digest","name","size","type":"file"}`` for every other file of a folder, sorted alike.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from . import stored_lines, weights_files
from .attributes import check_attributes
from .composite import COMPONENTS
from .errors import MalformedRecord, NotaryError
from .files import read_regular
from .folder_files import other_files
from .manifest_diff import ManifestDiff, compare
from .model_lines import Progress, of_entries, of_modules, sorted_lines
from .statement.container import write_atomically
from .statement.lines import MAX_FILE_BYTES, Tree, encode_file, scan_file, tree_of

WEIGHTS, STRUCTURE, FILES = "weights.jsonl", "structure.jsonl", "files.jsonl"
_TENSOR_KEYS = {"digest", "dtype", "name", "shape", "type"}
_FILE_KEYS = {"digest", "name", "size", "type"}
_HEX64 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Manifest:
    """The lines (bytes, without newline) that commit to a model, and the roots of their trees.

    ``structure_lines`` is empty where there is no module to look at (a state_dict, a file), and
    ``unbound`` names entries of such a source that no line covers. ``files_lines`` are those of a
    folder's files that hold none of the weights, and ``covers_files`` says whether there was a
    folder to look at. ``saved`` says that the lines were read from a saved manifest, so that no
    weights were looked at; ``homes`` says where the tensors of files lay.
    """

    weights_lines: list[bytes]
    structure_lines: list[bytes]
    unbound: tuple[str, ...] = ()
    files_lines: list[bytes] = field(default_factory=list)
    covers_files: bool = field(default=False, compare=False)
    saved: bool = field(default=False, compare=False)
    homes: Mapping[str, stored_lines.Home] = field(default_factory=dict, compare=False, repr=False)

    @classmethod
    def of(
        cls, source: Any, *, progress: Progress | None = None, reuse: Manifest | None = None
    ) -> Manifest:
        """The manifest of a module, a state_dict, a file or a folder, or of several modules by
        name (their names become the prefixes ``name.``). A file that holds no tensors counts as
        one, its bytes (uint8).

        ``reuse`` is an earlier manifest of the same module, whose weights are known not to have
        changed: its weights lines are taken as they are. Raises UnsupportedTensor naming an entry
        that no rule covers, MalformedRecord for a damaged file, OSError for one that cannot be
        opened, TypeError for anything else.
        """
        if isinstance(source, (str, os.PathLike)):
            return _of_path(Path(source), progress)
        earlier = reuse.weights_lines if reuse else None
        if _is_module(source):
            return cls(*of_modules({"": source}, progress, earlier))
        if isinstance(source, Mapping):
            modules = [_is_module(value) for value in source.values()]
            if modules and all(modules):
                return cls(*of_modules(_checked_names(source), progress, earlier))
            if not any(modules):
                lines, unbound = of_entries(_checked_names(source), progress)
                return cls(lines, [], unbound)
        raise TypeError(
            "a manifest is made of a torch.nn.Module, a state_dict, a dict of modules by name, or "
            f"the path of a weights file or folder, not of {type(source).__qualname__}"
        )

    @cached_property
    def weights(self) -> Tree | None:
        """Root and size of weights.jsonl, None where there are no weights."""
        return tree_of(self.weights_lines) if self.weights_lines else None

    @cached_property
    def structure(self) -> Tree | None:
        """Root and size of structure.jsonl, None where the structure is not known."""
        return tree_of(self.structure_lines) if self.structure_lines else None

    @cached_property
    def files(self) -> Tree | None:
        """Root and size of files.jsonl, None where there are no other files."""
        return tree_of(self.files_lines) if self.files_lines else None

    @property
    def weights_root(self) -> str | None:
        return self.weights.root if self.weights else None

    @property
    def weights_size(self) -> int:
        return len(self.weights_lines)

    @property
    def structure_root(self) -> str | None:
        return self.structure.root if self.structure else None

    @property
    def structure_size(self) -> int:
        return len(self.structure_lines)

    @property
    def files_root(self) -> str | None:
        return self.files.root if self.files else None

    @property
    def files_size(self) -> int:
        return len(self.files_lines)

    def diff(self, other: Manifest) -> ManifestDiff:
        """What differs in ``other`` as against this manifest, which counts as the earlier one."""
        return compare(self, other)

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes weights.jsonl, structure.jsonl and files.jsonl into ``folder``, made if need be;
        an empty part has no file, and one left there by an earlier manifest is removed."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        parts = {
            WEIGHTS: self.weights_lines,
            STRUCTURE: self.structure_lines,
            FILES: self.files_lines,
        }
        for name, lines in parts.items():
            if lines:
                write_atomically(folder / name, encode_file(lines))
            else:
                (folder / name).unlink(missing_ok=True)

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Manifest:
        """Reads what :meth:`save` wrote. Raises MalformedRecord where a file is not in its one
        encoding or two do not belong together, FileNotFoundError where there is none."""
        folder = Path(folder)
        files = {name: folder / name for name in (WEIGHTS, STRUCTURE, FILES)}
        found = {
            name: read_regular(path, MAX_FILE_BYTES)
            for name, path in files.items()
            if path.exists()
        }
        if not found:
            names = f"no {WEIGHTS}, no {STRUCTURE} and no {FILES} in it"
            raise FileNotFoundError(2, names, str(folder))
        parts = (found.get(name) for name in (WEIGHTS, STRUCTURE, FILES))
        return replace(cls.from_files(*parts), saved=True)

    @classmethod
    def from_files(
        cls, weights: bytes | None, structure: bytes | None, files: bytes | None = None
    ) -> Manifest:
        """The manifest in the contents of weights.jsonl, structure.jsonl and files.jsonl, strictly
        parsed."""
        manifest = cls(
            parse_weights(weights) if weights is not None else [],
            parse_structure(structure) if structure is not None else [],
            files_lines=parse_files(files) if files is not None else [],
            covers_files=files is not None,
        )
        require_belonging(manifest)
        return manifest


def parse_weights(data: bytes, name: str = WEIGHTS) -> list[bytes]:
    """The lines of a weights file; MalformedRecord unless each one is a tensor line."""
    lines = []
    for line, value in scan_file(data, name=name, sorted_by="name"):
        check_tensor_line(value, ("tensor",), f"{name} line {len(lines) + 1}")
        lines.append(line)
    return lines


def parse_structure(data: bytes, name: str = STRUCTURE) -> list[bytes]:
    """The lines of a structure file; MalformedRecord unless each one follows structure.py."""
    lines: list[bytes] = []
    kinds: list[str] = []
    for line, value in scan_file(data, name=name, sorted_by="name"):
        check_structure_line(value, f"{name} line {len(lines) + 1}")
        lines.append(line)
        kinds.append(value["type"])
    order = {"weights": 0, "buffer": 1, "parameter": 2, "module": 3}
    if kinds.count("weights") > 1 or kinds != sorted(kinds, key=order.__getitem__):
        raise MalformedRecord(
            f"{name}: lines out of order",
            expected="at most one weights line, then buffers, parameters, modules",
        )
    return lines


def parse_files(data: bytes, name: str = FILES) -> list[bytes]:
    """The lines of a files file; MalformedRecord unless each one is a file line."""
    lines = []
    for line, value in scan_file(data, name=name, sorted_by="name"):
        if (
            value.keys() != _FILE_KEYS
            or value["type"] != "file"
            or not all(isinstance(value[key], str) for key in ("digest", "name"))
            or not _HEX64.fullmatch(value["digest"])
            or type(value["size"]) is not int
            or value["size"] < 0
        ):
            raise MalformedRecord(
                f"{name} line {len(lines) + 1} is not a file line",
                expected=f"{sorted(_FILE_KEYS)}, type file",
            )
        lines.append(line)
    return lines


def check_tensor_line(value: Mapping[str, Any], types: Iterable[str], where: str) -> None:
    """Raises MalformedRecord unless ``value`` is a tensor line of one of ``types``."""
    shape = value.get("shape")
    keys = _TENSOR_KEYS | {"layout"} if "layout" in value else _TENSOR_KEYS
    if (
        value.keys() != keys
        or value["type"] not in types
        or not all(isinstance(value[key], str) for key in ("digest", "dtype", "name"))
        or not _HEX64.fullmatch(value["digest"])
        or not isinstance(shape, list)
        or not all(type(size) is int and size >= 0 for size in shape)
        or value.get("layout", "sparse_coo") not in tuple(COMPONENTS)
    ):
        raise MalformedRecord(
            f"{where} is not a tensor line", expected=f"{sorted(keys)}, type {types}"
        )


def check_structure_line(value: Mapping[str, Any], where: str) -> None:
    """Raises MalformedRecord unless ``value`` is one of the lines structure.py writes."""
    kind = value["type"]
    if kind in ("buffer", "parameter"):
        check_tensor_line(value, ("buffer", "parameter"), where)
    elif kind == "weights":
        Tree.from_json({key: item for key, item in value.items() if key != "type"}, where)
    elif kind != "module" or not (
        value.keys() == {"attributes", "class", "name", "type", "unbound"}
        and isinstance(value["attributes"], dict)
        and isinstance(value["class"], str)
        and isinstance(value["name"], str)
        and isinstance(value["unbound"], list)
        and all(isinstance(name, str) for name in value["unbound"])
        and value["unbound"] == sorted(value["unbound"])
    ):
        raise MalformedRecord(f"{where} is not a line of a structure file")
    else:
        check_attributes(value["attributes"], where)


def require_belonging(manifest: Manifest) -> None:
    """Raises MalformedRecord where the structure speaks of other weights than the manifest has."""
    claimed = weights_claimed(manifest.structure_lines)
    if manifest.structure_lines and manifest.weights_lines and claimed != manifest.weights:
        raise MalformedRecord(
            "the structure belongs to other weights",
            expected=claimed.root if claimed else None,
            actual=manifest.weights_root,
            next_step="make both files anew: torchnotary manifest MODEL",
        )


def weights_claimed(structure_lines: list[bytes]) -> Tree | None:
    """The weights that a structure belongs to, by its first line."""
    first = json.loads(structure_lines[0]) if structure_lines else {"type": None}
    return Tree(first["root"], first["size"]) if first["type"] == "weights" else None


def _of_path(path: Path, progress: Progress | None) -> Manifest:
    found = weights_files.find(path)
    folder = path.is_dir()
    # Pickled files hold more than the tensors that lines cover, and so count as files too.
    others = other_files(path, found.paths - set(found.pickled)) if folder else []
    if folder and not found.paths and not others:
        raise NotaryError(f"no files in the folder {path}", next_step="give a folder with a model")
    weights, files, homes = stored_lines.lines_of(
        found, others, None if found.pickled else progress
    )
    lines, unbound = sorted_lines(weights), ()
    if found.pickled:
        lines, unbound = of_entries(weights_files.load_pickled(found.pickled), progress)
    return Manifest(lines, [], unbound, sorted_lines(files), covers_files=folder, homes=homes)


def _checked_names(source: Mapping[Any, Any]) -> Mapping[str, Any]:
    for name in source:
        if not isinstance(name, str):
            raise TypeError(f"names are strings, not {type(name).__qualname__}: {name!r}")
    return source


def _is_module(value: Any) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)
