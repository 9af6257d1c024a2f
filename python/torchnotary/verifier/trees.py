"""Line files against the root and size that were signed over them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ..errors import RootMismatch
from ..statement import lines as line_files
from ..statement.record import Record
from ..statement.trace import TRACE, TraceLine, trace_lines


def signed_values(data: bytes, claimed: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    """The objects of a line file's lines; MalformedRecord where it is none, RootMismatch where it
    does not have the ``root`` and ``size`` claimed."""
    scanned = list(line_files.scan_file(data, name=name))
    tree = line_files.tree_of([line for line, _ in scanned])
    if (tree.root, tree.size) != (claimed["root"], claimed["size"]):
        raise RootMismatch(
            f"{name} does not have the root and size that were signed",
            expected=f"{claimed['root']} of {claimed['size']} lines",
            actual=f"{tree.root} of {tree.size} lines",
            next_step="ask its maker for the record again; this file was changed",
        )
    return [value for _, value in scanned]


def recorded_trace(record: Record) -> list[TraceLine] | None:
    """The lines of trace.jsonl, travelling or from this machine's private store; None where the
    record has no trace or neither has the file."""
    claimed = record.predicate["trace"]
    data = record.file(TRACE) if claimed is not None else None
    return None if data is None else trace_lines(signed_values(data, claimed, TRACE))
