"""Cosigned checkpoints that a log's owner got back from witnesses, kept beside the log.

In the log's folder, ``witnessed/<size>`` is a checkpoint with every cosignature there is for it,
and ``witnessed/keys.jsonl`` says whose they are: ``{"name","publicKey","type":"witness/1"}``,
sorted by name and key. All of it is public, and can be deleted.
"""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from .. import folders
from ..errors import CheckpointConflict, LogCorrupt, MalformedRecord, NotaryError
from ..files import read_regular
from ..keys import PublicKey
from ..statement.bundle import MAX_KEY_BYTES, MAX_WITNESSES
from ..statement.container import sync_folder, write_atomically
from ..statement.envelope import decode_base64, encode_base64
from ..statement.lines import brief, canonical, encode_file, require_object, scan_file
from .checkpoint import MAX_NOTE_BYTES, Checkpoint, SignedNote, key_id, signature_line
from .store import LogReader
from .witness import WitnessKey, verify_every_line

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_KEY_TYPE = "witness/1"
_MAX_KEYS_BYTES = 2**20


class CosignedCheckpoint(NamedTuple):
    """A checkpoint's note and the witnesses whose lines it carries, sorted by name and key."""

    size: int
    note: str
    witnesses: tuple[WitnessKey, ...]


def keep(log: LogReader, note: str, witnesses: Sequence[WitnessKey]) -> CosignedCheckpoint:
    """Keeps the cosignatures of ``witnesses`` on a checkpoint of ``log``, beside those there are.

    Of two by one witness the earlier stays: it says more about when the log had its entries.
    Lines of others are left out. Raises VerificationFailed where a witness did not cosign it,
    CheckpointConflict where the log is another one now.
    """
    checkpoint = Checkpoint.verify(note, log.public_key)
    _require_ours(log, checkpoint)
    given = SignedNote.parse(note)
    lines = {witness: (witness.verify(given), witness.line(given)) for witness in witnesses}
    folder = folders.make(log.path / "witnessed")
    with folders.locked(folder):
        here = at(log, checkpoint.size)
        if here is not None:
            present = SignedNote.parse(here.note)
            for witness in here.witnesses:
                own = (witness.verify(present), witness.line(present))
                lines[witness] = min(own, lines.get(witness, own))
        if len(lines) > MAX_WITNESSES:
            raise NotaryError(
                "a checkpoint has no room for more cosignatures",
                expected=MAX_WITNESSES,
                actual=len(lines),
                next_step="keep those of the next checkpoint",
            )
        _keep_keys(folder, lines)
        ordered = sorted(lines, key=_order)
        own_line = signature_line(log.origin, *_own_signature(log, given))
        text = f"{given.text}\n{own_line}" + "".join(lines[witness][1] for witness in ordered)
        write_atomically(folder / str(checkpoint.size), text.encode())
        sync_folder(log.path)
    return CosignedCheckpoint(checkpoint.size, text, tuple(ordered))


def at(log: LogReader, size: int) -> CosignedCheckpoint | None:
    """The cosigned checkpoint of this size, every line verified; None where none is kept.

    LogCorrupt where what is kept is damaged.
    """
    path = log.path / "witnessed" / str(size)
    if not path.exists():
        return None
    try:
        note = read_regular(path, MAX_NOTE_BYTES).decode("utf-8", "replace")
        checkpoint, witnesses = verified(log, note)
        if checkpoint.size != size:
            raise MalformedRecord("it is of another size", expected=size, actual=checkpoint.size)
    except (OSError, NotaryError) as error:
        reason = error.reason if isinstance(error, NotaryError) else error.strerror
        raise LogCorrupt(
            f"the cosigned checkpoint {path} is damaged, and can be deleted: {reason}",
            next_step="delete it, then keep it again: torchnotary log cosigned FILE",
        ) from None
    return CosignedCheckpoint(size, note, witnesses)


def verified(log: LogReader, note: str) -> tuple[Checkpoint, tuple[WitnessKey, ...]]:
    """A checkpoint of ``log`` and who cosigned it, where each of the note's lines is the log's or
    that of a witness whose key is kept; raises VerificationFailed or MalformedRecord."""
    lines = {(name, kid) for name, kid, _ in SignedNote.parse(note).signatures}
    known = [w for w in _read_keys(log.path / "witnessed") if (w.name, w.key_id()) in lines]
    return verify_every_line(note, log.public_key, known)[0], tuple(known)


def covering(log: LogReader, index: int) -> CosignedCheckpoint | None:
    """The largest cosigned checkpoint that covers entry ``index``; None where there is none."""
    size = max(sizes(log.path), default=0)
    return at(log, size) if size > index else None


def sizes(path: Path) -> list[int]:
    """The sizes of the cosigned checkpoints kept for the log in ``path``, in no order."""
    try:
        names = os.listdir(path / "witnessed")
    except (FileNotFoundError, NotADirectoryError):
        return []
    return [int(name) for name in names if _SIZE.fullmatch(name)]


def problems(log: LogReader) -> Iterator[str]:
    """What is wrong with the cosigned checkpoints of a log, one sentence each."""
    for size in sorted(sizes(log.path)):
        try:
            found = at(log, size)
            if found is not None:
                _require_ours(log, Checkpoint.verify(found.note, log.public_key))
        except NotaryError as error:
            yield error.reason


def _require_ours(log: LogReader, checkpoint: Checkpoint) -> None:
    held = log.size()
    root = log.root(checkpoint.size) if checkpoint.size <= held else None
    if root != checkpoint.root:
        raise CheckpointConflict(
            "the log signed this checkpoint, but is another one now",
            expected=f"size {checkpoint.size}, root {checkpoint.root.hex()}",
            actual=f"{held} entries" if root is None else f"root {root.hex()}",
            next_step="torchnotary log check",
        )


def _own_signature(log: LogReader, note: SignedNote) -> tuple[bytes, bytes]:
    own = (log.origin, key_id(log.origin, log.public_key))
    ((_, kid, signature),) = [line for line in note.signatures if line[:2] == own]
    return kid, signature


def _order(witness: WitnessKey) -> tuple[str, bytes]:
    return witness.name, witness.key.spki


def _read_keys(folder: Path) -> list[WitnessKey]:
    path = folder / "keys.jsonl"
    if not path.exists():
        return []
    lines = scan_file(read_regular(path, _MAX_KEYS_BYTES), name="keys.jsonl")
    return [_witness(value) for _, value in lines]


def _witness(value: dict[str, Any]) -> WitnessKey:
    require_object(value, "a line of keys.jsonl", ("name", "publicKey", "type"))
    if type(value["name"]) is not str or value["type"] != _KEY_TYPE:
        raise MalformedRecord("not the line of a witness's key", actual=brief(value))
    key = PublicKey.from_spki(decode_base64(value["publicKey"], "a witness's key", MAX_KEY_BYTES))
    return WitnessKey(value["name"], key)


def _keep_keys(folder: Path, witnesses: Collection[WitnessKey]) -> None:
    known = set(_read_keys(folder))
    if not known.issuperset(witnesses):
        lines = [
            canonical({"name": w.name, "publicKey": encode_base64(w.key.spki), "type": _KEY_TYPE})
            for w in sorted(known.union(witnesses), key=_order)
        ]
        write_atomically(folder / "keys.jsonl", encode_file(lines))
