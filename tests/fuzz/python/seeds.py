"""Writes the seeds of every fuzz target, from real records: ``seeds.py FOLDER``."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import targets
import torch
from cryptography.hazmat.primitives.asymmetric import ec

import torchnotary as tn
from torchnotary.interop import oms
from torchnotary.interop.ec_keys import EcPrivateKey
from torchnotary.keys import SigningKey
from torchnotary.keys.rotation import Rotation
from torchnotary.log.checkpoint import Checkpoint, origin_of
from torchnotary.log.proofs import ConsistencyProof, TlogProof
from torchnotary.log.revocation import Revocation
from torchnotary.log.tiles import encode_bundle
from torchnotary.log.witness import WitnessKey, cosign
from torchnotary.statement import container
from torchnotary.statement.batch import BatchPart, BatchStatement
from torchnotary.statement.bundle import Bundle
from torchnotary.statement.envelope import sign
from torchnotary.statement.lines import canonical, parse_file
from torchnotary.statement.record import Record

_OF_MEMBERS = {
    "bundle": "bundle.json",
    "weights": "weights.jsonl",
    "structure": "structure.jsonl",
    "leaves": "inputs.jsonl",
    "trace": "trace.jsonl",
    "openings": "openings.jsonl",
    "evidence": "evidence.safetensors",
}


def seeds() -> Iterator[tuple[str, bytes]]:
    """Every seed with the name of its target; each is accepted by it."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        os.environ["TORCHNOTARY_HOME"] = str(folder / "home")  # another's than the targets'
        torch.manual_seed(0)
        net = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.GELU()).eval()
        notary = tn.Notary(folder / "log", trace="operators", evidence="full")
        score = notary.record(lambda x, scale=2, **more: {"y": net(x) * scale}, model=net)
        plain = {"text": "Ω", "data": b"\x00", "ratio": -0.0, "none": None, "many": 2**70}
        for given in ({}, {"scale": 3, "list": [torch.ones(3), plain]}):
            with torch.no_grad(), notary.labels(customer="42"):
                score(torch.ones(2, 2), **given)
            path = folder / "run.tnr"
            disclosed = ("inputs", "outputs", "trace", "weights", "structure")
            notary.last.save(path, disclose=disclosed)
            yield from _of_record(path)
        notary.close()
        tn.pin(net, folder / "pin")
        yield "pin", (folder / "pin").read_bytes()
        signer = EcPrivateKey(ec.generate_private_key(ec.SECP256R1()))
        oms.sign(folder / "pin", folder / "signature", signer)
        yield "model_signature", (folder / "signature").read_bytes()
    yield from _of_keys()


def _of_keys() -> Iterator[tuple[str, bytes]]:
    key, newer = SigningKey.generate(), SigningKey.generate()
    yield "public_key", key.public.spki
    yield "public_key", key.public.to_pem()
    yield "rotation", Rotation.sign(key, newer).encode()
    witness = WitnessKey("witness.example/w1", newer.public)
    yield "witness", witness.vkey().encode()
    note = Checkpoint(origin_of(key.public), 5, bytes(32)).sign(key)
    cosigned = cosign(note, witness.name, newer, 1_795_000_000)
    yield "note", cosigned.encode()
    yield "consistency", ConsistencyProof(3, (bytes(32), b"\xff" * 32), cosigned).to_text().encode()
    yield "revocation", Revocation(key.public.fingerprint, (note,)).encode()
    yield "entries", encode_bundle([b"{}", b"", b"a leaf"])
    signers, origin = f'"{key.public.fingerprint}"', origin_of(key.public)
    yield (
        "policy",
        f"""signers = [{signers}]
origins = ["{origin}"]
log_keys = [{signers}]
witnesses = ["{witness.vkey()}"]
quorum = 1
required = ["nonce"]
models = ["{"0" * 64}"]
profiles = ["native"]
max_age = "30d"
nonce = "00"
""".encode(),
    )


def _of_record(path: Path) -> Iterator[tuple[str, bytes]]:
    data = path.read_bytes()
    members, record = container.unpack(data), Record.load(path)
    yield "members", data
    yield "record", data
    for target, member in _OF_MEMBERS.items():
        yield target, members[member]
    yield "leaves", members["outputs.jsonl"]
    yield "line_file", members["weights.jsonl"]
    yield from (("line", line) for line in parse_file(members["structure.jsonl"]))
    envelope = record.envelope
    yield "envelope", canonical(envelope.to_json())
    yield "statement", envelope.payload
    yield "log_proof", record.tlog_proof.encode()
    checkpoint = TlogProof.from_text(record.tlog_proof).checkpoint
    yield "note", checkpoint.encode()
    yield "checkpoint", checkpoint.rpartition("\n\n")[0].encode() + b"\n"
    yield "row_opening", record.open("outputs", row=1).encode()
    yield "row_opening", record.open("inputs", path="scale").encode()
    signed = BatchStatement.of([record.id], "torchnotary.log/0")
    yield "batch", signed.payload
    bundle = record.bundle
    in_batch = Bundle(
        sign(signed.payload, SigningKey.generate()),
        bundle.public_key,
        bundle.log_public_key,
        bundle.tlog_proof,
        BatchPart(record.payload, 0, ()),
        (("witness.example/w1", bundle.log_public_key),),
    )
    yield "bundle", in_batch.encode()


def main() -> None:
    folder = Path(sys.argv[1])
    made = list(seeds())
    os.environ["TORCHNOTARY_HOME"] = str(targets.HOME)
    for number, (target, data) in enumerate(made):
        assert targets.TARGETS[target](data) == data, target
        (folder / target).mkdir(parents=True, exist_ok=True)
        (folder / target / f"seed-{number}").write_bytes(data)


if __name__ == "__main__":
    main()
