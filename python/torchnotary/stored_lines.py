"""The lines of files: the tensors in safetensors files and files as bytes, hashed in one call.

Files are read piece by piece (cpp/tensor/files.h), so weights are never held, and a file that
changes between the reading of its header and the end of the hashing is refused.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from . import _core
from .commitment import Commitment
from .errors import MalformedRecord, NotaryError
from .files import open_regular
from .hashing import threads_for
from .model_lines import Progress
from .safetensors_header import StoredTensor, read_safetensors_header
from .weights_files import WeightsFiles


@dataclass(frozen=True)
class StoredFile:
    """A file in the state in which it was found, and the tensors in it; ``shard`` is its name
    where an index distributes the tensors over several."""

    path: Path
    state: _core.FileState
    tensors: list[StoredTensor]
    shard: str | None = None


@dataclass(frozen=True)
class Home:
    """Where a tensor lies."""

    file: StoredFile
    tensor: StoredTensor


def lines_of(
    weights: WeightsFiles, others: Iterable[tuple[str, Path]], progress: Progress | None
) -> tuple[list[dict[str, Any]], list[dict[str, Any]], dict[str, Home]]:
    """The objects of the weights lines of safetensors and plain files, those of the files lines of
    ``others``, and where each tensor lies. ``progress`` counts tensors; where there are none,
    files. Raises MalformedRecord, UnsupportedTensor and OSError naming the file."""
    homes = _tensors_of(weights)
    files = [plain_file(path, name) for name, path in others]
    stored: dict[int, StoredFile] = {id(home.file): home.file for home in homes.values()}
    tensor_files = list(stored.values())
    names = {(id(home.file), home.tensor.name): name for name, home in homes.items()}
    order = [names[id(file), tensor.name] for file in tensor_files for tensor in file.tensors]
    counted = [tensor for file in tensor_files or files for tensor in file.tensors]
    roots, digests = _commit(
        tensor_files + files, counted, order or [file.tensors[0].name for file in files], progress
    )
    weights_lines = [
        {
            "digest": digest,
            "dtype": homes[name].tensor.dtype,
            "name": name,
            "shape": homes[name].tensor.shape,
            "type": "tensor",
        }
        for name, digest in zip(order, digests[: len(order)], strict=True)
    ]
    files_lines = [
        {"digest": root, "name": file.tensors[0].name, "size": file.state.size, "type": "file"}
        for file, root in zip(files, roots[len(order) :], strict=True)
    ]
    return weights_lines, files_lines, homes


def _commit(
    files: Sequence[StoredFile],
    counted: Sequence[StoredTensor],
    names: Sequence[str],
    progress: Progress | None,
) -> tuple[list[str], list[str]]:
    """Data roots and digests (hex) of all tensors of all files."""
    total, done = sum(tensor.nbytes for tensor in counted), 0

    def finished(index: int) -> None:
        nonlocal done
        if progress and index < len(counted):
            done += counted[index].nbytes
            progress(done, total, names[index])

    parts = [(os.fsencode(file.path), file.state, file.tensors) for file in files]
    threads = threads_for(sum(file.state.size for file in files))
    found = _core.commit_files(parts, threads, finished)
    hexed = (part.hex() for part in found)
    roots, digests = ([text[i : i + 64] for i in range(0, len(text), 64)] for text in hexed)
    return roots, digests


def _tensors_of(weights: WeightsFiles) -> dict[str, Home]:
    """Every tensor's full name with where it lies, in the order of the files and their bytes."""
    files = [
        safetensors_file(path, path.name if required else None)
        for _, path, required in weights.safetensors
    ]
    _require_placed(weights, files)
    homes: dict[str, Home] = {}
    for (prefix, path, _), file in zip(weights.safetensors, files, strict=True):
        for tensor in file.tensors:
            name = prefix + tensor.name
            if name in homes:
                raise MalformedRecord(
                    f"two files hold a tensor {name!r}",
                    expected=homes[name].file.path,
                    actual=path,
                    next_step="give the one that the model loads",
                )
            homes[name] = Home(file, tensor)
    if weights.plain is not None:
        file = plain_file(weights.plain, weights.plain.name)
        homes[file.tensors[0].name] = Home(file, file.tensors[0])
    return homes


def _require_placed(weights: WeightsFiles, files: Sequence[StoredFile]) -> None:
    """Raises MalformedRecord where an index places a tensor in a shard that lacks it."""
    for (_, path, required), file in zip(weights.safetensors, files, strict=True):
        if missing := required - {tensor.name for tensor in file.tensors}:
            name = min(missing)
            holders = [f.path.name for f in files if any(t.name == name for t in f.tensors)]
            raise MalformedRecord(
                f"{path} lacks {len(missing)} tensors its index places there, such as {name!r}",
                expected=f"{name!r} in {path.name}",
                actual=f"{name!r} in {holders[0]}" if holders else f"no shard with {name!r}",
                next_step="get the index and the shards that belong together",
            )


def commitments_in(file: StoredFile) -> list[Commitment]:
    """The commitments of a file's tensors; raises MalformedRecord where it changed."""
    roots, digests = _commit([file], file.tensors, [t.name for t in file.tensors], None)
    return [
        Commitment(digest, root, stored.dtype, tuple(stored.shape), stored.nbytes)
        for stored, root, digest in zip(file.tensors, roots, digests, strict=True)
    ]


def safetensors_file(path: Path, shard: str | None = None) -> StoredFile:
    """A safetensors file and the tensors in it, by its header; raises MalformedRecord."""
    with open_regular(path) as stream:
        # The state comes first: a file that changes afterwards is not in it any more.
        state = _core.FileState(stream.fileno())
        return StoredFile(path, state, read_safetensors_header(stream, str(path)), shard)


def plain_file(path: Path, name: str) -> StoredFile:
    """A file as one tensor, its bytes."""
    with open_regular(path) as stream:
        state = _core.FileState(stream.fileno())
        if not state.size and stream.read(1):
            raise NotaryError(
                f"{path} is made as it is read (/proc, /sys) and has no size",
                next_step=f"copy it to a file first: cat {path} > FILE",
            )
    return StoredFile(path, state, [StoredTensor(name, "uint8", [state.size], 0)])


def shards_of(homes: Mapping[str, Home]) -> dict[str, str]:
    """The shard of every tensor that an index places."""
    return {name: home.file.shard for name, home in homes.items() if home.file.shard}
