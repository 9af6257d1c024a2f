"""The text of a policy: TOML with the fields of one schema, every other refused by name."""

from __future__ import annotations

import re
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, UnsetType

from ..errors import MalformedPolicy
from ..statement.lines import brief
from .verdict import STEP_NAMES

PROFILES = ("native", "deterministic", "exact/1")
MAX_BYTES = 64 * 2**10
_KEYS = "a list of fingerprints (64 hexadecimal digits), PEM texts or paths of PEM files"
FIELDS = {
    "signers": _KEYS,
    "origins": "a list of log origins, such as torchnotary.log/0123…",
    "log_keys": f"{_KEYS}, or verifier keys of logs",
    "witnesses": "a list of verifier keys, such as witness.example/w1+01234567+BA…, or of paths"
    " of files with one",
    "quorum": "a number from 1 to the number of witnesses",
    "checkpoint": "the path of a checkpoint, or its text",
    "required": f"a list of step names: {', '.join(STEP_NAMES)}",
    "models": "a list of weights roots (64 hexadecimal digits)",
    "profiles": f"a list of {', '.join(PROFILES)}",
    "max_age": "a number of days, hours or minutes, such as 30d, 12h or 90m",
    "max_delay": "a number of days, hours or minutes, such as 1d, 12h or 90m",
    "nonce": "true, or the nonce in hexadecimal",
    "revoked": "a list of paths of revocations",
}
NEXT_STEP = f"a policy may have {', '.join(FIELDS)}, and nothing else; see docs/verification.md"
# The parser's time grows with the square of a dotted key's length, and no field has a dot.
_MAX_DOTS = 16
_TEXT_OR_COMMENT = re.compile(
    r'"""(?:\\.|[^\\])*?"""|"(?:\\.|[^"\\\n])*"|'
    r"'''.*?'''|'[^'\n]*'|#[^\n]*",
    re.DOTALL,
)

_Texts = list[str] | UnsetType
_Age = Annotated[str, msgspec.Meta(pattern=r"^[1-9][0-9]{0,5}[dhm]\Z")] | UnsetType
_Root = Annotated[str, msgspec.Meta(pattern=r"^[0-9a-f]{64}\Z")]


class PolicyFile(msgspec.Struct, forbid_unknown_fields=True):
    """The fields as they are written; `Policy` says what they mean."""

    signers: _Texts = UNSET
    origins: _Texts = UNSET
    log_keys: _Texts = UNSET
    witnesses: _Texts = UNSET
    quorum: Annotated[int, msgspec.Meta(ge=1)] | UnsetType = UNSET
    checkpoint: str | UnsetType = UNSET
    required: list[Literal[STEP_NAMES]] | UnsetType = UNSET
    models: list[_Root] | UnsetType = UNSET
    profiles: list[Literal[PROFILES]] | UnsetType = UNSET
    max_age: _Age = UNSET
    max_delay: _Age = UNSET
    nonce: bool | str | UnsetType = UNSET
    revoked: _Texts = UNSET


def read(data: bytes, name: str) -> PolicyFile:
    """The fields of a policy's text; raises `MalformedPolicy`, which names the field."""
    if len(data) > MAX_BYTES:
        raise too_large(name, f"{len(data)} bytes")
    table = _toml(data, name)
    for key in sorted(set(table) - set(FIELDS)):
        raise MalformedPolicy(f"{name} has an unknown field: {brief(key)}", next_step=NEXT_STEP)
    try:
        return msgspec.convert(table, PolicyFile)
    except msgspec.ValidationError as error:
        # It ends with the place of the value, such as $.models[1] in backquotes.
        place = str(error).rpartition("`$.")[2][:-1]
        field, *indices = re.findall(r"\w+", place)
        value = table[field]
        for index in indices:
            value = value[int(index)]
        raise wrong(name, field, brief(repr(value)), place) from None


def wrong(name: str, field: str, cause: str, place: str | None = None) -> MalformedPolicy:
    """The refusal of what ``field`` holds, or what is at ``place`` in it; ``cause`` says why."""
    return MalformedPolicy(
        f"{name} has a wrong {place or field}: {cause}",
        next_step=f"{field} is {FIELDS[field]}; see docs/verification.md",
    )


def too_large(what: object, actual: str) -> MalformedPolicy:
    return MalformedPolicy(
        f"{what} is too large for a policy",
        expected=f"at most {MAX_BYTES} bytes",
        actual=actual,
        next_step="name keys and checkpoints by their paths",
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
            raise MalformedPolicy(f"{name} has a key with too many dots", next_step=NEXT_STEP)
        return tomllib.loads(text)
    except RecursionError:
        raise MalformedPolicy(f"{name} is nested too deeply", next_step=NEXT_STEP) from None
    except ValueError as error:  # not TOML, not UTF-8, or an integer beyond what Python reads
        raise MalformedPolicy(
            f"{name} is not TOML: {error}",
            next_step="correct it there; docs/verification.md shows a complete one",
        ) from None
