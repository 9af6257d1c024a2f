"""Where torchnotary keeps things: the user's configuration (keys) and data (logs) folders.

``TORCHNOTARY_HOME`` replaces both, for containers and CI; ``TORCHNOTARY_LOG`` names the
default log folder. Nothing here creates anything until it is asked to.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from .errors import NotaryError


def config_home() -> Path:
    """The folder of keys, trusted keys and log tokens."""
    return _home("user_config_dir")


def data_home() -> Path:
    """The folder of the default log and of the list of known logs."""
    return _home("user_data_dir")


def default_log() -> Path:
    """The log folder that is used when none is named."""
    named = os.environ.get("TORCHNOTARY_LOG")
    return expand(named).absolute() if named else data_home() / "log"


def expand(path: str | os.PathLike[str]) -> Path:
    """``path`` with a leading ``~`` replaced; NotaryError for a user who does not exist."""
    try:
        return Path(path).expanduser()
    except RuntimeError as error:
        raise NotaryError(
            f"the path {os.fspath(path)!r} names no folder: {error}", next_step="write it in full"
        ) from None


def _home(platform_folder: str) -> Path:
    named = os.environ.get("TORCHNOTARY_HOME")
    if named:
        return expand(named).absolute()
    import platformdirs

    folder = Path(getattr(platformdirs, platform_folder)("torchnotary", appauthor=False))
    if not folder.is_absolute():
        raise NotaryError(
            "this user has no home folder",
            actual=folder,
            next_step="set TORCHNOTARY_HOME to a folder that can be written",
        )
    return folder


def can_create(path: Path) -> bool:
    """Whether ``path`` could be created: the nearest folder that exists can be written."""
    return os.access(_nearest(path), os.W_OK | os.X_OK)


def check_can_create(path: Path, what: str, next_step: str) -> None:
    """Raises NotaryError with ``next_step`` where ``path`` could not be created as a folder."""
    nearest = _nearest(path)
    if not nearest.is_dir():
        raise NotaryError(f"{what} cannot be at {path}: {nearest} is a file", next_step=next_step)
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise NotaryError(
            f"{what} cannot be made at {path}: {nearest} cannot be written", next_step=next_step
        )


def make_private(folder: Path) -> Path:
    """``folder``, created with its parents if missing; only its owner may enter it."""
    make(folder.parent)
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def make(folder: Path) -> Path:
    """``folder``, created with its parents if missing; others may never write in what is made,
    whatever the umask."""
    missing = [path for path in (folder, *folder.parents) if not path.exists()]
    for path in reversed(missing):
        path.mkdir(mode=0o755, exist_ok=True)
    if not missing:
        folder.mkdir(exist_ok=True)  # says FileExistsError where a file is in the way
    return folder


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Alone among the processes that lock ``folder``; waits until the others are done."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _nearest(path: Path) -> Path:
    path = path.absolute()
    while not os.path.lexists(path) and path != path.parent:
        path = path.parent
    return path
