"""Pins: a lock file that remembers a model, and the refusal to run when anything changed.

    {"structure":{"root":hex,"size":n}|null,"type":"pin/1","weights":{"root":hex,"size":n}|null}
    the lines of structure.jsonl
    the lines of weights.jsonl
    the lines of files.jsonl

The pin of a folder also has ``"files":{"root":hex,"size":n}|null`` in its first line. All roots
follow from the lines, and a reader computes them again.
"""

from __future__ import annotations

import os
from dataclasses import replace
from itertools import chain
from typing import Any

from .coverage import covers
from .errors import MalformedRecord, NotaryError, PinMismatch
from .files import read_regular
from .manifest import Manifest, weights_claimed
from .manifest_diff import MAX_SHOWN
from .statement.container import write_atomically
from .statement.lines import (
    MAX_FILE_BYTES,
    Tree,
    canonical,
    encode_file,
    parse,
    parse_file,
    require_object,
)

DEFAULT_PATH = "torchnotary.lock"
_PARTS = ("structure", "weights", "files")
TYPE = "pin/1"


def pin(model: Any, path: str | os.PathLike[str] = DEFAULT_PATH) -> Manifest:
    """Writes the lock file of a model (anything Manifest.of takes) and returns its manifest.

    A module's pin covers weights and structure, a folder's weights and all other files, a file's
    or a state_dict's the weights alone.
    """
    manifest = _manifest(model)
    if manifest.unbound and not manifest.covers_files:
        raise NotaryError(
            "a pin of this would not notice a change of what is no tensor",
            actual=", ".join(manifest.unbound[:5]),
            next_step="pin the folder, which covers whole files, or save the tensors alone",
        )
    header = {
        "structure": _tree(manifest.structure),
        "type": TYPE,
        "weights": _tree(manifest.weights),
    }
    if manifest.covers_files:
        header["files"] = _tree(manifest.files)
    parts = (manifest.structure_lines, manifest.weights_lines, manifest.files_lines)
    write_atomically(path, encode_file([canonical(header), *chain(*parts)]))
    return manifest


def check_pin(model: Any, path: str | os.PathLike[str] = DEFAULT_PATH) -> None:
    """Returns where ``model`` is what the lock file remembers; raises PinMismatch naming what
    changed, MalformedRecord for a damaged lock file, FileNotFoundError where there is none."""
    pinned, now = read_pin(path), _manifest(model)
    if bool(pinned.structure_lines) == bool(now.structure_lines):
        if difference := pinned.diff(now):
            raise _mismatch(str(difference), pinned, now, path)
        return
    # Folders have no structure: where one side has, there are no files on both sides to compare.
    # One of the two has tensors only, perhaps under other names and with older files' buffers.
    module, file = (pinned, now) if pinned.structure_lines else (now, pinned)
    coverage = covers(module.weights_lines, file.weights_lines)
    if not coverage:
        raise _mismatch(_in_words(coverage.lines), pinned, now, path)
    if pinned.structure_lines:
        raise PinMismatch(
            f"all weights are those of {path}, but it covers the structure too, and tensors alone "
            "do not show one",
            expected=f"structure {pinned.structure_root}",
            actual="no structure",
            next_step="check the loaded model, or make the pin of the file instead",
        )


def read_pin(path: str | os.PathLike[str]) -> Manifest:
    """The manifest in a lock file, strictly parsed and its roots computed again."""
    try:
        data = read_regular(path, MAX_FILE_BYTES)
    except FileNotFoundError as error:
        raise FileNotFoundError(
            error.errno, "no such pin; make one: torchnotary pin MODEL, or pin(model)", str(path)
        ) from None
    header, *lines = parse_file(data, name=str(path))
    claimed = require_object(parse(header), f"{path} line 1")
    keys = {*_PARTS, "type"} if "files" in claimed else {"structure", "type", "weights"}
    require_object(claimed, f"{path} line 1", keys)
    if claimed["type"] != TYPE:
        raise MalformedRecord(f"{path} is not a pin", expected=TYPE, actual=claimed["type"])
    trees = {
        part: Tree.from_json(claimed[part], f"{path} {part}")
        if claimed.get(part) is not None
        else None
        for part in _PARTS
    }
    first = trees["structure"].size if trees["structure"] else 0
    second = first + (trees["weights"].size if trees["weights"] else 0)
    parts = (lines[first:second], lines[:first], lines[second:])
    found = Manifest.from_files(*(encode_file(part) if part else None for part in parts))
    manifest = replace(found, covers_files="files" in claimed)
    if manifest.structure_lines and weights_claimed(manifest.structure_lines) != trees["weights"]:
        raise MalformedRecord(f"{path}: its structure belongs to other weights than its own")
    for part, tree in trees.items():
        if tree != getattr(manifest, part):
            raise MalformedRecord(
                f"{path}: its {part} lines are not those of its first line",
                expected=tree,
                actual=getattr(manifest, part),
                next_step="pin a model that you trust anew",
            )
    return manifest


def _manifest(model: Any) -> Manifest:
    return model if isinstance(model, Manifest) else Manifest.of(model)


def _tree(tree: Tree | None) -> dict[str, Any] | None:
    return tree.to_json() if tree else None


def _in_words(found: list[str]) -> str:
    shown = found[:MAX_SHOWN]
    if len(found) > MAX_SHOWN:
        shown.append(f"… and {len(found) - MAX_SHOWN} more")
    return "\n".join(shown)


def _mismatch(
    words: str, pinned: Manifest, now: Manifest, path: str | os.PathLike[str]
) -> PinMismatch:
    compared = _PARTS if pinned.covers_files and now.covers_files else ("structure", "weights")
    differ = [
        part
        for part in sorted(compared, reverse=True)
        if getattr(pinned, f"{part}_root") != getattr(now, f"{part}_root")
    ]

    def roots(manifest: Manifest) -> str:
        return ", ".join(f"{part} {getattr(manifest, f'{part}_root')}" for part in differ)

    indented = words.replace("\n", "\n  ")
    return PinMismatch(
        f"the model is not the one that {path} pins:\n  {indented}\n ",
        expected=roots(pinned),
        actual=roots(now),
        next_step="restore the model, or where the change is meant: torchnotary pin MODEL",
    )
