"""The writer thread of a folder: takes what has gathered, signs it and commits it at once.

Private parts are committed first, then the log, then the token outside the folder, and only
then is the new size signed as a checkpoint. A failure fails its whole batch; the next batch
claims a log anew.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import sqlite3
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import Empty, SimpleQueue

import msgspec

from ..errors import NotaryError
from ..statement import envelope as dsse
from ..statement.batch import BatchStatement
from . import forks, termination
from .checkpoint import Checkpoint
from .claim import Claim, claim
from .jobs import EntryRef, Prepared, Ticket
from .store import Entry

QUEUE_JOBS = 4096
QUEUE_BYTES = 2**30  # of values kept with the jobs
BATCH_JOBS = 2048
MAX_TOGETHER = 1024  # records under one signature
BATCH_BYTES = 64 * 2**20
# How long an idle writer lets jobs gather, unless somebody waits for one: a commit costs as much
# for one record as for many, and where calls follow each other it competes with them.
GATHER_SECONDS = 0.05
# The same where records are to be signed together and there are not enough of them yet.
GATHER_TOGETHER_SECONDS = 1.0
_NAME_A_FOLDER = "free space there, or name another folder (TORCHNOTARY_LOG)"


class Committer:
    """The queue, thread and claimed log that every handle on one folder shares.

    It can be stopped and started again; only in a forked child it is done for (``inherited``).
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.handles = 0
        self.inherited = False
        self.running = False
        self.queue: SimpleQueue[Ticket | None] = SimpleQueue()
        self.claimed: Claim | None = None
        self._thread: threading.Thread | None = None
        self._starting = threading.RLock()
        self._room = threading.Condition()
        self._kept_bytes = 0
        self._awaited = threading.Event()
        self._urgent = False
        self._taken = 0

    def is_this_thread(self) -> bool:
        """Whether the writer's own thread asks."""
        return threading.current_thread() is self._thread

    def is_full(self) -> bool:
        return self.queue.qsize() >= QUEUE_JOBS or self._kept_bytes >= QUEUE_BYTES

    def weigh(self, nbytes: int) -> None:
        """Counts the bytes kept with a job that is queued (positive) or taken (negative)."""
        if nbytes:
            with self._room:
                self._kept_bytes += nbytes
            if self._kept_bytes >= BATCH_BYTES:
                self.hurry()

    def start(self) -> None:
        """Starts the thread; where there can be none any more, stores what is queued here."""
        with self._starting:
            while not self.running:
                # Said first: a garbage collection on the way can close a recorded generator, whose
                # record is submitted by this very thread and must not start another writer.
                self.running = True
                try:
                    self._thread = None if _exiting else self._new_thread()
                    if self._thread is None:
                        self.queue.put(None)
                        self.hurry()
                        self._run()
                finally:
                    self.running = self._thread is not None
                if self._thread is None and self.queue.empty():
                    return
        _flush_when_a_worker_ends()

    def _new_thread(self) -> threading.Thread | None:
        thread = threading.Thread(target=self._run, name="torchnotary-writer", daemon=True)
        try:
            thread.start()
        except RuntimeError:
            # Python 3.12 and later start no thread once the interpreter shuts down.
            return None
        return thread

    def stop(self) -> None:
        """Stores what is queued, ends the thread and releases the log."""
        with self._starting:
            if self._thread is not None:
                self.queue.put(None)
                self.hurry()
                self._thread.join()
                self._thread, self.running = None, False
        # Whatever came after the end mark by a caller who still saw the thread running.
        if not self.queue.empty():
            self.start()

    def wait_for_room(self) -> None:
        self.hurry()
        with self._room:
            while self.is_full():
                # The timeout covers a batch that is taken between the test and the wait.
                self._room.wait(0.05)

    def _run(self) -> None:
        ended = busy = False
        while not ended:
            batch, ended = self._next_batch(gather=not busy)
            self.weigh(-sum(getattr(ticket.job, "nbytes", 0) for ticket in batch))
            with self._room:
                self._room.notify_all()
            self._process(batch)
            busy = not self.queue.empty()
        with forks.gate:
            self._release()

    def _next_batch(self, *, gather: bool) -> tuple[list[Ticket], bool]:
        """What has gathered, at least one ticket unless the end mark came first."""
        item = self.queue.get()
        self._taken = 1
        together = 1 if item is None else getattr(item.job, "sign_every", 1)
        lacking = together > self.queue.qsize() + 1
        # Whoever waits says so after queueing: what they wait for is in this batch or before. So
        # does whoever queues the last of those that are signed together.
        if lacking or gather:
            self._awaited.wait(GATHER_TOGETHER_SECONDS if lacking else GATHER_SECONDS)
        self._awaited.clear()
        urgent, self._urgent = self._urgent, False
        most, self._taken = self._most(together, urgent), 0
        batch: list[Ticket] = []
        while item is not None:
            batch.append(item)
            if len(batch) >= most:
                if urgent:
                    self.hurry()  # what somebody waits for may come after
                return batch, False
            try:
                item = self.queue.get_nowait()
            except Empty:
                return batch, False
        return batch, True

    def _most(self, together: int, urgent: bool) -> int:
        """How many tickets to take: where nobody waits, what would be signed with others to come
        is left to them."""
        queued = self.queue.qsize() + 1
        if urgent or queued < together:
            return BATCH_JOBS
        return min(BATCH_JOBS, queued) // together * together

    def has_enough(self, together: int) -> bool:
        """Whether as many jobs are queued as are signed together."""
        return self.queue.qsize() + self._taken >= together

    def hurry(self, *, urgent: bool = True) -> None:
        """Somebody waits for what is queued; or, not ``urgent``, enough is there to be signed."""
        self._urgent = self._urgent or urgent
        self._awaited.set()

    def _process(self, batch: list[Ticket]) -> None:
        built: list[_Built] = []
        weight, origin = 0, ""
        for ticket in batch:
            if ticket.job is None:
                self._commit(built, origin)
                built, weight = [], 0
                ticket.settle(None)
                continue
            if not built:
                # A statement names its log, so the log is claimed before it is built; within a
                # batch of statements it does not change.
                try:
                    with forks.gate:
                        origin = self._claim_anew().custody.origin
                except BaseException as error:
                    ticket.settle(None, _explained(error, self.folder))
                    continue
            try:
                prepared = ticket.job.build(origin)
                dsse.check_size(prepared.payload)
            except BaseException as error:
                # Not even a SystemExit may end the thread others wait for.
                ticket.settle(None, error)
                continue
            built.append(_Built(ticket, prepared))
            if prepared.private is not None:
                weight += prepared.private.nbytes
            if weight >= BATCH_BYTES:
                self._commit(built, origin)
                built, weight = [], 0
        self._commit(built, origin)

    def _commit(self, built: list[_Built], origin: str) -> None:
        """Stores records together and settles their tickets; a failure fails all of them."""
        if not built:
            return
        try:
            # Signing takes most of the time, and a fork need not wait for it.
            entries = [_signed(group, origin) for group in _groups(built)]
            with forks.gate:
                refs = self._store(built, entries)
        except BaseException as error:
            with forks.gate:
                self._release()
            failure = _explained(error, self.folder)
            for one in built:
                one.ticket.settle(None, failure)
            return
        for one, ref in zip(built, refs, strict=True):
            one.ticket.settle(ref)

    def _store(self, built: list[_Built], entries: list[Entry]) -> list[EntryRef]:
        if self.claimed is None or not self.claimed.is_intact():
            raise FileNotFoundError(2, "the log was taken away while records were made for it")
        store, custody = self.claimed.store, self.claimed.custody
        private = [
            (number, one.prepared.record_id, one.prepared.private)
            for number, one in enumerate(built, start=store.next_number)
            if one.prepared.private is not None
        ]
        if private:
            self.claimed.private.put(private)
        first = store.append(entries)
        # From here on the entries are durable. The token comes before the signature, so that a
        # restored folder is known to be behind whatever was signed.
        size, root = store.head()
        custody.advance(size, root)
        store.put_checkpoint(size, Checkpoint(custody.origin, size, root).sign(custody.key))
        log = self.claimed.path
        return [
            EntryRef(item.record_id.hex(), index, log)
            for index, entry in enumerate(entries, start=first)
            for item in entry.items
        ]

    def _claim_anew(self) -> Claim:
        """The log that is written; claimed again where it was lost."""
        if self.claimed is not None and not self.claimed.is_intact():
            self._release()
        if self.claimed is None:
            self.claimed = claim(self.folder)
        return self.claimed

    def _release(self) -> None:
        claimed, self.claimed = self.claimed, None
        if claimed is not None:
            # After a failed write closing may fail as well; the next batch claims a log anew.
            with contextlib.suppress(sqlite3.Error, OSError):
                claimed.release()


