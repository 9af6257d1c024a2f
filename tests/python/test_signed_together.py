"""``sign_every``: many calls under one signature, each of them provable alone."""

from __future__ import annotations

import dataclasses
import hashlib
import shutil
import sqlite3
import threading

import pytest
import torch

import torchnotary
from log_helpers import RecordJob
from torchnotary import merkle
from torchnotary.demo.forging import bundle_of, with_bundle
from torchnotary.errors import MalformedProof, MalformedRecord, NotaryError, RootMismatch
from torchnotary.log import committer
from torchnotary.log.check import check_folder
from torchnotary.log.reader import LogFolder
from torchnotary.log.streams import Chained, Streams
from torchnotary.log.writer import LogWriter
from torchnotary.statement.batch import BatchPart, BatchStatement, record_line
from torchnotary.statement.bundle import Bundle
from torchnotary.statement.lines import canonical, parse
from verifier_helpers import only_failure

ORIGIN = "torchnotary.log/00"


def payloads(count: int) -> list[bytes]:
    return [b'{"n":%d}' % number for number in range(count)]


def parts(signed: list[bytes]) -> tuple[BatchStatement, list[BatchPart]]:
    ids = [hashlib.sha256(payload).hexdigest() for payload in signed]
    lines = [record_line(record_id) for record_id in ids]
    return BatchStatement.of(ids, ORIGIN), [
        BatchPart(payload, place, tuple(merkle.inclusion_proof(lines, place)))
        for place, payload in enumerate(signed)
    ]


@pytest.mark.parametrize("count", [1, 2, 3, 64, 100])
def test_each_record_of_a_batch_is_proven_by_itself(count):
    signed, made = parts(payloads(count))
    assert BatchStatement.parse(signed.payload) == signed and signed.records.size == count
    for part in made:
        part.verify(signed)
        assert BatchPart.from_json(parse(canonical(part.to_json()))) == part
        with pytest.raises(RootMismatch):
            dataclasses.replace(part, payload=part.payload + b" ").verify(signed)
        with pytest.raises((RootMismatch, MalformedProof)):
            dataclasses.replace(part, index=(part.index + 1) % count or count).verify(signed)


def test_the_records_file_of_a_batch_has_the_sha256_that_its_statement_names():
    signed, _ = parts(payloads(3))
    ids = [hashlib.sha256(payload).hexdigest() for payload in payloads(3)]
    file = b"".join(b'{"record":"%b","type":"record/1"}\n' % one.encode() for one in ids)
    (subject,) = parse(signed.payload)["subject"]
    assert subject == {
        "digest": {"sha256": hashlib.sha256(file).hexdigest()},
        "name": "records.jsonl",
    }
    assert signed.records.root == merkle.root(file[:-1].split(b"\n")).hex()


def _set(document: dict, path: str, value) -> None:
    *parents, last = path.split(".")
    for key in parents:
        document = document[int(key)] if isinstance(document, list) else document[key]
    document[last] = value


@pytest.mark.parametrize(
    "path, value",
    [
        ("predicateType", "urn:torchnotary:inference-record:v1"),
        ("predicateType", "urn:torchnotary:batch:v2"),
        ("_type", "https://in-toto.io/Statement/v0.1"),
        ("more", 1),
        ("predicate.more", 1),
        ("predicate.log", 5),
        ("predicate.records.size", 0),
        ("predicate.records.size", 8193),
        ("predicate.records.size", True),
        ("predicate.records.root", "00"),
        ("subject", []),
        ("subject.0.name", "weights.jsonl"),
        ("subject.0.digest", {"sha512": "00"}),
        ("subject.0.digest.sha256", "0" * 63),
    ],
)
def test_a_batch_statement_has_one_form(path, value):
    signed, _ = parts(payloads(2))
    document = parse(signed.payload)
    _set(document, path, value)
    with pytest.raises(MalformedRecord):
        BatchStatement.parse(canonical(document))


