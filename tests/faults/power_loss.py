"""Power losses while a log is appended to: its journals cut at every length that is possible.

What was synced when the power failed is there, and of what was written after that any part. The
calls of a recording process, observed in their order, say for each length of a journal when the
power can have failed at the latest: so which records were acknowledged and which checkpoints signed
by then, and what of the other files. All of them must be in a log that checks, and the next
process must go on.
"""

from __future__ import annotations

import base64
import ctypes
import json
import os
import shutil
import signal
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import NamedTuple

from history import History, catch_signatures
from injections import observe
from kills import go_on
from log_helpers import RecordJob
from processes import Child, Say, warm_up
from torchnotary.keys import SigningKey
from torchnotary.log.check import check_folder
from torchnotary.log.checkpoint import Checkpoint
from torchnotary.log.reader import LogFolder
from torchnotary.log.token import Custody
from torchnotary.log.writer import LogWriter

JOURNALS = ("log.sqlite-wal", "private/private.sqlite-wal")
# The log is gone on with after one of so many losses; it is checked after each.
LOSSES_A_CONTINUATION = 500


class Loss(NamedTuple):
    """What is left after a power loss: the lengths of the journals, and the token; and what had
    been acknowledged and signed before."""

    lengths: tuple[int, ...]
    token: bytes
    acknowledged: list[str]
    signed: list[str]


def run(folder: Path, *, step: int) -> int:
    """Loses power at every ``step``-th length of each journal; returns how often.

    Meant for a process of its own, without torch, under the preloaded library. AssertionError
    where a promise is broken.
    """
    warm_up(folder / "warm")
    os.environ["TORCHNOTARY_HOME"] = str(folder / "case" / "home")
    events = _record(folder / "case", folder / "events")
    shutil.copytree(folder / "case", folder / "image")
    (log,) = (folder / "case" / "log").iterdir()
    done = 0
    for loss in _losses(events, log, step):
        _lose(folder / "image", folder / "case", log, loss)
        _require(folder / "case", loss, goes_on=done * step % LOSSES_A_CONTINUATION < step)
        done += 1
    return done


def _record(case: Path, trace: Path) -> list[tuple[str, str, int]]:
    """Records in a process that is killed with its log open; what it did, in its order."""
    case.mkdir()

    def recording(say: Say) -> None:
        descriptor = observe(ctypes.CDLL(None), case, trace)

        def tell(what: str, value: str) -> None:
            os.write(descriptor, f"{what} {value} 0\n".encode())

        sign, advance = Checkpoint.sign, Custody.advance

        def signed(self: Checkpoint, key: SigningKey) -> str:
            note = sign(self, key)
            tell("signed", json.dumps(note))
            return note

        def advanced(self: Custody, size: int, root: bytes) -> None:
            advance(self, size, root)
            (token,) = (case / "home" / "logs").glob("*.token")
            tell("token", base64.b64encode(token.read_bytes()).decode())

        Checkpoint.sign, Custody.advance = signed, advanced
        writer = LogWriter.open(case / "log")
        for number in range(3):
            job = RecordJob(number, labels={"n": str(number)}, evidence=b"e" * 100)
            tell("acknowledged", writer.submit(job).wait(30).record_id)
        os.kill(os.getpid(), signal.SIGKILL)

    Child(recording).end().require(-9)
    lines = [line.split(" ", 1) for line in trace.read_text().splitlines()]
    return [(call, *_sized(rest)) for call, rest in lines]


def _sized(text: str) -> tuple[str, int]:
    path, _, size = text.rpartition(" ")
    return path, int(size)


def _losses(events: list[tuple[str, str, int]], log: Path, step: int) -> Iterator[Loss]:
    """For each length of a journal the latest loss that leaves it, from the first
    acknowledgement on."""
    synced = [0] * len(JOURNALS)
    tokens: list[bytes] = []
    acknowledged: list[str] = []
    signed: list[str] = []
    for call, path, size in events:
        if call == "acknowledged":
            acknowledged = [*acknowledged, path]
        elif call == "signed":
            signed = [*signed, json.loads(path)]
        elif call == "token":
            # Until it was synced, the one before may have been what is left.
            tokens.append(base64.b64decode(path))
            for token in tokens[-2:] if acknowledged else ():
                yield Loss(tuple(synced), token, acknowledged, signed)
        for place, journal in enumerate(JOURNALS):
            if call == "fdatasync" and path == str(log / journal):
                for length in range(synced[place], size, step) if acknowledged else ():
                    lengths = (*synced[:place], length, *synced[place + 1 :])
                    yield Loss(lengths, tokens[-1], acknowledged, signed)
                synced[place] = size


def _lose(image: Path, case: Path, log: Path, loss: Loss) -> None:
    """Makes ``case`` what is left of its ``image``. The log's folder stays the one it is, or it
    would not be gone on with for that reason alone."""
    for path in (case / "log").iterdir():
        if path != log:
            shutil.rmtree(path)
    before = image / "log" / log.name
    for name in ("log.sqlite", "private/private.sqlite"):
        shutil.copyfile(before / name, log / name)
        (log / f"{name}-shm").unlink(missing_ok=True)
    for journal, length in zip(JOURNALS, loss.lengths, strict=True):
        (log / journal).write_bytes((before / journal).read_bytes()[:length])
    (token,) = (case / "home" / "logs").glob(f"{log.name.rpartition('-')[2]}*.token")
    token.write_bytes(loss.token)


def _require(case: Path, loss: Loss, *, goes_on: bool) -> None:
    later = case / "signed.jsonl"
    later.unlink(missing_ok=True)
    history = History(later)
    for note in loss.signed:
        history.add(note)
    try:
        report = check_folder(case / "log")
        assert report.ok, report.problems
        for record_id in loss.acknowledged:
            assert LogFolder(case / "log").find(record_id) is not None, f"{record_id} is lost"
        if goes_on:
            Child(partial(_go_on, case, loss)).end().require(0)
        history.look_at(case / "log")
        history.require_all_shown()
    except AssertionError as error:
        raise AssertionError(f"{error}\nafter {loss}") from None


def _go_on(case: Path, loss: Loss, say: Say) -> None:
    catch_signatures(case / "signed.jsonl")
    go_on(case / "log", SigningKey.load_or_create(), loss.acknowledged, say)
    assert len(LogFolder(case / "log").logs()) == 1, "the log was left aside"
