"""The demo's own homes, so that it never touches the user's keys and logs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import NotaryError

_HOME = "TORCHNOTARY_HOME"
# Settings of the user's that would lead the demo to other keys, logs or profiles.
_OTHERS = ("TORCHNOTARY_KEY", "TORCHNOTARY_LOG", "TORCHNOTARY_PROFILE", "TORCHNOTARY_DISABLE")


@contextmanager
def own_home(output: Path) -> Iterator[Path]:
    """Keys and known logs lie in ``output/home`` for the length of the block.

    Raises NotaryError where ``output`` cannot be written.
    """
    home = output / "home"
    try:
        home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(output, error) from None
    if not os.access(home, os.W_OK | os.X_OK):
        raise _unwritable(output)
    with environment({_HOME: str(home.absolute()), **dict.fromkeys(_OTHERS)}):
        yield home


@contextmanager
def somebody_else(folder: Path) -> Iterator[None]:
    """The block runs as a receiver whose home, ``folder``, has neither our keys nor our logs."""
    with environment({_HOME: str(folder.absolute())}):
        yield


@contextmanager
def environment(values: dict[str, str | None]) -> Iterator[None]:
    """Environment variables for the length of the block; None removes one."""
    before = {name: os.environ.get(name) for name in values}
    _set(values)
    try:
        yield
    finally:
        _set(before)


def _set(values: dict[str, str | None]) -> None:
    for name, value in values.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value


def _unwritable(output: Path, error: OSError | None = None) -> NotaryError:
    cause = f": {error.strerror}" if error is not None else ""
    return NotaryError(
        f"the demo cannot write to {output.absolute()}{cause}",
        next_step="torchnotary demo --output FOLDER",
    )