class _Built(msgspec.Struct, frozen=True, gc=False):
    """A ticket with what its job prepared."""

    ticket: Ticket
    prepared: Prepared


def _groups(built: list[_Built]) -> Iterator[list[_Built]]:
    """What is signed together: neighbours of one signer, as many as they ask for."""
    start = 0
    while start < len(built):
        first = built[start].prepared
        group = built[start : start + first.sign_every]
        for place, one in enumerate(group):
            said = one.prepared
            if said.signer is not first.signer or said.sign_every != first.sign_every:
                del group[place:]
                break
        yield group
        start += len(group)


def _signed(group: list[_Built], origin: str) -> Entry:
    """The entry of a group: the record itself where it is one, else a signed batch."""
    signer, items = group[0].prepared.signer, [one.prepared for one in group]
    payload = items[0].payload
    if len(items) > 1:
        payload = BatchStatement.of([item.record_id.hex() for item in items], origin).payload
    return Entry(dsse.sign(payload, signer), signer.public, items)


_committers: dict[Path, Committer] = {}
_committers_lock = threading.Lock()
_exiting = False
_worker_end_watched = False


def attach(folder: Path) -> Committer:
    """The committer of ``folder`` in this process, with one handle more on it."""
    termination.store_before(_stop_all)
    with _committers_lock:
        committer = _committers.get(folder)
        if committer is None:
            committer = _committers[folder] = Committer(folder)
        committer.handles += 1
        return committer


