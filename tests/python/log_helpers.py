"""Jobs, folders and other processes for the tests of the log."""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from torchnotary.keys import SigningKey
from torchnotary.log.private import PrivateParts
from torchnotary.log.writer import LogWriter, Prepared
from torchnotary.statement.lines import canonical

TIME = "2026-11-21T10:02:03.123456Z"


@contextmanager
def open_folder() -> Iterator[Path]:
    """A temporary folder that other users may enter (pytest's own they may not)."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


def become_nobody() -> None:
    """Gives up root's rights, for which no folder is read-only; anyone else stays who they are.

    What is imported late is imported first: the interpreter may lie where nobody can read.
    """
    SigningKey.from_pem(SigningKey.generate().to_pem())
    if os.getuid() == 0:
        os.setgid(65534)
        os.setuid(65534)


class RecordJob:
    """A job with a statement of its own; remembers what became of it."""

    def __init__(self, number: int, *, key=None, labels=None, files=None, evidence=None):
        self.number = number
        self.key = key
        self.labels = labels or {}
        self.files = files or {}
        self.evidence = evidence
        self.outcome = None

    def build(self, origin: str) -> Prepared:
        labels = self.labels
        payload = canonical(
            {
                "number": self.number,
                "predicate": {
                    "code": {"callable": "score"},
                    "record": {"blind": os.urandom(8).hex(), "labels": labels},
                    "time": {"end": TIME, "start": TIME},
                },
                "subject": [
                    {"digest": {"sha256": hashlib.sha256(data).hexdigest()}, "name": name}
                    for name, data in sorted(self.files.items())
                ],
            }
        )
        private = PrivateParts(os.urandom(32), b"digests", self.files, self.evidence)
        key = self.key or SigningKey.load_or_create()
        return Prepared(payload, TIME, "score", labels, signer=key, private=private)

    def done(self, record_id: str, index: int) -> None:
        self.outcome = (record_id, index)

    def failed(self, error: Exception) -> None:
        self.outcome = error


def write_records(folder: Path, count: int = 1, **options) -> list:
    """Records ``count`` jobs in ``folder`` with a writer that is closed again; their entries."""
    with LogWriter.open(folder) as writer:
        tickets = [writer.submit(RecordJob(i, **options)) for i in range(count)]
        return [ticket.wait(60) for ticket in tickets]


def script(source: str) -> list[str]:
    """The command that runs ``source`` in another process, with these helpers importable."""
    here = Path(__file__).parent
    prelude = f"import sys; sys.path[:0] = {[str(here), str(here.parent / 'faults')]!r}\n"
    return [sys.executable, "-c", prelude + textwrap.dedent(source)]


def run(source: str, *arguments: object, check: bool = True, **environment: str):
    """Runs ``source`` in another process (sys.argv[1:] are ``arguments``); what it printed."""
    finished = subprocess.run(
        [*script(source), *map(str, arguments)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert not check or finished.returncode == 0, finished.stderr
    return finished
