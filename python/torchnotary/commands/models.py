"""The commands commit, manifest and pin: what a file's or model's tensors are, as digests."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..commitment import Commitment
from ..composite import STRIDED
from ..errors import PinMismatch
from ..verifier.verdict import INCONCLUSIVE, INVALID
from .files import load_model
from .output import Json, leave, note, result, with_next
from .progress import progress_bar

if TYPE_CHECKING:
    from ..manifest import Manifest
    from ..manifest_diff import ManifestDiff

Model = Annotated[
    str, typer.Argument(help="A weights file, a folder, or module:name.", metavar="MODEL")
]


def commit(
    file: Annotated[
        Path,
        typer.Argument(
            help="A .npy, .npz, .safetensors or .pt file, or any file as bytes.", metavar="FILE"
        ),
    ],
    as_json: Json = False,
) -> None:
    """Print the digest of every tensor in a file."""
    from .tensors import commitments_of

    rows = commitments_of(file)
    document = {
        "file": str(file),
        "tensors": [
            {
                "data_root": c.data_root,
                "digest": c.digest,
                "dtype": c.dtype,
                "layout": c.layout,
                "name": name,
                "nbytes": c.nbytes,
                "shape": list(c.shape),
            }
            for name, c in rows
        ],
        "type": "commitments/1",
    }
    text = "\n".join(f"{c.digest}  {_kind(c)}{list(c.shape)}  {name}" for name, c in rows)
    result(text, document, as_json)


def _kind(commitment: Commitment) -> str:
    layout = "" if commitment.layout == STRIDED else f"{commitment.layout} "
    return layout + commitment.dtype


def manifest(
    model: Model,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", help="Write weights.jsonl, structure.jsonl, files.jsonl here."
        ),
    ] = None,
    diff: Annotated[
        str | None, typer.Option("--diff", help="Say what differs in this one.", metavar="MODEL")
    ] = None,
    as_json: Json = False,
) -> None:
    """Print a model's roots, write its line files, or compare it with another."""
    found = _manifest(model, "MODEL")
    if output is not None:
        found.save(output)
        note(f"written to {output}")
    if diff is not None:
        _tell_difference(found.diff(_manifest(diff, "--diff")), as_json)
        return
    document: dict[str, Any] = {"type": "manifest/1"}
    lines = []
    for name in ("weights", "structure", "files"):
        root, size = getattr(found, f"{name}_root"), getattr(found, f"{name}_size")
        document[name] = {"root": root, "size": size} if root else None
        lines.append(f"{name:<10} {root}  {size} lines" if root else f"{name:<10} none")
    result("\n".join(lines), document, as_json)


def _manifest(model: str, option: str) -> Manifest:
    from ..verifier.model import manifest_of

    with progress_bar(model) as progress:
        return manifest_of(load_model(model, option), progress)


def _tell_difference(found: ManifestDiff, as_json: bool) -> None:
    document = {
        "differences": found.lines,
        "not_compared": found.not_compared,
        "same": not found and not found.not_compared,
        "type": "manifest-diff/1",
    }
    result(found, document, as_json)
    if found:
        leave(INVALID)
    if found.not_compared:
        leave(INCONCLUSIVE)


def pin(
    model: Model,
    check: Annotated[
        bool, typer.Option("--check", help="Compare with the pin, write nothing.")
    ] = False,
    path: Annotated[Path, typer.Option(help="Where the pin lies.")] = Path("torchnotary.lock"),
    as_json: Json = False,
) -> None:
    """Pin a model to a lock file, or check that nothing changed since."""
    from .. import lockfile
    from ..manifest import Manifest

    loaded = load_model(model, "MODEL")
    with progress_bar(model) as progress:
        found = Manifest.of(loaded, progress=progress)
    document: dict[str, Any] = {"model": model, "path": str(path), "same": True, "type": "pin/1"}
    if not check:
        lockfile.pin(found, path)
        result(f"pinned {model} in {path}", document, as_json)
        return
    try:
        lockfile.check_pin(found, path)
    except PinMismatch as error:
        step = error.next_step or f"restore the model, or pin it anew: torchnotary pin {model}"
        document.update(difference=error.reason, next=[step], same=False)
        result(with_next(f"CHANGED (exit 1): {error.reason}", [step]), document, as_json)
        leave(1)
    result(f"unchanged: {model} is as pinned in {path}", document, as_json)
