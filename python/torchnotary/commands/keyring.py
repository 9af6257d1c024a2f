"""The commands under ``torchnotary keys``: your own key and the keys you trust."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .files import load_key
from .output import Json, UsageProblem, result

if TYPE_CHECKING:
    from ..keys import PublicKey, SigningKey

app = typer.Typer(help="Your own key and the keys you trust.", no_args_is_help=True)

KeyArgument = Annotated[
    str, typer.Argument(help="A PEM file, or the fingerprint of a key you know.", metavar="KEY")
]


@app.command()
def show(as_json: Json = False) -> None:
    """Show the key your records are signed with."""
    _tell([("yours", _own().public)], as_json)


@app.command("list")
def list_keys(as_json: Json = False) -> None:
    """List your own key and every key you trust."""
    from ..keys import own_keys, trusted_keys

    rows = [("yours", key) for key in own_keys()] + [("trusted", key) for key in trusted_keys()]
    _tell(rows, as_json)


@app.command()
def trust(key: KeyArgument, as_json: Json = False) -> None:
    """Trust a key you got another way than with a record."""
    from .. import keys

    found = load_key(key, whole=True)
    keys.trust(found)
    _tell([("trusted", found)], as_json)


@app.command()
def untrust(key: KeyArgument, as_json: Json = False) -> None:
    """Stop trusting a key."""
    from .. import keys

    found = load_key(key, whole=True)
    if not keys.untrust(found.fingerprint):
        raise UsageProblem("that key was not trusted", "torchnotary keys list")
    _tell([("untrusted", found)], as_json)


@app.command()
def export(
    output: Annotated[
        Path | None, typer.Option("-o", "--output", help="Write it to this file.")
    ] = None,
) -> None:
    """Print your public key (PEM), for those who verify your records."""
    key = _own().public
    pem = key.to_pem().decode()
    if output is None:
        print(pem, end="")
    else:
        output.write_text(pem)
        print(f"{key.short}  {output}")


@app.command()
def new(as_json: Json = False) -> None:
    """Make a signing key where there is none yet."""
    from ..keys import SigningKey

    if SigningKey.load() is not None:
        raise UsageProblem("there is a key already", "torchnotary keys show")
    _tell([("yours", SigningKey.load_or_create().public)], as_json)


def _own() -> SigningKey:
    from ..keys import SigningKey

    key = SigningKey.load()
    if key is None:
        raise UsageProblem(
            "there is no key yet; the first record makes one", "torchnotary keys new"
        )
    return key


def _tell(rows: list[tuple[str, PublicKey]], as_json: bool) -> None:
    document = {
        "keys": [{"fingerprint": key.fingerprint, "whose": whose} for whose, key in rows],
        "type": "keys/1",
    }
    text = "\n".join(f"{whose:<9} {key.short}  {key.fingerprint}" for whose, key in rows)
    result(text or "no keys yet; the first record makes one", document, as_json)
