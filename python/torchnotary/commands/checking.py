"""The command verify: what a record says against what can be checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .files import find_record, load_key, load_manifest, read_values
from .output import Json, UsageProblem, leave, result

RecordArgument = Annotated[
    str, typer.Argument(help="A .tnr file, or a record id from your log.", metavar="RECORD")
]
Inputs = Annotated[
    Path | None,
    typer.Option(help="The call's arguments: .safetensors, .npz, .npy, .json or .pt."),
]
Outputs = Annotated[
    Path | None,
    typer.Option(help="What the call returned: .safetensors, .npz, .npy, .json or .pt."),
]
Model = Annotated[
    str | None,
    typer.Option(help="A weights file, a folder, or module:name for a live model.", metavar="M"),
]


def verify(
    record: RecordArgument,
    signer: Annotated[
        str | None,
        typer.Option(help="The key it must be by: a PEM file or a fingerprint.", metavar="KEY"),
    ] = None,
    checkpoint: Annotated[
        Path | None, typer.Option(help="A checkpoint of its log that you hold.")
    ] = None,
    consistency: Annotated[
        Path | None,
        typer.Option(help="The proof between that checkpoint and the record's, or a folder."),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="A TOML file: signers, logs, witnesses, what must pass.")
    ] = None,
    model: Model = None,
    inputs: Inputs = None,
    outputs: Outputs = None,
    nonce: Annotated[
        str | None,
        typer.Option(help="The challenge you sent, in hexadecimal.", metavar="HEX"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a record offline, step by step."""
    from ..verifier import steps

    verdict = steps.verify(
        find_record(record),
        signer=load_key(signer) if signer is not None else None,
        checkpoint=checkpoint,
        consistency=consistency,
        policy=policy,
        model=load_manifest(model) if model is not None else None,
        inputs=read_values(inputs, "inputs") if inputs is not None else None,
        outputs=read_values(outputs, "outputs") if outputs is not None else None,
        nonce=_hex(nonce) if nonce is not None else None,
    )
    result(verdict, verdict.to_json(), as_json)
    leave(verdict.exit_code)


def _hex(text: str) -> bytes:
    step = "give the nonce as pairs of 0-9 and a-f"
    try:
        nonce = bytes.fromhex(text)
    except ValueError as error:
        raise UsageProblem(f"--nonce {text} is not hexadecimal", step) from error
    if not nonce:
        raise UsageProblem("--nonce is empty, which challenges nobody", step)
    return nonce
