"""Random lives of log folders: written by one process or two, forked, killed, copied, restored from
a backup, taken to another machine or by another user, in any order.

Whatever happens to a log, no two histories are signed for one origin. Not among it: folder and
configuration put back together to an earlier state, which only a witness can notice.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

from history import History, catch_signatures
from kills import record_for_ever
from log_helpers import RecordJob
from processes import Child, Say, warm_up
from torchnotary.keys import SigningKey
from torchnotary.log import token
from torchnotary.log.check import check_folder
from torchnotary.log.reader import LogFolder
from torchnotary.log.writer import LogWriter

MACHINES = ("pod-1", "pod-2")


class Life:
    """The folders of one life, the homes of its users, and what must still be in each folder."""

    def __init__(self, folder: Path, chance: random.Random, key: SigningKey) -> None:
        self.folder, self.chance, self.key = folder, chance, key
        self.history = History(folder / "signed.jsonl")
        self.logs = [folder / "log-0"]
        self.backups: list[tuple[Path, Path]] = []  # (folder, copy of it)
        self.tokens: list[dict[Path, bytes]] = []
        self.restored: set[Path] = set()
        self.acknowledged: dict[Path, list[str]] = {}
        self.happenings: list[str] = []

    def live(self, count: int) -> None:
        """``count`` random happenings; the history is looked at after each, the logs at the end."""
        happenings = [
            (6, self.record),
            (2, self.record_twice_at_once),
            (2, self.record_and_fork),
            (2, self.kill),
            (2, self.record_beside_a_held_lock),
            (1, self.copy),
            (3, self.back_up),
            (2, self.restore),
            (2, self.back_up_tokens),
            (1, self.restore_tokens),
            (1, self.lose_tokens),
        ]
        weights, choices = zip(*happenings, strict=True)
        for happening in [self.record, *self.chance.choices(choices, weights, k=count)]:
            self.happenings.append(happening.__name__)
            happening()
            self.history.look_at(*self.logs)
        self.history.require_all_shown()
        for logs in self.logs:
            stored = {entry.record_id for entry in LogFolder(logs).list()}
            if logs not in self.restored:
                assert set(self.acknowledged.get(logs, [])) <= stored, f"{logs.name} lost records"
                report = check_folder(logs)
                assert report.ok, report.problems

    def record(self) -> None:
        logs = self.chance.choice(self.logs)
        self._told(logs, self._child(partial(self._record, logs)).end().require(0))

    def record_twice_at_once(self) -> None:
        logs = self.chance.choice(self.logs)
        children = [self._child(partial(self._record, logs)) for _ in range(2)]
        for child in children:
            self._told(logs, child.end().require(0))

    def record_and_fork(self) -> None:
        logs = self.chance.choice(self.logs)
        self._told(logs, self._child(partial(self._record_and_fork, logs)).end().require(0))

    def kill(self) -> None:
        logs = self.chance.choice(self.logs)
        child = self._child(partial(record_for_ever, logs, self.key))
        lines, seconds = self.chance.randrange(3), self.chance.uniform(0, 0.02)
        self._told(logs, child.kill(lines=lines, seconds=seconds).require(-9))

    def record_beside_a_held_lock(self) -> None:
        logs = self.chance.choice(self.logs)

        def hold(say: Say) -> None:
            writer = LogWriter.open(logs)
            say(writer.submit(RecordJob(0, key=self.key)).wait(60).record_id)
            os.read(self._reading, 1)

        self._reading, writing = os.pipe()
        holder = self._child(hold)
        told = self._child(partial(self._record, logs)).end().require(0)
        os.close(self._reading)
        # Killed while it holds the lock: the next process must be able to take it.
        self._told(logs, told + holder.kill(lines=1, seconds=0).require(-9))
        os.close(writing)

    def copy(self) -> None:
        logs = self.chance.choice(self.logs)
        to = self.folder / f"log-{len(self.logs)}"
        if logs.exists():
            shutil.copytree(logs, to)
            self.logs.append(to)
            if logs in self.restored:
                self.restored.add(to)

    def back_up(self) -> None:
        logs = self.chance.choice(self.logs)
        to = self.folder / f"backup-{len(self.happenings)}"
        if logs.exists():
            shutil.copytree(logs, to)
            self.backups.append((logs, to))

    def restore(self) -> None:
        """In place: folders stay the ones they are, and so does what the backup does not have."""
        if self.backups:
            logs, backup = self.chance.choice(self.backups)
            for log in backup.iterdir():
                for name in ("log.sqlite", "private/private.sqlite"):
                    for path in (logs / log.name / name).parent.glob(f"{Path(name).name}-*"):
                        path.unlink()
            shutil.copytree(backup, logs, dirs_exist_ok=True)
            self.restored.add(logs)

    def back_up_tokens(self) -> None:
        found = self.folder.glob("home*/logs/*.token")
        self.tokens.append({path: path.read_bytes() for path in found})

    def restore_tokens(self) -> None:
        """Tokens older than the logs, unless a log was put back as well."""
        if self.tokens and not self.restored:
            for path, data in self.chance.choice(self.tokens).items():
                path.write_bytes(data)
            self.tokens, self.backups = [], []

    def lose_tokens(self) -> None:
        for path in self.folder.glob("home*/logs/*.token"):
            path.unlink()
        self.tokens = []

    def _told(self, logs: Path, record_ids: list[str]) -> None:
        self.acknowledged.setdefault(logs, []).extend(record_ids)

    def _child(self, action: Callable[[Say], None]) -> Child:
        """A process of one of two users on one of two machines."""
        home = self.folder / self.chance.choice(("home-1", "home-1", "home-2"))
        machine = self.chance.choice((MACHINES[0], *MACHINES))

        def somewhere(say: Say) -> None:
            os.environ["TORCHNOTARY_HOME"] = str(home)
            here = tuple(os.uname())
            token.os.uname = lambda: os.uname_result((here[0], machine, *here[2:]))
            catch_signatures(self.folder / "signed.jsonl")
            action(say)

        return Child(somewhere)

    def _record(self, logs: Path, say: Say) -> None:
        with LogWriter.open(logs) as writer:
            for number in range(2):
                say(writer.submit(RecordJob(number, key=self.key)).wait(60).record_id)

    def _record_and_fork(self, logs: Path, say: Say) -> None:
        with LogWriter.open(logs) as writer:
            say(writer.submit(RecordJob(0, key=self.key)).wait(60).record_id)
            ticket = writer.submit(RecordJob(1, key=self.key))

            def in_child(child_say: Say) -> None:
                child_say(writer.submit(RecordJob(2, key=self.key)).wait(60).record_id)

            for line in Child(in_child).end().require(0):
                say(line)
            say(ticket.wait(60).record_id)


def run(folder: Path, *, count: int, happenings: int, seed: int) -> int:
    """``count`` lives of so many ``happenings``; returns how many checkpoints were signed in them.

    Meant for a process of its own, without torch: it forks. AssertionError where a promise is
    broken.
    """
    warm_up(folder / "warm")
    key = SigningKey.generate()
    signed = 0
    for number in range(count):
        life = Life(folder / f"life-{number}", random.Random(seed + number), key)
        life.folder.mkdir()
        try:
            life.live(happenings)
        except AssertionError as error:
            raise AssertionError(f"seed {seed + number}: {life.happenings}: {error}") from None
        signed += sum(map(len, life.history.signed.values()))
        shutil.rmtree(life.folder)
    return signed
