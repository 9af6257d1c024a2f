"""The commands save and ``torchnotary log``: getting records out of a log and checking it."""

from __future__ import annotations

import re
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated

import typer

from ..errors import NotaryError
from . import sharing, witnessing
from .files import load_record, read_values
from .output import Json, UsageProblem, leave, one_line, result, with_next
from .sharing import log_folder

app = typer.Typer(help="Your transparency log.", no_args_is_help=True)

LogArgument = Annotated[Path | None, typer.Argument(help="The log's folder.", metavar="[LOG]")]


def save(
    record: Annotated[
        str,
        typer.Argument(help="A record id from your log, or a .tnr file.", metavar="ID|RECORD"),
    ],
    output: Annotated[Path, typer.Option("-o", "--output", help="The .tnr file to write.")],
    disclose: Annotated[
        str, typer.Option(help="What to open, with commas: inputs,outputs,trace,weights,structure.")
    ] = "",
    inputs: Annotated[
        Path | None, typer.Option(help="Inputs that travel along, checked against the record.")
    ] = None,
    outputs: Annotated[
        Path | None, typer.Option(help="Outputs that travel along, checked against the record.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a record as one file to hand to anyone."""
    from ..statement.record import DISCLOSABLE

    parts = [part.strip() for part in disclose.split(",") if part.strip()]
    for part in parts:
        if part not in DISCLOSABLE:
            raise UsageProblem(
                f"--disclose {part} is not a part of a record",
                f"name parts out of {', '.join(DISCLOSABLE)}",
            )
    loaded = load_record(record)
    loaded.save(
        output,
        disclose=parts,
        inputs=read_values(inputs, "inputs") if inputs is not None else None,
        outputs=read_values(outputs, "outputs") if outputs is not None else None,
    )
    document = {"disclosed": parts, "file": str(output), "record": loaded.id, "type": "saved/1"}
    result(f"{loaded.id[:16]}  {output}", document, as_json)


@app.command("list")
def list_records(
    log: LogArgument = None,
    label: Annotated[
        list[str] | None, typer.Option(help="key=value; all must match.", metavar="K=V")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(help="A date or time (ISO 8601; UTC where no zone is given).", metavar="T"),
    ] = None,
    as_json: Json = False,
) -> None:
    """List the records of a log, newest last."""
    from ..log.reader import LogFolder

    folder = log_folder(log)
    rows = list(LogFolder(folder).list(labels=_labels(label or []), since=_time(since)))
    document = {
        "log": str(folder),
        "records": [
            {
                "erased": r.payload is None,
                "id": r.record_id,
                "index": r.index,
                "labels": r.labels,
                "name": r.name,
                "time": r.time,
            }
            for r in rows
        ],
        "type": "log-list/1",
    }
    lines = [
        one_line(
            f"{r.record_id[:16]}  {r.time[:19]}Z  {'(erased)' if r.payload is None else r.name}"
            + "".join(f"  {key}={value}" for key, value in sorted(r.labels.items()))
        )
        for r in rows
    ]
    result("\n".join(lines) or f"no records in {folder}", document, as_json)


@app.command()
def check(log: LogArgument = None, as_json: Json = False) -> None:
    """Check every entry of a log against its tree and its checkpoints."""
    from ..log.check import check_folder

    report = check_folder(log_folder(log))
    steps = [] if report.ok else ["restore the named log from a copy that still checks"]
    document = {
        "checkpoints": report.checkpoints,
        "entries": report.entries,
        "erased": report.erased,
        "log": str(report.folder),
        "logs": report.logs,
        "next": steps,
        "ok": report.ok,
        "problems": [
            {"index": p.index, "log": p.log.name, "record": p.record_id, "what": p.what}
            for p in report.problems
        ],
        "type": "log-check/1",
    }
    counted = f"logs {report.logs}, entries {report.entries}, checkpoints {report.checkpoints}"
    if report.ok:
        result(f"OK: {counted}", document, as_json)
        return
    count = len(report.problems)
    found = "1 problem" if count == 1 else f"{count} problems"
    lines = [f"CORRUPT: {found} in {counted} (exit 1)"]
    result(
        with_next("\n".join([*lines, *map(one_line, report.problems)]), steps), document, as_json
    )
    leave(1)


@app.command()
def prune(
    older_than: Annotated[
        str,
        typer.Option(help="An age (90d, 12h, 30m), or a date or time (ISO 8601).", metavar="T"),
    ],
    log: LogArgument = None,
    as_json: Json = False,
) -> None:
    """Erase what old records say, for good; the log still checks."""
    from ..log.prune import prune_folder

    folder, before = log_folder(log), _time_before(older_than)
    erased = prune_folder(folder, before)
    document = {"before": before, "erased": erased, "log": str(folder), "type": "log-prune/1"}
    result(f"erased {erased} records from before {before[:19]}Z", document, as_json)


def _time_before(text: str) -> str:
    from ..log.reader import normal_time

    if age := re.fullmatch(r"([0-9]{1,5})([dhm])", text):
        minutes = int(age[1]) * {"d": 24 * 60, "h": 60, "m": 1}[age[2]]
        return normal_time((datetime.now(timezone.utc) - timedelta(minutes=minutes)).isoformat())
    try:
        return normal_time(text)
    except NotaryError as error:
        raise UsageProblem(
            f"--older-than: {error.reason}", "--older-than 90d, or --older-than 2026-11-21"
        ) from error


for command in (
    sharing.checkpoint,
    sharing.prove,
    sharing.consistency,
    sharing.publish,
    witnessing.witness,
    witnessing.cosigned,
):
    app.command()(command)


def _time(text: str | None) -> str | None:
    from ..log.reader import normal_time

    try:
        return None if text is None else normal_time(text)
    except NotaryError as error:
        raise UsageProblem(f"--since: {error.reason}", f"--since T: {error.next_step}") from error


def _labels(texts: list[str]) -> dict[str, str]:
    labels = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageProblem(f"--label {text} is not key=value", "--label key=value")
        labels[key] = value
    return labels
