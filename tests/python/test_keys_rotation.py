"""Rotation: a new key that the old one vouches for, and exactly one signing key at any moment."""

from __future__ import annotations

import itertools
import os
import stat
import threading

import pytest

import torchnotary
from torchnotary import keys
from torchnotary.errors import MalformedRecord, NotaryError, UnknownSigner, VerificationFailed
from torchnotary.keys import SigningKey
from torchnotary.keys.rotation import Rotation, accept, rotate
from torchnotary.log.revocation import Revocation, revoke
from torchnotary.statement.envelope import decode_base64, encode_base64, pae
from torchnotary.statement.lines import canonical, parse


@pytest.fixture
def rotated(home, tmp_path):
    """The old key, and the rotation that replaced it."""
    old = SigningKey.load_or_create()
    return old, rotate(tmp_path / "rotation.json")


def test_the_new_key_signs_and_the_old_one_still_counts_as_own(rotated, home, tmp_path):
    old, rotation = rotated
    assert SigningKey.load().public == rotation.new != rotation.old == old.public
    assert keys.own_keys() == [rotation.new, old.public]
    assert keys.retired_keys() == [old.public]
    retired = home / "keys" / "retired"
    for path in (home / "keys" / "signing.pem", retired / f"{old.public.fingerprint}.pem"):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(retired.stat().st_mode) == 0o700
    assert SigningKey.from_pem(path.read_bytes()).public == old.public
    assert sorted(os.listdir(home / "keys")) == ["retired", "signing.pem"]
    assert (tmp_path / "rotation.json").read_bytes() == rotation.encode()


def test_a_process_that_holds_the_old_key_goes_on_signing_records_that_are_own(tmp_path):
    notary = torchnotary.Notary(tmp_path / "log")
    recorded = notary.record(lambda x: x)
    recorded(1)
    notary.flush()
    old = SigningKey.load().public
    rotate(tmp_path / "rotation.json")
    recorded(2)
    notary.last.save(tmp_path / "run.tnr")
    notary.close()
    verdict = torchnotary.verify(tmp_path / "run.tnr")
    assert verdict.ok and verdict.signer == old.fingerprint


def test_whoever_trusts_the_old_key_comes_to_trust_the_new_one(rotated, stranger):
    old, rotation = rotated
    stranger()
    with pytest.raises(UnknownSigner) as caught:
        accept(rotation)
    assert caught.value.actual == old.public.fingerprint and not keys.is_trusted(rotation.new)
    keys.trust(old.public)
    accept(Rotation.decode(rotation.encode()))
    assert keys.is_trusted(rotation.new) and keys.is_trusted(old.public)


def test_a_chain_of_rotations_is_followed_in_its_order(home, tmp_path, stranger):
    old = SigningKey.load_or_create()
    first = rotate(tmp_path / "1.json")
    second = rotate(tmp_path / "2.json", "P-256")
    assert second.old == first.new and second.new.algorithm == "P-256"
    assert set(keys.own_keys()) == {old.public, first.new, second.new}
    stranger()
    keys.trust(old.public)
    with pytest.raises(UnknownSigner):
        accept(second)
    accept(first)
    accept(second)
    assert keys.is_trusted(second.new)


def test_a_revoked_key_vouches_for_nobody_and_nobody_for_a_revoked_key(rotated, stranger):
    old, rotation = rotated
    stranger()
    keys.trust(old.public)
    for revoked in (rotation.old, rotation.new):
        revoke(Revocation(revoked.fingerprint))
        with pytest.raises(VerificationFailed, match="you revoked"):
            accept(rotation)
        keys.keyring.revocation_path(revoked.fingerprint).unlink()
    assert not keys.is_trusted(rotation.new)


def test_both_keys_must_have_signed(home):
    old, new, thief = (SigningKey.generate(a) for a in ("Ed25519", "P-256", "Ed25519"))
    genuine = Rotation.sign(old, new)
    genuine.verify()
    forged = Rotation.sign(thief, new).signatures
    for signatures in (
        (forged[0], genuine.signatures[1]),
        (genuine.signatures[0], thief.sign(b"")),
        genuine.signatures[::-1],
        Rotation.sign(old, thief).signatures,
        Rotation.sign(new, old).signatures[::-1],
    ):
        keys.trust(old.public)
        with pytest.raises(VerificationFailed):
            accept(Rotation(old.public, new.public, signatures))
        assert not keys.is_trusted(new.public)


def test_a_rotation_is_a_dsse_envelope_that_both_keys_sign():
    old, new = SigningKey.generate(), SigningKey.generate()
    value = parse(Rotation.sign(old, new).encode()[:-1])
    payload = decode_base64(value["payload"], "payload", 1000)
    assert parse(payload) == {
        "new": encode_base64(new.public.spki),
        "old": encode_base64(old.public.spki),
        "type": "rotation/1",
    }
    for key, signature in zip((old, new), value["signatures"], strict=True):
        assert signature["keyid"] == key.public.fingerprint
        message = pae(value["payloadType"], payload)
        key.public.verify(decode_base64(signature["sig"], "sig", 64), message)


