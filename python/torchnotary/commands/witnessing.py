"""The commands of ``torchnotary log`` about witnesses: being one, and keeping what they signed."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .files import load_checkpoint, load_log_key, load_witness, naming
from .output import Json, UsageProblem, entries, note, result, with_next
from .sharing import LogOption, Output, hand_over, load_proof, log_folder

if TYPE_CHECKING:
    from ..keys import PublicKey, SigningKey
    from ..log.witnessing import Witness


def witness(
    state: Annotated[
        Path, typer.Option(help="The witness's folder: what it has cosigned.", metavar="DIR")
    ],
    source: Annotated[
        Path | None,
        typer.Argument(
            help="A log's folder, yours or a published one, or a file by `log prove --from`; "
            "without it, only make the witness.",
            metavar="[SOURCE]",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="A new witness's name, like witness.example/w1.")
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="Its private key, where DIR shall hold none.", metavar="PEM")
    ] = None,
    log_key: Annotated[
        str | None,
        typer.Option(help="Watch the log of this key (verifier key or PEM).", metavar="KEY"),
    ] = None,
    trust_on_first_use: Annotated[
        bool, typer.Option("--trust-on-first-use", help="Watch SOURCE's log with the key it shows.")
    ] = False,
    output: Output = None,
    as_json: Json = False,
) -> None:
    """Cosign a log's checkpoint, if it extends all you cosigned before."""
    from ..log.witnessing import Witness

    own = Witness.open(state, name, _signing_key(key))
    vkey = own.identity.vkey()
    if log_key is not None:
        own.watch(load_log_key(log_key))
    if source is None:
        result(f"witness {vkey}", {"type": "witness/1", "vkey": vkey}, as_json)
        return
    cosigned_note = _cosign(own, source, trust_on_first_use)
    document = _describe(own, cosigned_note)
    when = datetime.fromtimestamp(document["time"], timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC")
    said = f"cosigned {entries(document['size'])} of {document['origin']} at {when}"
    hand_over(cosigned_note, said, output, document, as_json)
    if not as_json:
        step = f"torchnotary log cosigned {output or 'FILE'} --witness {vkey}"
        note(with_next(f"witness {vkey}", [f"its owner keeps it: {step}"]))


def cosigned(
    file: Annotated[
        Path, typer.Argument(help="The checkpoint that a witness gave back.", metavar="FILE")
    ],
    witnesses: Annotated[
        list[str],
        typer.Option(
            "--witness",
            help="Who cosigned it (verifier key, or a file with it); all must have.",
            metavar="VKEY",
        ),
    ],
    log: LogOption = None,
    as_json: Json = False,
) -> None:
    """Keep a cosigned checkpoint of your log, for records saved later."""
    from ..log import cosigned as kept
    from ..log.checkpoint import Checkpoint, SignedNote
    from ..log.sources import log_of
    from ..log.store import LogReader

    if log is not None:
        log_folder(log)
    keys = [load_witness(text) for text in witnesses]
    given = load_checkpoint(file)
    origin = Checkpoint.parse(SignedNote.parse(given).text).origin
    with log_of(origin, log) as opened:
        if not isinstance(opened, LogReader):
            raise UsageProblem(f"{opened.path} is a published log", "--log, with the log itself")
        found = kept.keep(opened, given, keys)
        document = {
            "log": str(opened.path),
            "origin": origin,
            "size": found.size,
            "type": "log-cosigned/1",
            "witnesses": [witness.vkey() for witness in found.witnesses],
        }
    names = ", ".join(witness.name for witness in found.witnesses)
    result(f"{origin}: {entries(found.size)}, cosigned by {names}", document, as_json)


def _cosign(own: Witness, source: Path, trust_on_first_use: bool) -> str:
    """The last checkpoint that ``source`` shows, cosigned by ``own``."""
    from ..log.checkpoint import Checkpoint, SignedNote
    from ..log.sources import extension, last_checkpoint, open_log

    if source.is_dir():
        with open_log(source) as log:
            if trust_on_first_use:
                _watch_first(own, log.origin, log.public_key)
            _, last = last_checkpoint(log)
            return own.cosign(log.origin, lambda old: extension(log, old, last), time.time)
    if source.parts[0] in ("http:", "https:"):
        raise UsageProblem("SOURCE is a folder or a file", "fetch the log first: docs/log.md")
    proof = load_proof(source)
    if trust_on_first_use:
        raise UsageProblem(f"{source} does not say which key its log has", "give it: --log-key KEY")
    origin = Checkpoint.parse(SignedNote.parse(proof.checkpoint).text).origin
    return own.cosign(origin, lambda _: proof, time.time)


def _watch_first(own: Witness, origin: str, key: PublicKey) -> None:
    if own.log_key(origin) is None:
        own.watch(key)


def _describe(own: Witness, cosigned_note: str) -> dict:
    from ..log.checkpoint import Checkpoint, SignedNote

    signed = SignedNote.parse(cosigned_note)
    checkpoint = Checkpoint.parse(signed.text)
    return {
        "checkpoint": cosigned_note,
        "origin": checkpoint.origin,
        "size": checkpoint.size,
        "time": own.identity.verify(signed),
        "type": "log-witness/1",
        "witness": own.identity.vkey(),
    }


def _signing_key(path: Path | None) -> SigningKey | None:
    from ..files import read_regular
    from ..keys import MAX_PEM_BYTES, SigningKey
    from ..keys.signing import check_private

    if path is None:
        return None
    pem = read_regular(path, MAX_PEM_BYTES)
    check_private(path)
    with naming(path):
        return SigningKey.from_pem(pem)
