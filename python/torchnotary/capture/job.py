"""Turns a finished call into a statement, on the writer's thread: salts, lines, roots, sections.

A *stream* is the chain of records one notary makes in one process: each names its sequence
number, the id of the one before it, and how many calls were missed in between.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from typing import Any

import msgspec

from .. import model_constants
from ..exact import PROFILE
from ..files import read_regular
from ..keys import MAX_PEM_BYTES, SigningKey
from ..leaves import TREES, Leaf, line_of
from ..log.private import PrivateParts
from ..log.writer import Prepared
from ..random_states import NAMES
from ..statement.evidence import encode_evidence
from ..statement.lines import canonical, encode_file, tree_of
from ..statement.predicate import CLAIM, statement, utc
from .call import Call
from .environment import environment_changed
from .group import GroupedCalls
from .group_facts import grouped_execution
from .surroundings import machine, ranks


class Signer:
    """The key a notary signs with: the one given, or the user's own, made at the first record.

    ``given`` is a SigningKey, PEM bytes or text, or the path of a PEM file. Raises NotaryError
    where there is no key and none could be written, saying what to set.
    """

    def __init__(self, given: Any) -> None:
        self._key: SigningKey | None = None
        if given is None:
            SigningKey.check()
        elif isinstance(given, SigningKey):
            self._key = given
        elif isinstance(given, (bytes, str)) and "-----BEGIN" in str(given):
            self._key = SigningKey.from_pem(given.encode() if isinstance(given, str) else given)
        else:
            self._key = SigningKey.from_pem(read_regular(given, MAX_PEM_BYTES))

    def key(self) -> SigningKey:
        if self._key is None:
            self._key = SigningKey.load_or_create()
        return self._key


class Stream:
    """The chain of one notary's records in one process."""

    def __init__(self, signer: Signer, sign_every: int = 1) -> None:
        self.id = os.urandom(16).hex()
        self.signer = signer
        self.sign_every = sign_every
        self.sequence = 0
        self.previous: str | None = None
        self.durable: tuple[int, str | None] = (0, None)
        self.recorded = 0
        self.missed = 0
        self.missed_total = 0
        self.warned = False
        self.last_error: BaseException | None = None
        self._lock = threading.RLock()

    def miss(self, error: BaseException, count: int = 1) -> None:
        """Count a call, or the calls of a group, that got no record."""
        with self._lock:
            self.missed += count
            self.missed_total += count
            self.last_error = error

    def take_missed(self) -> int:
        """How many calls were missed and not yet signed for; whoever takes them signs for them."""
        with self._lock:
            taken, self.missed = self.missed, 0
            return taken

    def give_back_missed(self, taken: int) -> None:
        with self._lock:
            self.missed += taken

    def advance(self, record_id: str) -> None:
        self.sequence += 1
        self.previous = record_id

    def made_durable(self, record_id: str, sequence: int) -> None:
        with self._lock:
            self.durable = (sequence + 1, record_id)
            self.recorded += 1

    def fall_back(self) -> None:
        """Continue after the last durable record: those built since were lost together."""
        self.sequence, self.previous = self.durable


