"""How far apart the values of a tensor are that lies in two files: how many elements differ, and
by how much at most.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from . import _core
from .files import open_regular
from .stored_lines import Home

_PIECE = 4 << 20  # bytes; a multiple of every element's


def value_changes(before: Mapping[str, Home], after: Mapping[str, Home], name: str) -> str | None:
    """``5 of 384 elements differ, by at most 0.25`` for a tensor of one dtype and shape in both;
    None where one of the two is not at hand, or not as it was when it was hashed."""
    if name not in before or name not in after:
        return None
    old, new = before[name], after[name]
    try:
        found = _difference(old, new)
    except OSError:
        return None
    if found is None:
        return None
    count = old.tensor.nbytes // _core.itemsize(old.tensor.dtype)
    text = f"{found.differing} of {count} elements differ"
    if found.largest is not None:
        text += f", by at most {found.largest:.6g}"
    if found.undefined:
        text += f", {found.undefined} to or from NaN"
    return text


def _difference(old: Home, new: Home) -> _core.Difference | None:
    found = _core.Difference(old.tensor.dtype)
    with open_regular(old.file.path) as first, open_regular(new.file.path) as second:
        streams = [(first.fileno(), old), (second.fileno(), new)]
        for offset in range(0, old.tensor.nbytes, _PIECE):
            length = min(_PIECE, old.tensor.nbytes - offset)
            pieces = [os.pread(fd, length, home.tensor.begin + offset) for fd, home in streams]
            if any(len(piece) != length for piece in pieces):
                return None
            found.add(*pieces)
        unchanged = all(_core.FileState(fd) == home.file.state for fd, home in streams)
    return found if unchanged else None