def test_a_rotation_has_one_encoding():
    old, new = SigningKey.generate(), SigningKey.generate()
    rotation = Rotation.sign(old, new)
    data = rotation.encode()
    assert Rotation.decode(data) == rotation
    value = parse(data[:-1])
    said = parse(decode_base64(value["payload"], "payload", 1000))
    first, second = value["signatures"]

    def saying(**changes):
        return {**value, "payload": encode_base64(canonical({**said, **changes}))}

    for wrong in (
        {**value, "payloadType": "application/vnd.in-toto+json"},
        {**value, "more": 1},
        {**value, "signatures": [first]},
        {**value, "signatures": [second, first]},
        {**value, "signatures": [first, second, second]},
        {**value, "signatures": [first, {**second, "sig": encode_base64(bytes(73))}]},
        {**value, "signatures": None},
        saying(type="rotation/2"),
        saying(new=said["old"]),
        saying(old=encode_base64(b"junk")),
        saying(old=None),
        saying(more=1),
    ):
        with pytest.raises(MalformedRecord):
            Rotation.decode(canonical(wrong) + b"\n")
    for wrong in (b"", data[:-1], data + b"\n", b" " + data, data * 10):
        with pytest.raises(MalformedRecord):
            Rotation.decode(wrong)


def _rotate_and_die(output, call, after):
    """Rotates in a child that dies, cleaning up nothing, at its ``after``-th call of ``os.call``;
    whether it came to its end instead."""
    child = os.fork()
    if child == 0:
        genuine, count = getattr(os, call), itertools.count()

        def dying(*arguments, **options):
            if next(count) == after:
                os._exit(9)
            return genuine(*arguments, **options)

        setattr(os, call, dying)
        try:
            rotate(output)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.parametrize("call", ["open", "fsync", "link", "replace", "unlink"])
def test_wherever_rotation_dies_there_is_one_signing_key_and_rotating_again_works(
    call, home, tmp_path
):
    active, output = SigningKey.load_or_create().public, tmp_path / "rotation.json"
    for after in range(100):
        ended = _rotate_and_die(output, call, after)
        now = SigningKey.load().public
        assert keys.own_keys()[0] == now and active in keys.own_keys()
        if now != active:  # it died after the rename: all that others need is there
            written = Rotation.decode(output.read_bytes())
            written.verify()
            assert (written.old, written.new) == (active, now)
        if ended:
            break
        active = now
    assert ended and now != active and after > 0


def test_a_rotation_that_cannot_be_written_changes_nothing(home, tmp_path):
    old = SigningKey.load_or_create().public
    with pytest.raises(OSError):
        rotate(tmp_path / "missing" / "rotation.json")
    assert keys.own_keys() == [old] and SigningKey.load().public == old
    assert os.listdir(home / "keys") == ["signing.pem"]


def test_rotations_at_one_time_make_one_chain(home, tmp_path):
    first = SigningKey.load_or_create().public
    threads = [
        threading.Thread(target=rotate, args=(tmp_path / f"{number}.json",)) for number in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    made = [Rotation.decode((tmp_path / f"{n}.json").read_bytes()) for n in range(8)]
    following = {rotation.old: rotation.new for rotation in made}
    assert len(following) == 8
    key = first
    for _ in range(8):
        key = following[key]
    assert SigningKey.load().public == key
    assert len(keys.own_keys()) == 9


def test_a_key_from_the_environment_and_a_key_that_is_not_there_are_not_rotated(
    home, tmp_path, monkeypatch
):
    with pytest.raises(NotaryError, match="no signing key.*keys new"):
        rotate(tmp_path / "rotation.json")
    monkeypatch.setenv("TORCHNOTARY_KEY", SigningKey.generate().to_pem().decode())
    with pytest.raises(NotaryError, match="TORCHNOTARY_KEY"):
        rotate(tmp_path / "rotation.json")
    assert not (tmp_path / "rotation.json").exists()


def test_an_encrypted_key_is_rotated_with_its_passphrase_and_stays_encrypted(home, tmp_path):
    old = SigningKey.generate()
    keys.create_private_file(home / "keys" / "signing.pem", old.to_pem(b"old"))
    with pytest.raises(NotaryError, match="no passphrase"):
        rotate(tmp_path / "rotation.json", passphrase=b"new")
    rotation = rotate(tmp_path / "rotation.json", passphrase=b"new", ask=lambda: b"old")
    assert keys.own_keys() == [rotation.new, old.public]
    pem = (home / "keys" / "signing.pem").read_bytes()
    assert SigningKey.from_pem(pem, lambda: b"new").public == rotation.new
    kept = home / "keys" / "retired" / f"{old.public.fingerprint}.pem"
    assert SigningKey.from_pem(kept.read_bytes(), lambda: b"old").public == old.public
