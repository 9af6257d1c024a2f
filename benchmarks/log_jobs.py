"""Records made for the log alone: inference statements of 1.5 kB, with a secret and a digest."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from torchnotary.keys import SigningKey
from torchnotary.log.private import PrivateParts
from torchnotary.log.writer import LogWriter, Prepared
from torchnotary.statement.lines import canonical

TIME = "2026-11-21T10:02:03.123456Z"
NBYTES = 1500
_NAME = "score"
_SECRET, _DIGESTS = os.urandom(32), os.urandom(64)


class Stream:
    """The statements of one stream, each naming the one before; ``nbytes`` long."""

    def __init__(self, nbytes: int = NBYTES, sign_every: int = 1) -> None:
        self.key = SigningKey.generate()
        self.sign_every = sign_every
        self._previous: bytes | None = None
        self._number = 0
        self._head, self._tail = self._template(nbytes)

    def _template(self, nbytes: int) -> tuple[bytes, bytes]:
        """What stands before and behind the previous id and the sequence number."""
        record = {"labels": {}, "previous": "PREVIOUS", "seq": 0, "stream": os.urandom(16).hex()}
        predicate = {"record": record, "time": {"end": TIME, "start": TIME}}
        code = {"callable": _NAME, "source": ""}
        bare = len(canonical({"predicate": {"code": code, **predicate}})) + 64
        code["source"] = "x" * max(0, nbytes - bare)
        padded = canonical({"predicate": {"code": code, **predicate}})
        head, _, tail = padded.partition(b'"PREVIOUS","seq":0')
        return head, tail

    def prepare(self) -> Prepared:
        """The next record. Called on the writer's thread, in the order of submission."""
        previous = b"null" if self._previous is None else b'"%b"' % self._previous
        prepared = Prepared(
            b'%b%b,"seq":%d%b' % (self._head, previous, self._number, self._tail),
            TIME,
            _NAME,
            {},
            signer=self.key,
            private=PrivateParts(_SECRET, _DIGESTS),
            sign_every=self.sign_every,
        )
        self._previous = prepared.record_id.hex().encode()
        self._number += 1
        return prepared


class StreamJob:
    """The writer's work for one of them."""

    __slots__ = ("_stream", "sign_every")

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self.sign_every = stream.sign_every

    def build(self, origin: str) -> Prepared:
        return self._stream.prepare()

    def done(self, record_id: str, index: int) -> None:
        pass

    def failed(self, error: BaseException) -> None:
        raise error


def write(folder: Path, count: int, **options: int) -> Stream:
    """A log in ``folder`` with ``count`` records of one stream."""
    stream = Stream(**options)
    with LogWriter.open(folder) as writer:
        for _ in range(count):
            writer.submit(StreamJob(stream), block=True)
    return stream


def in_a_process(script: str, *arguments: object) -> list[Any]:
    """What a benchmark says, a JSON document a line, run as a process of its own, without torch."""
    command = [sys.executable, script, *map(str, arguments)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def stored_bytes(folder: Path) -> int:
    """The size of all files of a log folder."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def kept_bytes(folder: Path) -> int:
    """The bytes of the leaves, statements, signatures and private parts in a log folder: what a
    store of it cannot do without."""
    from torchnotary.log.reader import LogFolder
    from torchnotary.log.store import LogReader

    total = 0
    for path in LogFolder(folder).logs():
        with LogReader.open(path) as log:
            for sql in (
                "SELECT total(length(leaf)) + total(length(signature)) + total(length(payload))"
                " FROM entries",
                "SELECT total(length(payload)) FROM records",
            ):
                total += int(log.query(sql)[0][0])
            records = log.record_count()
    return total + records * (len(_SECRET) + len(_DIGESTS))
