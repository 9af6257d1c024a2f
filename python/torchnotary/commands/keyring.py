"""The commands under ``torchnotary keys``: your own key, and the keys you trust or revoked."""

from __future__ import annotations

from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ..errors import MalformedRecord, NotaryError
from .files import load_key
from .output import Json, UsageProblem, entries, result
from .passphrase import new_passphrase, passphrase

if TYPE_CHECKING:
    from ..keys import PublicKey

app = typer.Typer(help="Your own key, and the keys you trust or revoked.", no_args_is_help=True)

MAX_FILE_BYTES = 2**20


class Algorithm(str, Enum):
    """The kinds of signing keys, as the command line spells them."""

    ed25519 = "ed25519"
    p256 = "p256"

    @property
    def known_as(self) -> str:
        return {"ed25519": "Ed25519", "p256": "P-256"}[self.value]


KeyArgument = Annotated[
    str, typer.Argument(help="A PEM file, or the fingerprint of a key you know.", metavar="KEY")
]
Encrypt = Annotated[bool, typer.Option("--encrypt", help="Encrypt it under a passphrase.")]


@app.command()
def show(as_json: Json = False) -> None:
    """Show the key your records are signed with."""
    _tell([_row("yours", _own())], as_json)


@app.command("list")
def list_keys(as_json: Json = False) -> None:
    """List your own keys, and every key you trust or revoked."""
    from ..keys import retired_keys, trusted_keys
    from ..keys.keyring import revoked_fingerprints

    rows = [_row("yours", key) for key in _active()]
    rows += [_row("retired", key) for key in retired_keys()]
    trusted = [_row("trusted", key) for key in trusted_keys()]
    rows += sorted(
        trusted, key=lambda row: row["revoked"] is not None
    )  # those that count come first
    known = {row["fingerprint"] for row in rows}
    rows += [_named("unknown", name) for name in revoked_fingerprints() if name not in known]
    _tell(rows, as_json)


@app.command()
def trust(
    key: Annotated[
        str,
        typer.Argument(
            help="A PEM file, or a rotation by a key you trust: a file of keys rotate.",
            metavar="KEY",
        ),
    ],
    as_json: Json = False,
) -> None:
    """Trust a key you got another way than with a record, or that a trusted key vouches for."""
    from .. import keys
    from ..keys.rotation import Rotation, accept

    data = _json_file(key)
    if data is None:
        found = load_key(key, whole=True)
        keys.trust(found)
    else:
        rotation = Rotation.decode(data)
        accept(rotation)
        found = rotation.new
    _tell([_row("trusted", found)], as_json)


@app.command()
def untrust(key: KeyArgument, as_json: Json = False) -> None:
    """Stop trusting a key, as if you had never known it."""
    from .. import keys

    found = load_key(key, whole=True)
    if not keys.untrust(found.fingerprint):
        raise UsageProblem("that key was not trusted", "torchnotary keys list")
    _tell([_row("untrusted", found)], as_json)


