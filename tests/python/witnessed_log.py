"""A log in memory that holds one genuine record among others, cosigned and forked at will."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone

from torchnotary import merkle
from torchnotary.keys import SigningKey
from torchnotary.log.checkpoint import Checkpoint, origin_of
from torchnotary.log.leaf import entry_leaf
from torchnotary.log.proofs import TlogProof
from torchnotary.log.witness import WitnessKey, cosign
from torchnotary.statement import container, envelope
from torchnotary.statement.bundle import Bundle
from torchnotary.statement.lines import canonical, parse
from torchnotary.statement.record import Record

INDEX, SIZE = 2, 7
ENDED = datetime(2026, 11, 21, 10, 2, 3, tzinfo=timezone.utc)


def at(**later: float) -> int:
    """POSIX seconds, so much later than the call is said to have ended."""
    return int((ENDED + timedelta(**later)).timestamp())


class Witness:
    """A witness with a key of its own."""

    def __init__(self, name: str) -> None:
        self.name, self.signing = name, SigningKey.generate()
        self.key = WitnessKey(name, self.signing.public)


class WitnessedLog:
    """The record of ``template`` signed anew, as entry `INDEX` of a log of `SIZE` entries; it says
    that the call took one second and ended at `ENDED`, or what ``edit`` makes of its statement."""

    def __init__(self, template: bytes, edit=lambda statement: None) -> None:
        self.signer, self.key = SigningKey.generate(), SigningKey.generate()
        self.origin = origin_of(self.key.public)
        statement = parse(Record.from_bytes(template).payload)
        predicate = statement["predicate"]
        predicate["record"]["log"] = self.origin
        predicate["time"] |= {
            "end": ENDED.strftime("%Y-%m-%dT%H:%M:%S.000000Z"),
            "start": (ENDED - timedelta(seconds=1)).strftime("%Y-%m-%dT%H:%M:%S.000000Z"),
        }
        edit(statement)
        self.envelope = envelope.sign(canonical(statement), self.signer)
        self.leaves = [b"entry %d" % number for number in range(SIZE)]
        self.leaves[INDEX] = entry_leaf(self.envelope, self.signer.public.fingerprint)

    def note(self, size: int, *cosigned: tuple[Witness, int], leaves=None) -> str:
        """The checkpoint of that size, of other ``leaves`` where they are given, with the
        cosignature of each (witness, POSIX seconds)."""
        root = merkle.root((leaves or self.leaves)[:size])
        note = Checkpoint(self.origin, size, root).sign(self.key)
        for witness, time in cosigned:
            note = cosign(note, witness.name, witness.signing, time)
        return note

    def record(self, size: int = SIZE, *cosigned: tuple[Witness, int], note=None) -> bytes:
        """The ``.tnr`` under the checkpoint of that size, or under another ``note``."""
        hashes = tuple(merkle.inclusion_proof(self.leaves[:size], INDEX))
        carried = {(witness.name, witness.key.key.spki) for witness, _ in cosigned}
        bundle = Bundle(
            self.envelope,
            self.signer.public.spki,
            self.key.public.spki,
            TlogProof(INDEX, hashes, note or self.note(size, *cosigned)).to_text(),
            witnesses=tuple(sorted(carried)),
        )
        return container.pack({"bundle.json": bundle.encode()})

    def consistency(self, old: int, new: int, leaves=None) -> list[bytes]:
        return merkle.consistency_proof((leaves or self.leaves)[:new], old)
