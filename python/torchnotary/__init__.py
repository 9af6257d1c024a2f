"""torchnotary proves what a model actually ran: signed, logged, verifiable inference records.

Three steps: ``pip install``, ``@torchnotary.record``, ``torchnotary verify``. Every name is
imported on first use, so that verifying a record needs neither torch nor numpy.
"""

from __future__ import annotations

from importlib import import_module as _import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

_HOMES = {
    "record": "notary",
    "Notary": "notary",
    "verify": "verifier.steps",
    "Verdict": "verifier.verdict",
    "reproduce": "replay.reproduction",
    "Reproduction": "replay.reproduction",
    "diff": "replay.comparison",
    "pin": "lockfile",
    "check_pin": "lockfile",
    "commit": "commitment",
    "Commitment": "commitment",
    "Manifest": "manifest",
    "Opening": "opening",
    "RowOpening": "statement.row_opening",
    "Record": "statement.record",
    "NotaryError": "errors",
    "MalformedRecord": "errors",
    "MalformedProof": "errors",
    "RootMismatch": "errors",
    "UnsupportedIndex": "errors",
    "UnsupportedTensor": "errors",
    "UnknownSigner": "errors",
    "KeyLocked": "errors",
    "WeightsChanged": "errors",
    "NotExact": "errors",
    "PinMismatch": "errors",
    "LogCorrupt": "errors",
    "LogInUse": "errors",
    "CheckpointConflict": "errors",
    "MalformedPolicy": "errors",
    "Saturated": "errors",
    "VerificationFailed": "errors",
}
_MODULES = ("errors", "hashing", "merkle")

__all__ = [*_HOMES, *_MODULES, "__version__"]


def __getattr__(name: str):
    if name in _HOMES:
        value = getattr(_home_of(name), name)
    elif name in _MODULES:
        value = _import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def _home_of(name: str):
    try:
        return _import_module(f"{__name__}.{_HOMES[name]}")
    except ModuleNotFoundError as error:
        if error.name is None or not error.name.startswith(f"{__name__}."):
            raise
        raise ImportError(
            f"torchnotary-verifier has no {name}. Next: pip install torchnotary in its place"
        ) from None


def __dir__() -> list[str]:
    return sorted(__all__)


if TYPE_CHECKING:
    from . import errors, hashing, merkle
    from .commitment import Commitment, commit
    from .errors import (
        CheckpointConflict,
        KeyLocked,
        LogCorrupt,
        LogInUse,
        MalformedPolicy,
        MalformedProof,
        MalformedRecord,
        NotaryError,
        NotExact,
        PinMismatch,
        RootMismatch,
        Saturated,
        UnknownSigner,
        UnsupportedIndex,
        UnsupportedTensor,
        VerificationFailed,
        WeightsChanged,
    )
    from .lockfile import check_pin, pin
    from .manifest import Manifest
    from .notary import Notary, record
    from .opening import Opening
    from .replay.comparison import diff
    from .replay.reproduction import Reproduction, reproduce
    from .statement.record import Record
    from .statement.row_opening import RowOpening
    from .verifier.steps import verify
    from .verifier.verdict import Verdict
