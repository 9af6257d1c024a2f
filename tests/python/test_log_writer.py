"""The writer: durable before acknowledged, one a folder, through forks, failures and exits."""

from __future__ import annotations

import gc
import multiprocessing
import os
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import pytest

from log_helpers import RecordJob, run, script
from torchnotary.errors import NotaryError, Saturated
from torchnotary.keys import SigningKey
from torchnotary.log import committer, termination
from torchnotary.log.check import check_folder
from torchnotary.log.leaf import entry_leaf
from torchnotary.log.proofs import TlogProof
from torchnotary.log.reader import LogFolder
from torchnotary.log.store import LogStore
from torchnotary.log.writer import LogWriter


@pytest.fixture
def folder(tmp_path) -> Path:
    return tmp_path / "log"


class Blocking(RecordJob):
    """A job whose build waits, so that others gather behind it."""

    def __init__(self, number: int):
        super().__init__(number)
        self.building, self.go = threading.Event(), threading.Event()

    def build(self, origin):
        self.building.set()
        assert self.go.wait(60)
        return super().build(origin)


def ids(folder: Path) -> list[str]:
    return [entry.record_id for entry in LogFolder(folder).list()]


def test_a_settled_record_is_in_the_log_under_a_signed_checkpoint(folder):
    with LogWriter.open(folder) as writer:
        assert not folder.exists() and writer.log is None
        job = RecordJob(1, labels={"run": "a"}, files={"inputs.jsonl": b"x\n"}, evidence=b"e")
        entry = writer.submit(job).wait()
        assert job.outcome == (entry.record_id, 0) and entry.log == writer.log
        reader = LogFolder(folder)
        found = reader.find(entry.record_id)
        assert found.labels == {"run": "a"} and found.index == 0
        proof = TlogProof.from_text(reader.bundle(entry.record_id)["tlogProof"])
        leaf = entry_leaf(found.envelope, found.public_key.fingerprint)
        assert proof.verify(leaf, found.log_public_key).size == 1
        private = reader.private(entry.record_id)
        assert private.file("inputs.jsonl") == b"x\n" and private.evidence == b"e"
    assert check_folder(folder).ok


def test_records_are_stored_in_the_order_they_were_submitted(folder):
    with LogWriter.open(folder) as writer:
        tickets = [writer.submit(RecordJob(i), block=True) for i in range(1000)]
        writer.flush()
        assert all(ticket.settled for ticket in tickets)
        assert [ticket.wait().index for ticket in tickets] == list(range(1000))
    report = check_folder(folder)
    assert report.ok and report.entries == 1000 and report.checkpoints < 1000


def test_what_gathers_is_committed_together(folder):
    first = Blocking(0)
    with LogWriter.open(folder) as writer:
        writer.submit(first)
        assert first.building.wait(60)
        tickets = [writer.submit(RecordJob(i)) for i in range(1, 101)]
        first.go.set()
        assert tickets[-1].wait().index == 100
    # The first was taken alone; the hundred that gathered behind it are one commit.
    assert check_folder(folder).checkpoints == 2


def test_an_idle_writer_gathers_until_somebody_waits(folder, monkeypatch):
    monkeypatch.setattr(committer, "GATHER_SECONDS", 10**6)
    with LogWriter.open(folder) as writer:
        tickets = [writer.submit(RecordJob(i)) for i in range(10)]
        time.sleep(0.2)  # a writer that does not gather has stored them by now
        assert not any(ticket.settled for ticket in tickets)
        tickets[3].wait(60)
        writer.flush(60)
        late = [writer.submit(RecordJob(10 + i)) for i in range(10)]
    assert all(ticket.settled for ticket in (*tickets, *late))
    report = check_folder(folder)
    assert report.ok and report.entries == 20 and report.checkpoints <= 4


