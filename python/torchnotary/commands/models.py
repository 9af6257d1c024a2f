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
from .output import Json, UsageProblem, leave, note, result, with_next
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
    oms: Annotated[
        Path | None,
        typer.Option("--oms", help="Sign its files for model-signing, into this file."),
    ] = None,
    check_oms: Annotated[
        Path | None,
        typer.Option("--check-oms", help="Check its files against this model-signing signature."),
    ] = None,
    key: Annotated[
        Path | None,
        typer.Option(help="The key for --oms (private) or --check-oms (public): a PEM file."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Print a model's roots, write its line files, sign or check its files, or compare it."""
    if oms or check_oms or key:
        if output or diff:
            raise UsageProblem(
                "-o and --diff are about lines, --oms and --check-oms about files",
                "run the two one after the other",
            )
        _tell_signature(model, oms, check_oms, key, as_json)
        return
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


def _tell_signature(
    model: str, sign_into: Path | None, check: Path | None, key: Path | None, as_json: bool
) -> None:
    """Signs the files of a model for model-signing, or checks them against what somebody signed."""
    if key is None or (sign_into is None) == (check is None):
        raise UsageProblem(
            "--key goes with one of --oms and --check-oms",
            "--oms FILE --key PRIVATE.pem, or --check-oms FILE --key PUBLIC.pem",
        )
    from ..interop import ec_keys, oms

    if sign_into is not None:
        signed = oms.sign(model, sign_into, ec_keys.EcPrivateKey.load(key))
        text = f"signed     {len(signed.files)} files of {signed.model} in {sign_into}"
    else:
        signed = oms.check(model, check, ec_keys.EcPublicKey.load(key))
        text = f"VALID: {len(signed.files)} files of {signed.model}, as {check} says"
    document = {
        "files": dict(signed.files),
        "ignored": list(signed.ignored),
        "model": signed.model,
        "root": signed.root,
        "signature": str(sign_into or check),
        "type": "oms/1",
    }
    result(f"{text}\nroot       {signed.root}", document, as_json)


def _manifest(model: str, option: str) -> Manifest:
    from ..verifier.model_comparison import manifest_of

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
