"""Where a command gets a passphrase: the environment, else whoever sits at the terminal."""

from __future__ import annotations

import sys

from .output import UsageProblem


def passphrase() -> bytes | None:
    """The passphrase of the signing key; None where nobody can be asked for it."""
    from ..keys.signing import environment_passphrase

    given = environment_passphrase()
    return given if given is not None else _prompt("Passphrase of your signing key")


def new_passphrase() -> bytes:
    """The passphrase that a new key is encrypted under, typed twice where it is typed."""
    from ..keys.signing import environment_passphrase

    given = environment_passphrase()
    if given is None:
        given = _prompt("Passphrase of the new key", confirm=True)
    if not given:
        raise UsageProblem(
            "there is no passphrase to encrypt the key under",
            "run it on a terminal, or set TORCHNOTARY_KEY_PASSPHRASE_FILE",
        )
    return given


def _prompt(text: str, *, confirm: bool = False) -> bytes | None:
    import typer

    if not sys.stdin.isatty():
        return None
    typed = typer.prompt(text, hide_input=True, confirmation_prompt=confirm, err=True)
    return typed.encode()
