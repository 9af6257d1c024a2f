"""A policy file says which signers and logs count and which steps a record must pass."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ..errors import MalformedPolicy, NotaryError
from ..keys import fingerprint_of
from .verdict import STEP_NAMES

_FIELDS = {
    "signers": "a list of fingerprints (64 hexadecimal digits), PEM texts or paths of PEM files",
    "origins": "a list of log origins, such as torchnotary.log/0123…",
    "required": f"a list of step names: {', '.join(STEP_NAMES)}",
}
_MAXIMUM_BYTES = 1 << 20


@dataclass(frozen=True)
class Policy:
    """Trusted signers' fingerprints, log origins (None: any) and steps that must pass."""

    signers: frozenset[str] | None = None
    origins: frozenset[str] | None = None
    required: frozenset[str] = field(default_factory=frozenset)

    @classmethod
    def load(cls, source: Policy | str | os.PathLike[str]) -> Policy:
        """Reads a TOML policy; paths in it are relative to its folder.

        Raises `OSError` where the file cannot be opened and `MalformedPolicy` where it is not a
        policy; a `Policy` is returned as it is.
        """
        if isinstance(source, Policy):
            return source
        path = Path(source)
        with path.open("rb") as file:
            data = file.read(_MAXIMUM_BYTES + 1)
        if len(data) > _MAXIMUM_BYTES:
            raise MalformedPolicy(f"{path} is too large for a policy", next_step=_help())
        return cls.parse(data, folder=path.parent, name=str(path))

    @classmethod
    def parse(cls, data: bytes, *, folder: Path | None = None, name: str = "policy") -> Policy:
        """Reads the text of a TOML policy; raises `MalformedPolicy`."""
        table = _toml(data, name)
        unknown = sorted(set(table) - set(_FIELDS))
        if unknown:
            raise MalformedPolicy(
                f"{name} has an unknown field",
                expected=" or ".join(_FIELDS),
                actual=unknown[0],
                next_step=_help(),
            )
        lists = {key: _texts(name, key, table[key]) for key in table}
        signers = None
        if "signers" in lists:
            signers = frozenset(_fingerprint(name, text, folder) for text in lists["signers"])
        for step in lists.get("required", ()):
            if step not in STEP_NAMES:
                raise MalformedPolicy(
                    f"{name} requires an unknown step",
                    expected=", ".join(STEP_NAMES),
                    actual=repr(step),
                    next_step=_help(),
                )
        origins = frozenset(lists["origins"]) if "origins" in lists else None
        return cls(signers, origins, frozenset(lists.get("required", ())))


def _help() -> str:
    return "a policy has signers = […], origins = […] and required = […], nothing else"


def _toml(data: bytes, name: str) -> dict[str, Any]:
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise MalformedPolicy(f"{name} is not TOML: {error}", next_step=_help()) from error


def _texts(name: str, key: str, value: Any) -> list[str]:
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        raise MalformedPolicy(
            f"{name} has a wrong {key}",
            expected=_FIELDS[key],
            actual=repr(value)[:80],
            next_step=_help(),
        )
    return value


def _fingerprint(name: str, text: str, folder: Path | None) -> str:
    path = None if "\n" in text else (folder or Path()) / text
    try:
        return fingerprint_of(path if path is not None and path.is_file() else text)
    except (NotaryError, OSError) as error:
        raise MalformedPolicy(
            f"{name} has a signer that cannot be read: {error}", next_step=_help()
        ) from error
