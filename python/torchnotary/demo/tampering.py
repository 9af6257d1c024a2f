"""Ways to tamper with a record or with what it speaks of, and the step that must refuse each."""

from __future__ import annotations

import copy
import io
import zipfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from .. import merkle
from ..log.checkpoint import Checkpoint
from ..log.proofs import TlogProof
from . import forging
from .exhibits import MONDAY, TUESDAY, Exhibits


@dataclass(frozen=True)
class Attempt:
    """What a verifier is handed: the bytes of a ``.tnr``, and what they compare it with."""

    record: bytes
    asked: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Tampering:
    """One way: in words, the steps that must fail (the first one is where it stops; all others
    must not fail), and how it is done."""

    way: str
    steps: tuple[str, ...]
    attempt: Callable[[Exhibits], Attempt]


@dataclass(frozen=True)
class Outcome:
    """What verification said to an attempt: the steps that failed, and why in a sentence."""

    tampering: Tampering
    failed: tuple[str, ...]
    sentence: str

    @property
    def refused_at(self) -> str:
        """The first step that failed."""
        return self.failed[0] if self.failed else "nowhere"

    @property
    def held(self) -> bool:
        """Whether exactly the declared steps failed, and there were any."""
        return bool(self.failed) and self.failed == self.tampering.steps


def judge(tampering: Tampering, exhibits: Exhibits) -> Outcome:
    """Verifies one attempt as a receiver who knows the signer's key would."""
    from ..verifier.steps import verify

    attempt = tampering.attempt(exhibits)
    verdict = verify(attempt.record, signer=exhibits.signer, **attempt.asked)
    failed = verdict.named("failed")
    # The last step to fail says most: a module that was replaced also renames its tensors.
    sentence = failed[-1].error.reason if failed else verdict.headline
    return Outcome(tampering, tuple(step.name for step in failed), sentence.split("; ")[0])


def untouched(exhibits: Exhibits) -> Iterable[tuple[str, Any]]:
    """Verdicts over the genuine records with everything asked: a verifier that refuses whatever
    it is given would refuse these too."""
    from ..verifier.steps import verify

    yield (
        "the record as it is, with model, inputs, outputs and checkpoint to compare",
        verify(
            exhibits.record,
            signer=exhibits.signer,
            model=exhibits.model,
            inputs=exhibits.inputs,
            outputs=exhibits.output,
            checkpoint=exhibits.checkpoint,
        ),
    )
    yield (
        "Monday's record, with Monday's nonce",
        verify(exhibits.monday, signer=exhibits.signer, nonce=MONDAY),
    )


# The file


def _added_member(exhibits: Exhibits) -> Attempt:
    file = io.BytesIO(exhibits.record)
    with zipfile.ZipFile(file, "a") as archive:
        archive.writestr("readme.txt", "Nothing to see here.")
    return Attempt(file.getvalue())


def _bit_on_disk(exhibits: Exhibits) -> Attempt:
    return Attempt(forging.flip_bit(exhibits.record, 4 * len(exhibits.record)))


# The signature


def _signature_bit(exhibits: Exhibits) -> Attempt:
    return Attempt(
        forging.with_signature(exhibits.record, lambda signature: forging.flip_bit(signature, 260))
    )


def _statement_bit(exhibits: Exhibits) -> Attempt:
    def one_thread_more_or_less(payload: bytes) -> bytes:
        digit = payload.index(b'"threads":') + len(b'"threads":')
        return forging.flip_bit(payload, 8 * digit)

    return Attempt(forging.with_payload(exhibits.record, one_thread_more_or_less))


def _another_signer(exhibits: Exhibits) -> Attempt:
    return Attempt(exhibits.strangers)


# The log


def _others_entry(exhibits: Exhibits) -> Attempt:
    proof = forging.bundle_of(exhibits.earlier).tlog_proof
    return Attempt(forging.with_bundle(exhibits.record, tlog_proof=proof))


def _stale_checkpoint(exhibits: Exhibits) -> Attempt:
    proof = TlogProof.from_text(forging.bundle_of(exhibits.record).tlog_proof)
    earlier = TlogProof.from_text(forging.bundle_of(exhibits.earlier).tlog_proof)
    stale = TlogProof(proof.index, proof.hashes, earlier.checkpoint)
    return Attempt(forging.with_bundle(exhibits.record, tlog_proof=stale.to_text()))


