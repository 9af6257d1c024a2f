"""Encrypted signing keys: where the passphrase comes from, and what is known without it."""

from __future__ import annotations

import os

import pytest
from cryptography.hazmat.primitives import serialization

import torchnotary
from torchnotary import keys
from torchnotary.errors import KeyLocked, NotaryError
from torchnotary.keys import PublicKey, SigningKey

SECRET = "cörrect horse"


@pytest.fixture(scope="module")
def key():
    return SigningKey.generate()


@pytest.fixture(scope="module")
def pem(key):
    return key.to_pem(SECRET.encode())


@pytest.fixture
def passphrase(monkeypatch):
    def give(text):
        monkeypatch.setenv("TORCHNOTARY_KEY_PASSPHRASE", text)

    return give


def _install(home, pem):
    keys.create_private_file(home / "keys" / "signing.pem", pem)


def _encrypted_only(key):
    """What openssl writes: no public key beside the encrypted one."""
    return key._private.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(SECRET.encode()),
    )


def test_a_pem_is_encrypted_and_opens_with_its_passphrase_alone(key, pem, passphrase):
    assert b"ENCRYPTED PRIVATE KEY" in pem and key.to_pem() not in pem
    theirs = serialization.load_pem_private_key(_encrypted_only(key), SECRET.encode())
    assert theirs.public_key() == serialization.load_pem_public_key(key.public.to_pem())
    assert SigningKey.from_pem(pem, SECRET.encode).public == key.public
    with pytest.raises(KeyLocked, match="no passphrase.*TORCHNOTARY_KEY_PASSPHRASE_FILE"):
        SigningKey.from_pem(pem)
    for wrong in ("", "correct horse", SECRET + "\n"):
        with pytest.raises(KeyLocked, match="no passphrase|is wrong") as caught:
            SigningKey.from_pem(pem, wrong.encode)
        assert not wrong or wrong not in str(caught.value)


def test_the_passphrase_comes_from_the_environment_or_from_a_file(
    key, pem, passphrase, tmp_path, monkeypatch
):
    path = tmp_path / "secret"
    for text in (SECRET, SECRET + "\n", SECRET + "\r\n"):
        path.write_bytes(text.encode())
        monkeypatch.setenv("TORCHNOTARY_KEY_PASSPHRASE_FILE", str(path))
        assert SigningKey.from_pem(pem).public == key.public
    passphrase(SECRET)
    with pytest.raises(KeyLocked, match="both"):
        SigningKey.from_pem(pem)
    monkeypatch.delenv("TORCHNOTARY_KEY_PASSPHRASE_FILE")
    assert SigningKey.from_pem(pem).public == key.public
    passphrase("")
    for path in (tmp_path / "missing", tmp_path, "/dev/zero"):
        monkeypatch.setenv("TORCHNOTARY_KEY_PASSPHRASE_FILE", str(path))
        with pytest.raises(KeyLocked, match="cannot be read"):
            SigningKey.from_pem(pem)
    (tmp_path / "empty").write_bytes(b"\n")
    monkeypatch.setenv("TORCHNOTARY_KEY_PASSPHRASE_FILE", str(tmp_path / "empty"))
    with pytest.raises(KeyLocked, match="no passphrase"):
        SigningKey.from_pem(pem)


def test_a_passphrase_may_be_as_long_as_openssl_takes_and_any_bytes(key, passphrase, tmp_path):
    longest = b"\xff" * 1023
    (tmp_path / "secret").write_bytes(longest + b"\r\n")
    pem = key.to_pem(longest)
    passphrase(os.fsdecode(longest))
    assert SigningKey.from_pem(pem).public == key.public
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("TORCHNOTARY_KEY_PASSPHRASE")
        environment.setenv("TORCHNOTARY_KEY_PASSPHRASE_FILE", str(tmp_path / "secret"))
        assert SigningKey.from_pem(pem).public == key.public
    with pytest.raises(KeyLocked, match="at most 1023 bytes, got 1024 bytes"):
        key.to_pem(longest + b"x")


