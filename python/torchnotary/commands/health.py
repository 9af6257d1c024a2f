"""The command doctor: whether this machine can record and verify."""

from __future__ import annotations

import importlib
import importlib.metadata
import os
import platform
import sys
import tempfile
from pathlib import Path
from typing import Any

from .output import Json, leave, result, with_next

VARIABLES = (
    "TORCHNOTARY_CPU",
    "TORCHNOTARY_DISABLE",
    "TORCHNOTARY_HOME",
    "TORCHNOTARY_KEY",
    "TORCHNOTARY_KEY_PASSPHRASE",
    "TORCHNOTARY_KEY_PASSPHRASE_FILE",
    "TORCHNOTARY_LOG",
    "TORCHNOTARY_NUM_THREADS",
    "TORCHNOTARY_PROFILE",
)


def doctor(as_json: Json = False) -> None:
    """Say whether recording and verifying work here, and what to set where they do not."""
    checks = [_versions(), _core(), _torch(), *_folders(), _key(), _environment()]
    problems = [check for check in checks if check["next"]]
    document = {"checks": checks, "ok": not problems, "type": "doctor/1"}
    lines = [f"{'!' if c['next'] else ' '} {c['name']:<12} {c['found']}" for c in checks]
    steps = [check["next"] for check in problems]
    result(with_next("\n".join(lines), steps), document, as_json)
    leave(1 if problems else 0)


def _check(name: str, found: Any, next_step: str | None = None) -> dict[str, Any]:
    return {"found": str(found), "name": name, "next": next_step}


def _versions() -> dict[str, Any]:
    from .. import __version__

    names = ("torch", "numpy", "cryptography", "msgspec", "typer")
    found = [f"torchnotary {__version__}", f"Python {platform.python_version()}"]
    found += [f"{name} {_version(name) or 'absent'}" for name in names]
    return _check("versions", ", ".join(found))


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _core() -> dict[str, Any]:
    try:
        from .. import _core

        return _check("core", f"CPU path {_core.cpu_path()}")
    except ImportError as error:
        return _check("core", error, "pip install --no-build-isolation . in the source folder")
    except Exception as error:
        return _check("core", error, "unset TORCHNOTARY_CPU, or name a path this machine has")


def _torch() -> dict[str, Any]:
    if _version("torch") is None:
        return _check("torch layer", "torch is not installed; verifying works without it")
    try:
        importlib.import_module("torch")
        importlib.import_module("torchnotary._torch")
    except Exception as error:
        step = getattr(error, "next_step", None)
        return _check("torch layer", error, step or "pip install --no-build-isolation .")
    return _check("torch layer", "loaded; deterministic profile and native recording work")


def _folders() -> list[dict[str, Any]]:
    from .. import folders

    key, log = os.environ.get("TORCHNOTARY_KEY"), os.environ.get("TORCHNOTARY_LOG")
    home = "set TORCHNOTARY_HOME to a folder you can write to"
    rows = [
        _writable("config", folders.config_home(), f"{home}, or TORCHNOTARY_KEY", not key),
        _writable("data", folders.data_home(), f"{home}, or TORCHNOTARY_LOG", not log),
    ]
    if log:
        rows.append(_writable("log", Path(log), "set TORCHNOTARY_LOG to another folder", True))
    return rows


def _writable(name: str, folder: Path, next_step: str, needed: bool) -> dict[str, Any]:
    """Whether a folder, or the nearest one above it that exists, takes a file; only where it is
    ``needed`` is it a fault that it does not."""
    existing = folder
    while not existing.exists() and existing != existing.parent:
        existing = existing.parent
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        return _check(
            name,
            f"{folder} cannot be written: {error.strerror}",
            next_step if needed else None,
        )
    return _check(name, folder if folder.exists() else f"{folder} (made on first use)")


def _key() -> dict[str, Any]:
    from ..keys import SigningKey, trusted_keys

    try:
        own = SigningKey.load()
        if own is None:
            SigningKey.check()
        trusted = len(trusted_keys())
    except Exception as error:
        step = getattr(error, "next_step", None)
        return _check("key", error, step or "set TORCHNOTARY_KEY to a PEM file or its text")
    shown = own.public.short if own else "none yet (made at the first record)"
    return _check("key", f"{shown}; {trusted} trusted")


def _environment() -> dict[str, Any]:
    known = [f"{n}={_shown(n, os.environ[n])}" for n in VARIABLES if n in os.environ]
    unknown = sorted(n for n in os.environ if n.startswith("TORCHNOTARY_") and n not in VARIABLES)
    if unknown:
        return _check(
            "environment",
            ", ".join(known + unknown),
            f"unset {unknown[0]}; torchnotary reads {', '.join(VARIABLES)}",
        )
    return _check("environment", ", ".join(known) or f"nothing set, in {sys.prefix}")


def _shown(name: str, value: str) -> str:
    if name == "TORCHNOTARY_KEY_PASSPHRASE":
        return "(a passphrase)"
    return "(the text of a key)" if name == "TORCHNOTARY_KEY" and "-----" in value else value
