"""Files that commands read: values for --inputs and --outputs, models, records by path or id."""

from __future__ import annotations

import importlib
import json
import os
import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import NotaryError
from ..files import open_regular, read_regular
from ..statement.lines import MAX_FILE_BYTES, brief
from .output import UsageProblem

if TYPE_CHECKING:
    from ..keys import PublicKey
    from ..log.witness import WitnessKey
    from ..manifest import Manifest
    from ..statement.record import Record

VALUE_SUFFIXES = (".safetensors", ".npz", ".npy", ".json", ".pt")
_ID = re.compile(r"[0-9a-f]{8,64}")
_MAX_VKEY_BYTES = 64 * 2**10


def find_record(text: str) -> Path | bytes:
    """What a record argument means: a file's path, else the start (8 or more hexadecimal digits)
    of a record id in one of the user's logs, then the bytes of its ``.tnr``."""
    path = Path(text)
    if path.exists() or not _ID.fullmatch(text):
        if path.is_dir():
            raise UsageProblem(f"{path} is a folder", f"torchnotary log list {path}")
        return path
    from ..log.reader import LogFolder, find_anywhere
    from ..statement.bundle import Bundle
    from ..statement.container import pack

    found = find_anywhere(text)
    if found is None:
        raise UsageProblem(
            f"no file and no record is called {text}", "torchnotary log list, to see the ids"
        )
    bundle = LogFolder(found.log.parent).bundle(found.record_id)
    return pack({"bundle.json": Bundle.from_json(bundle).encode()})


def load_record(text: str) -> Record:
    """The record an argument means (see `find_record`)."""
    from ..statement.record import Record

    found = find_record(text)
    return Record.from_bytes(found) if isinstance(found, bytes) else Record.load(found)


def load_model(text: str, option: str = "--model") -> Any:
    """A model argument: an existing path (file, folder, saved manifest), else ``module:name``."""
    if ":" in text and not os.path.lexists(text):
        return load_object(text, option)
    Path(text).stat()
    return Path(text)


def load_manifest(text: str) -> Manifest:
    """The manifest of a model argument (see `load_model`)."""
    from ..verifier.model_comparison import manifest_of
    from .progress import progress_bar

    model = load_model(text)
    try:
        with progress_bar(text) as progress:
            return manifest_of(model, progress)
    except (NotaryError, TypeError) as error:
        reason = error.reason if isinstance(error, NotaryError) else str(error)
        step = getattr(error, "next_step", None) or "give a weights file, a folder or module:name"
        raise UsageProblem(f"--model {text}: {reason}", step) from error


def load_key(text: str, *, whole: bool = False) -> PublicKey | str:
    """The fingerprint of a key argument, or the ``whole`` key where that is needed."""
    from ..keys import PublicKey, fingerprint_of

    with _as_usage(text, "give a PEM file with their public key, or its fingerprint"):
        return PublicKey.parse(text) if whole else fingerprint_of(text)


def load_log_key(text: str) -> PublicKey:
    """The key of a log: a verifier key or a file with one, or a key argument (see `load_key`)."""
    from ..log.checkpoint import origin_of, parse_vkey

    vkey = _vkey(text)
    if vkey is None:
        return load_key(text, whole=True)
    step = "take it from logs.jsonl, or from: torchnotary log checkpoint --json"
    with _as_usage(text, step):
        name, key = parse_vkey(vkey)
    if name != origin_of(key):
        raise NotaryError(
            "the verifier key is not that of a log",
            expected=origin_of(key),
            actual=name,
            next_step=step,
        )
    return key


def load_witness(text: str) -> WitnessKey:
    """The witness of a verifier key, or of a file with one (a witness's ``witness.vkey``)."""
    from ..log.witness import WitnessKey

    with _as_usage(text, "give the verifier key NAME+ID+KEY of a witness, or a file with it"):
        return WitnessKey.from_vkey(_vkey(text) or text)


def _vkey(text: str) -> str | None:
    """The verifier key that ``text`` is, or that the file of this name holds; None for neither."""
    if os.path.lexists(text):
        text = read_regular(text, _MAX_VKEY_BYTES).decode("utf-8", "replace").strip()
    return None if text.count("+") < 2 or "-----BEGIN" in text else text


