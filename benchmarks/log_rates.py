"""How fast a log takes records, signed one by one and a hundred together, and is checked; how long
a caller queues one; how large the store is.

The process that measures has loaded torch, whose 150,000 objects the garbage collector goes through
again and again while records wait to be stored; so the rate of those signed together is also that
of a process without it.
"""

from __future__ import annotations

import gc
import json
import sys
import time
from pathlib import Path

from harness import Bench, Row, Summary
from log_jobs import NBYTES, Stream, StreamJob, in_a_process, kept_bytes, stored_bytes, write
from torchnotary.log.check import check_folder
from torchnotary.log.writer import LogWriter

SECONDS = 60.0


def measure(bench: Bench) -> list[Row]:
    seconds = SECONDS / 10 if bench.quick else SECONDS
    rows = []
    for together, target in ((1, 8_000), (100, 40_000)):
        folder = bench.folder / f"together-{together}"
        rates, queued = _sustained(folder, together, seconds)
        how = "signed one by one" if together == 1 else f"{together} under one signature"
        note = f"each second of {seconds:.0f}, records of {NBYTES:,} bytes, all durable at its end"
        rows += [
            Row(f"records, {how}", "1/s", Summary.of(rates), at_least=target, note=note),
            Row(f"queueing one, {how}", "µs", Summary.of(queued), target=10),
        ]
        if together > 1:
            (alone,) = in_a_process(__file__, bench.folder / "alone", together, seconds)
            what = f"records, {how}, in a process without torch"
            rows.append(Row(what, "1/s", Summary.of(alone), at_least=target))
        ratio = stored_bytes(folder) / kept_bytes(folder)
        rows.append(Row(f"store ÷ what it keeps, {how}", "×", Summary.of([ratio]), target=1.3))
        checks = [_check(folder) for _ in range(bench.rounds(5))]
        rows.append(Row(f"log check, records {how}", "1/s", Summary.of(checks), at_least=200_000))
    return rows


def _sustained(folder: Path, together: int, seconds: float) -> tuple[list[float], list[float]]:
    """Records made durable in each second, and microseconds that callers waited to queue one
    where there was room."""
    stream, rates, queued = Stream(sign_every=together), [], []
    write(folder, 1)
    with LogWriter.open(folder) as writer:
        gc.collect()
        begun = time.perf_counter()
        while time.perf_counter() - begun < seconds:
            start, count = time.perf_counter(), 0
            while time.perf_counter() - start < 1.0:
                for _ in range(256):
                    writer.submit(StreamJob(stream), block=True)
                count += 256
            writer.flush()
            rates.append(count / (time.perf_counter() - start))
            # Into an empty queue, whose thread waits for more.
            start = time.perf_counter_ns()
            for _ in range(64):
                writer.submit(StreamJob(stream))
            queued.append((time.perf_counter_ns() - start) / 64e3)
            writer.flush()
    return rates, queued


def _check(folder: Path) -> float:
    start = time.perf_counter()
    report = check_folder(folder)
    elapsed = time.perf_counter() - start
    report.raise_for_problems()
    return report.records / elapsed


if __name__ == "__main__":
    print(json.dumps(_sustained(Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]))[0]))
