"""Forked children that tell their parent, line by line, what they have done until they end."""

from __future__ import annotations

import os
import select
import signal
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from log_helpers import write_records
from torchnotary.log.check import check_folder
from torchnotary.log.reader import LogFolder

Say = Callable[[str], None]


@dataclass
class Ended:
    """How a child ended (exit code, or minus the signal), and the whole lines it had said."""

    code: int
    lines: list[str]

    def require(self, *codes: int) -> list[str]:
        assert self.code in codes, f"ended with {self.code}\n" + "\n".join(self.lines)
        return self.lines


class Child:
    """``action(say)`` in a forked child; it exits with 1 where that raises, 0 otherwise."""

    def __init__(self, action: Callable[[Say], None]) -> None:
        self._reading, writing = os.pipe()
        self._said = b""
        self.pid = os.fork()
        if self.pid:
            os.close(writing)
            return
        code = 1
        try:
            os.close(self._reading)
            action(lambda line: _write_all(writing, f"{line}\n".encode()))
            code = 0
        except BaseException:
            _write_all(writing, traceback.format_exc().encode() + b"\n")
        finally:
            os._exit(code)

    def kill(self, *, lines: int, seconds: float) -> Ended:
        """Kills it -9 once it has said so many ``lines`` and ``seconds`` have passed since."""
        self._read(60, lines)
        time.sleep(seconds)
        os.kill(self.pid, signal.SIGKILL)
        return self.end()

    def end(self, timeout: float = 60) -> Ended:
        """Waits until it has ended; AssertionError, once it is killed, where it does not."""
        ended = self._read(timeout)
        if not ended:
            os.kill(self.pid, signal.SIGKILL)
        status = os.waitpid(self.pid, 0)[1]
        os.close(self._reading)
        lines = self._said.decode().split("\n")[:-1]
        assert ended, "hangs; it said:\n" + "\n".join(lines)
        return Ended(os.waitstatus_to_exitcode(status), lines)

    def _read(self, timeout: float, lines: int | None = None) -> bool:
        """Reads up to so many ``lines``, or to the end; False where ``timeout`` passed before."""
        deadline = time.monotonic() + timeout
        while lines is None or self._said.count(b"\n") < lines:
            if not select.select([self._reading], [], [], max(0, deadline - time.monotonic()))[0]:
                return False
            data = os.read(self._reading, 65536)
            if not data:
                break
            self._said += data
        return True


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


def warm_up(folder: Path) -> None:
    """Imports, by using it in ``folder`` once, all that the children use: a fork copies it."""
    write_records(folder)
    check_folder(folder)
    LogFolder(folder).bundle(next(LogFolder(folder).list()).record_id)
