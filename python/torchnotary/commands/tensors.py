"""Tensors in files as commands see them: mapped, not copied, and read without torch or NumPy."""

from __future__ import annotations

import mmap
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .. import _core
from ..commitment import Commitment, commit, is_tensor
from ..files import open_regular
from ..safetensors_header import read_safetensors_header
from ..weights_files import find, load_pickled
from .output import UsageProblem


def read_safetensors(path: Path) -> dict[str, _core.View]:
    """The tensors of a safetensors file by name, where they are mapped; raises MalformedRecord."""
    with open_regular(path) as stream:
        stored = read_safetensors_header(stream, str(path))
        mapped = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ)
    return {
        t.name: _core.View.from_buffer(mapped, t.dtype, tuple(t.shape), t.begin) for t in stored
    }


def find_tensor(path: Path, name: str) -> Any:
    """The tensor of that name in a weights file or folder: mapped where it is a safetensors file,
    read by torch where it is a pickled one. Raises UsageProblem where there is none."""
    files = find(path)
    for prefix, file, _ in files.safetensors:
        if name.startswith(prefix):
            view = read_safetensors(file).get(name[len(prefix) :])
            if view is not None:
                return view
    tensor = load_pickled(files.pickled).get(name) if files.pickled else None
    if tensor is None:
        raise UsageProblem(f"{path} has no tensor {name}", f"torchnotary manifest {path} -o FOLDER")
    return tensor


def to_library(view: _core.View) -> Any:
    """A view's content as a torch tensor (a NumPy array where torch is not installed)."""
    from ..leaves import Leaf
    from ..statement.evidence import tensor_of

    content = view.tobytes()
    return tensor_of(Leaf("", "tensor", dtype=view.dtype, shape=view.shape, kept=content))


def commitments_of(path: Path) -> list[tuple[str, Commitment]]:
    """Name and commitment of every tensor in a .safetensors, .npy, .npz or .pt file; any other
    file is one tensor, its bytes (uint8)."""
    return [(name, commit(tensor)) for name, tensor in _tensors(path)]


def _tensors(path: Path) -> Iterator[tuple[str, Any]]:
    from .files import VALUE_SUFFIXES, read_file

    if path.suffix not in VALUE_SUFFIXES or path.suffix == ".json":
        yield path.name, _bytes_of(path)
        return
    values = read_file(path)
    if is_tensor(values):
        yield path.name, values
        return
    named = values.items() if isinstance(values, Mapping) else ()
    found = [(name, v) for name, v in named if is_tensor(v) or isinstance(v, _core.View)]
    if not found or len(found) < len(named):
        raise UsageProblem(
            f"{path} does not hold tensors by name alone",
            f"torchnotary manifest {path}, or save the tensors as .safetensors",
        )
    yield from found


def _bytes_of(path: Path) -> _core.View:
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if not size and stream.read(1):
            raise UsageProblem(
                f"{path} is made as it is read (/proc, /sys) and has no size",
                f"copy it to a file first: cat {path} > FILE",
            )
        # An empty file cannot be mapped.
        data = mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) if size else b""
    return _core.View.from_buffer(data, "uint8", (size,))
