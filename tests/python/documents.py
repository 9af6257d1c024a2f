"""The documents as the tests read them: their code blocks, links, and examples run again.

``python tests/python/documents.py FILE`` writes what the program answers now into the ``pycon`` and
``console`` blocks of a document, for a person to read before committing it.
"""

from __future__ import annotations

import contextlib
import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = (
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "CHANGELOG.md",
    *sorted((ROOT / "docs").glob("*.md")),
)
_BLOCK = re.compile(r"^```(?P<language>\w+)\n(?P<body>.*?)^```$", re.MULTILINE | re.DOTALL)
# A block that a session needs comes after a line that ends with the name of its file.
_FILE = re.compile(r"`(?P<file>[\w.]+\.(?:py|toml))`:\n\n\Z")
_HEADING = re.compile(r"^#+ (.*)$", re.MULTILINE)
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def blocks(text: str, language: str) -> list[str]:
    """The fenced code blocks of one language, in order."""
    found = _BLOCK.finditer(text)
    return [match["body"] for match in found if match["language"] == language]


def links(document: Path) -> list[str]:
    """The targets of a document's links, code aside."""
    text = re.sub(r"`[^`]*`", "", _BLOCK.sub("", document.read_text()))
    return _LINK.findall(text)


def anchors(document: Path) -> set[str]:
    """The fragments that a document's headings make, as GitHub makes them."""
    text = _BLOCK.sub("", document.read_text())
    return {
        re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        for heading in _HEADING.findall(text)
    }


def replay(block: str, names: dict[str, Any]) -> str:
    """A ``pycon`` block with what each statement prints now; errors as their last line."""
    answered: list[str] = []
    for source in _statements(block):
        first, *rest = source.splitlines()
        answered += [f">>> {first}", *(f"... {line}" for line in rest)]
        answered += _answer(source, names)
    return "\n".join(answered) + "\n"


def _statements(block: str) -> Iterator[str]:
    lines: list[str] = []
    for line in [*block.splitlines(), ">>> "]:
        if line.startswith(">>> ") and lines:
            yield "\n".join(lines)
            lines = []
        if line.startswith((">>> ", "... ")):
            lines.append(line[4:])


def _answer(source: str, names: dict[str, Any]) -> list[str]:
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            exec(compile(source + "\n", "<example>", "single"), names)
    except Exception as error:
        last = "".join(traceback.format_exception_only(error)).rstrip("\n")
        return [
            *printed.getvalue().splitlines(),
            "Traceback (most recent call last):",
            "    ...",
            last,
        ]
    return printed.getvalue().splitlines()


def run_blocks(document: Path, folder: Path) -> dict[str, Any]:
    """Runs a document's ``python`` blocks as one program, kept in ``folder`` so that Python finds
    its source; returns its names."""
    program = "\n".join(blocks(document.read_text(), "python"))
    script = folder / "program.py"
    script.write_text(program)
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(program, str(script), "exec"), names)
    return names


def session(block: str, folder: Path) -> str:
    """A ``console`` block with what each command prints now, run in ``folder``; a command that does
    not end with 0 is marked ``# exit n``."""
    answered: list[str] = []
    for typed in block.splitlines():
        if typed.startswith("$ "):
            command = typed[2:].partition("  # exit ")[0]
            code, output = _run(command, folder)
            answered.append(f"$ {command}" + (f"  # exit {code}" if code else ""))
            lines = output.replace(str(folder), "~").strip("\n").splitlines()
            answered += [line.rstrip() for line in lines]
    return "\n".join(answered) + "\n"


def _run(command: str, folder: Path) -> tuple[int, str]:
    words = shlex.split(command)
    environment = {
        **{name: value for name, value in os.environ.items() if "TORCHNOTARY" not in name},
        "COLUMNS": "88",
        "NO_COLOR": "1",
        "TORCHNOTARY_HOME": str(folder / "home"),
    }
    while "=" in words[0]:
        name, _, value = words.pop(0).partition("=")
        environment[name] = str(folder / value)
    program = {"python": [sys.executable], "torchnotary": [sys.executable, "-m", "torchnotary"]}
    done = subprocess.run(
        [*program[words[0]], *words[1:]],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout


def rewritten(document: Path, folder: Path) -> str:
    """The document's text with its ``pycon`` blocks replayed in one namespace and its ``console``
    blocks typed again in ``folder``, where files are that the text before a block names."""
    names: dict[str, Any] = {"__name__": "__main__"}
    text = document.read_text()

    def fill(match: re.Match[str]) -> str:
        body = match["body"]
        if match["language"] == "pycon":
            body = replay(body, names)
        elif match["language"] == "console":
            body = session(body, folder)
        elif name := _FILE.search(text[: match.start()]):
            (folder / name["file"]).write_text(body)
        return f"```{match['language']}\n{body}```"

    return _BLOCK.sub(fill, text)


if __name__ == "__main__":
    for document in [Path(argument).resolve() for argument in sys.argv[1:]]:
        with tempfile.TemporaryDirectory() as scratch:
            os.chdir(scratch)  # whatever a session writes is not to stay in the repository
            text = rewritten(document, Path(scratch))
            os.chdir(document.parent)
        document.write_text(text)
