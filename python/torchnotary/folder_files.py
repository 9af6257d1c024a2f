"""The files of a model's folder beside its weights: tokenizers, configurations, code.

All of them count, in all folders below, but for what no model reads: ``.git``, the download notes
in ``.cache/huggingface``, and what torchnotary itself writes at the top. A link to a file counts
as the file it leads to, wherever that lies, because the Hugging Face cache is made of such links;
a link to a folder is refused, so that no circle and nothing twice is walked.
"""

from __future__ import annotations

import os
from collections.abc import Container
from pathlib import Path

from .errors import MalformedRecord, NotaryError

_LEFT_OUT = {
    ".git",
    ".cache/huggingface",
    "files.jsonl",
    "structure.jsonl",
    "torchnotary.lock",
    "weights.jsonl",
}


def other_files(folder: Path, weights: Container[Path]) -> list[tuple[str, Path]]:
    """Name (the path below ``folder``, with ``/``) and path of every file but ``weights``, sorted
    by the UTF-8 bytes of the names.

    Raises NotaryError for a link to a folder, MalformedRecord for a name that is not UTF-8, OSError
    naming a folder that cannot be read and a link that leads in a circle.
    """
    found: list[tuple[str, Path]] = []
    waiting = [folder]
    while waiting:
        with os.scandir(waiting.pop()) as entries:
            for entry in entries:
                path = Path(entry.path)
                name = path.relative_to(folder).as_posix()
                if name in _LEFT_OUT:
                    continue
                if entry.is_dir():
                    _refuse_link(entry)
                    waiting.append(path)
                elif path not in weights:
                    found.append((_checked(name), path))
    return sorted(found, key=lambda item: item[0].encode())


def _refuse_link(entry: os.DirEntry[str]) -> None:
    if entry.is_symlink():
        raise NotaryError(
            f"{entry.path} is a link to a folder, which is not followed",
            actual=os.readlink(entry.path),
            next_step="give the folder it leads to, or put a copy of it in its place",
        )


def _checked(name: str) -> str:
    try:
        name.encode()
    except UnicodeEncodeError:
        raise MalformedRecord(
            f"the file name {os.fsencode(name)!r} is not UTF-8", next_step="rename the file"
        ) from None
    return name
