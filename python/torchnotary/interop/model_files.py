"""The files that a model signature covers: all of a folder but what it says is ignored, by SHA-256.

As the `files` serialization of model-signing: names are paths below the folder with ``/``, and the
name of a model that is one file is ``.``.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath

from ..errors import MalformedRecord, NotaryError
from ..files import open_regular, require_regular
from ..hashing import thread_count

_CHUNK = 1 << 20


def files_of(model: Path, ignored: Collection[str], links: bool) -> dict[str, str]:
    """Name and SHA-256 (hex) of every file of ``model``, by the parts of their names.

    ``ignored`` are names of files and folders that are left out. Raises NotaryError for a link to
    a folder, and unless ``links`` for one to a file; MalformedRecord for a name that is not UTF-8;
    OSError for what cannot be read and for pipes, sockets and devices.
    """
    if model.is_dir():
        found = _below(model, {PurePosixPath(name) for name in ignored}, links)
    else:
        found = {PurePosixPath("."): _checked(model, links)}
    names = sorted(found)
    with ThreadPoolExecutor(max(1, min(thread_count(), len(names)))) as threads:
        digests = threads.map(sha256_file, [found[name] for name in names])
        return dict(zip(map(str, names), digests, strict=True))


def has_links(model: Path, ignored: Collection[str]) -> bool:
    """Whether a file that counts is reached by a link, as those of the Hugging Face cache are."""
    if not model.is_dir():
        return model.is_symlink()
    found = _below(model, {PurePosixPath(name) for name in ignored}, True)
    return any(path.is_symlink() for path in found.values())


def sha256_file(path: Path) -> str:
    """SHA-256 of a file's content, in hexadecimal."""
    digest = hashlib.sha256()
    with open_regular(path) as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def _below(
    folder: Path, ignored: Collection[PurePosixPath], links: bool
) -> dict[PurePosixPath, Path]:
    found: dict[PurePosixPath, Path] = {}
    waiting = [folder]
    while waiting:
        for path in waiting.pop().iterdir():
            name = PurePosixPath(path.relative_to(folder).as_posix())
            if name in ignored:
                continue
            if path.is_dir() and not path.is_symlink():
                waiting.append(path)
            else:
                found[_utf8(name)] = _checked(path, links)
    return found


def _checked(path: Path, links: bool) -> Path:
    if path.is_symlink() and (path.is_dir() or not links):
        raise NotaryError(
            f"{path} is a link, which the signature does not follow",
            actual=os.readlink(path),
            next_step="put a copy of what it leads to in its place",
        )
    require_regular(path.stat(), path)
    return path


def _utf8(name: PurePosixPath) -> PurePosixPath:
    try:
        str(name).encode()
    except UnicodeEncodeError:
        raise MalformedRecord(
            f"the file name {os.fsencode(name)!r} is not UTF-8", next_step="rename the file"
        ) from None
    return name