def detach(committer: Committer) -> None:
    """Gives a handle back; the last one stops the committer."""
    with _committers_lock:
        committer.handles -= 1
        last = committer.handles == 0
    if last and not committer.inherited:
        committer.stop()


def _stop_all() -> None:
    for committer in list(_committers.values()):
        committer.stop()


def _stop_at_exit() -> None:
    global _exiting
    _exiting = True
    _stop_all()


def _flush_when_a_worker_ends() -> None:
    """multiprocessing's children leave without atexit; they run finalizers of their own instead."""
    global _worker_end_watched
    process = sys.modules.get("multiprocessing.process")
    if _worker_end_watched or process is None or process.parent_process() is None:
        return
    from multiprocessing import util

    _worker_end_watched = True
    util.Finalize(None, _stop_all, exitpriority=100)


def _leave_inherited() -> None:
    """A forked child starts afresh: the parent's writers, connections and locks are not its own."""
    global _committers, _committers_lock, _worker_end_watched
    for committer in _committers.values():
        committer.inherited = True
        if committer.claimed is not None:
            # The lock would stay held as long as the child keeps the descriptor open.
            os.close(committer.claimed.lock)
            forks.never_collect(committer.claimed)
    _committers, _committers_lock, _worker_end_watched = {}, threading.Lock(), False


def _explained(error: BaseException, folder: Path) -> NotaryError:
    if isinstance(error, NotaryError):
        return error
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    explained = NotaryError(
        f"records could not be stored in {folder}: {text or type(error).__name__}",
        next_step=_NAME_A_FOLDER,
    )
    explained.__cause__ = error
    return explained


atexit.register(_stop_at_exit)
forks.in_child(_leave_inherited)
