"""A record in the making, stage by stage; each stage can be bent, by its signer or by others.

The stages, in order, each an edit that gets what the stage made and returns what goes on in its
place (or changes it in place and returns None):

    files         line files by name             what is signed follows from here
    statement     the statement as a JSON value
    payload       its bytes
    signed_batch  where many records are signed together, the statement that is signed for them
    envelope      the envelope as a JSON value    nobody needs a key from here on
    part          what the bundle says of the record's place in its batch
    proof         the text of the tlog-proof
    bundle        bundle.json as a JSON value
    text          its bytes
    members       members of the .tnr by name
    file          the bytes of the .tnr
"""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from torchnotary import merkle
from torchnotary._core import View
from torchnotary.keys import SigningKey
from torchnotary.leaves import TREES, Leaf, line_of
from torchnotary.log.checkpoint import Checkpoint, origin_of
from torchnotary.log.leaf import entry_leaf
from torchnotary.log.proofs import TlogProof
from torchnotary.statement import container, envelope
from torchnotary.statement.batch import BatchPart, BatchStatement, record_line
from torchnotary.statement.bundle import Bundle
from torchnotary.statement.evidence import encode_evidence
from torchnotary.statement.lines import canonical, encode_file, parse, sha256_hex, tree_of
from torchnotary.statement.openings import derive, encode_openings
from torchnotary.statement.predicate import statement
from trace_reference import ReferenceTrace

from .identities import LOG, SIGNER, Witness, cosigned, fixed
from .values import structure_lines, weights_lines

Edit = Callable[[Any], Any]
EVERYTHING = ("inputs", "outputs", "weights", "structure", "trace", "evidence")


