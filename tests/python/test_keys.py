"""Keys: strict Ed25519, where the signing key comes from, and whom the user trusts."""

from __future__ import annotations

import copy
import json
import os
import pickle
import stat
import subprocess
import time
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import (
    Ed25519PrivateKey,
    Ed25519PublicKey,
)

from log_helpers import open_folder, run, script
from torchnotary import keys
from torchnotary.errors import MalformedRecord, NotaryError, VerificationFailed
from torchnotary.keys import PublicKey, SigningKey, ed25519

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
BASE_Y = 4 * pow(5, -1, P) % P


def _recover_x(y: int) -> int | None:
    """The even x of the point with this y (RFC 8032 §5.1.3), or None."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if x * x % P != square:
        x = x * pow(2, (P - 1) // 4, P) % P
    if x * x % P != square:
        return None
    return P - x if x & 1 else x


def _add(a, b):
    (x1, y1), (x2, y2) = a, b
    t = D * x1 * x2 * y1 * y2 % P
    x = (x1 * y2 + x2 * y1) * pow(1 + t, -1, P) % P
    y = (y1 * y2 + x1 * x2) * pow(1 - t, -1, P) % P
    return x, y


def _times(k: int, point):
    total = (0, 1)
    for bit in bin(k)[2:]:
        total = _add(total, total)
        if bit == "1":
            total = _add(total, point)
    return total


def _small_order_ys() -> set[int]:
    """y of the points of order 1, 2, 4 and 8: any point times L has such an order."""
    found, y = set(), 2
    while len(found) < 5:
        x = _recover_x(y)
        if x is not None:
            found.add(_times(L, (x, y))[1])
        y += 1
    return found


def _encodings(y: int) -> list[bytes]:
    """Both signs of y, and of its second, non-canonical spelling where 255 bits hold one."""
    spellings = [y, y + P] if y + P < 2**255 else [y]
    return [(v | sign << 255).to_bytes(32, "little") for v in spellings for sign in (0, 1)]


# RFC 8032 §7.1, tests 1 to 3: seed, public key, message, signature.
RFC_8032 = [
    (
        "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60",
        "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a",
        "",
        "e5564300c360ac729086e2cc806e828a84877f1eb8e5d974d873e065224901555fb8821590a33bac"
        "c61e39701cf9b46bd25bf5f0595bbe24655141438e7a100b",
    ),
    (
        "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb",
        "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c",
        "72",
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da085ac1e43e15996e"
        "458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00",
    ),
    (
        "c5aa8df43f9f837bedb7442f31dcb7b166d38535076f094b85ce3a2e0b4458f7",
        "fc51cd8e6218a1a38da47ed00230f0580816ed13ba3303ac5deb911548908025",
        "af82",
        "6291d657deec24024827e69c3abe01a30ce548a284743a445e3680d7db5ac3ac18ff9b538d16f290"
        "ae67f760984dc6594a7c15e9716ed28dc027beceea1ec40a",
    ),
]


@pytest.mark.parametrize("vector", RFC_8032)
def test_the_vectors_of_rfc_8032_are_signed_and_verified(vector):
    seed, public, message, signature = map(bytes.fromhex, vector)
    key = SigningKey(Ed25519PrivateKey.from_private_bytes(seed))
    assert key.public.raw == public and key.public.algorithm == "Ed25519"
    assert key.sign(message) == signature
    PublicKey(public).verify(signature, message)


def test_wycheproof_signatures_are_judged_as_the_suite_says(vectors):
    suite = json.loads((vectors / "ed25519" / "wycheproof_ed25519_test.json").read_text())
    judged = 0
    for group in suite["testGroups"]:
        key = PublicKey.from_spki(bytes.fromhex(group["publicKeyDer"]))
        assert key == PublicKey.from_pem(group["publicKeyPem"].encode())
        assert key == PublicKey(bytes.fromhex(group["publicKey"]["pk"]))
        for case in group["tests"]:
            signature, message = bytes.fromhex(case["sig"]), bytes.fromhex(case["msg"])
            if case["result"] == "valid":
                key.verify(signature, message)
            else:
                with pytest.raises(VerificationFailed):
                    key.verify(signature, message)
            judged += 1
    assert judged == suite["numberOfTests"]


def test_public_keys_of_small_order_or_in_a_second_encoding_are_refused():
    ys = _small_order_ys()
    assert ys == ed25519.SMALL_ORDER_Y
    for y in ys:
        for encoded in _encodings(y):
            with pytest.raises(MalformedRecord, match="small order|one encoding"):
                PublicKey(encoded)
    for beyond in range(19):
        with pytest.raises(MalformedRecord, match="one encoding"):
            PublicKey((P + beyond).to_bytes(32, "little"))


def test_a_small_order_key_would_have_let_one_signature_fit_every_message():
    identity = (1).to_bytes(32, "little")
    signature = identity + bytes(32)
    for message in (b"one", b"another"):
        Ed25519PublicKey.from_public_bytes(identity).verify(signature, message)


def test_malleable_and_small_order_signatures_are_refused():
    key, message = SigningKey.generate(), b"message"
    signature = key.sign(message)
    key.public.verify(signature, message)
    s = int.from_bytes(signature[32:], "little")
    for wrong, cause in [
        (signature[:32] + (s + L).to_bytes(32, "little"), "group order"),
        (signature[:32] + L.to_bytes(32, "little"), "group order"),
        ((1).to_bytes(32, "little") + signature[32:], "small order"),
        ((P + 2).to_bytes(32, "little") + signature[32:], "second encoding"),
        (signature[:-1], "length"),
        (signature + b"\0", "length"),
        (b"", "length"),
        (signature[:32] + (s ^ 1).to_bytes(32, "little"), "not this key's"),
    ]:
        with pytest.raises(VerificationFailed, match=cause):
            key.public.verify(wrong, message)


def test_no_r_of_small_order_or_in_a_second_encoding_is_taken():
    key, message = SigningKey.generate(), b"message"
    s = key.sign(message)[32:]
    encodings = [encoded for y in _small_order_ys() for encoded in _encodings(y)]
    beyond = [
        (P + more | sign << 255).to_bytes(32, "little") for more in range(19) for sign in (0, 1)
    ]
    for r in encodings + beyond:
        with pytest.raises(VerificationFailed, match="small order or in a second encoding"):
            key.public.verify(r + s, message)


def test_a_key_is_named_by_the_sha_256_of_its_spki():
    key = PublicKey.from_pem(
        b"-----BEGIN PUBLIC KEY-----\n"
        b"MCowBQYDK2VwAyEAfU0Of2FTpptiQrUiq77mhf2kQg+INLEIw72uNp71Sfo=\n"
        b"-----END PUBLIC KEY-----\n"
    )
    assert key.spki.hex().startswith("302a300506032b6570032100")
    assert key.fingerprint.startswith(key.short.replace(" ", ""))
    assert len(key.short) == 19 and len(key.fingerprint) == 64
    assert PublicKey.from_pem(key.to_pem()) == key == PublicKey.from_spki(key.spki)
    again = serialization.load_pem_public_key(key.to_pem())
    assert again.public_bytes_raw() == key.raw


@pytest.mark.parametrize("length", [0, 31, 33])
def test_a_public_key_of_another_length_is_refused(length):
    with pytest.raises(MalformedRecord, match=f"32 bytes.*got {length}"):
        PublicKey(b"\x02" * length)


def test_another_spki_is_refused():
    spki = SigningKey.generate().public.spki
    for wrong in (b"", spki[:-1], spki + b"\0", b"\x31" + spki[1:], spki[:9] + b"\x21" + spki[10:]):
        with pytest.raises(MalformedRecord, match="SPKI"):
            PublicKey.from_spki(wrong)


def test_what_is_no_key_is_refused_by_name():
    for junk in (b"", b"junk", b"-----BEGIN PUBLIC KEY-----\nAAA\n-----END PUBLIC KEY-----\n"):
        with pytest.raises(NotaryError, match="not the PEM"):
            PublicKey.from_pem(junk)
        with pytest.raises(NotaryError, match="not the PEM"):
            SigningKey.from_pem(junk)
    with pytest.raises(NotaryError, match="not the SPKI"):
        PublicKey.from_pem(b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n")


def test_a_file_with_two_public_keys_names_neither():
    two = SigningKey.generate().public.to_pem() + SigningKey.generate().public.to_pem()
    with pytest.raises(NotaryError, match="2 blocks"):
        PublicKey.from_pem(two)


def test_a_private_key_given_as_a_public_one_is_refused():
    with pytest.raises(NotaryError, match="private key"):
        PublicKey.parse(SigningKey.generate().to_pem())


def test_a_signing_key_is_not_shown_copied_or_pickled():
    key = SigningKey.generate()
    secret = key._private.private_bytes_raw()
    assert secret.hex() not in repr(key) and key.public.short in repr(key)
    for attempt in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(NotaryError, match="neither copied nor pickled"):
            attempt(key)


def test_the_key_is_made_at_its_first_use_for_its_owner_only(home):
    SigningKey.check()
    assert SigningKey.load() is None and not home.exists()
    before = os.umask(0)
    try:
        made = SigningKey.load_or_create()
    finally:
        os.umask(before)
    path = home / "keys" / "signing.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    assert SigningKey.load_or_create().public == made.public
    assert os.listdir(path.parent) == ["signing.pem"]
    assert keys.own_keys() == [made.public]


def test_a_signing_key_others_can_read_is_refused_with_the_command_that_helps(home):
    SigningKey.load_or_create()
    path = home / "keys" / "signing.pem"
    for mode in (0o640, 0o604, 0o620):
        path.chmod(mode)
        for use in (SigningKey.load_or_create, SigningKey.check):
            with pytest.raises(NotaryError, match=f"Next: chmod 600 {path}"):
                use()
    path.chmod(0o400)
    SigningKey.load_or_create()


def test_a_damaged_signing_key_is_not_replaced(home):
    SigningKey.load_or_create()
    path = home / "keys" / "signing.pem"
    path.write_bytes(b"junk")
    with pytest.raises(NotaryError, match="not the PEM"):
        SigningKey.load_or_create()
    assert path.read_bytes() == b"junk"


def test_the_environment_replaces_the_key_by_path_or_text(home, tmp_path, monkeypatch):
    key = SigningKey.generate()
    path = tmp_path / "mounted.pem"
    path.write_bytes(key.to_pem())
    path.chmod(0o644)
    text = key.to_pem().decode()
    for value in (str(path), text, text.replace("\n", "\\n")):
        monkeypatch.setenv("TORCHNOTARY_KEY", value)
        SigningKey.check()
        assert SigningKey.load_or_create().public == key.public
        assert keys.own_keys() == [key.public]
    assert not home.exists()


def test_a_key_from_the_environment_that_cannot_be_used_says_what_to_set(tmp_path, monkeypatch):
    secret = SigningKey.generate().to_pem().decode()
    broken = secret[:40] + secret[60:]
    for value, cause in [
        (str(tmp_path / "missing.pem"), "TORCHNOTARY_KEY names"),
        (str(tmp_path), "TORCHNOTARY_KEY names"),
        (broken, "not the PEM"),
    ]:
        monkeypatch.setenv("TORCHNOTARY_KEY", value)
        for use in (SigningKey.check, SigningKey.load_or_create):
            with pytest.raises(NotaryError, match=cause) as caught:
                use()
            assert secret[60:90] not in str(caught.value)


def test_processes_that_race_for_the_first_key_end_with_one(home):
    source = """
        from torchnotary.keys import SigningKey
        import sys, time
        SigningKey.generate()
        time.sleep(max(0, float(sys.argv[1]) - time.time()))
        print(SigningKey.load_or_create().public.fingerprint)
    """
    for _ in range(3):
        start = str(time.time() + 1.5)
        command = [*script(source), start]
        racing = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(4)]
        printed = {process.communicate(timeout=60)[0].strip() for process in racing}
        assert printed == {SigningKey.load().public.fingerprint}
        assert os.listdir(home / "keys") == ["signing.pem"]
        (home / "keys" / "signing.pem").unlink()


AS_NOBODY = """
    from log_helpers import become_nobody
    from torchnotary.keys import SigningKey
    from torchnotary.errors import NotaryError
    become_nobody()
    try:
        SigningKey.check()
    except NotaryError as error:
        print(error)
    else:
        print("no error")