def load_checkpoint(path: Path) -> str:
    """The note of a checkpoint file, or the one in a record that was saved (``.tnr``), parsed but
    not verified; MalformedRecord, which names the file, for anything else."""
    from ..log.checkpoint import MAX_NOTE_BYTES, Checkpoint, SignedNote
    from ..log.proofs import TlogProof
    from ..statement.record import Record

    with open_regular(path) as stream:
        is_record = stream.read(4) == b"PK\x03\x04"
    with naming(path):
        if is_record:
            return TlogProof.from_text(Record.load(path).tlog_proof).checkpoint
        note = read_regular(path, MAX_NOTE_BYTES).decode("utf-8", "replace")
        Checkpoint.parse(SignedNote.parse(note).text)
    return note


@contextmanager
def naming(path: Path) -> Iterator[None]:
    """Names the file in what is refused of its content."""
    try:
        yield
    except NotaryError as error:
        raise type(error)(
            f"{path}: {error.reason}",
            expected=error.expected,
            actual=error.actual,
            next_step=error.next_step,
        ) from error


@contextmanager
def _as_usage(text: str, step: str) -> Iterator[None]:
    """What is wrong with the argument ``text``, as wrong usage."""
    try:
        yield
    except NotaryError as error:
        raise UsageProblem(
            f"{brief(text)}: {error.reason}{error.values}", error.next_step or step
        ) from error


def load_object(text: str, option: str) -> Any:
    """The Python object ``module:name`` stands for, looked up from the current folder too."""
    home, _, name = text.partition(":")
    if not home or not name:
        raise UsageProblem(f"{option} {text} does not name an object", f"{option} module:name")
    if "" not in sys.path and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    try:
        value = importlib.import_module(home)
        for part in name.split("."):
            value = getattr(value, part)
    except Exception as error:  # importing runs the user's code, which may raise anything
        raise UsageProblem(
            f"{option} {text} cannot be loaded: {type(error).__name__}: {error}",
            f"run it in the folder of {home}.py, or check the name",
        ) from error
    return value


def read_values(path: Path, tree: str, *, live: bool = False) -> Any:
    """Values of ``inputs`` or ``outputs`` from a file (see `read_file`): inputs as a mapping from
    argument name or leaf path, or in their order; outputs likewise, or the value itself."""
    values = read_file(path, live=live)
    if tree == "inputs" and not isinstance(values, (dict, list)):
        return (values,)
    if tree == "outputs" and isinstance(values, dict) and list(values) == ["output"]:
        return values["output"]
    return values


def read_file(path: Path, *, live: bool = False) -> Any:
    """What a .safetensors, .npz, .npy, .json or .pt file holds.

    Tensors of a .safetensors file are views that can be hashed; with ``live`` they are torch
    tensors, to call something with. Raises OSError where it cannot be opened and UsageProblem
    where it is not such a file.
    """
    open_regular(path).close()
    try:
        return _read(path, live)
    except (UsageProblem, OSError, ModuleNotFoundError):
        raise
    except NotaryError as error:
        step = error.next_step or "check the file, then run it again"
        raise UsageProblem(error.reason, step) from error
    except Exception as error:  # numpy and torch raise what they please on damaged files
        first = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UsageProblem(
            f"{path} is not a {path.suffix} file: {first}", "check the file, then run it again"
        ) from error


def _read(path: Path, live: bool) -> Any:
    if path.suffix == ".json":
        return json.loads(read_regular(path, MAX_FILE_BYTES).decode("utf-8"))
    if path.suffix == ".pt":
        import torch

        return torch.load(path, map_location="cpu", weights_only=True)
    if path.suffix == ".safetensors":
        from .tensors import read_safetensors, to_library

        views = read_safetensors(path)
        return {name: to_library(view) for name, view in views.items()} if live else views
    if path.suffix in (".npy", ".npz"):
        import numpy

        with open_regular(path) as file:
            loaded = numpy.load(file, allow_pickle=False)
            return loaded if isinstance(loaded, numpy.ndarray) else dict(loaded)
    raise UsageProblem(
        f"{path} is of an unknown kind", f"give a file ending in {', '.join(VALUE_SUFFIXES)}"
    )
