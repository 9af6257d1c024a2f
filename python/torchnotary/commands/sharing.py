"""The commands of ``torchnotary log`` that hand a log to others: checkpoints, proofs, tiles."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..errors import NotaryError
from .files import load_checkpoint, load_log_key, naming
from .output import Json, UsageProblem, entries, exactly, leave, result, with_next

LogOption = Annotated[Path | None, typer.Option("--log", help="The log's folder.", metavar="LOG")]
Output = Annotated[
    Path | None, typer.Option("-o", "--output", help="Write it to this file, not to stdout.")
]


def checkpoint(
    log: Annotated[
        Path | None,
        typer.Argument(help="A log's folder, yours or a published one.", metavar="[LOG]"),
    ] = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Print a log's last signed checkpoint, for others to keep."""
    from ..log.checkpoint import vkey
    from ..log.sources import last_checkpoint, open_log

    with open_log(log_folder(log)) as opened:
        size, signed = last_checkpoint(opened)
        document = {
            "checkpoint": signed,
            "log": str(opened.path),
            "origin": opened.origin,
            "size": size,
            "type": "log-checkpoint/1",
            "vkey": vkey(opened.origin, opened.public_key),
        }
    hand_over(signed, f"{document['origin']}: {entries(size)}", output, document, as_json)


def prove(
    record: Annotated[
        str | None, typer.Argument(help="A record id from your log.", metavar="[ID]")
    ] = None,
    older: Annotated[
        Path | None,
        typer.Option(
            "--from", help="Prove that the log only grew since this checkpoint, or record's."
        ),
    ] = None,
    newer: Annotated[
        Path | None,
        typer.Option("--to", help="Up to this checkpoint or record's, not to the last one."),
    ] = None,
    log: Annotated[
        Path | None,
        typer.Option("--log", help="The log's folder; with --from a published one too."),
    ] = None,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Prove that a record is in a log, or (--from) that a log only grew."""
    if (record is None) == (older is None) or (newer is not None and older is None):
        raise UsageProblem(
            "give either a record id or --from CHECKPOINT", "torchnotary log prove --help"
        )
    if log is not None:
        log_folder(log)
    text, said = _inclusion(record, log) if older is None else _growth(older, newer, log)
    document = {"proof": text, "proves": said, "type": "log-proof/1"}
    hand_over(text, said, output, document, as_json)


def consistency(
    older: Annotated[Path, typer.Argument(help="The checkpoint you kept.", metavar="CHECKPOINT")],
    proof: Annotated[
        Path, typer.Argument(help="What `log prove --from` wrote for you.", metavar="PROOF")
    ],
    log_key: Annotated[
        str, typer.Option(help="The log's key: its verifier key or a PEM file.", metavar="KEY")
    ],
    as_json: Json = False,
) -> None:
    """Check, without the log, that it only grew since a checkpoint."""
    from ..log.checkpoint import Checkpoint

    key = load_log_key(log_key)
    old = Checkpoint.verify(load_checkpoint(older), key)
    new = load_proof(proof).verify(old, key)
    document = {
        "first": old.size,
        "ok": True,
        "origin": new.origin,
        "size": new.size,
        "type": "log-consistency/1",
    }
    said = f"OK: the first {old.size} of {new.size} entries are those of your checkpoint"
    result(said, document, as_json)


def publish(
    folder: Annotated[Path, typer.Argument(help="The folder to publish in.", metavar="DIR")],
    log: LogOption = None,
    check: Annotated[
        bool, typer.Option("--check", help="Compare what is published with the log instead.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Publish a log as static files (tlog-tiles) for any web server."""
    from ..log import publish as publishing

    logs = log_folder(log)
    if check:
        if not folder.is_dir():
            raise UsageProblem(
                f"there is no folder {folder}", f"publish first: torchnotary log publish {folder}"
            )
        _tell_differences(list(publishing.check_published(logs, folder)), folder, as_json)
        return
    done = publishing.publish(logs, folder)
    document = {
        "folder": str(folder),
        "logs": [
            {"files": p.files, "log": p.name, "origin": p.origin, "size": p.size} for p in done
        ],
        "type": "log-publish/1",
    }
    lines = [f"{p.name}  {entries(p.size)}, {p.files} files written" for p in done]
    result("\n".join(lines), document, as_json)


def log_folder(log: Path | None) -> Path:
    """The log folder that was named, or the default one; UsageProblem where there is none."""
    from .. import folders

    folder = log or folders.default_log()
    if not folder.is_dir():
        raise UsageProblem(f"there is no log folder {folder}", "torchnotary log list LOG")
    return folder


def hand_over(text: str, said: str, output: Path | None, document: dict, as_json: bool) -> None:
    """Gives a signed text away: into a file, saying what it is, or itself on stdout."""
    from ..statement.container import write_atomically

    if output is not None:
        write_atomically(output, text.encode())
        document = {**document, "file": str(output)}
    if as_json or output is not None:
        result(f"{said}  {output}", document, as_json)
    else:
        exactly(text)


def load_proof(path: Path):
    """The consistency proof in a file."""
    from ..files import read_regular
    from ..log.checkpoint import MAX_NOTE_BYTES
    from ..log.proofs import ConsistencyProof

    with naming(path):
        text = read_regular(path, 2 * MAX_NOTE_BYTES).decode("utf-8", "replace")
        return ConsistencyProof.from_text(text)


def _inclusion(record: str, log: Path | None) -> tuple[str, str]:
    from ..log.reader import LogFolder, find_anywhere

    if log is None:
        found = find_anywhere(record)
        if found is None:
            raise NotaryError(
                f"none of your logs has the record {record}", next_step="torchnotary log list"
            )
        log, record = found.log.parent, found.record_id
    return LogFolder(log).bundle(record)["tlogProof"], f"record {record[:16]} is in its log"


def _growth(older: Path, newer: Path | None, folder: Path | None) -> tuple[str, str]:
    from ..log.checkpoint import Checkpoint, SignedNote
    from ..log.sources import extension, last_checkpoint, log_of

    kept = load_checkpoint(older)
    origin = Checkpoint.parse(SignedNote.parse(kept).text).origin
    with log_of(origin, folder) as log:
        old = Checkpoint.verify(kept, log.public_key)
        note = last_checkpoint(log)[1] if newer is None else load_checkpoint(newer)
        proof = extension(log, old.size, note)
        new = proof.verify(old, log.public_key)
    return proof.to_text(), f"{origin}: the first {old.size} of {new.size} entries are the same"


def _tell_differences(differences: list[str], folder: Path, as_json: bool) -> None:
    steps = [f"delete what differs, then: torchnotary log publish {folder}"] if differences else []
    document = {
        "differences": differences,
        "folder": str(folder),
        "next": steps,
        "ok": not differences,
        "type": "log-publish-check/1",
    }
    if not differences:
        result(f"OK: every file in {folder} is what the log says", document, as_json)
        return
    lines = [f"DIFFERENT: {len(differences)} files (exit 1)", *differences]
    result(with_next("\n".join(lines), steps), document, as_json)
    leave(1)
