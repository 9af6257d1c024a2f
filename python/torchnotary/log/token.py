"""What lies outside a log's folder: its key, and a token that says how far it was signed.

A copied or restored folder, or one moved to another machine, no longer matches its token, so
nobody signs a second history for it; the log is left as it is and the next one begins.
"""

from __future__ import annotations

import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from .. import folders
from ..errors import MalformedRecord, NotaryError
from ..files import read_regular
from ..keys import MAX_PEM_BYTES, SigningKey, create_private_file
from ..statement.lines import canonical, parse_object
from .checkpoint import origin_of

# Fixed, so that a token is replaced by one write inside one disk sector.
_TOKEN_BYTES = 384


@dataclass(frozen=True)
class Token:
    """The size and root (hex) about to be signed last, and the place of the log's folder."""

    place: str
    size: int
    root: str

    def encode(self) -> bytes:
        line = canonical(
            {"place": self.place, "root": self.root, "size": self.size, "type": "token/1"}
        )
        return line.ljust(_TOKEN_BYTES - 1) + b"\n"

    @classmethod
    def decode(cls, data: bytes) -> Token:
        value = parse_object(data.rstrip(b" \n"), "the token", ("place", "root", "size", "type"))
        place, root, size = value["place"], value["root"], value["size"]
        if value["type"] != "token/1" or type(size) is not int or size < 0:
            raise MalformedRecord("not a token")
        if type(place) is not str or type(root) is not str:
            raise MalformedRecord("not a token")
        return cls(place, size, root)


def place_of(folder: Path) -> str:
    """A digest of where ``folder`` is: machine, file system object and real path."""
    status = os.stat(folder)
    real = os.fsencode(os.path.realpath(folder))
    text = f"{os.uname().nodename}\0{status.st_ino}\0".encode() + real
    return hashlib.sha256(text).hexdigest()


class Custody:
    """A log's key and, if it outlives this process, the token file it is kept with."""

    def __init__(self, key: SigningKey, token_path: Path | None, place: str) -> None:
        self.key = key
        self.origin = origin_of(key.public)
        self._token_path = token_path
        self._place = place

    @classmethod
    def create(cls, key: SigningKey, folder: Path, size: int, root: bytes) -> Custody:
        """Keeps a new log's key; in memory only where the configuration cannot be written."""
        place = place_of(folder)
        token = Token(place, size, root.hex())
        try:
            stem = _keys_folder() / origin_of(key.public).rpartition("/")[2]
            create_private_file(stem.with_suffix(".token"), token.encode())
            create_private_file(stem.with_suffix(".pem"), key.to_pem())
        except NotaryError:
            return cls(key, None, place)
        return cls(key, stem.with_suffix(".token"), place)

    @classmethod
    def find(cls, folder: Path) -> Custody | None:
        """The custody of the log in ``folder``, whose name ends with its key's first digits."""
        prefix = folder.name.rpartition("-")[2]
        if not re.fullmatch(r"[0-9a-f]{8}", prefix):
            return None
        try:
            candidates = list(_keys_folder().glob(f"{prefix}*.pem"))
        except NotaryError:
            return None
        place = place_of(folder)
        for path in candidates:
            try:
                key = SigningKey.from_pem(read_regular(path, MAX_PEM_BYTES))
                custody = cls(key, path.with_suffix(".token"), place)
                token = custody.token()
            except (OSError, NotaryError):
                continue
            if token is not None and token.place == place:
                return custody
        return None

    def token(self) -> Token | None:
        """The token as it is now; None where the key lives in memory only."""
        if self._token_path is None:
            return None
        return Token.decode(read_regular(self._token_path, _TOKEN_BYTES))

    def advance(self, size: int, root: bytes) -> None:
        """Notes durably that ``size`` and ``root`` are about to be signed."""
        if self._token_path is None:
            return
        data = Token(self._place, size, root.hex()).encode()
        descriptor = os.open(self._token_path, os.O_WRONLY | os.O_CLOEXEC)
        try:
            done = 0
            while done < len(data):  # a write may be cut short, and half a token fits no log
                written = os.pwrite(descriptor, data[done:], done)
                if written == 0:
                    raise OSError(f"the log's token {self._token_path} was written in part only")
                done += written
            os.fdatasync(descriptor)
        finally:
            os.close(descriptor)


def _keys_folder() -> Path:
    return folders.config_home() / "logs"