@pytest.mark.parametrize(
    "change",
    [
        {"index": -1},
        {"index": 8192},
        {"index": True},
        {"hashes": None},
        {"hashes": ["AAAA"]},
        {"hashes": ["A" * 43 + "="] * 15},
        {"payload": "e30"},
        {"more": 1},
    ],
)
def test_a_record_of_a_batch_has_one_form(change):
    _, made = parts(payloads(2))
    with pytest.raises(MalformedRecord):
        BatchPart.from_json({**made[0].to_json(), **change})


@pytest.mark.parametrize("count", [0, 8193])
def test_a_batch_has_a_bounded_number_of_records(count):
    with pytest.raises(NotaryError, match="too few or too many"):
        BatchStatement.of(["00" * 32] * count, ORIGIN)


@pytest.fixture(scope="module")
def together(tmp_path_factory):
    """25 calls of a notary that signs ten together: its folder and the saved records."""
    folder = tmp_path_factory.mktemp("together")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TORCHNOTARY_HOME", str(folder / "home"))
        patch.setattr(committer, "GATHER_TOGETHER_SECONDS", 600)
        model = torch.nn.Linear(3, 2)
        notary = torchnotary.Notary(folder / "log", sign_every=10)
        recorded = notary.record(lambda x: model(x), model=model)
        records = []
        for row in range(25):
            recorded(torch.full((2, 3), float(row)))
            records.append(notary.last)
        notary.flush()
        for number, record in enumerate(records):
            record.save(folder / f"{number}.tnr", disclose=("inputs",))
        notary.close()
    return folder


@pytest.fixture(autouse=True)
def home_of_together(together, monkeypatch):
    monkeypatch.setenv("TORCHNOTARY_HOME", str(together / "home"))


def test_calls_are_signed_together_and_verified_one_by_one(together):
    ids = []
    for number in range(25):
        verdict = torchnotary.verify(together / f"{number}.tnr")
        assert verdict.ok and verdict["inputs"].outcome == "passed"
        of = 5 if number >= 20 else 10
        assert f"record {number % 10} of the {of} signed" in verdict["signature"].detail
        ids.append(verdict.record_id)
    assert len(set(ids)) == 25
    assert [entry.record_id for entry in LogFolder(together / "log").list()] == ids
    report = check_folder(together / "log")
    assert report.ok and (report.entries, report.records) == (3, 25)
    bundle = bundle_of((together / "3.tnr").read_bytes())
    assert hashlib.sha256(bundle.batch.payload).hexdigest() == ids[3]
    other = bundle_of((together / "4.tnr").read_bytes())
    assert bundle.envelope == other.envelope and bundle.batch != other.batch


def test_a_record_of_a_batch_is_found_and_disclosed_by_its_id(together, tmp_path):
    record = torchnotary.Record.load(together / "13.tnr")
    assert LogFolder(together / "log").find(record.id[:12]).number == 13
    record.save(tmp_path / "more.tnr", disclose=("outputs", "weights"))
    assert torchnotary.verify(tmp_path / "more.tnr")["outputs"].outcome == "passed"


def edited(data: bytes, **changes) -> bytes:
    return with_bundle(data, batch=dataclasses.replace(bundle_of(data).batch, **changes))


def forged(together, how: str) -> bytes:
    data, other = ((together / f"{number}.tnr").read_bytes() for number in (3, 14))
    own, theirs = bundle_of(data), bundle_of(other)
    if how == "another payload":
        return edited(data, payload=own.batch.payload.replace(b'"seq":3', b'"seq":4'))
    if how == "another place":
        return edited(data, index=4)
    if how == "a hash less":
        return edited(data, hashes=own.batch.hashes[:-1])
    if how == "hashes in another order":
        return edited(data, hashes=own.batch.hashes[::-1])
    if how == "a record of another batch":
        return with_bundle(data, batch=theirs.batch)
    if how == "the batch itself as the record":
        return with_bundle(data, batch=None)
    if how == "a record as the batch":
        single = dataclasses.replace(own.envelope, payload=own.batch.payload)
        return with_bundle(data, envelope=single)
    assert how == "another batch's proof"
    return with_bundle(data, tlog_proof=theirs.tlog_proof)


