"""How the demo looks: paragraphs for people, code and output as they are, tables, progress."""

from __future__ import annotations

import inspect
import textwrap
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

WIDTH = 100
_INDENT = "    "
_MARKS = {True: ("✓", "green"), False: ("✗", "bold red")}


class Screen:
    """Prints to stdout, progress to stderr; colours and moving bars on terminals only."""

    def __init__(self, console: Console | None = None, progress: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self.console.width = min(self.console.width, WIDTH) if self.console.is_terminal else WIDTH
        self.progress = progress or Console(stderr=True, highlight=False)
        self._after_blank = False

    def heading(self, text: str) -> None:
        self._blank()
        self._print(Text(text, style="bold"))

    def say(self, text: str) -> None:
        """A paragraph; line breaks in ``text`` do not matter."""
        paragraph = textwrap.fill(
            " ".join(text.split()), self.console.width, break_long_words=False
        )
        self._print(Text(paragraph), soft_wrap=True)

    def show(self, text: str) -> None:
        """Code, a command or its output, indented and otherwise as it is."""
        self._blank()
        self._print(Text(textwrap.indent(text, _INDENT), style="cyan"), soft_wrap=True)
        self._blank()

    def mark(self, held: bool, text: str) -> None:
        """One line with the outcome of something that had to hold."""
        sign, style = _MARKS[held]
        line = Text.assemble((sign, style), " ", text)
        self._print(line, soft_wrap=True)

    def table(self, columns: Sequence[str], rows: Iterable[tuple[bool, Sequence[str]]]) -> None:
        """Rows of text, each with the mark of its outcome in front; the last column wraps."""
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        table.add_column("")
        for name in columns[:-1]:
            table.add_column(name, no_wrap=True)
        table.add_column(columns[-1], overflow="fold")
        for held, cells in rows:
            sign, style = _MARKS[held]
            table.add_row(Text(sign, style=style), *(Text(cell) for cell in cells))
        self._blank()
        self._print(table)
        self._blank()

    def track(self, items: Sequence[Any], what: str) -> Iterator[Any]:
        """The items one by one, under a bar on terminals and under nothing elsewhere."""
        if not self.progress.is_terminal:
            yield from items
            return
        columns = (TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        with Progress(*columns, console=self.progress, transient=True) as bar:
            yield from bar.track(items)

    def _print(self, *what: Any, **options: Any) -> None:
        self.console.print(*what, **options)
        self._after_blank = False

    def _blank(self) -> None:
        """One blank line, however many are asked for."""
        if not self._after_blank:
            self.console.print()
        self._after_blank = True


def source_inside(function: Callable) -> str:
    """The lines of a function from its last import to its return: code as a user would type it."""
    lines = inspect.getsource(function).splitlines()
    start = max(i for i, line in enumerate(lines) if line.lstrip().startswith("import "))
    end = max(i for i, line in enumerate(lines) if line.startswith("    return "))
    return textwrap.dedent("\n".join(lines[start:end])).strip("\n")
