"""Opening and reading files that somebody else may have named or made: regular files only, up to
a size, so that neither a pipe nor an endless device can hang or fill the process.
"""

from __future__ import annotations

import errno
import os
import stat
from typing import BinaryIO

from .errors import MalformedRecord


class NotRegular(OSError):
    """A pipe, device or socket where a regular file is needed."""


def open_regular(path: str | os.PathLike[str]) -> BinaryIO:
    """``path`` open for reading: IsADirectoryError for a folder, NotRegular for a pipe, a device
    or a socket, another OSError for a file that cannot be opened."""
    # Without O_NONBLOCK opening a pipe would wait for a writer for ever.
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except ValueError as error:  # a NUL character, which no path has
        raise OSError(errno.EINVAL, str(error), os.fspath(path)) from None
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise _not_regular(path) from None
        raise
    try:
        require_regular(os.fstat(descriptor), path)
        return open(descriptor, "rb")
    except BaseException:
        os.close(descriptor)
        raise


def read_regular(path: str | os.PathLike[str], limit: int) -> bytes:
    """The content of a file: OSError as `open_regular`, MalformedRecord beyond ``limit`` bytes."""
    with open_regular(path) as stream:
        # The size that is stated may be none (/proc) or change; what is read decides.
        data = stream.read(limit + 1)
        if len(data) > limit:
            size = max(len(data), os.fstat(stream.fileno()).st_size)
            raise MalformedRecord(
                f"{os.fspath(path)} is too large",
                expected=f"at most {limit} bytes",
                actual=f"{size} bytes",
            )
        return data


def require_regular(status: os.stat_result, path: str | os.PathLike[str]) -> None:
    """Raises IsADirectoryError or NotRegular unless ``status``, ``path``'s, is a regular file's."""
    if stat.S_ISDIR(status.st_mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(status.st_mode):
        raise _not_regular(path)


def _not_regular(path: str | os.PathLike[str]) -> NotRegular:
    message = "not a regular file but a pipe, a socket or a device"
    return NotRegular(errno.EINVAL, message, os.fspath(path))