@pytest.mark.parametrize(
    "how, step",
    [
        ("another payload", "signature"),
        ("another place", "signature"),
        ("a hash less", "signature"),
        ("hashes in another order", "signature"),
        ("a record of another batch", "signature"),
        ("the batch itself as the record", "format"),
        ("a record as the batch", "signature"),
        ("another batch's proof", "log inclusion"),
    ],
)
def test_a_forged_batch_is_refused_at_its_step(together, how, step):
    data = forged(together, how)
    if how == "the batch itself as the record":
        data = torchnotary.demo.forging.pack({"bundle.json": bundle_of(data).encode()})
    assert only_failure(torchnotary.verify(data)).name == step


def test_a_batch_signed_for_another_log_is_refused(together, monkeypatch):
    path = together / "3.tnr"
    bundle = bundle_of(path.read_bytes())
    key = torchnotary.keys.SigningKey.load()
    ids = [entry.record_id for entry in LogFolder(together / "log").list()][:10]
    from torchnotary.log.checkpoint import Checkpoint, origin_of
    from torchnotary.log.leaf import entry_leaf, leaf_hash
    from torchnotary.log.proofs import TlogProof
    from torchnotary.statement.envelope import sign

    envelope = sign(BatchStatement.of(ids, ORIGIN).payload, key)
    (log_key,) = [torchnotary.keys.SigningKey.generate()]
    root = leaf_hash(entry_leaf(envelope, key.public.fingerprint))
    origin = origin_of(log_key.public)
    proof = TlogProof(0, (), Checkpoint(origin, 1, root).sign(log_key)).to_text()
    data = with_bundle(
        path.read_bytes(),
        envelope=envelope,
        log_public_key=log_key.public.spki,
        tlog_proof=proof,
    )
    assert bundle.batch == bundle_of(data).batch
    failure = only_failure(torchnotary.verify(data))
    assert failure.name == "log inclusion" and "another log" in failure.detail


def test_whoever_asks_for_a_record_gets_it_signed_at_once(tmp_path):
    with LogWriter.open(tmp_path / "log") as writer:
        job = RecordJob(0)
        job.sign_every = 1000
        entry = writer.submit(job).wait(60)
        bundle = Bundle.from_json(LogFolder(tmp_path / "log").bundle(entry.record_id))
    assert bundle.batch is None  # one alone needs no batch


def test_whoever_waits_for_more_than_a_batch_waits_for_nothing_else(tmp_path, monkeypatch):
    """What is left of a batch that was cut is stored at once too, however few are left."""
    monkeypatch.setattr(committer, "BATCH_JOBS", 8)
    monkeypatch.setattr(committer, "GATHER_TOGETHER_SECONDS", 600)
    started, go_on = threading.Event(), threading.Event()

    class Slow(RecordJob):
        def build(self, origin):
            started.set()
            go_on.wait(60)
            return super().build(origin)

    with LogWriter.open(tmp_path / "log") as writer:
        writer.submit(Slow(0))
        assert started.wait(60)
        tickets = []
        for number in range(1, 19):
            job = RecordJob(number)
            job.sign_every = 6
            tickets.append(writer.submit(job))
        threading.Timer(0.05, go_on.set).start()
        writer.flush(timeout=60)
        assert all(ticket.settled for ticket in tickets)


@pytest.mark.parametrize("value", [0, -1, 1025, 2.0, True, "10"])
def test_sign_every_is_a_number_of_calls(tmp_path, value):
    with pytest.raises(NotaryError, match="sign_every") as caught:
        torchnotary.Notary(tmp_path / "log", sign_every=value)
    assert caught.value.actual == repr(value)


@pytest.fixture
def broken(together, tmp_path):
    """A copy of the log to break, and its only log's folder."""
    copy = tmp_path / "copy"
    shutil.copytree(together / "log", copy)
    (log,) = LogFolder(copy).logs()
    return copy, log


