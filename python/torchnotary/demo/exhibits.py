"""What attackers have to work with: genuine records, and the things that went into them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..keys import PublicKey, SigningKey
from ..log.checkpoint import Checkpoint
from ..log.proofs import TlogProof
from ..statement.record import Record
from .home import environment
from .minilm import quantized, recorder

MONDAY, TUESDAY = b"asked on monday\0", b"asked on tuesday"


@dataclass(frozen=True)
class Exhibits:
    """Bytes of ``.tnr`` files, and what a verifier would compare them with.

    ``record`` is the genuine one, inputs and outputs disclosed; ``earlier`` is another call's,
    from when the log was shorter; ``monday`` was made with the nonce ``MONDAY``; ``strangers`` is
    the same call signed by another key in another log; ``of_int8`` is the same call answered by an
    int8 model. ``log_key`` is the signer's own: a signer may want to rewrite the log.
    """

    record: bytes
    earlier: bytes
    monday: bytes
    strangers: bytes
    of_int8: bytes
    signer: PublicKey
    log_key: SigningKey
    checkpoint: str
    model: Any
    inputs: tuple
    output: Any


def gather(
    run: Path, earlier: Path, folder: Path, home: Path, notary: Any, embed: Any, parts: tuple
) -> Exhibits:
    """Makes the records that are still missing; they are written to ``folder``.

    ``run`` and ``earlier`` are files; ``embed`` is recorded by ``notary``; ``parts`` are
    tokenizer, model, inputs and output of ``run``.
    """
    tokenizer, model, inputs, output = parts
    folder.mkdir(exist_ok=True)
    with notary.nonce(MONDAY):
        embed(*inputs)
    monday = _saved(notary, folder / "monday.tnr")
    with environment({"TORCHNOTARY_KEY": SigningKey.generate().to_pem().decode()}):
        stranger, their_embed = recorder(folder / "strangers-log", tokenizer, model)
        their_embed(*inputs)
        strangers = _saved(stranger, folder / "strangers.tnr")
        stranger.close()
    other, embed_in_int8 = recorder(notary.folder, tokenizer, quantized(model))
    embed_in_int8(*inputs)
    of_int8 = _saved(other, folder / "int8.tnr", disclose=("weights", "structure"))
    other.close()
    record = Record.load(run)
    proof = TlogProof.from_text(record.tlog_proof)
    origin = Checkpoint.verify(proof.checkpoint, record.log_public_key).origin
    log_key = (home / "logs" / origin.rpartition("/")[2]).with_suffix(".pem")
    return Exhibits(
        record=run.read_bytes(),
        earlier=earlier.read_bytes(),
        monday=monday,
        strangers=strangers,
        of_int8=of_int8,
        signer=record.public_key,
        log_key=SigningKey.from_pem(log_key.read_bytes()),
        checkpoint=proof.checkpoint,
        model=model,
        inputs=inputs,
        output=output,
    )


def _saved(notary: Any, path: Path, **disclosed: Any) -> bytes:
    notary.last.save(path, **disclosed)
    return path.read_bytes()
