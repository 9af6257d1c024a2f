"""A policy file says which signers and logs count and which steps a record must pass."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .. import folders
from ..errors import MalformedPolicy, MalformedRecord, NotaryError
from ..files import read_regular
from ..keys import PublicKey, as_fingerprint
from ..statement.lines import brief
from .verdict import STEP_NAMES

_FIELDS = {
    "signers": "a list of fingerprints (64 hexadecimal digits), PEM texts or paths of PEM files",
    "origins": "a list of log origins, such as torchnotary.log/0123…",
    "required": f"a list of step names: {', '.join(STEP_NAMES)}",
}
MAX_BYTES = 64 * 2**10
# The parser's time grows with the square of a dotted key's length, and no field has a dot.
_MAX_DOTS = 16
_TEXT_OR_COMMENT = re.compile(
    r'"""(?:\\.|[^\\])*?"""|"(?:\\.|[^"\\\n])*"|'
    r"'''.*?'''|'[^'\n]*'|#[^\n]*",
    re.DOTALL,
)


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
        policy or larger than 64 KiB; a `Policy` is returned as it is.
        """
        if isinstance(source, Policy):
            return source
        path = Path(source)
        try:
            data = read_regular(path, MAX_BYTES)
        except MalformedRecord as error:
            raise _too_large(path, error.actual) from None
        return cls.parse(data, folder=path.parent, name=str(path))

    @classmethod
    def parse(cls, data: bytes, *, folder: Path | None = None, name: str = "policy") -> Policy:
        """Reads the text of a TOML policy; raises `MalformedPolicy`."""
        if len(data) > MAX_BYTES:
            raise _too_large(name, f"{len(data)} bytes")
        table = _toml(data, name)
        unknown = sorted(set(table) - set(_FIELDS))
        if unknown:
            raise MalformedPolicy(
                f"{name} has an unknown field",
                expected=" or ".join(_FIELDS),
                actual=brief(unknown[0]),
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
                    actual=brief(repr(step)),
                    next_step=_help(),
                )
        origins = frozenset(lists["origins"]) if "origins" in lists else None
        return cls(signers, origins, frozenset(lists.get("required", ())))


def _help() -> str:
    return "a policy has signers = […], origins = […] and required = […], nothing else"


def _too_large(what: object, actual: str) -> MalformedPolicy:
    return MalformedPolicy(
        f"{what} is too large for a policy",
        expected=f"at most {MAX_BYTES} bytes",
        actual=actual,
        next_step=_help(),
    )


def _toml(data: bytes, name: str) -> dict[str, Any]:
    try:
        import tomllib
    except ModuleNotFoundError:  # Python 3.10
        import tomli as tomllib
    try:
        text = data.decode("utf-8")
        bare = _TEXT_OR_COMMENT.sub("", text)
        if any(line.count(".") > _MAX_DOTS for line in bare.splitlines()):
            raise MalformedPolicy(f"{name} has a key with too many dots", next_step=_help())
        return tomllib.loads(text)
    except RecursionError:
        raise MalformedPolicy(f"{name} is nested too deeply", next_step=_help()) from None
    except ValueError as error:  # not TOML, not UTF-8, or an integer beyond what Python reads
        raise MalformedPolicy(f"{name} is not TOML: {error}", next_step=_help()) from None


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
    """A fingerprint is one whatever files there are; a file of such a name is written ./name."""
    try:
        if fingerprint := as_fingerprint(text):
            return fingerprint
        pem = "-----BEGIN" in text
        return PublicKey.parse(
            text if pem else (folder or Path()) / folders.expand(text)
        ).fingerprint
    except (NotaryError, OSError) as error:
        raise MalformedPolicy(
            f"{name} has a signer that cannot be read: {error}", next_step=_help()
        ) from error
