"""A log of ten million entries: the memory of the process that writes it, its size, how long a
proof takes, and a check of it all. Half an hour and 13 GB of disk; `--quick` makes one million."""

from __future__ import annotations

import json
import random
import sys
import time
from pathlib import Path

from harness import Bench, Row, Summary
from log_jobs import Stream, StreamJob, in_a_process, kept_bytes, stored_bytes
from torchnotary import merkle
from torchnotary.log.check import check_folder
from torchnotary.log.leaf import leaf_hash
from torchnotary.log.reader import LogFolder
from torchnotary.log.store import LogReader
from torchnotary.log.writer import LogWriter

ENTRIES = 10_000_000
NBYTES = 600  # so that the log fits on an ordinary disk
_STEPS = 10


def measure(bench: Bench) -> list[Row]:
    entries = ENTRIES // 10 if bench.quick else ENTRIES
    folder = bench.folder / "log"
    # Processes of their own: this one has torch.
    steps = in_a_process(__file__, "write", folder, entries)
    resident, rates = [step["resident"] for step in steps], [step["rate"] for step in steps]
    growth = resident[-1] - resident[0]
    (path,) = LogFolder(folder).logs()
    with LogReader.open(path) as log:
        inclusion = [_prove(log, index) for index in _drawn(entries, bench.rounds(1000))]
        found = [_find(log, number) for number in _drawn(entries, bench.rounds(100))]
    (checked,) = in_a_process(__file__, "check", folder, entries)
    return [
        Row(f"memory after {entries:,} entries", "MiB", Summary.of(resident[-1:]), target=200),
        Row("its growth since a tenth of them", "MiB", Summary.of([growth])),
        Row("records, signed one by one", "1/s", Summary.of(rates)),
        Row("inclusion proof", "ms", Summary.of(inclusion), target=1.0),
        Row("finding a record by its id", "ms", Summary.of(found)),
        Row("store ÷ what it keeps", "×", Summary.of([stored_bytes(folder) / kept_bytes(folder)])),
        Row("log check", "1/s", Summary.of([checked["rate"]])),
        Row("memory after the check", "MiB", Summary.of([checked["resident"]])),
    ]


def _write(folder: Path, entries: int) -> None:
    stream = Stream(NBYTES)
    with LogWriter.open(folder) as writer:
        for _ in range(_STEPS):
            begun = time.perf_counter()
            for _ in range(entries // _STEPS):
                writer.submit(StreamJob(stream), block=True)
            writer.flush()
            _say(entries / _STEPS / (time.perf_counter() - begun))


def _check(folder: Path, entries: int) -> None:
    begun = time.perf_counter()
    check_folder(folder).raise_for_problems()
    _say(entries / (time.perf_counter() - begun))


def _say(rate: float) -> None:
    print(json.dumps({"rate": rate, "resident": _resident_mib()}), flush=True)


def _resident_mib() -> float:
    """The largest resident memory of this program so far. getrusage would count what the process
    was before it became this program."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def _drawn(entries: int, count: int) -> list[int]:
    return random.Random(1).sample(range(entries), count)


def _prove(log: LogReader, index: int) -> float:
    size = log.size()
    begun = time.perf_counter()
    proof = log.inclusion_proof(index, size)
    elapsed = time.perf_counter() - begun
    merkle.verify_inclusion(index, size, leaf_hash(log.leaf(index)), proof, log.root(size))
    return elapsed * 1e3


def _find(log: LogReader, number: int) -> float:
    record_id = log.query("SELECT record_id FROM records WHERE number = ?", number)[0][0].hex()
    begun = time.perf_counter()
    assert log.find(record_id).number == number
    return (time.perf_counter() - begun) * 1e3


if __name__ == "__main__":
    {"write": _write, "check": _check}[sys.argv[1]](Path(sys.argv[2]), int(sys.argv[3]))