def test_a_key_that_is_not_encrypted_needs_no_passphrase(key, passphrase):
    passphrase("anything")
    assert SigningKey.from_pem(key.to_pem()).public == key.public


def test_recording_with_a_locked_key_is_refused_at_construction(pem, passphrase, home, tmp_path):
    _install(home, pem)
    for options in ({}, {"signer": pem}):
        with pytest.raises(KeyLocked, match="no passphrase"):
            torchnotary.Notary(tmp_path / "log", **options)
    passphrase("wrong")
    with pytest.raises(KeyLocked, match="is wrong"):
        torchnotary.Notary(tmp_path / "log")


def test_records_signed_with_an_encrypted_key_are_known_as_own_while_it_is_locked(
    key, pem, passphrase, home, tmp_path, monkeypatch
):
    _install(home, pem)
    passphrase(SECRET)
    notary = torchnotary.Notary(tmp_path / "log")
    notary.record(lambda x: x)(1)
    notary.last.save(tmp_path / "run.tnr")
    notary.close()
    monkeypatch.delenv("TORCHNOTARY_KEY_PASSPHRASE")
    verdict = torchnotary.verify(tmp_path / "run.tnr")
    assert verdict.ok and verdict.signer == key.public.fingerprint
    assert keys.own_keys() == [key.public]


def test_a_locked_key_whose_public_half_is_nowhere_is_nobodys(key, passphrase, home):
    _install(home, _encrypted_only(key))
    assert keys.own_keys() == [] and not keys.is_trusted(key.public)
    passphrase(SECRET)
    assert keys.own_keys() == [key.public]


def test_a_public_key_beside_the_signing_key_must_be_its_own(key, pem, passphrase):
    passphrase(SECRET)
    other = SigningKey.generate().public
    swapped = pem.replace(key.public.to_pem(), other.to_pem())
    with pytest.raises(NotaryError, match="another key's") as caught:
        SigningKey.from_pem(swapped)
    assert (caught.value.expected, caught.value.actual) == (
        key.public.fingerprint,
        other.fingerprint,
    )


def test_p_256_keys_are_encrypted_alike(passphrase):
    key = SigningKey.generate("P-256")
    passphrase(SECRET)
    assert SigningKey.from_pem(key.to_pem(SECRET.encode())).public == key.public
    with pytest.raises(NotaryError, match="private key"):
        PublicKey.from_pem(key.to_pem(SECRET.encode()))


# openssl pkcs8 -topk8 -scrypt, and openssl pkey -pubout: the passphrase is "horse".
OPENSSL_SCRYPT = b"""\
-----BEGIN ENCRYPTED PRIVATE KEY-----
MIGTME8GCSqGSIb3DQEFDTBCMCEGCSsGAQQB2kcECzAUBAjQCXm9IJrcKAICQAAC
AQgCAQEwHQYJYIZIAWUDBAEqBBAiuua6kAqf9hLkrTvhWQipBEDSuLeLbb+lQtS5
AxrhJ8jdtzQT8GRPs2J0DKuh+CssNLhvUehF736jc84pYpKmJU3SFP8hZ1MU/2ib
gV8xsjMe
-----END ENCRYPTED PRIVATE KEY-----
-----BEGIN PUBLIC KEY-----
MCowBQYDK2VwAyEAdS/hJWdJ+RrWgIjRf1jPKH6ug7gwXJL1PT9r1jiakzA=
-----END PUBLIC KEY-----
"""


def test_a_key_that_openssl_encrypted_with_scrypt_is_read(passphrase):
    passphrase("horse")
    key = SigningKey.from_pem(OPENSSL_SCRYPT).public
    assert key.fingerprint == "ef6829519a810d5b7396a308e264563fbf99360bbcbbce3ff3dcfc83c0c85cf5"
