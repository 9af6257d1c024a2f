"""The list of log folders this user has written, so that a record is found by its id alone."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from urllib.parse import unquote_to_bytes

from .. import folders
from ..errors import NotaryError
from ..statement.lines import canonical, parse_object

_SCHEME = "file://"


def remember(folder: Path) -> bool:
    """Notes that a log lies in ``folder``; False where the data folder cannot be written.

    Recording does not depend on it: the folder can still be named by hand.
    """
    # A URI, because a path need not be text.
    uri = Path(os.path.realpath(folder)).as_uri()
    line = canonical({"folder": uri, "type": "log-folder/1"})
    try:
        path = _path()
        folders.make_private(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        with open(descriptor, "r+b", buffering=0) as stream:
            fcntl.flock(stream, fcntl.LOCK_EX)
            known = stream.read()
            if line not in known.split(b"\n"):
                # What a power loss cut short stays on a line of its own, where it is skipped.
                cut = known and known[-1:] != b"\n"
                stream.write((b"\n" if cut else b"") + line + b"\n")
    except (OSError, NotaryError):
        return False
    return True


def known_folders() -> list[Path]:
    """The log folders that were written and still exist, the latest first."""
    try:
        lines = _path().read_bytes().split(b"\n")
    except (OSError, NotaryError):
        return []
    found: dict[Path, None] = {}
    for line in reversed(lines):
        try:
            uri = parse_object(line, "the entry", ("folder", "type"))["folder"]
        except NotaryError:
            continue
        if type(uri) is str and uri.startswith(_SCHEME):
            folder = Path(os.fsdecode(unquote_to_bytes(uri[len(_SCHEME) :])))
            if folder.is_dir():
                found[folder] = None
    return list(found)


def _path() -> Path:
    return folders.data_home() / "logs.jsonl"