@dataclass(frozen=True)
class Draft:
    """What a record is made from.

    ``weights`` are a model's tensors by name, ``disclose`` names trees whose line files and
    openings travel, and ``evidence`` for their values. The record is entry ``index`` of a log of
    ``size`` entries; the leaves of other records stand in ``others``. ``batch`` is its number among
    how many that are signed together. ``witnesses`` cosigned its checkpoint.
    """

    name: str = "call"
    inputs: tuple[Leaf, ...] = ()
    outputs: tuple[Leaf, ...] = ()
    weights: Mapping[str, View] | None = None
    trace: ReferenceTrace | None = None
    disclose: tuple[str, ...] = ()
    signer: SigningKey = SIGNER
    log: SigningKey = LOG
    index: int = 0
    size: int = 1
    others: Mapping[int, bytes] = field(default_factory=dict)
    batch: tuple[int, int] | None = None
    witnesses: tuple[Witness, ...] = ()
    record: Mapping[str, Any] = field(default_factory=dict)
    edits: Mapping[str, Edit] = field(default_factory=dict)

    def but(self, **changes: Any) -> Draft:
        """This draft with other fields, or with edits, by the name of their stage."""
        fields = {k: v for k, v in changes.items() if k in self.__dataclass_fields__}
        edits = {k: v for k, v in changes.items() if k not in fields}
        return replace(self, edits={**self.edits, **edits}, **fields)

    # The stages

    @cached_property
    def files(self) -> dict[str, bytes]:
        made = {}
        for tree in ("inputs", "outputs"):
            lines = [
                canonical(line_of(leaf, self.secret, TREES[tree], number))
                for number, leaf in enumerate(getattr(self, tree))
            ]
            if lines:
                made[f"{tree}.jsonl"] = encode_file(lines)
        if self.weights:
            made["weights.jsonl"] = encode_file(weights_lines(self.weights))
            made["structure.jsonl"] = encode_file(structure_lines(self.weights))
        if self.trace is not None:
            made["trace.jsonl"] = self.trace.file
        return self._edited("files", made)

    @cached_property
    def statement(self) -> dict[str, Any]:
        return self._edited("statement", statement(self._predicate(), self.files))

    @cached_property
    def payload(self) -> bytes:
        return self._edited("payload", canonical(self.statement))

    @cached_property
    def signed(self) -> envelope.Envelope:
        payload = self.payload
        if self.batch is not None:
            made = BatchStatement.of(self.batch_ids, self.origin).payload
            payload = canonical(self._edited("signed_batch", parse(made)))
        return envelope.sign(payload, self.signer)

    @cached_property
    def leaf(self) -> bytes:
        """The record's line in the log."""
        return entry_leaf(self.signed, self.signer.public.fingerprint)

    @cached_property
    def envelope(self) -> dict[str, Any]:
        return self._edited("envelope", self.signed.to_json())

    @cached_property
    def proof(self) -> str:
        hashes = tuple(merkle.inclusion_proof(self.entries(), self.index))
        proof = TlogProof(self.index, hashes, cosigned(self.checkpoint(), *self.witnesses))
        return self._edited("proof", proof.to_text())

    @cached_property
    def bundle(self) -> dict[str, Any]:
        spki = self.signer.public.spki, self.log.public.spki
        made = Bundle(self.signed, *spki, self.proof).to_json()
        if self.witnesses:
            found = {(witness.name, witness.key.public.spki) for witness in self.witnesses}
            made["witnesses"] = [
                {"name": name, "publicKey": envelope.encode_base64(key)}
                for name, key in sorted(found)
            ]
        if self.batch is not None:
            lines = [record_line(record_id) for record_id in self.batch_ids]
            hashes = tuple(merkle.inclusion_proof(lines, self.batch[0]))
            part = BatchPart(self.payload, self.batch[0], hashes)
            made["batch"] = self._edited("part", part.to_json())
        return self._edited("bundle", {**made, "envelope": self.envelope})

    @cached_property
    def members(self) -> dict[str, bytes]:
        made = {"bundle.json": self._edited("text", canonical(self.bundle))}
        made |= {f"{tree}.jsonl": self.files[f"{tree}.jsonl"] for tree in self._disclosed()}
        opened = {tree: self.openings(tree) for tree in self._disclosed() if tree in TREES}
        if any(opened.values()):
            made["openings.jsonl"] = encode_openings(opened)
        if "evidence" in self.disclose:
            kept = (self.inputs or None, self.outputs or None)
            shown = [k if t in self.disclose else None for t, k in zip(TREES, kept, strict=False)]
            made["evidence.safetensors"] = encode_evidence(*shown)
        return self._edited("members", made)

    @cached_property
    def tnr(self) -> bytes:
        """The bytes of the .tnr file."""
        packed = container.pack(self.members)
        return self._edited("file", packed)

    # What edits and options are made from

    @property
    def secret(self) -> bytes:
        return fixed(f"secret of {self.name}")

    @property
    def origin(self) -> str:
        return origin_of(self.log.public)

    @property
    def batch_ids(self) -> list[str]:
        """The ids of the records that are signed together."""
        number, size = self.batch
        own = sha256_hex(self.payload)
        return [own if n == number else fixed(f"record {n}").hex() for n in range(size)]

    def openings(self, tree: str) -> dict[int, list[tuple[bytes, bytes]]]:
        if tree == "trace":
            return self.trace.openings
        digests = [leaf.digests if leaf.kind != "unbound" else b"" for leaf in getattr(self, tree)]
        return derive(self.secret, tree, digests)

    def entries(self, size: int | None = None) -> list[bytes]:
        """The first entries of the log."""
        mine = {self.index: self.leaf, **self.others}
        return [mine.get(n) or filler(n) for n in range(self.size if size is None else size)]

    def checkpoint(self, size: int | None = None) -> str:
        """The log's signed checkpoint of that size."""
        entries = self.entries(size)
        root = merkle.root(entries) if entries else hashlib.sha256().digest()
        return Checkpoint(self.origin, len(entries), root).sign(self.log)

    def _disclosed(self) -> list[str]:
        return [tree for tree in EVERYTHING if tree in self.disclose and tree != "evidence"]

    def _edited(self, stage: str, made: Any) -> Any:
        """What goes on from a stage; an edit that changes nothing would make a genuine record."""
        if stage not in self.edits:
            return made
        working = copy.deepcopy(made)
        returned = self.edits[stage](working)
        edited = working if returned is None else returned
        if edited == made:
            raise ValueError(f"the edit of {stage} changes nothing")
        return edited

    def _predicate(self) -> dict[str, Any]:
        roots = {
            name.partition(".")[0]: tree_of(data.removesuffix(b"\n").split(b"\n")).to_json()
            for name, data in self.files.items()
        }
        model = None
        if self.weights:
            model = {**_MODEL, "weights": roots["weights"], "structure": roots["structure"]}
        trace = {**_TRACED, "level": "operators"} if self.trace is not None else None
        return {
            "claim": {"not_claimed": ["that it happened"], "type": "self_attested"},
            "code": _CODE,
            "evidence": "full" if "evidence" in self.disclose else "commitments",
            "execution": {**_EXECUTION, "trace": trace},
            "inputs": roots.get("inputs"),
            "model": model,
            "outputs": roots.get("outputs"),
            "record": {
                "blind": fixed(f"blind of {self.name}").hex(),
                "calls": None,
                "labels": {},
                "log": self.origin,
                "missed": 0,
                "nonce": None,
                "previous": None,
                "rank": 0,
                "seq": 0,
                "stream": fixed(f"stream of {self.name}")[:16].hex(),
                "world_size": 1,
                **self.record,
            },
            "time": {
                "asserted": True,
                "clock": "system",
                "end": "2026-11-21T10:02:00.250000Z",
                "start": "2026-11-21T10:02:00.125000Z",
            },
            "trace": roots.get("trace"),
        }


def filler(number: int) -> bytes:
    """The leaf of a record that nobody sees."""
    parts = ("payload", "signature", "signer")
    return canonical({**{p: fixed(f"{p} {number}").hex() for p in parts}, "type": "entry/1"})


_MODEL = {
    "changed": False,
    "class": "torch.nn.modules.linear.Linear",
    "name": "net",
    "sealed": False,
}
_TRACED = {"left_out": 0, "opaque": [], "outside": 0, "threads": 0}
_CODE = {
    "callable": "demo.score",
    "git": None,
    "kind": "function",
    "packages": {"torch": "2.13.0"},
    "source": None,
}
_EXECUTION = {
    "build": fixed("build").hex(),
    "cpu": {"architecture": "x86_64", "capability": "AVX2"},
    "cuda": None,
    "device": "cpu",
    "driver": None,
    "environment": {},
    "environment_changed": False,
    "interposed": {},
    "libraries": {},
    "outcome": {"exception": None, "status": "returned"},
    "platform": "Linux",
    "profile": "native",
    "python": "3.11.7",
    "rng": {"cuda": None, "numpy": None, "python": None, "torch": None},
    "settings": {},
    "threads": 2,
    "torch": "2.13.0",
    "training": False,
}
