"""Which keys count: this user's own, those that rotation retired, and those trusted."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ..errors import KeyLocked, NotaryError
from .files import (
    create_private_file,
    key_path,
    read_pem,
    retired_folder,
    revoked_folder,
    trusted_folder,
)
from .public import PublicKey
from .signing import named_pem, public_of


def own_keys() -> list[PublicKey]:
    """The public halves of the keys this user signs with (one from the environment first) and
    signed with before.

    A key whose file holds nothing but its encrypted half is left out where there is no passphrase.
    """
    named = named_pem()
    pems = [] if named is None else [named]
    if key_path().is_file():
        pems.append(read_pem(key_path()))
    found = list(dict.fromkeys(_unlocked(pems)))
    return found + [key for key in retired_keys() if key not in found]


def retired_keys() -> list[PublicKey]:
    """The public halves of the keys that rotation replaced, which count as own."""
    return list(_unlocked(read_pem(path) for path in sorted(retired_folder().glob("*.pem"))))


def trust(key: PublicKey) -> Path:
    """Trusts ``key`` from now on; returns the file that says so."""
    path = _trusted_path(key.fingerprint)
    if not path.exists():
        create_private_file(path, key.to_pem())
    return path


def untrust(fingerprint: str) -> bool:
    """Stops trusting a key; whether it was trusted."""
    try:
        _trusted_path(fingerprint).unlink()
    except FileNotFoundError:
        return False
    return True


def trusted_keys() -> list[PublicKey]:
    """Every trusted key by fingerprint; NotaryError names a file that is not what its name says."""
    found = []
    for path in sorted(trusted_folder().glob("*.pem")):
        key = PublicKey.from_pem(read_pem(path))
        if key.fingerprint != path.stem:
            raise NotaryError(
                f"the trusted key {path} is not the key its name says",
                expected=path.stem,
                actual=key.fingerprint,
                next_step="remove the file and trust the key again",
            )
        found.append(key)
    return found


def is_trusted(key: PublicKey) -> bool:
    """Whether this user made or trusted ``key``; what a revocation leaves of that depends on the
    log entry (`torchnotary.log.revocation`)."""
    return key in trusted_keys() or key in own_keys()


def is_revoked(fingerprint: str) -> bool:
    """Whether this user revoked a key, wholly or from some log entry on."""
    return revocation_path(fingerprint).exists()


def revoked_fingerprints() -> list[str]:
    """The keys that this user revoked, wholly or in part."""
    return sorted(path.stem for path in revoked_folder().glob("*.json"))


def revocation_path(fingerprint: str) -> Path:
    """Where the user's revocation of a key lies, if there is one."""
    return revoked_folder() / f"{_checked(fingerprint)}.json"


def _trusted_path(fingerprint: str) -> Path:
    return trusted_folder() / f"{_checked(fingerprint)}.pem"


def _checked(fingerprint: str) -> str:
    if not re.fullmatch(r"[0-9a-f]{64}", fingerprint):
        raise NotaryError("not a fingerprint", expected="64 hex digits", actual=fingerprint)
    return fingerprint


def _unlocked(pems) -> Iterator[PublicKey]:
    for pem in pems:
        try:
            yield public_of(pem)
        except KeyLocked:
            continue
