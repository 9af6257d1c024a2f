"""Where keys lie in the configuration folder, and how their files are read and made."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from .. import folders
from ..errors import MalformedRecord, NotaryError
from ..files import read_regular
from ..statement.container import sync_folder

MAX_PEM_BYTES = 64 * 2**10
SET_HOME_OR_KEY = (
    "set TORCHNOTARY_HOME to a folder that can be written, or TORCHNOTARY_KEY to a key"
)


def key_path() -> Path:
    """The file of the key that records are signed with."""
    return folders.config_home() / "keys" / "signing.pem"


def retired_folder() -> Path:
    """The folder of the keys that rotation replaced."""
    return folders.config_home() / "keys" / "retired"


def trusted_folder() -> Path:
    """The folder of other people's keys that this user trusts."""
    return folders.config_home() / "trusted"


def revoked_folder() -> Path:
    """The folder of this user's revocations, a file for each key."""
    return folders.config_home() / "revoked"


def read_pem(path: Path) -> bytes:
    """A key's file: OSError where it cannot be read, NotaryError where it is too large."""
    try:
        return read_regular(path, MAX_PEM_BYTES)
    except MalformedRecord:
        raise NotaryError(
            f"{path} is not the PEM of a key: it is too large",
            expected=f"at most {MAX_PEM_BYTES} bytes",
        ) from None


def create_private_file(path: Path, data: bytes, next_step: str = SET_HOME_OR_KEY) -> bool:
    """Creates ``path`` (0600, in a 0700 folder) whole and durable; False if it already exists.

    NotaryError with ``next_step`` where it cannot be made."""
    return _write(path, data, _link, next_step)


def replace_private_file(path: Path, data: bytes) -> None:
    """As `create_private_file`, in place of the file that may be there: a reader finds either the
    old one or the new one, whenever this process ends."""
    _write(path, data, _rename, SET_HOME_OR_KEY)


def _write(path: Path, data: bytes, publish, next_step: str) -> bool:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        folders.make_private(path.parent)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            with open(descriptor, "wb") as stream:
                stream.write(data)
                stream.flush()
                os.fsync(stream.fileno())
            published = publish(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
        sync_folder(path.parent)
        return published
    except OSError as error:
        raise NotaryError(f"{path} cannot be made: {error.strerror}", next_step=next_step) from None


def _link(temporary: Path, path: Path) -> bool:
    # Linking, unlike renaming, never replaces what another process created first.
    try:
        os.link(temporary, path)
    except FileExistsError:
        return False
    return True


def _rename(temporary: Path, path: Path) -> bool:
    os.replace(temporary, path)
    return True
