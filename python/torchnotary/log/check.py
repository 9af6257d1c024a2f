"""``log check``: recomputes a log folder from what it stores and names every entry that is broken.

Each leaf is made again from its envelope, each node from its leaves, each checkpoint's root from
the nodes; the log's own signatures, the predecessor it begins with, the token outside the folder,
the place of each record in its stream and the private store are checked against them. One pass, in
memory that does not grow with the log (but by the streams in it); a thread of its own goes through
the private store meanwhile.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event

from .._core import extend_tree
from ..errors import LogCorrupt, NotaryError
from . import cosigned, tree
from .check_pages import EntryCheck, Page
from .check_private import wrong_private_parts
from .checkpoint import Checkpoint, SignedNote
from .claim import log_folders
from .store import LogReader, id_rows
from .streams import Streams
from .token import Custody, Token

_PAGE = 4096
_STRAY_RECORDS = "SELECT number, entry, record_id FROM records WHERE number >= ?"
_ID = "SELECT count(*) FROM ids WHERE bucket = ? AND prefix = ? AND number = ?"
_IDS = "SELECT number, entry, record_id FROM records WHERE number > ? ORDER BY number LIMIT ?"
_BELOW = (
    "SELECT (SELECT count(*) FROM entries WHERE idx < 0) +"
    " (SELECT count(*) FROM nodes WHERE position < 0) +"
    " (SELECT count(*) FROM records WHERE number < 0) +"
    " (SELECT count(*) FROM checkpoints WHERE size < 0)"
)


@dataclass(frozen=True)
class Problem:
    """What is wrong with a log, at which entry and record where that can be said."""

    log: Path
    what: str
    index: int | None = None
    record_id: str | None = None

    def __str__(self) -> str:
        place = "" if self.index is None else f" entry {self.index}"
        record = "" if self.record_id is None else f" (record {self.record_id})"
        return f"{self.log.name}{place}{record}: {self.what}"


@dataclass
class CheckReport:
    """What ``check`` found: how much there was, and every problem."""

    folder: Path
    logs: int = 0
    entries: int = 0
    erased: int = 0
    records: int = 0
    checkpoints: int = 0
    problems: list[Problem] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.problems

    def raise_for_problems(self) -> None:
        """Raises LogCorrupt naming the first problem, if there is one."""
        if self.problems:
            more = len(self.problems) - 1
            raise LogCorrupt(
                str(self.problems[0]) + (f" (and {more} more)" if more else ""),
                next_step="restore this log from a copy, or keep it aside: the next record begins"
                " a new one",
            )


def check_folder(folder: Path) -> CheckReport:
    """Checks every log in ``folder``; NotaryError where there is none."""
    paths = log_folders(folder)
    if not paths:
        raise NotaryError(f"there is no log in {folder}", next_step="name a log folder")
    report = CheckReport(folder)
    origins: dict[str, Path] = {}
    streams = Streams()
    for path in paths:
        report.logs += 1
        checker = _LogCheck(path, report, origins, streams)
        try:
            checker.run()
        except NotaryError as error:
            checker.problem(error.reason)
        except (TypeError, ValueError, AttributeError, LookupError, OverflowError) as error:
            # Every value is a stranger's; whatever it breaks is damage to the log.
            checker.problem(f"the log is damaged: {type(error).__name__}: {error}")
    return report


class _LogCheck:
    """The check of one log; predecessors are looked up among the logs that came before it."""

    def __init__(
        self, path: Path, report: CheckReport, origins: dict[str, Path], streams: Streams
    ) -> None:
        self._path = path
        self._report = report
        self._origins = origins
        self._streams = streams
        self._token: Token | None = None
        self._token_root: bytes | None = None
        # Checkpoints up to this size have the roots that the entries make; from the first one on
        # that has not, hardly any other can have.
        self._agreed = 0
        self._others = 0
        self._first_other: tuple[int, bytes, bytes] | None = None  # size, root, the entries' root

    def problem(self, what: str, index: int | None = None, record_id: bytes | None = None) -> None:
        named = record_id.hex() if isinstance(record_id, bytes) else None
        self._report.problems.append(Problem(self._path, what, index, named))

    def run(self) -> None:
        # The token only grows, so it must be read before the log it is compared with.
        custody = Custody.find(self._path)
        self._token = custody.token() if custody else None
        with LogReader.open(self._path) as log:
            log.query("BEGIN")
            self._origins[log.origin] = self._path
            if not log.origin.rpartition("/")[2].startswith(self._path.name.rpartition("-")[2]):
                self.problem(f"the folder's name is not the one of {log.origin}")
            given_up = Event()
            with ThreadPoolExecutor(1, "torchnotary-check-private") as beside:
                private = beside.submit(wrong_private_parts, self._path, given_up)
                try:
                    self._check_entries(log)
                    for what in cosigned.problems(log):
                        self.problem(what)
                    for what, index, record_id in private.result():
                        self.problem(what, index, record_id)
                finally:
                    given_up.set()

    def _check_entries(self, log: LogReader) -> None:
        """Recomputes leaves, nodes and checkpoints, as far as no entry is missing."""
        entries = EntryCheck(log, self._streams, self.problem, self._check_predecessor)
        size, peaks = 0, b""
        self._note_token(0, tree.EMPTY_ROOT)
        for page in entries.pages():
            peaks = self._check_tree(log, page, peaks)
            size += page.size
        self._report.erased += entries.erased
        self._report.entries += size
        self._report.records += entries.records
        self._name_other_roots()
        if entries.is_complete:
            self._check_end(log, size, entries.records)
            if not entries.ids.agree(log):
                self._name_what_is_not_found(log)

    def _check_tree(self, log: LogReader, page: Page, peaks: bytes) -> bytes:
        """The nodes a page adds to the tree, and the roots at its checkpoints; the peaks then."""
        end, notes = page.first + page.size, page.notes
        stops = {size for size in notes if size < end} | {end}
        if self._token is not None and page.first < self._token.size < end:
            stops.add(self._token.size)
        nodes, size = [], page.first
        for stop in sorted(stops):
            at = 32 * (size - page.first)
            hashes = page.leaf_hashes[at : at + 32 * (stop - size)]
            added, peaks = extend_tree(hashes, size, peaks)
            nodes.append(added)
            size = stop
            if size in notes or self._token is not None and self._token.size == size:
                root = tree.root_of_peaks(tree.split(peaks))
                self._note_token(size, root)
                if size in notes:
                    self._check_checkpoint(log, notes[size], size, root)
        made = b"".join(nodes)
        if made != page.nodes:
            self._check_nodes(log, page.first, made)
        return peaks

    def _note_token(self, size: int, root: bytes) -> None:
        if self._token is not None and self._token.size == size:
            self._token_root = root

    def _check_nodes(self, log: LogReader, first: int, nodes: bytes) -> None:
        start, count = tree.node_count(first), len(nodes) // 32
        known = dict(
            log.query(
                "SELECT position, hash FROM nodes WHERE position >= ? AND position < ?",
                start,
                start + count,
            )
        )
        for place in range(count):
            if known.get(start + place) != nodes[32 * place : 32 * place + 32]:
                index = first
                while tree.node_count(index + 1) <= start + place:
                    index += 1
                self.problem("a node of the tree is not the one the leaves up to it make", index)
                return

    def _check_checkpoint(self, log: LogReader, note: str, size: int, root: bytes) -> None:
        self._report.checkpoints += 1
        try:
            if type(note) is not str:
                raise LogCorrupt("it is not text")
            signed = Checkpoint.verify(note, log.public_key, alone=True)
        except NotaryError as error:
            self.problem(f"the checkpoint of size {size}: {error.reason}")
            return
        if signed.size != size:
            self.problem(f"the checkpoint kept for size {size} is of size {signed.size}")
        elif signed.root != root:
            if self._first_other is None:
                self._first_other = (size, signed.root, root)
            self._others += 1
        elif not self._others:
            self._agreed = size

    def _name_other_roots(self) -> None:
        """One problem for all checkpoints with other roots: a wrong leaf is in all later ones."""
        if self._first_other is None:
            return
        size, signed, made = self._first_other
        what = (
            f"the checkpoint of size {size} has the root {signed.hex()[:16]}…, the entries"
            f" {made.hex()[:16]}…"
        )
        if self._others > 1:
            what += f" (and so on, {self._others} checkpoints)"
        if size == self._agreed + 1:
            self.problem(what, self._agreed)
        else:
            self.problem(f"{what}: entries {self._agreed} to {size - 1} are not what was signed")

    def _check_end(self, log: LogReader, size: int, records: int) -> None:
        """That the log did not once hold more than it does, or something else, and that every
        record can be found by its id."""
        nodes = log.query("SELECT count(*) FROM nodes WHERE position >= ?", tree.node_count(size))
        if nodes[0][0]:
            self.problem(f"{nodes[0][0]} nodes of the tree belong to no entry")
        ((below,),) = log.query(_BELOW)
        if below:
            self.problem(f"{below} rows are numbered below 0")
        for number, index, record_id in log.query(_STRAY_RECORDS, records):
            self.problem(f"record {number} belongs to no entry", index, record_id)
        for (beyond,) in log.query("SELECT size FROM checkpoints WHERE size > ?", size):
            self.problem(f"a checkpoint of size {beyond} was signed, but {size} entries are here")
        token = self._token
        if token is not None and (self._token_root or b"").hex() != token.root:
            self.problem(
                f"{token.size} entries with the root {token.root[:16]}… were signed, but {size}"
                " other ones are here: the log was replaced or cut back"
            )

    def _name_what_is_not_found(self, log: LogReader) -> None:
        last, all_found = -1, True
        while rows := log.query(_IDS, last, _PAGE):
            for last, index, record_id in rows:
                if type(record_id) is not bytes or len(record_id) != 32:
                    continue  # named already
                (row,) = id_rows(last, [record_id])
                if not log.query(_ID, *row)[0][0]:
                    self.problem(f"record {last} is not found by its id", index, record_id)
                    all_found = False
        if all_found:
            self.problem("the index of ids holds more than the ids of its records")

    def _check_predecessor(self, index: int, said: dict) -> None:
        if index != 0:
            self.problem("a predecessor stands elsewhere than first", index)
            return
        note = said.get("checkpoint")
        if type(note) is not str:
            self.problem("the predecessor has no checkpoint", index)
            return
        text = SignedNote.parse(note).text
        signed = Checkpoint.parse(text)
        path = self._origins.get(signed.origin)
        if path is None:
            self.problem(f"the log it goes on from, {signed.origin}, is not in this folder", index)
            return
        with LogReader.open(path) as log:
            Checkpoint.verify(note, log.public_key, alone=True)
            if signed.size > log.size() or log.root(signed.size) != signed.root:
                self.problem(f"{path.name} is not the log this one goes on from any more", index)