def _rewritten_log(exhibits: Exhibits) -> Attempt:
    """The receiver holds a checkpoint of the log as it once was, with other entries."""
    now = Checkpoint.verify(exhibits.checkpoint, exhibits.log_key.public)
    once = merkle.root([b"an entry that has since been removed"] * now.size)
    held = Checkpoint(now.origin, now.size, once).sign(exhibits.log_key)
    return Attempt(exhibits.record, {"checkpoint": held})


def _replayed_nonce(exhibits: Exhibits) -> Attempt:
    return Attempt(exhibits.monday, {"nonce": TUESDAY})


# The model


def _edited(exhibits: Exhibits, edit: Callable[[Any], None]) -> Attempt:
    model = copy.deepcopy(exhibits.model)
    edit(model)
    return Attempt(exhibits.record, {"model": model})


def _weight_bit(exhibits: Exhibits) -> Attempt:
    def edit(model: Any) -> None:
        import torch

        weight = model.encoder.layer[3].output.dense.weight.detach()
        weight.view(torch.int32)[100, 200] ^= 1

    return _edited(exhibits, edit)


def _int8(exhibits: Exhibits) -> Attempt:
    """The model that answered was an int8 one; the receiver holds the genuine one."""
    return Attempt(exhibits.of_int8, {"model": exhibits.model})


def _epsilon(exhibits: Exhibits) -> Attempt:
    def edit(model: Any) -> None:
        model.encoder.layer[5].output.LayerNorm.eps = 1e-5

    return _edited(exhibits, edit)


def _buffer(exhibits: Exhibits) -> Attempt:
    def edit(model: Any) -> None:
        positions = model.embeddings.position_ids
        positions[0, 7], positions[0, 8] = 8, 7

    return _edited(exhibits, edit)


# The values


def _input_letter(exhibits: Exhibits) -> Attempt:
    def edit(leaf: Any) -> None:
        leaf.kept = chr(ord(leaf.kept[0]) ^ 1) + leaf.kept[1:]

    return Attempt(forging.with_leaf(exhibits.record, "inputs", "texts[2]", edit))


def _inputs_reordered(exhibits: Exhibits) -> Attempt:
    return Attempt(forging.with_lines_swapped(exhibits.record, "inputs", 3, 11))


def _output_bit(exhibits: Exhibits) -> Attempt:
    def edit(leaf: Any) -> None:
        leaf.kept = forging.flip_bit(leaf.kept, 8 * 1000)

    return Attempt(forging.with_leaf(exhibits.record, "outputs", "output", edit))


def _rows_exchanged(exhibits: Exhibits) -> Attempt:
    def edit(leaf: Any) -> None:
        leaf.kept = forging.swap_rows(leaf.kept, leaf.shape[0], 3, 11)

    return Attempt(forging.with_leaf(exhibits.record, "outputs", "output", edit, cover=True))


def _dtype_relabelled(exhibits: Exhibits) -> Attempt:
    def edit(leaf: Any) -> None:
        leaf.dtype = "int32"

    return Attempt(forging.with_leaf(exhibits.record, "outputs", "output", edit, cover=True))


def _output_transposed(exhibits: Exhibits) -> Attempt:
    return Attempt(exhibits.record, {"outputs": exhibits.output.T})


TAMPERINGS = (
    Tampering("a member added to the file", ("format",), _added_member),
    Tampering("one bit of the file, on disk", ("format",), _bit_on_disk),
    Tampering("one bit of the signature", ("signature",), _signature_bit),
    Tampering("one bit of the statement", ("signature",), _statement_bit),
    Tampering("signed by a stranger", ("signer",), _another_signer),
    Tampering("the log entry of another record", ("log inclusion",), _others_entry),
    Tampering("a checkpoint from before the call", ("log inclusion",), _stale_checkpoint),
    Tampering("a log rewritten since you looked", ("log consistency",), _rewritten_log),
    Tampering("Monday's nonce, replayed", ("nonce",), _replayed_nonce),
    Tampering("one bit of one weight", ("weights",), _weight_bit),
    Tampering("an int8 model, same interface", ("weights", "structure"), _int8),
    Tampering("layer_norm's eps, 1e-12 to 1e-5", ("structure",), _epsilon),
    Tampering("two entries of a buffer", ("structure",), _buffer),
    Tampering("one letter of an input", ("inputs",), _input_letter),
    Tampering("two disclosed inputs exchanged", ("inputs",), _inputs_reordered),
    Tampering("one bit of an output", ("outputs",), _output_bit),
    Tampering("two users' rows exchanged", ("outputs",), _rows_exchanged),
    Tampering("float32 relabelled as int32", ("outputs",), _dtype_relabelled),
    Tampering("the output transposed", ("outputs",), _output_transposed),
)