@app.command()
def revoke(
    key: Annotated[
        str,
        typer.Argument(
            help="A PEM file, a fingerprint, or a revocation: a file of keys revoke -o.",
            metavar="KEY",
        ),
    ],
    checkpoint: Annotated[
        list[Path] | None,
        typer.Option(
            help="What its log had by then still counts; one file a log.", metavar="<path>"
        ),
    ] = None,
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write it for others, too.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Revoke a key: its records count no more, but for the entries of the given checkpoints."""
    from ..log import revocation
    from ..statement.container import write_atomically

    _require_no_private_key(output)
    data = _json_file(key)
    if data is None:
        notes = [_checkpoint(path) for path in checkpoint or []]
        try:
            found = revocation.Revocation.of(load_key(key), notes)
        except MalformedRecord as error:
            raise UsageProblem(
                f"--checkpoint: {error.reason}{error.values}",
                f"give each log's once, and no more than {revocation.MAX_CHECKPOINTS}",
            ) from error
    elif checkpoint:
        raise UsageProblem("a revocation has its own checkpoints", "leave --checkpoint out")
    else:
        found = revocation.Revocation.decode(data)
    if found.fingerprint in {active.fingerprint for active in _active()}:
        raise UsageProblem(
            "this is the key that you sign with", "torchnotary keys rotate -o rotation.json"
        )
    if output is not None:
        write_atomically(output, found.encode())
    revocation.revoke(found)
    _tell([_named("revoked", found.fingerprint)], as_json)


@app.command()
def export(
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write it to this file.")
    ] = None,
) -> None:
    """Print your public key (PEM), for those who verify your records."""
    from ..statement.container import write_atomically

    _require_no_private_key(output)
    key = _own()
    pem = key.to_pem()
    if output is None:
        print(pem.decode(), end="")
    else:
        write_atomically(output, pem)
        print(f"{key.short}  {output}")


@app.command()
def new(
    algorithm: Annotated[Algorithm, typer.Option(help="The kind of key.")] = Algorithm.ed25519,
    encrypt: Encrypt = False,
    as_json: Json = False,
) -> None:
    """Make a signing key where there is none yet."""
    from ..keys import SigningKey, create_private_file, key_path
    from ..keys.signing import own_pem

    exists = UsageProblem("there is a key already", "torchnotary keys show")
    if own_pem() is not None:
        raise exists
    made = SigningKey.generate(algorithm.known_as)
    pem = made.to_pem(new_passphrase() if encrypt else None)
    if not create_private_file(key_path(), pem):
        raise exists
    _tell([_row("yours", made.public)], as_json)


@app.command()
def rotate(
    output: Annotated[
        Path,
        typer.Option("-o", "--output", help="Write the rotation here, for those who trust you."),
    ],
    algorithm: Annotated[
        Algorithm | None, typer.Option(help="The kind of key, if not that of the old one.")
    ] = None,
    encrypt: Encrypt = False,
    as_json: Json = False,
) -> None:
    """Make a new signing key that the old one vouches for; the old one still counts as yours."""
    from ..keys import rotation
    from ..keys.signing import is_encrypted

    _require_no_private_key(output)
    encrypt = encrypt or is_encrypted(_own_pem())
    made = rotation.rotate(
        output,
        algorithm.known_as if algorithm else None,
        new_passphrase() if encrypt else None,
        passphrase,
    )
    _tell([_row("yours", made.new), _row("retired", made.old)], as_json)


def _own() -> PublicKey:
    from ..keys.signing import public_of

    return public_of(_own_pem(), passphrase)


def _own_pem() -> bytes:
    from ..keys.signing import own_pem

    pem = own_pem()
    if pem is None:
        raise UsageProblem(
            "there is no key yet; the first record makes one", "torchnotary keys new"
        )
    return pem


def _active() -> list[PublicKey]:
    """Own keys but the retired ones."""
    from ..keys import own_keys, retired_keys

    retired = retired_keys()
    return [key for key in own_keys() if key not in retired]


def _json_file(text: str) -> bytes | None:
    """The content of the file that ``text`` names if it is JSON, which no PEM is; else None."""
    from ..files import read_regular

    try:
        data = read_regular(text, MAX_FILE_BYTES)
    except (OSError, MalformedRecord):
        return None
    return data if data[:1] == b"{" else None


def _require_no_private_key(output: Path | None) -> None:
    """UsageProblem where -o names the file of a private key, which nobody could make again."""
    from ..files import read_regular

    try:
        data = b"" if output is None else read_regular(output, MAX_FILE_BYTES)
    except (OSError, MalformedRecord):
        return  # writing says what is wrong with it
    if b"PRIVATE KEY" in data:
        raise UsageProblem(f"{output} holds a private key", "name another file: -o FILE")


def _checkpoint(path: Path) -> str:
    """The signed note in a file; its signature is verified when it is used, by its log's key."""
    from ..files import read_regular
    from ..log.checkpoint import MAX_NOTE_BYTES, Checkpoint, SignedNote

    try:
        note = read_regular(path, MAX_NOTE_BYTES).decode()
        Checkpoint.parse(SignedNote.parse(note).text)
    except (NotaryError, UnicodeDecodeError) as error:
        reason = error.reason if isinstance(error, NotaryError) else "it is not UTF-8"
        raise UsageProblem(
            f"--checkpoint {path}: {reason}", "give a checkpoint of the log the key signed into"
        ) from error
    return note


def _row(whose: str, key: PublicKey) -> dict[str, Any]:
    return _named(whose, key.fingerprint, key.algorithm)


def _named(whose: str, fingerprint: str, algorithm: str | None = None) -> dict[str, Any]:
    from ..log.revocation import own_revocation

    revocation = own_revocation(fingerprint)
    return {
        "algorithm": algorithm,
        "fingerprint": fingerprint,
        "revoked": None if revocation is None else revocation.covered,
        "whose": whose,
    }


def _tell(rows: list[dict[str, Any]], as_json: bool) -> None:
    text = "\n".join(map(_line, rows))
    document = {"keys": rows, "type": "keys/1"}
    result(text or "no keys yet; the first record makes one", document, as_json)


def _line(row: dict[str, Any]) -> str:
    from ..keys import short

    fingerprint, revoked = row["fingerprint"], row["revoked"]
    line = f"{row['whose']:<9} {short(fingerprint)}  {fingerprint}"
    if row["algorithm"] not in (None, "Ed25519"):
        line += f"  {row['algorithm']}"
    if revoked is not None:
        line += "  revoked" if row["whose"] != "revoked" else ""
        line += "".join(f", but for the first {entries(n)} of {o}" for o, n in revoked.items())
    return line