"""


def test_a_read_only_home_says_in_one_sentence_what_to_set():
    with open_folder() as folder:
        _check_read_only(folder / "home")


def _check_read_only(home):
    home.mkdir(mode=0o555)
    (said,) = run(AS_NOBODY, TORCHNOTARY_HOME=str(home)).stdout.splitlines()
    assert "cannot be written" in said
    assert said.endswith(
        "Next: set TORCHNOTARY_HOME to a folder that can be written, or TORCHNOTARY_KEY to a key"
    )
    assert os.listdir(home) == []
    key = SigningKey.generate().to_pem().decode()
    finished = run(AS_NOBODY, TORCHNOTARY_HOME=str(home), TORCHNOTARY_KEY=key)
    assert finished.stdout == "no error\n"


def test_a_home_that_is_a_file_says_what_to_set(home):
    home.write_bytes(b"")
    with pytest.raises(NotaryError, match="is a file.*TORCHNOTARY_HOME"):
        SigningKey.check()


def test_only_own_and_trusted_keys_are_trusted(home):
    own, other = SigningKey.load_or_create().public, SigningKey.generate().public
    assert keys.is_trusted(own) and not keys.is_trusted(other)
    path = keys.trust(other)
    assert keys.trust(other) == path == home / "trusted" / f"{other.fingerprint}.pem"
    assert keys.is_trusted(other) and keys.trusted_keys() == [other]
    assert keys.untrust(other.fingerprint) and not keys.untrust(other.fingerprint)
    assert not keys.is_trusted(other)


def test_a_trusted_file_that_holds_another_key_is_refused_by_name():
    first, second = SigningKey.generate().public, SigningKey.generate().public
    path = keys.trust(first)
    path.write_bytes(second.to_pem())
    with pytest.raises(NotaryError, match="not the key its name says") as caught:
        keys.is_trusted(second)
    assert (caught.value.expected, caught.value.actual) == (first.fingerprint, second.fingerprint)


def test_a_key_is_understood_in_every_form_people_have_it(tmp_path):
    key = SigningKey.generate().public
    path = tmp_path / "their key.pem"
    path.write_bytes(key.to_pem())
    forms = [key, key.spki, key.to_pem(), key.to_pem().decode(), path, str(path)]
    for form in forms:
        assert PublicKey.parse(form) == key
        assert keys.fingerprint_of(form) == key.fingerprint
    spaced = " ".join(key.fingerprint[i : i + 4] for i in range(0, 64, 4))
    named = [key.fingerprint, key.fingerprint.upper(), spaced]
    with pytest.raises(NotaryError, match="keys trust"):
        PublicKey.parse(key.fingerprint)
    assert keys.fingerprint_of(key.fingerprint) == key.fingerprint
    keys.trust(key)
    for form in named:
        assert PublicKey.parse(form) == key
        assert keys.fingerprint_of(form) == key.fingerprint


def test_the_first_digits_of_a_fingerprint_name_no_key():
    key = SigningKey.generate().public
    keys.trust(key)
    for form in (key.short, key.fingerprint[:16]):
        for read in (PublicKey.parse, keys.fingerprint_of):
            with pytest.raises(NotaryError, match="keys list") as caught:
                read(form)
            assert caught.value.expected == "64 hex digits"


def test_a_file_called_like_a_fingerprint_does_not_take_its_place(tmp_path, monkeypatch):
    wanted, other = SigningKey.generate().public, SigningKey.generate().public
    monkeypatch.chdir(tmp_path)
    path = tmp_path / wanted.fingerprint
    path.write_bytes(other.to_pem())
    assert keys.fingerprint_of(wanted.fingerprint) == wanted.fingerprint
    with pytest.raises(NotaryError, match="no own or trusted key"):
        PublicKey.parse(wanted.fingerprint)
    keys.trust(wanted)
    assert PublicKey.parse(wanted.fingerprint) == wanted
    for named in (path, Path(wanted.fingerprint), f"./{wanted.fingerprint}"):
        assert PublicKey.parse(named) == other
        assert keys.fingerprint_of(named) == other.fingerprint


def test_a_key_of_a_user_who_does_not_exist_and_one_without_end_are_typed_errors(tmp_path):
    with pytest.raises(NotaryError, match="no folder"):
        PublicKey.parse("~nosuchuser/key.pem")
    with pytest.raises(OSError):
        PublicKey.parse("key\0.pem")
    (tmp_path / "long.pem").write_bytes(b"-" * 100_000)
    with pytest.raises(NotaryError, match="too large"):
        PublicKey.parse(tmp_path / "long.pem")
    os.mkfifo(tmp_path / "pipe.pem")
    for special in (tmp_path / "pipe.pem", "/dev/zero"):
        with pytest.raises(OSError, match="not a regular file"):
            PublicKey.parse(special)


def test_a_key_that_is_not_there_is_an_os_error_and_a_bad_fingerprint_a_typed_one(tmp_path):
    with pytest.raises(FileNotFoundError):
        PublicKey.parse(str(tmp_path / "missing.pem"))
    for wrong in ("", "../x", "A" * 64, "0" * 63):
        with pytest.raises(NotaryError, match="not a fingerprint"):
            keys.untrust(wrong)
