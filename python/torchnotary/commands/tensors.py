"""Tensors in files as commands see them, read without torch or NumPy where they can be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from .. import _core
from ..commitment import Commitment, commit, is_tensor
from ..errors import NotaryError
from ..files import open_regular
from ..opening import Opening
from ..safetensors_header import read_safetensors_header
from ..stored_lines import Home, StoredFile, commitments_in, plain_file, safetensors_file
from ..weights_files import find, load_pickled
from .output import UsageProblem


def read_safetensors(path: Path) -> dict[str, _core.View]:
    """The tensors of a safetensors file by name, read into memory; raises MalformedRecord."""
    with open_regular(path) as stream:
        stored = read_safetensors_header(stream, str(path))
        stream.seek(0)
        data = stream.read()
    return {t.name: _core.View.from_buffer(data, t.dtype, tuple(t.shape), t.begin) for t in stored}


def open_tensor(path: Path, name: str, index: Any) -> Opening:
    """The opening of what ``index`` selects of the tensor of that name in a weights file or folder.
    Raises UsageProblem where there is none."""
    files = find(path)
    for prefix, file, _ in files.safetensors:
        if name.startswith(prefix):
            found = safetensors_file(file)
            for stored in found.tensors:
                if prefix + stored.name == name:
                    return Opening.of_stored(Home(found, stored), index)
    tensor = load_pickled(files.pickled).get(name) if files.pickled else None
    if tensor is None:
        raise UsageProblem(f"{path} has no tensor {name}", f"torchnotary manifest {path} -o FOLDER")
    return Opening.of(tensor, index)


def to_library(view: _core.View) -> Any:
    """A view's content as a torch tensor (a NumPy array where torch is not installed)."""
    from ..leaves import Leaf
    from ..statement.evidence import tensor_of

    content = view.tobytes()
    return tensor_of(Leaf("", "tensor", dtype=view.dtype, shape=view.shape, kept=content))


def commitments_of(path: Path) -> list[tuple[str, Commitment]]:
    """Name and commitment of every tensor in a .safetensors, .npy, .npz or .pt file; any other
    file is one tensor, its bytes (uint8)."""
    from .files import VALUE_SUFFIXES

    if path.suffix == ".safetensors":
        file = safetensors_file(path)
    elif path.suffix not in VALUE_SUFFIXES or path.suffix == ".json":
        file = _plain(path)
    else:
        return [(name, commit(tensor)) for name, tensor in _tensors(path)]
    names = [stored.name for stored in file.tensors]
    return list(zip(names, commitments_in(file), strict=True))


def _plain(path: Path) -> StoredFile:
    try:
        return plain_file(path, path.name)
    except NotaryError as error:
        raise UsageProblem(error.reason, error.next_step) from None


def _tensors(path: Path) -> Iterator[tuple[str, Any]]:
    from .files import read_file

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