@pytest.mark.parametrize(
    "sql, index, what",
    [
        (
            "UPDATE records SET payload = CAST(payload || ' ' AS BLOB) WHERE number = 13",
            1,
            "its statement is not the one its id names",
        ),
        ("UPDATE records SET record_id = zeroblob(32) WHERE number = 3", 0, "its id names"),
        ("DELETE FROM records WHERE number = 24", 2, "not those that were signed together"),
        (
            "UPDATE records SET entry = 0 WHERE number = 13",
            1,
            "not those that were signed together",
        ),
        ("UPDATE entries SET count = 9 WHERE idx = 0", 0, "not those that were signed together"),
        (
            "UPDATE entries SET count = 1 << 40 WHERE idx = 1",
            1,
            "not those that were signed together",
        ),
        ("UPDATE entries SET signature = NULL WHERE idx = 1", 1, "its signature is missing"),
        ("UPDATE entries SET payload = CAST(payload AS TEXT) WHERE idx = 1", 1, "text is stored"),
        (
            "UPDATE records SET payload = CAST(payload AS TEXT) WHERE number = 5",
            0,
            "text is stored",
        ),
        (
            "UPDATE entries SET payload = replace(CAST(payload AS TEXT), ':10}', ':11}')"
            " WHERE idx = 1",
            1,
            "its statement is not the one its leaf names",
        ),
        ("UPDATE entries SET payload = NULL WHERE idx = 2", 2, "another number of them"),
        ("DELETE FROM ids WHERE number = 7", 0, "is not found by its id"),
    ],
)
def test_the_check_names_the_batch_somebody_broke_by_hand(broken, sql, index, what):
    copy, log = broken
    with sqlite3.connect(log / "log.sqlite") as raw:
        assert raw.execute(sql).rowcount > 0
    problems = check_folder(copy).problems
    assert any(problem.index == index and what in problem.what for problem in problems), problems


def test_an_erased_record_of_a_batch_leaves_the_others_provable(broken):
    copy, log = broken
    ids = [entry.record_id for entry in LogFolder(copy).list()]
    with sqlite3.connect(log / "log.sqlite") as raw:
        raw.execute("UPDATE records SET payload = NULL, name = '' WHERE number IN (3, 24)")
        raw.execute("DELETE FROM labels WHERE number IN (3, 24)")
    report = check_folder(copy)
    assert report.ok and report.erased == 2
    with pytest.raises(NotaryError, match="was erased"):
        LogFolder(copy).bundle(ids[3])
    bundle = Bundle.from_json(LogFolder(copy).bundle(ids[4]))
    bundle.batch.verify(BatchStatement.parse(bundle.envelope.payload))


def link(seq: int, previous: bytes | None, stream: str = "s") -> Chained:
    return Chained({}, stream, seq, None if previous is None else previous.hex())


@pytest.mark.parametrize(
    "second, what",
    [
        (link(1, b"a"), None),
        (link(1, b"b"), "does not name the record before it"),
        (link(2, b"a"), "record 1 of its stream is missing"),
        (link(5, b"z"), "records 1 to 4 of its stream are missing"),
        (link(0, None), "0 comes after 0"),
        (link(0, b"a"), "0 comes after 0"),
        (link(0, None, "t"), None),
        (link(0, b"a", "t"), "do not go together"),
        (link(1, None, "t"), "do not go together"),
        (link(7, b"z", "t"), None),
    ],
)
def test_records_of_a_stream_follow_each_other(second, what):
    streams = Streams()
    assert streams.follow(link(0, None), b"a") is None
    said = streams.follow(second, b"c")
    assert said is None if what is None else what in said


def test_an_erased_record_excuses_a_gap_and_nothing_else():
    streams = Streams()
    streams.follow(link(0, None), b"a")
    streams.has_gaps = True
    assert streams.follow(link(3, b"x"), b"d") is None
    assert "does not name" in streams.follow(link(4, b"x"), b"e")
    assert "comes after" in streams.follow(link(2, b"x"), b"f")
