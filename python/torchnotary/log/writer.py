"""Submitting records to a log folder: callers queue jobs, the folder's thread stores them."""

from __future__ import annotations

import os
from pathlib import Path

from .. import folders
from ..errors import NotaryError, Saturated
from .committer import MAX_TOGETHER, Committer, attach, detach
from .jobs import EntryRef, Job, Prepared, Ticket

__all__ = ["MAX_TOGETHER", "EntryRef", "Job", "LogWriter", "Prepared", "Ticket"]


class LogWriter:
    """A handle on the one writer a process has for a folder; closing the last one stops it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._closed = False
        self._committer = attach(folder)

    @classmethod
    def open(cls, folder: str | os.PathLike[str]) -> LogWriter:
        """The writer of ``folder``; NotaryError where it could not be written. Creates nothing."""
        path = Path(os.path.realpath(folder))
        folders.check_can_create(path, "a log", "name another folder (TORCHNOTARY_LOG)")
        return cls(path)

    def submit(self, job: Job, *, block: bool = False) -> Ticket:
        """Queues ``job``; where the queue is full, waits (``block``) or raises Saturated.

        It is full at 4,096 jobs, or where the values kept with them come to 1 GiB.
        """
        committer = self._committer
        if committer.inherited or self._closed:
            committer = self._committer = self._again()
        queue = committer.queue
        if committer.is_full():
            if not block:
                raise Saturated(
                    f"{queue.qsize()} records are waiting to be stored in {self.folder}",
                    next_step="record less, sign more calls together, or use a faster disk",
                )
            committer.wait_for_room()
        ticket = Ticket(committer, job)
        committer.weigh(getattr(job, "nbytes", 0))
        queue.put(ticket)
        together = getattr(job, "sign_every", 1)
        if together > 1 and committer.has_enough(together):
            committer.hurry(urgent=False)
        if not committer.running:
            committer.start()
        return ticket

    def is_this_thread(self) -> bool:
        """Whether the writer's own thread asks."""
        return self._committer.is_this_thread()

    def queued(self) -> int:
        """How many jobs wait to be taken by the writer's thread."""
        return 0 if self._committer.inherited else self._committer.queue.qsize()

    def flush(self, timeout: float | None = None) -> None:
        """Returns once everything submitted so far is settled, durable or failed."""
        committer = self._committer
        if committer.inherited or self._closed or not committer.running:
            return
        barrier = Ticket(committer, None)
        committer.queue.put(barrier)
        barrier.wait(timeout)

    def close(self) -> None:
        """Flushes; the last handle's close also ends the writer and gives its lock back."""
        if not self._closed:
            self._closed = True
            detach(self._committer)

    def spool_folder(self) -> str:
        """Where what waits to be stored may lie on disk: the folder itself once it exists; "" for
        the system's temporary folder."""
        return str(self.folder) if self.log is not None else ""

    @property
    def log(self) -> Path | None:
        """The folder of the log being written; None until the first record is stored."""
        claimed = self._committer.claimed
        return claimed.path if claimed is not None and not self._committer.inherited else None

    def __enter__(self) -> LogWriter:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _again(self) -> Committer:
        if self._closed:
            raise NotaryError(f"the writer of {self.folder} is closed", next_step="open another")
        return attach(self.folder)