class CallJob:
    """The writer's work for one record: ``build`` the statement, then ``done`` or ``failed``."""

    def __init__(
        self, call: Call | GroupedCalls, stream: Stream, warn: Callable[[BaseException], None]
    ) -> None:
        self._call = call
        self._stream = stream
        self._warn = warn
        self._sequence = 0
        self._missed = 0
        self._advanced = False

    def build(self, origin: str) -> Prepared:
        call, stream = self._call, self._stream
        self._sequence, self._missed = stream.sequence, stream.take_missed()
        secret = call.secret or os.urandom(32)
        files = dict(call.model.files) if call.model is not None else {}
        roots = {
            tree: _commit(leaves, secret, tree, files)
            for tree, leaves in (("inputs", call.inputs), ("outputs", call.outputs))
        }
        traced = call.tracing.finish() if call.tracing is not None else None
        roots["trace"] = None
        if traced is not None and traced.size:
            files["trace.jsonl"] = traced.data
            roots["trace"] = {"root": traced.root, "size": traced.size}
        document = statement(self._predicate(roots, traced, origin), files)
        payload = canonical(document)
        predicate = document["predicate"]
        private = PrivateParts(
            secret=secret,
            digests=_digests(call),
            files={**files, **_private_files(traced), **_constants(call)},
            evidence=encode_evidence(call.inputs, call.outputs) if call.keep else None,
        )
        prepared = Prepared(
            payload=payload,
            signer=stream.signer.key(),
            labels=dict(call.labels),
            time=predicate["time"]["start"],
            name=call.code.name,
            private=private,
            sign_every=stream.sign_every,
        )
        stream.advance(prepared.record_id.hex())
        self._advanced = True
        return prepared

    @property
    def sign_every(self) -> int:
        return self._stream.sign_every

    @property
    def nbytes(self) -> int:
        """Bytes of kept values that wait with this job."""
        if not self._call.keep:
            return 0
        leaves = (*self._call.inputs, *self._call.outputs)
        return sum(leaf.nbytes for leaf in leaves)

    def done(self, record_id: str, index: int) -> None:
        self._stream.made_durable(record_id, self._sequence)

    def failed(self, error: BaseException) -> None:
        if self._advanced:
            self._stream.fall_back()
        self._stream.give_back_missed(self._missed)
        self._stream.miss(error, self._call.count)
        self._warn(error)

    def _predicate(self, roots: dict[str, Any], traced: Any, origin: str) -> dict[str, Any]:
        call, stream = self._call, self._stream
        rank, world_size = ranks()
        return {
            "claim": CLAIM,
            "code": call.code.section(),
            "evidence": "full" if call.keep else "commitments",
            "execution": {**_execution(call), "trace": traced.facts if traced else None},
            "inputs": roots["inputs"],
            "model": call.model.section if call.model is not None else None,
            "outputs": roots["outputs"],
            "record": {
                "blind": os.urandom(32).hex(),
                "calls": call.count if isinstance(call, GroupedCalls) else None,
                "labels": dict(call.labels),
                "log": origin,
                "missed": self._missed,
                "nonce": call.nonce.hex() if call.nonce is not None else None,
                "previous": stream.previous,
                "rank": rank,
                "seq": stream.sequence,
                "stream": stream.id,
                "world_size": world_size,
            },
            "time": {
                "asserted": True,
                "clock": "system",
                "end": utc(call.ended),
                "start": utc(call.started),
            },
            "trace": roots["trace"],
        }


def _commit(
    leaves: list[Leaf], secret: bytes, tree: str, files: dict[str, bytes]
) -> dict[str, Any] | None:
    """Root and size of a tree of leaves, its line file added to ``files``; None if empty."""
    lines = [
        canonical(line_of(leaf, secret, TREES[tree], number)) for number, leaf in enumerate(leaves)
    ]
    if not lines:
        return None
    files[f"{tree}.jsonl"] = encode_file(lines)
    root = tree_of(lines)
    return {"root": root.root, "size": root.size}


def _private_files(traced: Any) -> dict[str, Any]:
    """What of a trace stays with its maker: the unsalted digests, and values that were kept."""
    if traced is None or not traced.size:
        return {}
    files = {"trace.digests": traced.digests}
    if traced.kept is not None:
        files["trace.kept"] = traced.kept.data
        files["trace.kept.index"] = traced.kept.index()
    return files


def _constants(call: Call | GroupedCalls) -> dict[str, bytes]:
    """Under exact/1, what a model on another CPU would compute otherwise when it is built."""
    first = call.calls[0] if isinstance(call, GroupedCalls) else call
    if call.model is None or first.execution["profile"] != PROFILE:
        return {}
    data = call.model.constants()
    return {} if data is None else {model_constants.FILE: data}


def _execution(call: Call | GroupedCalls) -> dict[str, Any]:
    if isinstance(call, GroupedCalls):
        return grouped_execution(call.calls, [_execution(one) for one in call.calls])
    return {
        **machine(),
        **call.execution,
        "device": call.model.device if call.model is not None else "cpu",
        "environment_changed": environment_changed(),
        "outcome": {"exception": call.exception, "status": call.status},
        "rng": _random_digests(call),
        "training": call.training,
    }


def _random_digests(call: Call) -> dict[str, str | None]:
    states = call.drawn_states()
    return {
        name: hashlib.sha256(states[name]).hexdigest() if name in states else None for name in NAMES
    }


def _digests(call: Call | GroupedCalls) -> bytes:
    """What the private store keeps of a call besides secret and files, as MessagePack: the
    unsalted digests of each line, and the random states the call drew from."""
    return msgspec.msgpack.encode(
        {
            "inputs": [leaf.digests for leaf in call.inputs],
            "outputs": [leaf.digests for leaf in call.outputs],
            "random": call.drawn_states(),
        }
    )
