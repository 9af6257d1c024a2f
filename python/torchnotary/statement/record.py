"""A record: one signed statement about one call, and what its holder may disclose of it."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from ..errors import MalformedRecord, NotaryError, VerificationFailed
from ..group_paths import by_call
from ..leaves import TREES
from . import container
from .bundle import Bundle
from .lines import parse, parse_file
from .openings import Openings, decode_openings, derive, encode_openings
from .predicate import check_statement
from .trace import DIGESTS, split_digests

if TYPE_CHECKING:
    from .row_opening import RowOpening

DISCLOSABLE = ("weights", "structure", "inputs", "outputs", "trace")


class Record:
    """A record, from a file, from a log, or still on its way into one.

    Reading ``id`` or anything below it waits until a record in the making is durable, and raises
    what kept it from becoming so.
    """

    def __init__(
        self,
        bundle: Bundle,
        *,
        files: dict[str, bytes] | None = None,
        openings: Openings | None = None,
        evidence: bytes | None = None,
    ) -> None:
        self._bundle: Bundle | None = bundle
        self._ticket = None
        self._folder = None
        self.files = files or {}
        self.openings = openings or {}
        self.evidence = evidence

    @classmethod
    def awaited(cls, ticket: Any) -> Record:
        """The record of a call that was just handed to the writer of a log."""
        record = cls.__new__(cls)
        record._bundle = None
        record._ticket, record._folder = ticket, None
        record.files, record.openings, record.evidence = {}, {}, None
        return record

    @classmethod
    def load(cls, path: str | os.PathLike) -> Record:
        """The record in a ``.tnr`` file. Raises OSError where the file cannot be read and
        MalformedRecord, naming the cause, where it is not in its one encoding."""
        return cls._of_members(container.read(path))

    @classmethod
    def from_bytes(cls, data: bytes) -> Record:
        """The record in the bytes of a ``.tnr`` file; raises MalformedRecord."""
        return cls._of_members(container.unpack(data))

    @classmethod
    def _of_members(cls, members: dict[str, bytes]) -> Record:
        members = dict(members)
        bundle = Bundle.decode(members.pop("bundle.json"))
        evidence = members.pop("evidence.safetensors", None)
        openings = members.pop("openings.jsonl", None)
        return cls(
            bundle,
            files=members,
            openings=decode_openings(openings) if openings is not None else None,
            evidence=evidence,
        )

    # What is signed

    @property
    def bundle(self) -> Bundle:
        if self._bundle is None:
            from ..log.reader import LogFolder

            entry = self._ticket.wait()
            self._folder = LogFolder(entry.log.parent)
            self._bundle = Bundle.from_json(self._folder.bundle(entry.record_id))
            self._ticket = None
        return self._bundle

    @property
    def id(self) -> str:
        """SHA-256 of the record's payload, in hex."""
        return hashlib.sha256(self.payload).hexdigest()

    @property
    def payload(self) -> bytes:
        """The bytes of the statement: signed themselves, or as one of a batch."""
        return self.bundle.payload

    @property
    def envelope(self) -> Any:
        return self.bundle.envelope

    @property
    def tlog_proof(self) -> str:
        return self.bundle.tlog_proof

    @cached_property
    def public_key(self) -> Any:
        """The key the envelope is checked with: for integrity, not for identity."""
        from ..keys import PublicKey

        return PublicKey.from_spki(self.bundle.public_key)

    @cached_property
    def log_public_key(self) -> Any:
        from ..keys import PublicKey

        return PublicKey.from_spki(self.bundle.log_public_key)

    @cached_property
    def statement(self) -> dict[str, Any]:
        """The in-toto statement; MalformedRecord where the payload is not one of ours."""
        return check_statement(parse(self.payload))

    @property
    def predicate(self) -> dict[str, Any]:
        return self.statement["predicate"]

    @property
    def calls(self) -> int | None:
        """How many calls the record of a group is of; None for a record of a single call."""
        return self.predicate["record"].get("calls")

    # What may be known beside it

    @cached_property
    def private(self) -> Any:
        """This machine's private entry for the record (secret, digests, files); None where this
        user did not make it."""
        from ..log.reader import private_anywhere

        identity = self.id
        if self._folder is not None:  # known even where no registry could be written
            return self._folder.private(identity)
        return private_anywhere(identity)

    def file(self, name: str) -> bytes | None:
        """A line file such as ``weights.jsonl``, travelling or from the private store, whose
        SHA-256 is the one signed; None where neither has it. Raises MalformedRecord where a
        travelling file is not the one signed."""
        expected = self._subject(name)
        if name in self.files:
            data = self.files[name]
            actual = hashlib.sha256(data).hexdigest()
            if actual != expected:
                raise MalformedRecord(
                    f"{name} is not the file this record was signed over",
                    expected=expected,
                    actual=actual,
                    next_step="ask for the record again",
                )
            return data
        if expected is None or self.private is None:
            return None
        data = self.private.file(name)
        if data is None or hashlib.sha256(data).hexdigest() != expected:
            return None
        return data

    def lines(self, name: str) -> list[dict[str, Any]] | None:
        """The lines of a line file as JSON objects; None where nobody here has the file."""
        data = self.file(name)
        return None if data is None else [parse(line) for line in parse_file(data, name=name)]

    def _subject(self, name: str) -> str | None:
        for subject in self.statement["subject"]:
            if subject["name"] == name:
                return subject["digest"]["sha256"]
        return None

    def opened(self, tree: str) -> dict[int, list[tuple[bytes, bytes]]] | None:
        """(digest, salt) of each slot by line number, travelling or derived from this machine's
        private store; None where neither has them. ``tree`` is ``inputs``, ``outputs`` or
        ``trace``."""
        if tree in self.openings:
            return self.openings[tree]
        digests = self._unsalted(tree)
        return None if digests is None else derive(self.private.secret, tree, digests)

    def digests(self, tree: str) -> list[list[bytes]] | None:
        """Unsalted digests by line (one a row run or slot, one for a whole leaf, none where a
        line is not opened), or None where they are neither disclosed nor in this machine's private
        store."""
        if tree in self.openings:
            opened = self.openings[tree]
            count = (self.predicate[tree] or {"size": 0})["size"]
            return [[digest for digest, _ in opened.get(number, [])] for number in range(count)]
        digests = self._unsalted(tree)
        if digests is None:
            return None
        return [[line[i : i + 32] for i in range(0, len(line), 32)] for line in digests]

    @property
    def random_states(self) -> dict[str, bytes]:
        """The random states the call drew from, as they were before it, by name (see
        random_states.py); empty for a group, and where this machine's private store does not have
        them."""
        states = self._private_digests()["random"] if self.private is not None else {}
        return states if self.calls is None else {}

    @property
    def random_states_by_call(self) -> dict[int, dict[str, bytes]]:
        """Of a group: the states its calls drew from by number of the call, but for those where
        the call before had left them; empty where this machine's private store has none."""
        if self.calls is None or self.private is None:
            return {}
        return dict(self._private_digests()["random"])

    def _unsalted(self, tree: str) -> list[bytes] | None:
        """The digests of each line in one, from this machine's private store."""
        if self.private is None:
            return None
        if tree != "trace":
            return self._private_digests()[tree]
        data = self.private.file(DIGESTS)
        return None if data is None else list(split_digests(data))

    def _private_digests(self) -> dict[str, Any]:
        import msgspec

        return msgspec.msgpack.decode(self.private.digests)

    def kept_leaves(self, tree: str) -> list[Any] | None:
        """Leaves with their values, where the record travels with them or ``evidence="full"``
        kept them on this machine; None otherwise. Their digests are computed from the values."""
        from .evidence import decode_evidence

        for data in (self.evidence, self.private.evidence if self.private else None):
            if data is not None:
                leaves = decode_evidence(data).get(tree)
                if leaves is not None:
                    return leaves
        return None

    def kept(self, tree: str) -> Any:
        """Kept values put together again: inputs as a dict by argument name, outputs as the
        returned value, of a group a list of them; None where none are kept."""
        from .evidence import restore

        leaves = self.kept_leaves(tree)
        if leaves is None:
            return None
        if self.calls is None:
            values = [restore(leaves)]
        else:
            own = by_call(leaves, self.calls, lambda leaf: leaf.path)
            values = [restore(leaf.at(path) for path, leaf in call) for call in own]
        if tree == "outputs":
            values = [value.get("output") for value in values]
        return values[0] if self.calls is None else values

    # Handing it on

    def open(
        self, tree: str, row: int | None = None, path: str | None = None, values: Any = None
    ) -> RowOpening:
        """One row of an input or output, to show to somebody who then sees nothing of the others.

        ``tree`` is ``inputs`` or ``outputs``, ``row`` an index of axis 0, ``path`` the value's path
        where there are several. An axis of more than 4,096 rows is cut into equal runs, and the
        opening shows the run that holds the row; plain values and tensors of rank < 2 open whole,
        with ``row`` None or 0. ``values`` is the tensor, or all inputs or outputs as `save` takes
        them; kept ones if None. Raises NotaryError where this machine cannot open it or there is no
        such row or path, and VerificationFailed where the values are not the recorded ones.
        """
        from .row_opener import open_row

        return open_row(self, tree, row, path, values)

    def save(
        self,
        path: str | os.PathLike,
        *,
        disclose: Iterable[str] = (),
        inputs: Any = None,
        outputs: Any = None,
    ) -> None:
        """Write the record as one ``.tnr`` file, atomically.

        ``disclose`` names what travels beside the signed roots: ``inputs``, ``outputs`` (line
        file, digests and salts; the values too where evidence is full), ``trace`` (line file,
        digests and salts), ``weights``, ``structure``. ``inputs`` (arguments as a dict or tuple)
        and ``outputs`` (the returned value) are checked against the record and travel with it.
        Raises NotaryError where this machine cannot disclose what is asked, and VerificationFailed
        where given values differ.
        """
        members = {
            "bundle.json": self.bundle.encode(),
            **self._disclosed(disclose, inputs, outputs),
        }
        container.write_atomically(path, container.pack(members))

    def _disclosed(self, disclose: Iterable[str], inputs: Any, outputs: Any) -> dict[str, bytes]:
        names = [disclose] if isinstance(disclose, str) else list(disclose)
        given = {"inputs": inputs, "outputs": outputs}
        names += [tree for tree, value in given.items() if value is not None and tree not in names]
        files = dict(self.files)
        openings = dict(self.openings)
        for name in names:
            files[f"{name}.jsonl"] = self._own_file(name)
            if name in TREES:
                opened = self.opened(name)
                if opened is None:
                    raise _not_ours(name)
                openings[name] = opened
        evidence = self._evidence(names, given)
        if openings:
            files["openings.jsonl"] = encode_openings(openings)
        if evidence is not None:
            files["evidence.safetensors"] = evidence
        return {name: data for name, data in files.items() if data}

    def _own_file(self, name: str) -> bytes:
        if name not in DISCLOSABLE:
            raise NotaryError(
                "a record cannot disclose that",
                expected=", ".join(DISCLOSABLE),
                actual=name,
                next_step="name one of them",
            )
        if self._subject(f"{name}.jsonl") is None:
            raise NotaryError(
                f"the record has no {name}", next_step=f"leave {name} out of disclose"
            )
        data = self.file(f"{name}.jsonl")
        if data is None:
            raise _not_ours(name)
        return data

    def _evidence(self, names: Sequence[str], given: dict[str, Any]) -> bytes | None:
        from ..leaves import flatten_given
        from .evidence import decode_evidence, encode_evidence
        from .values import compare, differences_in_words

        trees = decode_evidence(self.evidence) if self.evidence is not None else {}
        for tree, value in given.items():
            if value is not None:
                lines = self.lines(f"{tree}.jsonl")
                leaves = flatten_given(tree, value, lines, calls=self.calls, keep=True)
                differences = compare(lines, self.digests(tree), leaves)
                if differences:
                    raise VerificationFailed(
                        f"the {tree} given are not the recorded ones: "
                        + differences_in_words(differences),
                        next_step=f"give the {tree} of this very call",
                    )
                trees[tree] = leaves
            elif tree in names and tree not in trees:
                kept = self.kept_leaves(tree)
                if kept is not None:
                    trees[tree] = kept
        if not trees:
            return None
        return encode_evidence(trees.get("inputs"), trees.get("outputs"))

    # How it looks

    def __repr__(self) -> str:
        if self._bundle is None:
            return "<torchnotary.Record on its way into the log>"
        return f"<torchnotary.Record {self.id[:16]}>"

    def _repr_html_(self) -> str:
        from ..report.notebook import html

        return html(self)


def _not_ours(name: str) -> NotaryError:
    return NotaryError(
        f"this machine cannot disclose the {name}: the record's private store is not here",
        next_step="ask whoever made the record to save it with that disclosure",
    )
