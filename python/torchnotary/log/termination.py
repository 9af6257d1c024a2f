"""SIGTERM, whose default is to end the process without atexit: what is queued is stored first."""

from __future__ import annotations

import _thread
import contextlib
import os
import signal
import threading
from collections.abc import Callable


def store_before(stop: Callable[[], None]) -> None:
    """From now on SIGTERM calls ``stop`` before it ends the process, by that signal still.

    Only where its default is in force: a handler of the program, or that it is ignored, stays.
    Python installs handlers in the main thread alone; called in another, this does nothing.
    """
    if threading.current_thread() is not threading.main_thread():
        return
    if signal.getsignal(signal.SIGTERM) != signal.SIG_DFL:
        return

    def handler(number: int, _: object) -> None:
        # A second one ends the process at once. The main thread may be inside any lock here, so
        # it goes on while another stores.
        signal.signal(number, signal.SIG_DFL)
        _thread.start_new_thread(_stop_and_end, (stop, number))

    with contextlib.suppress(ValueError):  # not in the main interpreter
        signal.signal(signal.SIGTERM, handler)


def _stop_and_end(stop: Callable[[], None], number: int) -> None:
    try:
        stop()
    finally:
        os.kill(os.getpid(), number)