def test_what_is_submitted_while_the_thread_is_made_starts_no_other(folder, monkeypatch):
    # As a garbage collection does that closes a recorded generator.
    start, tickets, writers = threading.Thread.start, [], []

    def started(thread):
        if thread.name == "torchnotary-writer":
            writers.append(thread)
            if len(writers) == 1:
                tickets.append(writer.submit(RecordJob(1)))
        start(thread)
        if thread.name == "torchnotary-writer" and len(writers) == 1:
            tickets.append(writer.submit(RecordJob(2)))

    monkeypatch.setattr(threading.Thread, "start", started)
    with LogWriter.open(folder) as writer:
        tickets.append(writer.submit(RecordJob(0)))
        assert sorted(ticket.wait(60).index for ticket in tickets) == [0, 1, 2]
    assert len(writers) == 1
    assert check_folder(folder).ok


def test_values_that_are_kept_do_not_gather(folder, monkeypatch):
    monkeypatch.setattr(committer, "GATHER_SECONDS", 10**6)
    job = RecordJob(0)
    job.nbytes = committer.BATCH_BYTES
    with LogWriter.open(folder) as writer:
        ticket = writer.submit(job)
        assert ticket._lock.acquire(timeout=60)
        ticket._lock.release()


def test_a_full_queue_refuses_or_waits_and_loses_nothing(folder, monkeypatch):
    monkeypatch.setattr(committer, "QUEUE_JOBS", 5)
    first = Blocking(0)
    with LogWriter.open(folder) as writer:
        writer.submit(first)
        assert first.building.wait(60)
        for i in range(1, 6):
            writer.submit(RecordJob(i))
        with pytest.raises(Saturated, match="5 records are waiting"):
            writer.submit(RecordJob(99))
        waiting = threading.Thread(target=lambda: writer.submit(RecordJob(6), block=True))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive() and writer.queued() == 5
        first.go.set()
        waiting.join(60)
        assert not waiting.is_alive()
    assert len(ids(folder)) == 7


def test_a_job_that_cannot_be_built_fails_alone(folder):
    class Broken(RecordJob):
        def build(self, origin):
            raise ZeroDivisionError("no statement")

    first, broken, last = Blocking(0), Broken(1), RecordJob(2)
    with LogWriter.open(folder) as writer:
        tickets = [writer.submit(job) for job in (first, broken, last)]
        first.go.set()
        assert tickets[2].wait().index == 1
        for _ in range(2):
            with pytest.raises(NotaryError, match="could not be made.*no statement"):
                tickets[1].wait()
    assert isinstance(broken.outcome, ZeroDivisionError)


def test_a_listener_that_fails_stops_nobody(folder, capfd):
    class BadListener(RecordJob):
        def done(self, record_id, index):
            raise RuntimeError("listener fault")

    with LogWriter.open(folder) as writer:
        assert writer.submit(BadListener(0)).wait().index == 0
        assert writer.submit(RecordJob(1)).wait().index == 1
    assert "listener fault" in capfd.readouterr().err


def test_waiting_can_time_out_and_be_repeated(folder):
    job = Blocking(0)
    with LogWriter.open(folder) as writer:
        ticket = writer.submit(job)
        with pytest.raises(NotaryError, match="not stored after 0.05 s"):
            ticket.wait(0.05)
        job.go.set()
        waiting = [threading.Thread(target=ticket.wait) for _ in range(3)]
        for thread in waiting:
            thread.start()
        for thread in waiting:
            thread.join(60)
        assert ticket.wait(0) == ticket.wait()


def test_two_handles_of_one_folder_share_one_log_until_the_last_is_closed(folder, tmp_path):
    first = LogWriter.open(folder)
    (tmp_path / "link").symlink_to(folder)
    second = LogWriter.open(tmp_path / "link")
    one, two = first.submit(RecordJob(1)).wait(), second.submit(RecordJob(2)).wait()
    assert one.log == two.log and (one.index, two.index) == (0, 1)
    first.close()
    first.close()
    with pytest.raises(NotaryError, match="is closed"):
        first.submit(RecordJob(3))
    assert second.submit(RecordJob(3)).wait().index == 2
    assert LogFolder(folder).logs() == [one.log]
    assert _can_lock(one.log) is False
    second.close()
    assert _can_lock(one.log) is True
    with LogWriter.open(folder) as third:
        assert third.submit(RecordJob(4)).wait().index == 3


