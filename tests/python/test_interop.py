"""What other people's programs read of a record: DSSE, in-toto, and the proofs of its log."""

from __future__ import annotations

import base64
import hashlib
import json
import zipfile

import pymerkle
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import load_der_public_key
from google.protobuf import json_format
from in_toto_attestation.v1 import statement, statement_pb2
from securesystemslib.dsse import Envelope
from securesystemslib.exceptions import VerificationError
from securesystemslib.signer import SSlibKey
from sigstore import dsse
from sigstore_models import intoto

from torchnotary import Notary, merkle
from torchnotary.keys import SigningKey


@pytest.fixture(params=["Ed25519", "P-256"])
def bundle(request, tmp_path):
    """The bundle of a record by a key of each kind, as anyone unzips and parses it."""
    notary = Notary(tmp_path / "log", signer=SigningKey.generate(request.param))
    notary.record(lambda x: x * 2, name="double")(3)
    notary.last.save(tmp_path / "run.tnr")
    notary.close()
    return unzipped(tmp_path / "run.tnr")


def unzipped(path):
    with zipfile.ZipFile(path) as file:
        return json.loads(file.read("bundle.json"))


def changed_payload(envelope):
    payload = base64.b64decode(envelope["payload"]).replace(b"double", b"triple")
    return {**envelope, "payload": base64.b64encode(payload).decode()}


def test_securesystemslib_verifies_the_envelope_and_refuses_a_changed_one(bundle):
    spki = base64.b64decode(bundle["publicKey"])
    key = SSlibKey.from_crypto(load_der_public_key(spki), hashlib.sha256(spki).hexdigest())
    envelope = Envelope.from_dict(json.loads(json.dumps(bundle["envelope"])))
    assert envelope.verify([key], 1) == {key.keyid: key}
    with pytest.raises(VerificationError):
        Envelope.from_dict(changed_payload(bundle["envelope"])).verify([key], 1)


def test_sigstore_parses_the_envelope_and_its_statement(bundle):
    inner = dict(bundle["envelope"])
    envelope = dsse.Envelope(intoto.Envelope.from_json(json.dumps(inner)))
    assert envelope.signature == base64.b64decode(inner["signatures"][0]["sig"])
    key = load_der_public_key(base64.b64decode(bundle["publicKey"]))
    how = [ec.ECDSA(SHA256())] if isinstance(key, ec.EllipticCurvePublicKey) else []
    key.verify(envelope.signature, envelope.pae(), *how)  # what sigstore says was signed
    payload = base64.b64decode(inner["payload"])
    parsed = dsse.Statement(payload)
    subject = json.loads(payload)["subject"]
    assert [(s.name, s.digest.root) for s in parsed._inner.subjects] == [
        (s["name"], s["digest"]) for s in subject
    ]


def test_the_statement_is_an_in_toto_statement_to_in_toto_s_own_package(bundle):
    payload = base64.b64decode(bundle["envelope"]["payload"])
    parsed = json_format.Parse(payload, statement_pb2.Statement())
    statement.Statement.copy_from_pb(parsed).validate()
    assert parsed.predicate["code"]["callable"] == "double"
    # Protobuf has doubles alone: no integer of a statement is one that they would change.
    assert json_format.MessageToDict(parsed) == json.loads(payload)


def leaf(bundle):
    """The log's line for a record, from docs/formats.md and the bundle alone."""
    envelope = bundle["envelope"]
    line = {
        "payload": hashlib.sha256(base64.b64decode(envelope["payload"])).hexdigest(),
        "signature": hashlib.sha256(base64.b64decode(envelope["signatures"][0]["sig"])).hexdigest(),
        "signer": hashlib.sha256(base64.b64decode(bundle["publicKey"])).hexdigest(),
        "type": "entry/1",
    }
    return json.dumps(line, sort_keys=True, separators=(",", ":")).encode()


def test_pymerkle_builds_the_log_s_trees_and_finds_the_same_inclusion_proofs(notary, tmp_path):
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    record, saved = notary.record(lambda x: x), []
    for number in range(7):
        record(number)
        notary.last.save(tmp_path / f"{number}.tnr")
        saved.append(unzipped(tmp_path / f"{number}.tnr"))
        tree.append_entry(leaf(saved[-1]))
    for number, bundle in enumerate(saved):
        head, _, checkpoint = bundle["tlogProof"].partition("\n\n")
        index, *hashes = head.splitlines()[1:]
        _, size, root = checkpoint.splitlines()[:3]
        assert index == f"index {number}"
        assert base64.b64decode(root) == tree.get_root(int(size))
        theirs = tree.prove_inclusion(number + 1, int(size)).serialize()["path"]
        ours = [base64.b64decode(line).hex() for line in hashes]
        assert sorted([merkle.leaf_hash(leaf(bundle)).hex(), *ours]) == sorted(theirs)


@pytest.mark.parametrize("size", [1, 2, 3, 7, 8, 9])
def test_consistency_proofs_hold_between_the_roots_of_pymerkle_and_theirs_between_ours(size):
    entries = [b"%d" % number for number in range(size)]
    tree = pymerkle.InmemoryTree(algorithm="sha256")
    for entry in entries:
        tree.append_entry(entry)
    for earlier in range(1, size + 1):
        proof = merkle.consistency_proof(entries, earlier)
        merkle.verify_consistency(earlier, size, proof, tree.get_root(earlier), tree.get_root(size))
        theirs = tree.prove_consistency(earlier, size)
        pymerkle.verify_consistency(merkle.root(entries[:earlier]), merkle.root(entries), theirs)
        if earlier % 2 and 1 < earlier < size:  # else pymerkle's begins below the largest subtree
            assert sorted(proof) == sorted(map(bytes.fromhex, theirs.serialize()["path"]))
