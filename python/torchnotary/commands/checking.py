"""The commands verify, reproduce and diff: what a record says against what can be checked."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from .files import (
    find_record,
    load_key,
    load_manifest,
    load_model,
    load_object,
    load_record,
    read_values,
)
from .output import Json, UsageProblem, leave, result, with_next

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


def reproduce(
    record: RecordArgument,
    call: Annotated[
        str, typer.Option(help="What was recorded: module:function.", metavar="MODULE:FUNCTION")
    ],
    inputs: Inputs = None,
    outputs: Outputs = None,
    model: Model = None,
    as_json: Json = False,
) -> None:
    """Run the recorded call again and compare, bit for bit."""
    from ..replay.reproduction import reproduce as run_again

    found = run_again(
        load_record(record),
        load_object(call, "--call"),
        read_values(inputs, "inputs", live=True) if inputs is not None else None,
        outputs=read_values(outputs, "outputs") if outputs is not None else None,
        model=load_model(model) if model is not None else None,
    )
    result(found, found.to_json(), as_json)
    leave(found.exit_code)


def diff(
    a: Annotated[str, typer.Argument(help="A .tnr file or record id.", metavar="A")],
    b: Annotated[str, typer.Argument(help="Another one.", metavar="B")],
    as_json: Json = False,
) -> None:
    """Say what differs between two records."""
    from ..replay.comparison import diff as compare

    found = compare(load_record(a), load_record(b))
    result(with_next(found, found.next_steps), found.to_json(), as_json)
    leave(found.exit_code)


def _hex(text: str) -> bytes:
    step = "give the nonce as pairs of 0-9 and a-f"
    try:
        nonce = bytes.fromhex(text)
    except ValueError as error:
        raise UsageProblem(f"--nonce {text} is not hexadecimal", step) from error
    if not nonce:
        raise UsageProblem("--nonce is empty, which challenges nobody", step)
    return nonce
