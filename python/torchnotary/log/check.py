"""``log check``: recomputes a log folder from what it stores and names every entry that is broken.

Each leaf is made again from its envelope, each node from its leaves, each checkpoint's root from
the nodes; the log's own signatures, the predecessor it begins with, the token outside the folder
and the private store are checked against them. One pass, in memory that does not grow
with the log.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from ..errors import LogCorrupt, NotaryError
from ..keys import PublicKey
from ..statement.envelope import Envelope
from ..statement.lines import brief, parse_object
from . import tree
from .checkpoint import Checkpoint, SignedNote
from .claim import log_folders
from .leaf import entry_leaf, leaf_hash
from .private import PrivateReader, database_path
from .store import LogReader
from .token import Custody, Token

_PAGE = 4096
_ROWS = (
    "SELECT n.idx, n.leaf, r.record_id, r.time, s.spki, e.payload, e.signature"
    " FROM entries n LEFT JOIN records r ON r.idx = n.idx LEFT JOIN signers s ON s.id = r.signer"
    " LEFT JOIN envelopes e ON e.idx = n.idx WHERE n.idx BETWEEN ? AND ? ORDER BY n.idx"
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
    for path in paths:
        report.logs += 1
        checker = _LogCheck(path, report, origins)
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

    def __init__(self, path: Path, report: CheckReport, origins: dict[str, Path]) -> None:
        self._path = path
        self._report = report
        self._origins = origins
        self._token: Token | None = None
        self._token_root: bytes | None = None

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
            size = self._check_entries(log)
            if size is not None:
                self._check_end(log, size)
            if database_path(self._path).exists():
                with PrivateReader.open(self._path) as private:
                    self._check_private(log, private)

    def _check_entries(self, log: LogReader) -> int | None:
        """Recomputes leaves, nodes and checkpoints; returns the size, None if one is missing."""
        frontier = tree.Frontier()
        self._note_token(0, tree.EMPTY_ROOT)
        for rows in _pages(log):
            first = frontier.size
            nodes: list[bytes] = []
            labels = _labels(log, first)
            notes = _checkpoints(log, first)
            for row in rows:
                if row[0] != frontier.size:
                    self.problem("this entry is missing: no later one is checked", frontier.size)
                    return None
                self._check_row(row, labels.get(row[0], {}))
                try:
                    leaf = _bytes(row[1])
                except LogCorrupt:
                    return None  # named already; without its bytes the tree has no root
                nodes += frontier.append(leaf_hash(leaf))
                if frontier.size in notes:
                    self._check_checkpoint(log, notes[frontier.size], frontier)
                self._note_token(frontier.size, frontier)
            self._check_nodes(log, first, nodes)
        return frontier.size

    def _note_token(self, size: int, tree_so_far: tree.Frontier | bytes) -> None:
        if self._token is not None and self._token.size == size:
            known = isinstance(tree_so_far, bytes)
            self._token_root = tree_so_far if known else tree_so_far.root()

    def _check_row(self, row: tuple, labels: dict[str, str]) -> None:
        index, leaf, record_id, time, spki, payload, signature = row
        try:
            said = parse_object(_bytes(leaf), "the leaf")
            if said.get("type") == "predecessor/1":
                self._check_predecessor(index, said)
                return
            if said.get("type") != "entry/1":
                self.problem(f"the leaf is of an unknown type: {brief(said.get('type'))}", index)
                return
            if record_id is None or spki is None:
                self.problem("the entry has lost its record and signer", index)
                return
            if said.get("payload") != record_id.hex():
                self.problem("its leaf names another record", index, record_id)
            if payload is None:
                self._report.erased += 1
                if said.get("signer") != PublicKey.from_spki(spki).fingerprint:
                    self.problem("its leaf names another signer", index, record_id)
                return
            signer = PublicKey.from_spki(spki).fingerprint
            envelope = Envelope(_bytes(payload), ((signer, _bytes(signature)),))
            if entry_leaf(envelope, signer) != leaf:
                self.problem(_difference(said, envelope, signer), index, record_id)
            _check_index(envelope.payload, time, labels)
        except NotaryError as error:
            self.problem(error.reason, index, record_id)
        except (TypeError, AttributeError, ValueError, LookupError) as error:
            self.problem(f"the entry is damaged: {error}", index, record_id)

    def _check_nodes(self, log: LogReader, first: int, nodes: list[bytes]) -> None:
        start = tree.node_count(first)
        stored = dict(
            log.query(
                "SELECT position, hash FROM nodes WHERE position >= ? AND position < ?",
                start,
                start + len(nodes),
            )
        )
        if list(stored.values()) == nodes and len(stored) == len(nodes):
            return
        for position, node in enumerate(nodes, start):
            if stored.get(position) != node:
                index = first
                while tree.node_count(index + 1) <= position:
                    index += 1
                self.problem("a node of the tree is not the one the leaves up to it make", index)
                return

    def _check_checkpoint(self, log: LogReader, note: str, frontier: tree.Frontier) -> None:
        self._report.checkpoints += 1
        size, root = frontier.size, frontier.root()
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
            self.problem(
                f"the checkpoint of size {size} has the root {signed.root.hex()[:16]}…, the"
                f" entries {root.hex()[:16]}…"
            )

    def _check_end(self, log: LogReader, size: int) -> None:
        """That the log did not once hold more than it does, or something else."""
        self._report.entries += size
        nodes = log.query("SELECT count(*) FROM nodes WHERE position >= ?", tree.node_count(size))
        if nodes[0][0]:
            self.problem(f"{nodes[0][0]} nodes of the tree belong to no entry")
        for (beyond,) in log.query("SELECT size FROM checkpoints WHERE size > ?", size):
            self.problem(f"a checkpoint of size {beyond} was signed, but {size} entries are here")
        token = self._token
        if token is not None and (self._token_root or b"").hex() != token.root:
            self.problem(
                f"{token.size} entries with the root {token.root[:16]}… were signed, but {size}"
                " other ones are here: the log was replaced or cut back"
            )

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

    def _check_private(self, log: LogReader, private: PrivateReader) -> None:
        logged = "SELECT idx, record_id FROM records WHERE idx >= ? AND idx <= ?"
        after = -1
        while kept := private.records(after, _PAGE):
            first, after = kept[0][0], kept[-1][0]
            theirs = dict(kept)
            for index, record_id in log.query(logged, first, after):
                if theirs.get(index, record_id) != record_id:
                    self.problem("its private parts are another record's", index, record_id)
        for index, name in private.dangling():
            self.problem(f"its private file {name} is missing", index, _record_id(log, index))
        last = 0
        while files := private.files(last, _PAGE):
            for file, sha256 in files:
                try:
                    private.content(file, sha256)
                except LogCorrupt:
                    for index, name in private.users(file):
                        what = f"its private file {name} is damaged"
                        self.problem(what, index, _record_id(log, index))
            last = files[-1][0]


def _pages(log: LogReader) -> Iterator[list[tuple]]:
    start = 0
    while rows := log.query(_ROWS, start, start + _PAGE - 1):
        yield rows
        start += _PAGE
    beyond = log.query("SELECT min(idx) FROM entries WHERE idx >= ?", start)[0][0]
    if beyond is not None:
        yield log.query(_ROWS, beyond, beyond)


def _checkpoints(log: LogReader, first: int) -> dict[int, str]:
    """The notes of the checkpoints whose last entry is on a page, by size."""
    sql = "SELECT size, note FROM checkpoints WHERE size > ? AND size <= ?"
    return dict(log.query(sql, first, first + _PAGE))


def _record_id(log: LogReader, index: int) -> bytes | None:
    rows = log.query("SELECT record_id FROM records WHERE idx = ?", index)
    return rows[0][0] if rows else None


def _labels(log: LogReader, first: int) -> dict[int, dict[str, str]]:
    """The labels of the entries of a page by index."""
    found: dict[int, dict[str, str]] = {}
    sql = "SELECT idx, key, value FROM labels WHERE idx >= ? AND idx < ?"
    for index, key, value in log.query(sql, first, first + _PAGE):
        found.setdefault(index, {})[key] = value
    return found


def _bytes(value: object) -> bytes:
    """A stored value as bytes: SQLite lets a hand that edits it turn bytes into text, which is
    judged as such, or into a number, which is LogCorrupt."""
    if isinstance(value, str):
        return value.encode("utf-8", "surrogateescape")
    if type(value) is not bytes:
        raise LogCorrupt(f"{type(value).__name__} is stored where bytes belong")
    return value


def _difference(said: dict, envelope: Envelope, signer: str) -> str:
    ((_, signature),) = envelope.signatures
    if said.get("payload") != envelope.record_id:
        return "its statement is not the one its leaf names"
    if said.get("signature") != hashlib.sha256(signature).hexdigest():
        return "its signature is not the one its leaf names"
    if said.get("signer") != signer:
        return "its signer is not the one its leaf names"
    return "its leaf is not in its one form"


def _check_index(payload: bytes, time: str, labels: dict[str, str]) -> None:
    """What the record is listed by must be what its statement says, where it says so."""
    try:
        predicate = msgspec.json.decode(payload)["predicate"]
        signed_labels = predicate["record"]["labels"]
        times = (predicate["time"]["start"], predicate["time"]["end"])
    except (msgspec.DecodeError, KeyError, TypeError, ValueError):
        return
    if labels != signed_labels:
        shown = brief(labels)
        raise LogCorrupt(f"it is listed under other labels than it was signed with: {shown}")
    if time not in times:
        raise LogCorrupt(f"it is listed under another time than it was signed with: {brief(time)}")
