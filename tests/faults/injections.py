"""A fault at each system call by which the store writes, one a run: nothing acknowledged is lost.

``faults.c`` is preloaded, counts the calls that write below the log's folder and the user's
configuration, and makes one of them fail, or all from one on. The process must say that what it
could not store is not stored, and record again once the fault is over; the next process must find
a log that checks, with all that was acknowledged.
"""

from __future__ import annotations

import ctypes
import errno
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from history import History, catch_signatures
from kills import go_on
from log_helpers import RecordJob
from processes import Child, Say, warm_up
from torchnotary.errors import NotaryError
from torchnotary.keys import SigningKey
from torchnotary.log.writer import LogWriter

_SHORT, _KILL_BEFORE, _KILL_AFTER = -1, -2, -3  # as faults.c has them
_NEVER = 2**60


class Fault(NamedTuple):
    """What befalls a call; ``lasting`` ones befall every later one too, until they are over."""

    name: str
    code: int
    lasting: bool = False

    def applies_to(self, call: str) -> bool:
        return self.code != _SHORT or call.startswith(("write ", "pwrite "))


FAULTS = (
    Fault("killed before", _KILL_BEFORE),
    Fault("EIO", errno.EIO),
    Fault("no space from here on", errno.ENOSPC, lasting=True),
    Fault("killed after", _KILL_AFTER),
    Fault("short write", _SHORT),
    Fault("EINTR", errno.EINTR),
    Fault("no space", errno.ENOSPC),
    Fault("EIO from here on", errno.EIO, lasting=True),
)


def build(folder: Path) -> Path:
    """Compiles what is preloaded."""
    library = folder / "faults.so"
    source = Path(__file__).with_name("faults.c")
    command = ["cc", "-O1", "-shared", "-fPIC", "-o", str(library), str(source), "-ldl"]
    subprocess.run(command, check=True)
    return library


def run(folder: Path, *, sample: bool) -> tuple[int, int]:
    """Every fault at every call or, as a ``sample``, one fault at each call site.

    Returns the number of call sites and of faults. Meant for a process of its own, without torch,
    under the preloaded library. AssertionError where a promise is broken.
    """
    faults = ctypes.CDLL(None)
    warm_up(folder / "warm")
    calls = _calls(faults, folder)
    sites = _sites(calls)
    done = 0
    for number, fault in _sample(calls, sites) if sample else _all(calls):
        case = folder / f"case-{done}"
        try:
            _inject(faults, case, number, fault)
        except AssertionError as error:
            raise AssertionError(f"{fault.name} at {number}, {calls[number]}: {error}") from None
        shutil.rmtree(case)
        done += 1
    return len(sites), done


def _calls(faults: ctypes.CDLL, folder: Path) -> list[str]:
    """The calls of the work when nothing befalls it, as "name path"."""
    trace = folder / "calls"

    def traced(say: Say) -> None:
        observe(faults, folder / "case", trace)
        _work(folder / "case" / "log", say)

    assert len(Child(traced).end().require(0)) == 4
    return [line.rpartition(" ")[0] for line in trace.read_text().splitlines()]


def _sites(calls: list[str]) -> list[int]:
    """The first call of each name on each file; both databases are made by the same calls."""
    first: dict[str, int] = {}
    for number, call in enumerate(calls):
        site = re.sub(r"[0-9a-f]{8,}", "", call)
        if "/.0" in site:  # a log that is being made
            site = site.replace("private/private.sqlite", "log.sqlite")
        first.setdefault(site, number)
    return list(first.values())


def _sample(calls: list[str], sites: list[int]) -> Iterator[tuple[int, Fault]]:
    for place, number in enumerate(sites):
        turned = FAULTS[place % len(FAULTS) :] + FAULTS
        yield number, next(fault for fault in turned if fault.applies_to(calls[number]))


def _all(calls: list[str]) -> Iterator[tuple[int, Fault]]:
    for number, call in enumerate(calls):
        yield from ((number, fault) for fault in FAULTS if fault.applies_to(call))


def _inject(faults: ctypes.CDLL, case: Path, number: int, fault: Fault) -> None:
    case.mkdir()
    log, history = case / "log", History(case / "signed.jsonl")

    def under_fault(say: Say) -> None:
        catch_signatures(case / "signed.jsonl")
        _arm(faults, case, number, fault)
        _work(log, say)
        faults.faults_disarm()
        with LogWriter.open(log) as writer:
            say(writer.submit(RecordJob(4)).wait(30).record_id)

    def afterwards(say: Say) -> None:
        catch_signatures(case / "signed.jsonl")
        os.environ["TORCHNOTARY_HOME"] = str(case / "home")
        go_on(log, SigningKey.load_or_create(), acknowledged, say)

    killed = fault.code in (_KILL_BEFORE, _KILL_AFTER)
    acknowledged = Child(under_fault).end().require(-9 if killed else 0)
    acknowledged += Child(afterwards).end().require(0)
    history.look_at(log)
    history.require_all_shown()


def observe(faults: ctypes.CDLL, case: Path, trace: Path) -> int:
    """Lets nothing befall, but has each call of this process below ``case`` written to ``trace`` as
    "name path size"; returns the descriptor of that."""
    descriptor = os.open(trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    _arm(faults, case, _NEVER, FAULTS[0], descriptor)
    return descriptor


def _arm(faults: ctypes.CDLL, case: Path, number: int, fault: Fault, trace: int = -1) -> None:
    home = case / "home"
    os.environ["TORCHNOTARY_HOME"] = str(home)
    faults.faults_arm(
        os.fsencode(case / "log"),
        os.fsencode(home),
        ctypes.c_long(number),
        fault.code,
        fault.lasting,
        trace,
    )


def _work(folder: Path, say: Say) -> None:
    """Two writers, one after the other, and two records each, as far as they can be stored."""
    for _ in range(2):
        with suppress(NotaryError), LogWriter.open(folder) as writer:
            for number in range(2):
                job = RecordJob(number, labels={"n": str(number)}, evidence=b"e" * 5000)
                with suppress(NotaryError):
                    say(writer.submit(job).wait(30).record_id)
