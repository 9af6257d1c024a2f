"""The bar that shows how far the hashing of a model has come: on stderr, and on terminals only."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from ..model_lines import Progress


@contextmanager
def progress_bar(what: str) -> Iterator[Progress | None]:
    """A callback for `Manifest.of`, which moves a bar named ``what``; None where nobody looks."""
    if not sys.stderr.isatty():
        yield None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, TextColumn, TransferSpeedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
    )
    with Bars(*columns, console=Console(stderr=True), transient=True) as bars:
        task = bars.add_task(what, total=None)

        def moved(done: int, total: int, name: str) -> None:
            bars.update(task, completed=done, total=total)

        yield moved
