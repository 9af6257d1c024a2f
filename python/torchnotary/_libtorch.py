"""Loads ``_torch``, the extension that needs LibTorch, or says in one sentence why it cannot.

``_torch`` is compiled against one minor version of torch; under another it would fail with an
undefined symbol or, worse, not fail. So the version it was built with is read from a file beside
it, before the extension is touched.
"""

from __future__ import annotations

import importlib
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

from .errors import NotaryError

EXTENSION = f"{__package__}._torch"
VERSION_FILE = "_torch_version.txt"
# --no-cache-dir: pip keeps the wheel it built against the other torch.
REBUILD = (
    "pip install --no-build-isolation --no-cache-dir --force-reinstall --no-deps torchnotary"
    " (in a checkout: . in place of torchnotary)"
)

_loaded: ModuleType | None = None
_is_missing = False


def load() -> ModuleType:
    """The module ``torchnotary._torch``; imports torch.

    Raises NotaryError if torch cannot be imported, if ``_torch`` was not built, if it was built
    for another minor version of torch than the one running (naming both), or if it does not load
    (naming the cause). Each says what to install or rebuild.
    """
    global _loaded
    if _loaded is None:
        _loaded = _checked_import()
    return _loaded


def available() -> ModuleType | None:
    """``torchnotary._torch`` for what is merely slower without it; None while torch is not
    imported, and where it cannot be loaded. Imports no torch and raises nothing."""
    global _is_missing
    if _loaded is None and not _is_missing and "torch" in sys.modules:
        try:
            load()
        except NotaryError:
            _is_missing = True
    return _loaded


def _checked_import() -> ModuleType:
    try:
        import torch
    except ImportError as error:
        raise NotaryError(
            f"torch cannot be imported: {error}",
            next_step="pip install torch, then " + REBUILD,
        ) from error
    running = str(torch.__version__)
    built = _built_version()
    if _minor(built) != _minor(running):
        raise NotaryError(
            "torchnotary._torch was built for another version of torch",
            expected=f"torch {_minor(built)}",
            actual=f"torch {running}",
            next_step=REBUILD,
        )
    try:
        return importlib.import_module(EXTENSION)
    except ImportError as error:
        raise NotaryError(
            f"torchnotary._torch, built for torch {built}, does not load: {error}",
            next_step=REBUILD,
        ) from error


def _built_version() -> str:
    """The torch version in the build file beside the extension, which is found but not loaded."""
    spec = importlib.util.find_spec(EXTENSION)
    if spec is None or spec.origin is None:
        raise NotaryError(
            "torchnotary was installed without torchnotary._torch, because torch was not"
            " importable then",
            next_step=REBUILD,
        )
    path = Path(spec.origin).with_name(VERSION_FILE)
    try:
        version = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise NotaryError(
            f"the torch version that torchnotary._torch was built for cannot be read: {error}",
            next_step=REBUILD,
        ) from error
    if not re.match(r"\d+\.\d+", version):
        raise NotaryError(
            f"{path} does not name a torch version", actual=version or None, next_step=REBUILD
        )
    return version


def _minor(version: str) -> str:
    return ".".join(version.split("+")[0].split(".")[:2])


def is_loaded() -> bool:
    """Whether :func:`load` has been called with success in this process."""
    return _loaded is not None
