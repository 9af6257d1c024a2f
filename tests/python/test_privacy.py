"""What a record gives away: without disclosure nothing of the values, with it what was named."""

from __future__ import annotations

import base64
import json
import stat

import pytest
import torch

import torchnotary
from torchnotary import NotaryError, Record, VerificationFailed, _core
from torchnotary.leaves import encode_value
from torchnotary.statement import container

SECRET_TEXT = "the patient's name is Zaphod"
X = torch.arange(12, dtype=torch.float32).reshape(3, 4)


@pytest.fixture
def record(notary):
    def score(text, flag, x, options):
        return {"logits": x * 2, "text": text[::-1], "n": 123456789}

    notary.record(score)(SECRET_TEXT, True, X, {"key": b"raw-secret-bytes"})
    return notary.last


def all_bytes(path) -> bytes:
    """The file, and everything base64 in it decoded."""
    data = path.read_bytes()
    bundle = json.loads(container.unpack(data)["bundle.json"])
    return data + base64.b64decode(bundle["envelope"]["payload"])


def unsalted(record) -> list[bytes]:
    return [d for tree in ("inputs", "outputs") for line in record.digests(tree) for d in line]


def test_without_disclosure_no_value_and_no_unsalted_digest_is_in_the_file(record, tmp_path):
    record.save(tmp_path / "run.tnr")
    data = all_bytes(tmp_path / "run.tnr")
    digests = unsalted(record)
    assert len(digests) == 3 + 1 + 1 + 1 + 3 + 1 + 1
    for value in (SECRET_TEXT, SECRET_TEXT[::-1], "raw-secret-bytes", "123456789"):
        assert value.encode() not in data
    for digest in digests:
        assert digest not in data and digest.hex().encode() not in data
        assert base64.b64encode(digest)[:40] not in data
    for name in ("weights", "structure", "inputs", "outputs"):
        assert f"{name}.jsonl" not in container.unpack((tmp_path / "run.tnr").read_bytes())
    for tensor in (X, X * 2):
        assert torchnotary.commit(tensor).data_root.encode() not in data


def test_the_search_would_find_a_disclosed_digest(record, tmp_path):
    record.save(tmp_path / "run.tnr", disclose=("inputs",))
    data = all_bytes(tmp_path / "run.tnr")
    digest = _core.value_digest(encode_value(SECRET_TEXT)[1])
    assert digest.hex().encode() in data
    assert SECRET_TEXT.encode() not in data


def test_a_disclosure_ships_no_secret_and_nothing_that_was_not_named(record, tmp_path):
    record.save(tmp_path / "run.tnr", disclose=["outputs"])
    loaded = Record.load(tmp_path / "run.tnr")
    assert set(loaded.openings) == {"outputs"}
    assert list(loaded.files) == ["outputs.jsonl"]
    data = all_bytes(tmp_path / "run.tnr")
    secret = record.private.secret
    assert secret not in data and secret.hex().encode() not in data
    for line in record.digests("inputs"):
        for digest in line:
            assert digest.hex().encode() not in data


def test_equal_inputs_have_unlinkable_commitments(notary):
    f = notary.record(lambda x: x)
    f(X)
    first = notary.last
    f(X)
    second = notary.last
    assert first.digests("inputs") == second.digests("inputs")
    assert first.lines("inputs.jsonl") != second.lines("inputs.jsonl")


def test_given_tensors_are_checked_and_travel(record, tmp_path):
    path = tmp_path / "run.tnr"
    out = {"logits": X * 2, "text": SECRET_TEXT[::-1], "n": 123456789}
    record.save(path, outputs=out)
    loaded = Record.load(path)
    kept = loaded.kept("outputs")
    assert torch.equal(kept["logits"], X * 2) and kept["text"] == out["text"]
    with pytest.raises(VerificationFailed, match=r'output\["logits"\].*row 1'):
        changed = (X * 2).clone()
        changed[1, 2] += 1
        record.save(tmp_path / "no.tnr", outputs={**out, "logits": changed})
    assert not (tmp_path / "no.tnr").exists()


def test_what_no_record_has_cannot_be_disclosed(record, tmp_path):
    with pytest.raises(NotaryError, match="no trace"):
        record.save(tmp_path / "no.tnr", disclose=("trace",))
    with pytest.raises(NotaryError, match="inputs, outputs, trace.*prompt"):
        record.save(tmp_path / "no.tnr", disclose=("prompt",))
    assert list(tmp_path.glob("*.tnr")) == []


def test_a_receiver_cannot_disclose_what_it_was_not_given(record, tmp_path, monkeypatch):
    record.save(tmp_path / "run.tnr")
    monkeypatch.setenv("TORCHNOTARY_HOME", str(tmp_path / "another user"))
    received = Record.load(tmp_path / "run.tnr")
    assert received.digests("inputs") is None
    with pytest.raises(NotaryError, match="ask whoever made the record"):
        received.save(tmp_path / "more.tnr", disclose=("inputs",))


def test_the_private_store_is_closed_to_other_users(record, notary):
    record.id  # noqa: B018 — waits until it is stored
    private = list(notary.folder.rglob("private"))
    assert private
    for folder in private:
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
        for file in folder.iterdir():
            assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_a_tree_of_unbound_values_cannot_be_guessed_from_its_paths(notary):
    roots = set()
    for _ in range(2):
        notary.record(lambda x: None)({"ssn-123-45-6789": object()})
        roots.add(notary.last.predicate["inputs"]["root"])
    assert len(roots) == 2
