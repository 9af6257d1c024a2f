"""What is submitted to the writer, and the receipt for it."""

from __future__ import annotations

import copy
import sys
import threading
import traceback
from pathlib import Path
from typing import Any, Protocol

import msgspec

from ..errors import NotaryError
from ..keys import SigningKey
from .private import PrivateParts
from .store import Item


class Prepared(Item, kw_only=True, gc=False):
    """What a job wants stored: a record, who signs it, and what is kept beside.

    ``sign_every`` is how many such records, in their order, may be put under one signature.
    """

    signer: SigningKey
    private: PrivateParts | None = None
    sign_every: int = 1


class Job(Protocol):
    """What is submitted. All three are called on the writer thread, jobs in submission order.

    A job may have ``nbytes``, the bytes of values kept with it, and ``sign_every``, how many of
    its kind the writer shall wait for to sign them together.

    ``failed`` is called instead of ``done``, before any later job is built unless both were in
    one batch: then the batch's later jobs, built on this one, fail with it.
    """

    def build(self, origin: str) -> Prepared:
        """The statement, which may name the ``origin`` of the log it goes into."""
        ...

    def done(self, record_id: str, index: int) -> None: ...

    def failed(self, error: BaseException) -> None: ...


class EntryRef(msgspec.Struct, frozen=True, gc=False):
    """Where a record went: entry ``index`` of the log in the folder ``log``."""

    record_id: str
    index: int
    log: Path


class _Owner(Protocol):
    """The writer of a ticket's folder; ``inherited`` once a fork left it behind."""

    inherited: bool

    def hurry(self) -> None: ...


class Ticket:
    """The receipt of a submitted job; it settles once the record is durable, or failed."""

    __slots__ = ("_owner", "_settled", "_lock", "job", "entry", "error", "record")

    def __init__(self, owner: _Owner, job: Job | None) -> None:
        self._owner = owner
        self._settled = False
        # A held lock is the cheapest thing a thread can wait for, and one is made every call.
        self._lock = threading.Lock()
        self._lock.acquire()
        self.job = job
        self.entry: EntryRef | None = None
        self.error: BaseException | None = None
        self.record: Any = None  # what the receipt was shown as

    @property
    def settled(self) -> bool:
        return self._settled

    def wait(self, timeout: float | None = None) -> EntryRef:
        """Where the record is, once it is durable there; raises why it is not stored."""
        if not self._settled:
            if self._owner.inherited:
                raise NotaryError(
                    "this record was submitted before the process forked",
                    next_step="ask for it in the parent process",
                )
            self._owner.hurry()
            if not self._lock.acquire(timeout=-1 if timeout is None else timeout):
                raise NotaryError(
                    f"the record is not stored after {timeout} s", next_step="wait longer"
                )
            self._lock.release()
        if self.error is not None:
            # A new error every time: one object raised in two threads mixes their tracebacks.
            if isinstance(self.error, NotaryError):
                raise copy.copy(self.error) from self.error
            raise NotaryError(f"the record could not be made: {self.error!r}") from self.error
        return self.entry

    def settle(self, entry: EntryRef | None, error: BaseException | None = None) -> None:
        job, self.job = self.job, None
        self.entry, self.error = entry, error
        if job is not None:
            try:
                if error is not None:
                    job.failed(error)
                else:
                    job.done(entry.record_id, entry.index)
            except BaseException:
                # The record's fate is sealed; a fault of its listener must not stop the others.
                traceback.print_exc(file=sys.stderr)
        self._settled = True
        self._lock.release()
