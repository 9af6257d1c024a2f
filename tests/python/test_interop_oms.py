"""Model signatures (OMS) against model-signing itself: each verifies what the other signed."""

from __future__ import annotations

import base64
import hashlib
import json
import subprocess

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from model_signing import hashing as model_hashing
from model_signing import signing, verifying

from torchnotary.cli import run
from torchnotary.errors import MalformedRecord, NotaryError, VerificationFailed
from torchnotary.interop import oms
from torchnotary.interop.ec_keys import EcPrivateKey, EcPublicKey
from torchnotary.statement.envelope import PAYLOAD_TYPE, encode_base64, pae

CURVES = (ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1())


def write_keys(folder, private):
    """The PEM files of a key: private, public."""
    paths = folder / "private.pem", folder / "public.pem"
    paths[0].write_bytes(
        private.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    paths[1].write_bytes(
        private.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
    )
    return paths


@pytest.fixture
def keys(tmp_path):
    return write_keys(tmp_path, ec.generate_private_key(ec.SECP256R1()))


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    (folder / "d-1").mkdir(parents=True)
    (folder / "d").mkdir()
    (folder / "weights.bin").write_bytes(bytes(3 << 20))
    # Sorted by their parts "d" comes before "d-1", as text "d-1/" before "d/".
    for name in ("d/b.txt", "d-1/a.txt", "config.json", "Ü.txt", "empty"):
        (folder / name).write_bytes(name.encode() if name != "empty" else b"")
    (folder / ".git").mkdir()
    (folder / ".git" / "HEAD").write_text("ref: refs/heads/main")
    return folder


def sign_theirs(model, signature, private):
    signing.Config().use_elliptic_key_signer(private_key=private).sign(model, signature)


def check_theirs(model, signature, public, *, links=False):
    config = verifying.Config().use_elliptic_key_verifier(public_key=public)
    if links:  # which its user must allow, whatever the signature says
        config.set_hashing_config(model_hashing.Config().set_allow_symlinks(True))
    config.verify(model, signature)


@pytest.mark.parametrize("curve", CURVES, ids=lambda curve: curve.name)
def test_model_signing_verifies_what_is_signed_here_and_the_other_way_round(curve, model, tmp_path):
    private, public = write_keys(tmp_path, ec.generate_private_key(curve))
    ours, theirs = tmp_path / "ours.sig", tmp_path / "theirs.sig"
    signed = oms.sign(model, ours, EcPrivateKey.load(private))
    check_theirs(model, ours, public)
    sign_theirs(model, theirs, private)
    checked = oms.check(model, theirs, EcPublicKey.load(public))
    assert (checked.model, checked.files, checked.root) == ("model", signed.files, signed.root)
    assert len(checked.files) == 6


def test_a_signature_may_lie_in_the_folder_it_signs(model, keys):
    signature = model / "model.sig"
    oms.sign(model, signature, EcPrivateKey.load(keys[0]))
    check_theirs(model, signature, keys[1])
    assert "model.sig" not in oms.check(model, signature, EcPublicKey.load(keys[1])).files


def test_a_model_of_one_file_is_signed_by_both(model, keys, tmp_path):
    file, signature = model / "weights.bin", tmp_path / "file.sig"
    oms.sign(file, signature, EcPrivateKey.load(keys[0]))
    check_theirs(file, signature, keys[1])
    sign_theirs(file, signature, keys[0])
    assert list(oms.check(file, signature, EcPublicKey.load(keys[1])).files) == ["."]


def test_links_to_files_are_followed_where_the_signature_says_so(model, keys, tmp_path):
    (model / "link").symlink_to(tmp_path / "private.pem")
    signature = tmp_path / "linked.sig"
    assert oms.sign(model, signature, EcPrivateKey.load(keys[0])).links
    oms.check(model, signature, EcPublicKey.load(keys[1]))
    check_theirs(model, signature, keys[1], links=True)
    (model / "link").unlink()
    oms.sign(model, signature, EcPrivateKey.load(keys[0]))
    content = (model / "config.json").read_bytes()
    (model / "config.json").unlink()
    (tmp_path / "elsewhere").write_bytes(content)
    (model / "config.json").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(NotaryError, match="is a link"):
        oms.check(model, signature, EcPublicKey.load(keys[1]))
    (model / "folder").symlink_to(tmp_path)
    with pytest.raises(NotaryError, match="folder is a link"):
        oms.sign(model, signature, EcPrivateKey.load(keys[0]))


def test_a_file_changed_missing_or_added_is_named(model, keys, tmp_path):
    signature = tmp_path / "model.sig"
    sign_theirs(model, signature, keys[0])
    (model / "config.json").write_text("other")
    (model / "empty").unlink()
    (model / "d" / "extra").write_text("")
    with pytest.raises(VerificationFailed) as caught:
        oms.check(model, signature, EcPublicKey.load(keys[1]))
    for words in ("changed: config.json;", "missing: empty;", "not signed: d/extra"):
        assert words in caught.value.reason


def test_gits_files_count_where_the_signature_does_not_leave_them_out(model, keys, tmp_path):
    signature = tmp_path / "model.sig"
    config = signing.Config().use_elliptic_key_signer(private_key=keys[0])
    every_file = model_hashing.Config().set_ignored_paths(paths=[], ignore_git_paths=False)
    config.set_hashing_config(every_file).sign(model, signature)
    assert ".git/HEAD" in oms.check(model, signature, EcPublicKey.load(keys[1])).files
    (model / ".git" / "hook").write_bytes(b"added")
    with pytest.raises(VerificationFailed, match="not signed: .git/hook"):
        oms.check(model, signature, EcPublicKey.load(keys[1]))


def test_another_key_and_keys_model_signing_does_not_take_are_refused(model, keys, tmp_path):
    signature = tmp_path / "model.sig"
    sign_theirs(model, signature, keys[0])
    other = EcPublicKey(ec.generate_private_key(ec.SECP256R1()).public_key())
    with pytest.raises(VerificationFailed, match="names another key"):
        oms.check(model, signature, other)
    with pytest.raises(VerificationFailed, match="not this key's"):
        oms.read(changed(signature, lambda bundle: hint(bundle).update(hint=other.hint)), other)
    for private in (ed25519.Ed25519PrivateKey.generate(), ec.generate_private_key(ec.SECP256K1())):
        paths = write_keys(tmp_path, private)
        with pytest.raises(NotaryError, match="elliptic-curve keys alone"):
            EcPrivateKey.load(paths[0])
        with pytest.raises(NotaryError, match="elliptic-curve keys alone"):
            EcPublicKey.load(paths[1])
    with pytest.raises(NotaryError, match="not the PEM of a public key.*-pubout"):
        EcPublicKey.load(keys[0])


def changed(signature, change) -> bytes:
    """The bundle in a file, changed in place."""
    bundle = json.loads(signature.read_bytes())
    change(bundle)
    return json.dumps(bundle).encode()


def hint(bundle):
    return bundle["verificationMaterial"]["publicKey"]


def envelope(bundle):
    return bundle["dsseEnvelope"]


def url_safe(text):
    return text.replace("+", "-").replace("/", "_")


def test_what_dsse_leaves_to_the_signer_is_read_as_it_comes(model, keys, tmp_path):
    signature, public = tmp_path / "model.sig", EcPublicKey.load(keys[1])
    expected = oms.sign(model, signature, EcPrivateKey.load(keys[0]))

    def loosen(bundle):
        inner = envelope(bundle)
        inner["payload"] = url_safe(inner["payload"])
        inner["signatures"][0] = {"sig": url_safe(inner["signatures"][0]["sig"]), "extra": 1}
        del hint(bundle)["hint"]

    assert oms.read(changed(signature, loosen), public) == expected


BAD_BUNDLES = {
    "media type": lambda b: b.update(mediaType="application/json"),
    "unknown members": lambda b: b.update(other=1),
    "another one": lambda b: envelope(b).update(payloadType="text/plain"),
    "one signature": lambda b: envelope(b).update(signatures=envelope(b)["signatures"] * 2),
    "signature": lambda b: envelope(b).update(signatures=[]),
    "has no dsseEnvelope": lambda b: b.pop("dsseEnvelope"),
    "with a certificate": lambda b: b.update(verificationMaterial={"certificate": {}}),
    "verificationMaterial has unknown members": lambda b: b["verificationMaterial"].update(
        certificate={}
    ),
    "mixes": lambda b: envelope(b).update(payload="+-" + envelope(b)["payload"][2:]),
    "not standard, padded": lambda b: envelope(b).update(payload=envelope(b)["payload"][:-1]),
    "not a JSON object": lambda b: envelope(b).update(signatures=["text"]),
}


@pytest.mark.parametrize("what", BAD_BUNDLES)
def test_a_bundle_that_is_none_is_refused(what, model, keys, tmp_path):
    signature = tmp_path / "model.sig"
    sign_theirs(model, signature, keys[0])
    words = {"media type": "mediaType"}.get(what, what)
    with pytest.raises(NotaryError, match=words):
        oms.read(changed(signature, BAD_BUNDLES[what]), EcPublicKey.load(keys[1]))


def resources(statement):
    return statement["predicate"]["resources"]


def method(statement):
    return statement["predicate"]["serialization"]


BAD_NAMES = ("../config.json", "/etc/passwd", "d//b.txt", "./config.json", "", "a\0b")
BAD_STATEMENTS = {
    "_type": lambda s: s.update(_type="https://in-toto.io/Statement/v0.1"),
    "predicateType": lambda s: s.update(predicateType="https://slsa.dev/provenance/v1"),
    "one subject": lambda s: s.update(subject=s["subject"] * 2),
    "subject's digest": lambda s: s["subject"][0]["digest"].update(sha256="0" * 64),
    "over no files": lambda s: s["predicate"].update(resources=[]),
    "named twice": lambda s: resources(s).append(resources(s)[0]),
    "no SHA-256": lambda s: resources(s)[0].update(digest="AB" * 32),
    "method": lambda s: method(s).update(method="shards"),
    "hash_type": lambda s: method(s).update(hash_type="blake2b"),
    "algorithm": lambda s: resources(s)[0].update(algorithm="blake2b"),
    "allow_symlinks": lambda s: method(s).update(allow_symlinks=1),
    "ignore_paths": lambda s: method(s).update(ignore_paths=[1]),
}


@pytest.mark.parametrize("what", BAD_STATEMENTS)
def test_a_signed_statement_that_says_something_else_is_refused(what, model, keys, tmp_path):
    private = EcPrivateKey.load(keys[0])
    statement = oms._statement(oms.sign(model, tmp_path / "model.sig", private))
    BAD_STATEMENTS[what](statement)
    bundle = oms._bundle(json.dumps(statement).encode(), private)
    with pytest.raises(MalformedRecord, match=what):
        oms.read(bundle, private.public)


@pytest.mark.parametrize("name", BAD_NAMES, ids=repr)
def test_a_signed_name_that_is_no_path_below_the_model_is_refused(name, model, keys, tmp_path):
    private = EcPrivateKey.load(keys[0])
    statement = oms._statement(oms.sign(model, tmp_path / "model.sig", private))
    resources(statement)[0].update(name=name)
    bundle = oms._bundle(json.dumps(statement).encode(), private)
    with pytest.raises(MalformedRecord, match="no path below"):
        oms.read(bundle, private.public)


def test_members_that_are_not_ours_to_know_are_let_be_and_repeated_ones_are_not(
    model, keys, tmp_path
):
    private = EcPrivateKey.load(keys[0])
    signed = oms.sign(model, tmp_path / "model.sig", private)
    statement = {**oms._statement(signed), "extra": 1}
    statement["predicate"]["model_card"] = {"license": "MIT"}
    text = json.dumps(statement)
    assert oms.read(oms._bundle(text.encode(), private), private.public) == signed
    twice = text[:-1] + ', "predicateType": ' + json.dumps(oms.PREDICATE_TYPE) + "}"
    for wrong in (twice, text.replace("1}", "NaN}"), text[:-1], "[" * 100_000, '"\udcff'):
        data = wrong.encode(errors="surrogateescape")
        with pytest.raises(MalformedRecord, match="is not JSON"):
            oms.read(oms._bundle(data, private), private.public)


def test_a_high_s_signature_of_another_signer_is_taken(model, keys, tmp_path):
    from cryptography.hazmat.primitives.asymmetric.utils import (
        decode_dss_signature,
        encode_dss_signature,
    )

    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    signature = tmp_path / "model.sig"
    signed = oms.sign(model, signature, EcPrivateKey.load(keys[0]))

    def mirror(bundle):
        made = envelope(bundle)["signatures"][0]
        r, s = decode_dss_signature(base64.b64decode(made["sig"]))
        made["sig"] = encode_base64(encode_dss_signature(r, order - s))

    signature.write_bytes(changed(signature, mirror))
    assert oms.check(model, signature, EcPublicKey.load(keys[1])) == signed
    check_theirs(model, signature, keys[1])


def test_openssl_made_keys_and_its_signature_are_taken(model, tmp_path):
    private, public = tmp_path / "private.pem", tmp_path / "public.pem"
    made = ["openssl", "ecparam", "-name", "prime256v1", "-genkey", "-noout", "-out", private]
    try:
        subprocess.run(made, check=True, capture_output=True)
    except FileNotFoundError:
        pytest.skip("openssl is not installed")
    public_half = ["openssl", "ec", "-in", private, "-pubout", "-out", public]
    subprocess.run(public_half, check=True, capture_output=True)
    signature, message = tmp_path / "model.sig", tmp_path / "message"
    signed = oms.sign(model, signature, EcPrivateKey.load(private))
    payload = base64.b64decode(json.loads(signature.read_bytes())["dsseEnvelope"]["payload"])
    message.write_bytes(pae(PAYLOAD_TYPE, payload))
    der = subprocess.run(
        ["openssl", "dgst", "-sha256", "-sign", private, message], check=True, capture_output=True
    ).stdout

    def replace(bundle):
        envelope(bundle)["signatures"][0]["sig"] = encode_base64(der)

    assert oms.read(changed(signature, replace), EcPublicKey.load(public)) == signed


def test_the_command_signs_for_model_signing_and_checks_what_it_signed(
    model, keys, tmp_path, capsys
):
    private, public = map(str, keys)
    ours, theirs = tmp_path / "ours.sig", tmp_path / "theirs.sig"
    assert run(["manifest", str(model), "--oms", str(ours), "--key", private]) == 0
    check_theirs(model, ours, public)
    sign_theirs(model, theirs, private)
    capsys.readouterr()
    check = ["manifest", str(model), "--check-oms", str(theirs), "--key"]
    assert run([*check, public, "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["files"]["empty"] == hashlib.sha256(b"").hexdigest()
    assert run([*check, private]) == 1  # whose holder has no business here
    assert run([*check, str(tmp_path / "absent.pem")]) == 2
    assert run(["manifest", str(model), "--check-oms", str(theirs)]) == 2
    assert run([*check, public, "--diff", str(model)]) == 2
    (model / "empty").write_text("not empty")
    assert run([*check, public]) == 1
    assert "changed: empty" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["model/config.json", "private.pem"])
def test_a_signature_takes_the_place_of_an_earlier_one_alone(model, keys, tmp_path, name):
    before, key = (tmp_path / name).read_bytes(), EcPrivateKey.load(keys[0])
    with pytest.raises(NotaryError, match="is there already, and is no signature"):
        oms.sign(model, tmp_path / name, key)
    assert (tmp_path / name).read_bytes() == before
    sign_theirs(model, tmp_path / "model.sig", keys[0])
    oms.sign(model, tmp_path / "model.sig", key)
    oms.check(model, tmp_path / "model.sig", key.public)


def test_whoever_checks_is_told_to_ask_for_a_key_and_not_to_make_one(keys, tmp_path):
    for pem in (keys[0].read_bytes(), ed25519.Ed25519PrivateKey.generate().public_key()):
        if not isinstance(pem, bytes):
            pem = pem.public_bytes(
                serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
            )
        (tmp_path / "given.pem").write_bytes(pem)
        with pytest.raises(NotaryError, match="Next: give the public key of whoever signed it"):
            EcPublicKey.load(tmp_path / "given.pem")