def _can_lock(log: Path) -> bool:
    source = """
        import fcntl, sys
        with open(sys.argv[1] + "/lock", "r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    """
    return run(source, log, check=False).returncode == 0


def test_a_folder_that_cannot_be_written_is_refused_at_once(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(NotaryError, match="is a file.*TORCHNOTARY_LOG"):
        LogWriter.open(tmp_path / "file")
    with pytest.raises(NotaryError, match="is a file.*TORCHNOTARY_LOG"):
        LogWriter.open(tmp_path / "file" / "log")


DISK_FULL = """
    import os, resource, signal, sys
    from pathlib import Path
    from log_helpers import RecordJob
    from torchnotary.errors import NotaryError
    from torchnotary.log.writer import LogWriter

    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    writer = LogWriter.open(sys.argv[1])
    print(writer.submit(RecordJob(0)).wait().index)
    hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
    limit = max(f.stat().st_size for f in Path(sys.argv[1]).rglob("*")) + 4096
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, hard))
    failing = [RecordJob(i, evidence=os.urandom(100_000)) for i in range(1, 4)]
    for ticket in [writer.submit(job) for job in failing]:
        try:
            ticket.wait(60)
        except NotaryError as error:
            print(error)
    print([isinstance(job.outcome, NotaryError) for job in failing])
    resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
    print(writer.submit(RecordJob(4, evidence=os.urandom(100_000))).wait(60).index)
    writer.close()
"""


def test_a_full_disk_fails_its_records_and_the_writer_goes_on_when_there_is_room(folder):
    printed = run(DISK_FULL, folder).stdout.splitlines()
    assert printed[0] == "0"
    for line in printed[1:4]:
        assert f"records could not be stored in {folder}" in line
        assert line.endswith("Next: free space there, or name another folder (TORCHNOTARY_LOG)")
    assert printed[4:] == ["[True, True, True]", "1"]
    assert check_folder(folder).ok and len(ids(folder)) == 2


def test_a_failed_commit_leaves_no_private_parts_behind(folder, monkeypatch):
    secret_evidence = os.urandom(1000)

    def failing(self, entries):
        raise sqlite3.OperationalError("disk I/O error")

    with LogWriter.open(folder) as writer:
        writer.submit(RecordJob(0)).wait()
        with monkeypatch.context() as patched:
            patched.setattr("torchnotary.log.store.LogStore.append", failing)
            with pytest.raises(NotaryError, match="disk I/O error"):
                writer.submit(RecordJob(1, evidence=secret_evidence)).wait()
        entry = writer.submit(RecordJob(2)).wait()
        assert entry.index == 1
    assert secret_evidence[:100] not in (entry.log / "private/private.sqlite").read_bytes()
    assert check_folder(folder).ok


def test_a_log_removed_while_it_is_written_is_noticed(folder):
    with LogWriter.open(folder) as writer:
        gone = writer.submit(RecordJob(0)).wait()
        shutil.rmtree(folder)
        entry = writer.submit(RecordJob(1)).wait()
        assert entry.log != gone.log and ids(folder) == [entry.record_id]


EXIT = """
    import sys
    from log_helpers import RecordJob
    from torchnotary.log.writer import LogWriter
    writer = LogWriter.open(sys.argv[1])
    for i in range(200):
        writer.submit(RecordJob(i))
"""


def test_records_made_right_before_the_interpreter_exits_are_durable(folder):
    run(EXIT, folder)
    assert len(ids(folder)) == 200 and check_folder(folder).ok
    assert run(EXIT + "    sys.exit(3)\n", folder, check=False).returncode == 3
    assert run(EXIT + "    1 / 0\n", folder, check=False).returncode == 1
    assert len(ids(folder)) == 600


def test_records_made_while_the_interpreter_exits_are_durable(folder):
    late = """
    import atexit
    def late():
        writer.submit(RecordJob(1000))
        writer.submit(RecordJob(1001))
    atexit.register(late)
    """
    # Registered before the writer's own handler, so it runs after it.
    finished = run(late + EXIT, folder)
    assert len(ids(folder)) == 202 and check_folder(folder).ok
    assert finished.stderr == ""


TERMINATED = """
    import os, signal, sys, threading, time
    from log_helpers import RecordJob
    from torchnotary.log import committer, termination
    from torchnotary.log.writer import LogWriter
    committer.GATHER_SECONDS = 60  # unless somebody waits, nothing is stored by itself
    {before}
    writer = LogWriter.open(sys.argv[1])
    for i in range(20):
        writer.submit(RecordJob(i))
    os.kill(os.getpid(), signal.SIGTERM)
    {after}
"""


@pytest.mark.parametrize(
    "before, after, code",
    [
        ("", "time.sleep(60)", -signal.SIGTERM),
        ("", "committer._committers_lock.acquire(); time.sleep(60)", -signal.SIGTERM),
        ("signal.signal(signal.SIGTERM, lambda *_: sys.exit(5))", "time.sleep(60)", 5),
        ("signal.signal(signal.SIGTERM, signal.SIG_IGN)", "sys.exit(6)", 6),
    ],
    ids=["default", "default, inside a lock", "a handler of its own", "ignored"],
)
def test_records_made_right_before_a_sigterm_are_durable(folder, before, after, code):
    source = TERMINATED.format(before=before, after=after)
    assert run(source, folder, check=False).returncode == code
    assert len(ids(folder)) == 20 and check_folder(folder).ok


def test_a_second_sigterm_ends_a_process_that_cannot_store():
    source = """
        import os, signal, threading, time
        from torchnotary.log import termination
        stopping = threading.Event()
        def stop():
            stopping.set()
            time.sleep(10**6)
        termination.store_before(stop)
        os.kill(os.getpid(), signal.SIGTERM)
        assert stopping.wait(60)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(10**6)
    """
    assert run(source, check=False).returncode == -signal.SIGTERM


def test_a_handler_is_not_installed_from_another_thread():
    before = signal.getsignal(signal.SIGTERM)
    thread = threading.Thread(target=termination.store_before, args=(lambda: None,))
    thread.start()
    thread.join()
    assert signal.getsignal(signal.SIGTERM) is before


def _in_child(action) -> int:
    pid = os.fork()
    if pid == 0:
        try:
            action()
            os._exit(0)
        except BaseException:
            import traceback

            traceback.print_exc()
            os._exit(1)
    return os.waitpid(pid, 0)[1]


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_forked_child_starts_a_log_of_its_own_and_the_parent_goes_on(folder):
    with LogWriter.open(folder) as writer:
        parent = writer.submit(RecordJob(0)).wait()

        def child():
            entry = writer.submit(RecordJob(1)).wait(60)
            assert entry.log != parent.log and entry.index == 1
            writer.close()
            gc.collect()

        assert _in_child(child) == 0
        assert writer.submit(RecordJob(2)).wait().index == 1
        assert writer.log == parent.log
    report = check_folder(folder)
    assert report.ok and report.logs == 2


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_record_on_its_way_is_the_parents_and_a_child_that_asks_is_told(folder):
    job = Blocking(0)
    with LogWriter.open(folder) as writer:
        ticket = writer.submit(job)
        assert job.building.wait(60)

        def child():
            with pytest.raises(NotaryError, match="before the process forked"):
                ticket.wait()
            writer.flush()

        assert _in_child(child) == 0
        job.go.set()
        assert ticket.wait().index == 0


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_does_not_keep_the_parents_log_locked(folder):
    with LogWriter.open(folder) as writer:
        log = writer.submit(RecordJob(0)).wait().log
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(writing)
            os.read(reading, 1)
            os._exit(0)
        os.close(reading)
    assert _can_lock(log)
    os.close(writing)
    os.waitpid(pid, 0)


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_fork_waits_until_a_commit_is_over(folder, monkeypatch):
    inside, over = threading.Event(), threading.Event()
    append = LogStore.append

    def slow(self, entries):
        inside.set()
        time.sleep(0.3)
        first = append(self, entries)
        over.set()
        return first

    monkeypatch.setattr(LogStore, "append", slow)
    with LogWriter.open(folder) as writer:
        writer.submit(RecordJob(0))
        assert inside.wait(60)
        assert _in_child(lambda: os._exit(0 if over.is_set() else 3)) == 0


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_forks_in_the_middle_of_commits_break_neither_side(folder):
    stop = threading.Event()
    with LogWriter.open(folder) as writer:

        def busy():
            number = 0
            while not stop.is_set():
                writer.submit(RecordJob(number, evidence=os.urandom(2000)), block=True)
                number += 1

        thread = threading.Thread(target=busy)
        thread.start()
        try:
            for _ in range(50):
                time.sleep(0.005)
                assert _in_child(lambda: writer.submit(RecordJob(-1)).wait(60)) == 0
        finally:
            stop.set()
            thread.join()
        writer.flush()
    report = check_folder(folder)
    assert report.ok, report.problems
    assert report.logs == 2 and len(ids(folder)) > 100


FORK_AND_EXIT = """
    import os, sys
    from log_helpers import RecordJob
    from torchnotary.log.writer import LogWriter
    writer = LogWriter.open(sys.argv[1])
    writer.submit(RecordJob(0)).wait()
    pid = os.fork()
    if pid == 0:
        sys.exit(7)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7
    writer.submit(RecordJob(1)).wait()
"""


def test_a_child_that_exits_as_usual_takes_nothing_of_the_parents_down(folder):
    run(FORK_AND_EXIT, folder)
    report = check_folder(folder)
    assert report.ok and (report.logs, report.entries) == (1, 2)


def _worker(folder: Path, writer: LogWriter) -> None:
    writer.submit(RecordJob(1))
    LogWriter.open(folder).submit(RecordJob(2))


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_worker_process_that_ends_loses_nothing(folder, method):
    context = multiprocessing.get_context(method)
    if method == "fork":
        with LogWriter.open(folder) as writer:
            writer.submit(RecordJob(0)).wait()
            process = context.Process(target=_worker, args=(folder, writer))
            process.start()
            process.join(60)
            assert process.exitcode == 0
    else:
        process = context.Process(target=_spawned, args=(folder,))
        process.start()
        process.join(60)
        assert process.exitcode == 0
    assert len(ids(folder)) == (3 if method == "fork" else 2)


def _spawned(folder: Path) -> None:
    _worker(folder, LogWriter.open(folder))


def test_a_second_process_gets_a_log_of_its_own_and_readers_see_one_folder(folder):
    source = """
        import sys
        from log_helpers import write_records
        print(write_records(sys.argv[1], 2)[0].log)
    """
    with LogWriter.open(folder) as writer:
        mine = writer.submit(RecordJob(0)).wait()
        theirs = Path(run(source, folder).stdout.strip())
        assert theirs != mine.log
        assert writer.submit(RecordJob(1)).wait().log == mine.log
    assert len(ids(folder)) == 4
    assert Path(run(source, folder).stdout.strip()) == mine.log
    report = check_folder(folder)
    assert report.ok and report.logs == 2 and report.entries == 7


def test_two_ranks_that_start_together_sign_with_one_key_in_two_logs(folder):
    source = """
        import sys, time
        from log_helpers import RecordJob
        from torchnotary.log.writer import LogWriter
        with LogWriter.open(sys.argv[1]) as writer:
            time.sleep(max(0, float(sys.argv[2]) - time.time()))
            writer.submit(RecordJob(0)).wait()
            input()
    """
    start = str(time.time() + 1.5)
    command = [*script(source), str(folder), start]
    ranks = [subprocess.Popen(command, stdin=subprocess.PIPE, text=True) for _ in range(2)]
    deadline = time.time() + 60
    while len(ids(folder)) < 2 and time.time() < deadline:
        time.sleep(0.05)
    for rank in ranks:
        rank.communicate("\n", timeout=60)
        assert rank.returncode == 0
    entries = list(LogFolder(folder).list())
    assert {entry.public_key for entry in entries} == {SigningKey.load().public}
    assert len({entry.log for entry in entries}) == 2
    report = check_folder(folder)
    assert report.ok, report.problems
