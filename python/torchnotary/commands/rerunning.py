"""The commands reproduce and diff: a record against a second run, and against another record."""

from __future__ import annotations

from typing import Annotated

import typer

from .checking import Inputs, Model, Outputs, RecordArgument
from .files import load_model, load_object, load_record, read_values
from .output import Json, leave, result, with_next


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
