"""A witness: it cosigns a log's checkpoint only if it extends every one it cosigned before.

What it cosigned last for a log lies in its folder, which is the witness's memory: a folder that
is lost or put back from a copy lets it cosign a second history. The layout is what tlog-witness
serves to monitors:

    key.pem                          its key, unless it is kept elsewhere
    witness.vkey                     its name and public key
    <SHA-256 of an origin>/log.vkey  the log's key
    <SHA-256 of an origin>/checkpoint             the last checkpoint it cosigned, with its line
    <SHA-256 of an origin>/conflict-<16 digits>   what it refused to cosign, and the proof shown
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from .. import folders
from ..errors import (
    CheckpointConflict,
    KeyLocked,
    MalformedProof,
    NotaryError,
    RootMismatch,
    VerificationFailed,
)
from ..files import read_regular
from ..keys import MAX_PEM_BYTES, PublicKey, SigningKey, create_private_file
from ..statement.container import sync_folder, write_atomically
from .checkpoint import (
    MAX_NOTE_BYTES,
    Checkpoint,
    SignedNote,
    key_id,
    origin_of,
    parse_vkey,
    signature_line,
    vkey,
)
from .proofs import ConsistencyProof
from .tree import EMPTY_ROOT
from .witness import WitnessKey, cosign

_ANOTHER_FOLDER = "name a folder that can be written: --state DIR"
_KEEP_ONE = "keep one folder for each witness"


class Seen(NamedTuple):
    """What a witness cosigned last for a log, and when (POSIX seconds)."""

    note: str
    checkpoint: Checkpoint
    time: int


class Witness:
    """One witness: its name, its key, and what it has cosigned for each log."""

    def __init__(self, folder: Path, name: str, key: SigningKey) -> None:
        self._folder = folder
        self._key = key
        self.identity = WitnessKey(name, key.public)

    @classmethod
    def open(cls, folder: Path, name: str | None = None, key: SigningKey | None = None) -> Witness:
        """The witness of ``folder``; a new one gets ``name``, and a key of its own without ``key``.

        NotaryError where the folder is another witness's, or nobody's and ``name`` is missing.
        """
        vkey_path = folder / "witness.vkey"
        if not vkey_path.exists():
            if name is None:
                raise NotaryError(
                    f"there is no witness in {folder} yet",
                    next_step="give the new one a name: --name witness.example/w1",
                )
            WitnessKey(name, (key or SigningKey.generate()).public)  # refuses a name before a key
            folders.make_private(folder)
            key = key or _own_key(folder, create=True)
            line = WitnessKey(name, key.public).vkey().encode() + b"\n"
            create_private_file(vkey_path, line, _ANOTHER_FOLDER)
        with _intact(vkey_path):
            identity = WitnessKey.from_vkey(_read(vkey_path).removesuffix("\n"))
        key = key or _own_key(folder, create=False)
        if key.public != identity.key or name not in (None, identity.name):
            raise NotaryError(
                f"{folder} belongs to another witness",
                expected=identity.vkey(),
                actual=WitnessKey(name or identity.name, key.public).vkey(),
                next_step=_KEEP_ONE,
            )
        return cls(folder, identity.name, key)

    def log_key(self, origin: str) -> PublicKey | None:
        """The key of a log this witness watches; None for a log it was never told to watch."""
        path = self._home(origin) / "log.vkey"
        if not path.exists():
            return None
        with _intact(path):
            name, key = parse_vkey(_read(path).removesuffix("\n"))
        if name != origin or origin_of(key) != origin:
            raise NotaryError(f"{path} is not the key of {origin}", expected=origin, actual=name)
        return key

    def watch(self, key: PublicKey) -> None:
        """Cosigns for the log of this key from now on."""
        if key == self.identity.key:
            raise NotaryError(
                "a log cannot be its own witness", next_step="give the witness another key"
            )
        home = self._home(origin_of(key))
        folders.make_private(home)
        line = vkey(origin_of(key), key).encode() + b"\n"
        create_private_file(home / "log.vkey", line, _ANOTHER_FOLDER)
        for folder in (home, self._folder, self._folder.absolute().parent):
            sync_folder(folder)

    def seen(self, origin: str) -> Seen | None:
        """The last checkpoint that was cosigned for a log; NotaryError where it is damaged."""
        path = self._home(origin) / "checkpoint"
        key = self.log_key(origin)
        if key is None or not path.exists():
            return None
        with _intact(path):
            note = _read(path)
            time = self.identity.verify(SignedNote.parse(note))
            return Seen(note, Checkpoint.verify(note, key), time)

    def cosign(
        self, origin: str, show: Callable[[int], ConsistencyProof], clock: Callable[[], float]
    ) -> str:
        """The checkpoint that ``show`` proves to extend the last one, cosigned.

        ``show`` gets the size this witness cosigned last (0 for none) and returns the proof from
        there; ``clock`` the POSIX time. What is cosigned is durable before anyone gets it.
        Raises CheckpointConflict for what does not extend it, whose note is kept beside it.
        """
        key = self.log_key(origin)
        if key is None:
            raise NotaryError(
                f"this witness does not watch {origin}",
                next_step="tell it to: --log-key KEY, or --trust-on-first-use",
            )
        with folders.locked(self._folder):
            seen = self.seen(origin)
            old = seen.checkpoint if seen else Checkpoint(origin, 0, EMPTY_ROOT)
            proof = show(old.size)
            new = Checkpoint.verify(proof.checkpoint, key)
            self._require_extension(proof, old, new, key)
            now = int(clock())
            if seen and now < seen.time:
                raise NotaryError(
                    "this witness's clock is behind what it cosigned last",
                    expected=f"{seen.time} or later",
                    actual=now,
                    next_step="set the clock, then run it again",
                )
            own = _signed_by_log_alone(proof.checkpoint, key)
            note = cosign(own, self.identity.name, self._key, now)
            write_atomically(self._home(origin) / "checkpoint", note.encode())
            return note

    def _require_extension(
        self, proof: ConsistencyProof, old: Checkpoint, new: Checkpoint, key: PublicKey
    ) -> None:
        if new.size >= old.size != proof.old_size:
            raise VerificationFailed(
                "the proof begins at another size than this witness cosigned last",
                expected=old.size,
                actual=proof.old_size,
                next_step="make it from the checkpoint this witness gave you last",
            )
        try:
            if new.size < old.size:
                raise MalformedProof("it is smaller", expected=old.size, actual=new.size)
            proof.verify(old, key)
        except (MalformedProof, RootMismatch) as error:
            kept = self._keep_conflict(new.origin, proof)
            raise CheckpointConflict(
                f"the checkpoint is not shown to extend what was cosigned: {error.reason}",
                expected=f"an extension of size {old.size}, root {old.root.hex()}",
                actual=f"size {new.size}, root {new.root.hex()}",
                next_step=f"keep {kept} and {kept.with_name('checkpoint')}: the log signed both",
            ) from None

    def _keep_conflict(self, origin: str, proof: ConsistencyProof) -> Path:
        text = proof.to_text().encode()
        path = self._home(origin) / f"conflict-{hashlib.sha256(text).hexdigest()[:16]}"
        write_atomically(path, text)
        return path

    def _home(self, origin: str) -> Path:
        return self._folder / hashlib.sha256(origin.encode()).hexdigest()


def _signed_by_log_alone(note: str, key: PublicKey) -> str:
    """The note with the log's signature line only: nobody checked the others."""
    signed = SignedNote.parse(note)
    own = (origin_of(key), key_id(origin_of(key), key))
    (line,) = [line for line in signed.signatures if line[:2] == own]
    return f"{signed.text}\n{signature_line(*line)}"


def _own_key(folder: Path, *, create: bool) -> SigningKey:
    path = folder / "key.pem"
    if create and not path.exists():
        create_private_file(path, SigningKey.generate().to_pem(), _ANOTHER_FOLDER)
    try:
        with _intact(path):
            return SigningKey.from_pem(read_regular(path, MAX_PEM_BYTES))
    except FileNotFoundError:
        raise NotaryError(
            f"the witness of {folder} keeps its key elsewhere", next_step="name it: --key PEM"
        ) from None


@contextmanager
def _intact(path: Path) -> Iterator[None]:
    """Names the file of a witness's memory that is damaged; what it knew then is lost."""
    try:
        yield
    except KeyLocked:
        raise
    except NotaryError as error:
        raise type(error)(
            f"{path} is damaged: {error.reason}",
            expected=error.expected,
            actual=error.actual,
            next_step="put no older copy in its place, but begin in a new folder, with a new name",
        ) from None


def _read(path: Path) -> str:
    return read_regular(path, MAX_NOTE_BYTES).decode("utf-8", "replace")
