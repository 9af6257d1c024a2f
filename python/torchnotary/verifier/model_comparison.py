"""A model against what was signed of one: which tensors, modules and attributes differ."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..coverage import covers, match_root, may_be_tied, without_legacy
from ..errors import NotaryError, VerificationFailed
from ..manifest import FILES, STRUCTURE, WEIGHTS, Manifest, parse_structure, parse_weights
from ..model_lines import Progress
from ..statement.lines import Tree, brief, canonical, parse, tree_of
from ..statement.record import Record
from ..weights_files import holds_weights
from .case import Case, Finding, not_checked, passed
from .model import claimed_tree

_RESTORE = "find the model that was recorded, or ask its maker which one that was"


def compare_weights(case: Case, claimed: Tree, recorded: list[bytes] | None) -> Finding:
    """The given model's tensors against the root that was signed, and its lines where they are
    known; raises VerificationFailed where they differ."""
    manifest: Manifest = case.model
    if manifest.weights == claimed:
        return passed(f"{claimed.size} tensors, root {claimed.root}{_as_said_by(manifest)}")
    lines = recorded or recorded_lines(case.record, WEIGHTS)
    if manifest.structure_root is None:
        return compare_file(manifest, claimed, lines)
    raise _mismatch("weights", claimed, manifest.weights, _changes(lines, manifest.weights_lines))


def compare_structure(case: Case, claimed: Tree, recorded: list[bytes] | None) -> Finding:
    """Likewise for its modules."""
    manifest: Manifest = case.model
    if manifest.structure is None:
        return not_checked("tensors alone have no structure; give the live module")
    given = apart_from_weights(manifest, claimed_tree(case.record, "weights"))
    if tree_of(given) == claimed:
        return passed(f"{claimed.size} lines, root {claimed.root}{_as_said_by(manifest)}")
    lines = recorded or recorded_lines(case.record, STRUCTURE)
    changes = None
    if lines is not None:
        changes = Manifest([], lines).diff(Manifest([], given)).lines
    raise _mismatch("structure", claimed, manifest.structure, changes)


def parsed(name: str, data: bytes) -> list[bytes]:
    """The lines of weights.jsonl or structure.jsonl; raises MalformedRecord."""
    return parse_weights(data) if name == WEIGHTS else parse_structure(data)


def recorded_lines(record: Record, name: str) -> list[bytes] | None:
    """The lines of weights.jsonl or structure.jsonl, travelling or from the private store."""
    data = record.file(name)
    return None if data is None else parsed(name, data)


def apart_from_weights(manifest: Manifest, weights: Tree | None) -> list[bytes]:
    """The model's structure lines as they would be over the recorded weights, so that changed
    weights alone do not count as a changed structure."""
    lines = [line for line in manifest.structure_lines if parse(line)["type"] != "weights"]
    return (
        lines if weights is None else [canonical({**weights.to_json(), "type": "weights"}), *lines]
    )


def manifest_of(model: Any, progress: Progress | None = None) -> Manifest:
    """The manifest of a model argument: computed from the weights, or read from a folder that
    holds a saved manifest and nothing else. Raises NotaryError where a folder has other files
    beside a manifest, none of them weights: which is meant is not clear."""
    if isinstance(model, Manifest):
        return model
    if isinstance(model, (str, os.PathLike)):
        folder = Path(model)
        names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        own = {WEIGHTS, STRUCTURE, FILES}
        if names & own and not holds_weights(folder):
            if others := sorted(names - own):
                raise NotaryError(
                    f"{folder} holds a saved manifest beside other files ({others[0]}), and none "
                    "that are known to be weights",
                    next_step="give the weights file, or put the manifest into a folder of its own",
                )
            return Manifest.load(folder)
        found = Manifest.of(model, progress=progress)
        if names & own and not found.weights_lines:
            raise NotaryError(
                f"no weights in the folder {folder} beside a saved manifest but in files of which "
                "it is not clear whether they are the model's",
                next_step="give the weights file",
            )
        return found
    return Manifest.of(model, progress=progress)


def compare_file(manifest: Manifest, claimed: Tree, lines: list[bytes] | None) -> Finding:
    """Weights without modules (a file, a state_dict), which may hold more or other names than the
    module that was recorded: passed or not checked; raises VerificationFailed where they differ.
    """
    given = manifest.weights_lines
    if not given:
        raise _mismatch("weights", claimed, None, ["no tensors are given"])
    if lines is not None:
        coverage = covers(lines, given)
        if coverage.differs:
            raise _mismatch("weights", claimed, manifest.weights, coverage.lines)
        if not coverage:
            return not_checked(f"{coverage}: {coverage.doubt}")
        return passed(f"line by line: {coverage}{_as_said_by(manifest)}")
    matched = match_root(given, claimed.root, claimed.size)
    if matched:
        detail = f"{claimed.size} tensors, root {claimed.root}: {matched.how}"
        return passed(detail + _as_said_by(manifest))
    if matched is not None:
        return not_checked(
            f"all {claimed.size} tensors of the record are in the file ({matched.how}), which "
            f"holds {len(matched.extra)} more: the record is not of all that the file holds"
        )
    held = without_legacy(given)
    if len(held) > claimed.size or may_be_tied(held, claimed.size):
        return not_checked(
            f"{len(given)} tensors in the file, {claimed.size} in the model: to match them by "
            "name, its weights.jsonl has to be disclosed"
        )
    raise _mismatch("weights", claimed, manifest.weights, None)


def _as_said_by(manifest: Manifest) -> str:
    """What a passed step adds where nothing but lines was there to compare with."""
    return ", as the saved manifest says (no weights were read)" if manifest.saved else ""


def _changes(old: list[bytes] | None, new: list[bytes]) -> list[str] | None:
    return None if old is None else Manifest(old, []).diff(Manifest(new, [])).lines


def _mismatch(
    part: str, claimed: Tree, given: Tree | None, changes: Sequence[str] | None
) -> VerificationFailed:
    shown = (
        "; ".join(brief(change, 300) for change in changes[:3])
        if changes
        else f"the {part} differ in an unknown place"
    )
    if changes and len(changes) > 3:
        shown += f"; and {len(changes) - 3} more"
    return VerificationFailed(
        shown,
        expected=f"{part} {claimed.root}",
        actual=given.root if given else "none",
        next_step=_RESTORE,
    )
