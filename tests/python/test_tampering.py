"""Every way the demo tampers is refused by the step in charge, on a real model and real files."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchnotary.demo import forging, minilm
from torchnotary.demo.exhibits import MONDAY, gather
from torchnotary.demo.home import own_home, somebody_else
from torchnotary.demo.tampering import TAMPERINGS, Attempt, Tampering, judge, untouched
from torchnotary.statement import container
from torchnotary.statement.evidence import decode_evidence
from torchnotary.statement.lines import parse, parse_file
from torchnotary.statement.openings import decode_openings
from torchnotary.statement.record import Record
from torchnotary.statement.values import check_openings

# What the project promises to refuse, each by a word of its way.
PROMISED = {
    "one bit of an output": "outputs",
    "one bit of one weight": "weights",
    "one bit of the signature": "signature",
    "one bit of the statement": "signature",
    "the log entry of another record": "log inclusion",
    "Monday's nonce, replayed": "nonce",
    "signed by a stranger": "signer",
    "layer_norm's eps, 1e-12 to 1e-5": "structure",
    "two entries of a buffer": "structure",
    "float32 relabelled as int32": "outputs",
    "the output transposed": "outputs",
    "an int8 model, same interface": "weights",
}


@pytest.fixture(scope="module")
def exhibits(tmp_path_factory, minilm_folder):
    folder = tmp_path_factory.mktemp("exhibits")
    texts = minilm.batches(minilm.sentences())[-1]
    with own_home(folder) as home:
        tokenizer, model = minilm.load(minilm_folder)
        notary, embed = minilm.recorder(folder / "log", tokenizer, model)
        embed(texts[:2])
        notary.last.save(folder / "earlier.tnr")
        output = embed(texts)
        notary.last.save(
            folder / "run.tnr",
            disclose=("weights", "structure"),
            inputs=(texts,),
            outputs=output,
        )
        gathered = gather(
            folder / "run.tnr",
            folder / "earlier.tnr",
            folder / "exhibits",
            home,
            notary,
            embed,
            (tokenizer, model, (texts,), output),
        )
        notary.close()
        yield gathered


@pytest.fixture
def receiver(tmp_path):
    with somebody_else(tmp_path / "receiver"):
        yield


def test_every_promised_way_is_among_those_tried():
    steps = {tampering.way: tampering.steps[0] for tampering in TAMPERINGS}
    assert PROMISED.items() <= steps.items()
    assert len(steps) == len(TAMPERINGS) >= 12


@pytest.mark.parametrize("tampering", TAMPERINGS, ids=lambda tampering: tampering.way)
def test_a_tampering_is_refused_by_the_step_in_charge_alone(tampering, exhibits, receiver):
    outcome = judge(tampering, exhibits)
    assert outcome.failed == tampering.steps, outcome.sentence
    assert outcome.held
    assert outcome.refused_at == tampering.steps[0]
    assert outcome.sentence


def test_records_nobody_touched_are_accepted_with_everything_asked(exhibits, receiver):
    verdicts = dict(untouched(exhibits))
    assert len(verdicts) == 2
    for what, verdict in verdicts.items():
        assert verdict.ok, f"{what}: {verdict}"
    asked = next(iter(verdicts.values()))
    for step in ("log consistency", "witness", "weights", "structure", "inputs", "outputs"):
        assert asked[step].outcome == "passed", asked[step]


@pytest.mark.parametrize("steps", [(), ("outputs",)])
def test_an_attempt_that_changes_nothing_is_not_held(steps, exhibits, receiver):
    nothing = Tampering("nothing at all", steps, lambda e: Attempt(e.record))
    outcome = judge(nothing, exhibits)
    assert not outcome.held
    assert outcome.refused_at == "nowhere"


@pytest.mark.parametrize("steps", [(), ("outputs",), ("signature", "outputs")])
def test_a_refusal_at_another_step_than_declared_is_not_held(steps, exhibits, receiver):
    genuine = next(t for t in TAMPERINGS if t.way == "one bit of the signature")
    outcome = judge(Tampering("mislabelled", steps, genuine.attempt), exhibits)
    assert outcome.refused_at == "signature"
    assert not outcome.held


@pytest.mark.parametrize("way", ["two users' rows exchanged", "float32 relabelled as int32"])
def test_a_covered_forgery_agrees_with_itself_so_that_only_the_signature_speaks_against_it(
    way, exhibits
):
    attempt = next(t for t in TAMPERINGS if t.way == way).attempt(exhibits)
    members = container.unpack(attempt.record)
    lines = [parse(line) for line in parse_file(members["outputs.jsonl"])]
    openings = decode_openings(members["openings.jsonl"])["outputs"]
    assert check_openings(lines, openings) == 1
    leaves = decode_evidence(members["evidence.safetensors"])["outputs"]
    assert leaves[0].digests == b"".join(digest for digest, _ in openings[0])
    assert members["outputs.jsonl"] != Record.from_bytes(exhibits.record).files["outputs.jsonl"]


def test_a_forgery_stays_in_the_one_encoding_of_a_record(exhibits):
    genuine = forging.bundle_of(exhibits.record)
    assert forging.with_bundle(exhibits.record) == exhibits.record
    edited = forging.with_signature(exhibits.record, lambda s: forging.flip_bit(s, 0))
    assert forging.bundle_of(edited).envelope.payload == genuine.envelope.payload
    assert forging.bundle_of(edited).envelope != genuine.envelope


def test_swapping_rows_moves_whole_rows():
    assert forging.swap_rows(b"aabbccdd", 4, 0, 3) == b"ddbbccaa"
    assert forging.flip_bit(b"\x00\x00", 9) == b"\x00\x02"


def test_mondays_nonce_is_signed_into_mondays_record(exhibits):
    record = Record.from_bytes(exhibits.monday)
    assert record.predicate["record"]["nonce"] == MONDAY.hex()


def test_the_receiver_has_none_of_the_makers_secrets(exhibits, receiver):
    assert Record.from_bytes(exhibits.record).private is None


def test_gathering_wrote_its_records_as_files(exhibits, tmp_path_factory):
    folder = next(Path(tmp_path_factory.getbasetemp()).glob("exhibits*")) / "exhibits"
    names = {path.name for path in folder.glob("*.tnr")}
    assert names == {"monday.tnr", "strangers.tnr", "int8.tnr"}
