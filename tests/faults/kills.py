"""kill -9 at random moments of a recording process: nothing acknowledged is lost.

A child records without end and says each record's id once it was told that the record is
durable. After the kill a fresh process opens the log, goes on with it and checks everything.
"""

from __future__ import annotations

import random
from collections import deque
from functools import partial
from pathlib import Path

from history import History, catch_signatures
from log_helpers import RecordJob
from processes import Child, Say, warm_up
from torchnotary.keys import SigningKey
from torchnotary.log.check import check_folder
from torchnotary.log.reader import LogFolder
from torchnotary.log.writer import LogWriter

# Every other child is killed this long after it was forked, at most, while it begins or opens the
# log; the others this long after so many of their records were acknowledged, while they append.
OPENING_SECONDS = 0.03
MOST_ACKNOWLEDGED = 30
APPENDING_SECONDS = 0.02
# Opened and checked after every kill, a log that went on growing would take all the time.
KILLS_A_FOLDER = 10


def run(folder: Path, count: int, seed: int) -> int:
    """Kills ``count`` children; returns how many records they had acknowledged.

    Meant for a process of its own, without torch: it forks. AssertionError where a promise is
    broken.
    """
    warm_up(folder / "warm")
    chance, key = random.Random(seed), SigningKey.generate()
    catch_signatures(folder / "signed.jsonl")
    history = History(folder / "signed.jsonl")
    total = 0
    for number in range(count):
        logs = folder / f"log-{number // KILLS_A_FOLDER}"
        if number % KILLS_A_FOLDER == 0:
            acknowledged: list[str] = []
        child = Child(partial(record_for_ever, logs, key))
        if chance.random() < 0.5:
            killed = child.kill(lines=0, seconds=chance.uniform(0, OPENING_SECONDS))
        else:
            lines = chance.randrange(1, MOST_ACKNOWLEDGED)
            killed = child.kill(lines=lines, seconds=chance.uniform(0, APPENDING_SECONDS))
        told = killed.require(-9)
        total += len(told)
        acknowledged += told
        acknowledged += Child(partial(go_on, logs, key, acknowledged)).end().require(0)
        history.look_at(logs)
    history.require_all_shown()
    return total


def record_for_ever(folder: Path, key: SigningKey, say: Say) -> None:
    """Records, 8 at a time on their way; every 50 the log is closed and opened again."""
    waiting: deque = deque()
    number = 0
    while True:
        with LogWriter.open(folder) as writer:
            for _ in range(50):
                number += 1
                job = RecordJob(number, key=key, evidence=b"e" * (number % 7) * 1000)
                waiting.append(writer.submit(job, block=True))
                if len(waiting) > 8:
                    say(waiting.popleft().wait(60).record_id)


def go_on(folder: Path, key: SigningKey, acknowledged: list[str], say: Say) -> None:
    """Records once more, and requires all that was acknowledged, in a log that checks."""
    with LogWriter.open(folder) as writer:
        say(writer.submit(RecordJob(0, key=key)).wait(60).record_id)
    report = check_folder(folder)
    assert report.ok, report.problems
    stored = {entry.record_id for entry in LogFolder(folder).list()}
    lost = set(acknowledged) - stored
    assert not lost, f"{len(lost)} acknowledged records are lost: {lost}"
    for record_id in acknowledged[-1:]:
        LogFolder(folder).bundle(record_id)
