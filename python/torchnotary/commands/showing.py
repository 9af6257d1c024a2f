"""The command demo: a first look."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from ..demo import DEFAULT_OUTPUT
from .output import leave


def demo(
    output: Annotated[
        Path, typer.Option("-o", "--output", help="The folder that everything is written to.")
    ] = DEFAULT_OUTPUT,
) -> None:
    """Record a real model, verify it, reproduce it, tamper with it."""
    from ..demo import main

    leave(main(output))
