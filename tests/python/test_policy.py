"""A policy file: what it may say, and that everything else is refused by name."""

from __future__ import annotations

import json
import os
import time
from datetime import timedelta

import pytest

from torchnotary.errors import MalformedPolicy
from torchnotary.keys import SigningKey
from torchnotary.log.checkpoint import Checkpoint, origin_of
from torchnotary.log.checkpoint import vkey as log_vkey
from torchnotary.log.revocation import Revocation
from torchnotary.log.witness import WitnessKey
from torchnotary.verifier.policy import Policy
from torchnotary.verifier.policy_file import FIELDS, PROFILES

FINGERPRINT = "ab" * 32


def test_a_policy_names_signers_origins_and_required_steps():
    policy = Policy.parse(
        f'signers = ["{FINGERPRINT}"]\norigins = ["torchnotary.log/0a"]\n'
        'required = ["weights", "log consistency"]\n'.encode()
    )
    assert policy.signers == {FINGERPRINT}
    assert policy.origins == {"torchnotary.log/0a"}
    assert policy.required == {"weights", "log consistency"}


def test_an_empty_policy_restricts_nothing():
    policy = Policy.parse(b"")
    assert policy == Policy(None, None, frozenset())


def test_an_empty_list_of_signers_trusts_nobody_which_is_not_the_same_as_no_list():
    assert Policy.parse(b"signers = []").signers == frozenset()


def test_signers_are_read_from_pem_text_and_from_paths_beside_the_policy(tmp_path):
    first, second = SigningKey.generate().public, SigningKey.generate().public
    (tmp_path / "first.pem").write_bytes(first.to_pem())
    pem = second.to_pem().decode()
    (tmp_path / "policy.toml").write_text(f'signers = ["first.pem", """{pem}"""]\n')
    policy = Policy.load(tmp_path / "policy.toml")
    assert policy.signers == {first.fingerprint, second.fingerprint}
    assert Policy.load(policy) is policy


@pytest.mark.parametrize(
    ("text", "named"),
    [
        (b"signers = [", "not TOML"),
        (b"\xff\xfe", "not TOML"),
        (b'signer = ["x"]', "unknown field"),
        (b'signers = "x"', "wrong signers"),
        (b"origins = [1]", "wrong origins"),
        (b'required = ["sunshine"]', "sunshine"),
        (b'signers = ["nobody.pem"]', "cannot be read"),
        (b'required = ["weights"]\nrequired = []', "not TOML"),
    ],
)
def test_a_policy_with_anything_else_in_it_is_refused_naming_it(text, named):
    with pytest.raises(MalformedPolicy, match=named) as raised:
        Policy.parse(text)
    assert raised.value.next_step


def test_a_policy_that_cannot_be_opened_is_an_os_error(tmp_path):
    with pytest.raises(FileNotFoundError):
        Policy.load(tmp_path / "absent.toml")


def test_a_policy_of_more_than_64_kib_is_refused_unread(tmp_path):
    path = tmp_path / "large.toml"
    path.write_bytes(b"#" * 65_536)
    assert Policy.load(path) == Policy()
    path.write_bytes(b"#" * 65_537)
    with pytest.raises(MalformedPolicy, match="too large"):
        Policy.load(path)
    with pytest.raises(MalformedPolicy, match="too large"):
        Policy.parse(path.read_bytes())


@pytest.mark.parametrize(
    "text",
    [
        b"x = " + b"[" * 20_000,
        b"x = " + b"9" * 5_000,
        b'signers = ["~nosuchuser/key.pem"]',
        b'signers = ["a\\u0000b"]',
        b'signers = ["0123 4567 89ab cdef"]',
        b'signers = [""]',
        b'"\\u0000" = 1',
    ],
)
def test_a_hostile_policy_is_refused_with_a_typed_error(text, tmp_path):
    with pytest.raises(MalformedPolicy) as raised:
        Policy.parse(text, folder=tmp_path)
    assert raised.value.next_step


def test_a_dotted_key_of_any_length_is_refused_at_once():
    for key in (b"a" + b".a" * 30_000, b'"a.b"' + b" . 'c#'" * 8_000):
        begun = time.process_time()
        for text in (key + b" = 1", b"[" + key + b"]"):
            with pytest.raises(MalformedPolicy, match="dots"):
                Policy.parse(text)
        assert time.process_time() - begun < 1


def test_dots_in_text_and_comments_are_no_key():
    many = "../" * 40
    policy = Policy.parse(f"# {many}\norigins = ['{many}', \"{many}\"]  # {many}".encode())
    assert policy.origins == {many}


def test_a_file_called_like_a_fingerprint_does_not_take_its_place(tmp_path):
    other = SigningKey.generate().public
    (tmp_path / FINGERPRINT).write_bytes(other.to_pem())
    policy = tmp_path / "policy.toml"
    policy.write_text(f'signers = ["{FINGERPRINT}"]')
    assert Policy.load(policy).signers == {FINGERPRINT}
    policy.write_text(f'signers = ["./{FINGERPRINT}"]')
    assert Policy.load(policy).signers == {other.fingerprint}


def test_a_policy_that_is_a_pipe_or_a_device_is_an_os_error(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path / "pipe", "/dev/zero"):
        with pytest.raises(OSError, match="not a regular file"):
            Policy.load(path)


def vkey(name, key=None):
    return WitnessKey(name, key or SigningKey.generate().public).vkey()


def toml(**fields):
    """The text of a policy with these fields; TOML writes lists and texts as JSON does."""
    return "\n".join(f"{name} = {json.dumps(value)}" for name, value in fields.items()).encode()


def test_every_field_is_read(tmp_path):
    key = SigningKey.generate()
    (tmp_path / "log.pem").write_bytes(key.public.to_pem())
    note = Checkpoint(origin_of(key.public), 1, b"\1" * 32).sign(key)
    (tmp_path / "checkpoint").write_text(note)
    (tmp_path / "revoked.jsonl").write_bytes(Revocation(FINGERPRINT).encode())
    first, second = vkey("w.example/1"), vkey("w.example/2")
    text = toml(
        signers=[FINGERPRINT],
        origins=["o"],
        log_keys=["log.pem"],
        witnesses=[first, second],
        quorum=1,
        checkpoint="checkpoint",
        required=["time"],
        models=["0" * 64],
        profiles=["exact/1", "native"],
        max_age="30d",
        max_delay="90m",
        nonce="C0FFEE",
        revoked=["revoked.jsonl"],
    )
    assert {line.split(" = ")[0] for line in text.decode().splitlines()} == set(FIELDS)
    (tmp_path / "policy.toml").write_bytes(text)
    assert Policy.load(tmp_path / "policy.toml") == Policy(
        signers=frozenset({FINGERPRINT}),
        origins=frozenset({"o"}),
        required=frozenset({"time"}),
        log_keys=frozenset({key.public.fingerprint}),
        witnesses=(WitnessKey.from_vkey(first), WitnessKey.from_vkey(second)),
        quorum=1,
        checkpoint=note,
        models=frozenset({"0" * 64}),
        profiles=frozenset({"exact/1", "native"}),
        max_age=timedelta(days=30),
        max_delay=timedelta(minutes=90),
        nonce="c0ffee",
        revoked=(Revocation(FINGERPRINT),),
    )
    assert Policy.parse(toml(checkpoint=note)).checkpoint == note


def test_a_witness_may_be_named_by_the_file_with_its_verifier_key(tmp_path):
    (tmp_path / "witness.vkey").write_text(vkey("w/1", ONE_KEY) + "\n")
    named = Policy.parse(toml(witnesses=["witness.vkey"]), folder=tmp_path)
    assert named.witnesses == Policy.parse(toml(witnesses=[vkey("w/1", ONE_KEY)])).witnesses


def test_a_logs_key_may_be_named_by_its_verifier_key_and_a_signers_not():
    key = SigningKey.generate().public
    text = log_vkey(origin_of(key), key)
    assert Policy.parse(toml(log_keys=[text])).log_keys == {key.fingerprint}
    with pytest.raises(MalformedPolicy, match="wrong log_keys: a verifier key for another kind"):
        Policy.parse(toml(log_keys=[vkey("w/1")]))
    with pytest.raises(MalformedPolicy, match="wrong signers"):
        Policy.parse(toml(signers=[text]))


def test_without_a_quorum_all_witnesses_must_have_cosigned():
    policy = Policy.parse(toml(witnesses=[vkey("w.example/1"), vkey("w.example/2")]))
    assert policy.quorum == 2


@pytest.mark.parametrize("quorum", [-1, 0, 2])
def test_a_quorum_of_nobody_is_no_policy_however_it_is_made(quorum):
    witness = WitnessKey("w.example/1", SigningKey.generate().public)
    with pytest.raises(MalformedPolicy, match="quorum"):
        Policy(witnesses=(witness,), quorum=quorum)


ONE_KEY = SigningKey.generate().public


@pytest.mark.parametrize(
    ("fields", "field"),
    [
        ({"quorum": 1}, "quorum"),
        ({"quorum": 0, "witnesses": [vkey("w/1")]}, "quorum"),
        ({"quorum": 2, "witnesses": [vkey("w/1")]}, "quorum"),
        ({"quorum": True, "witnesses": [vkey("w/1")]}, "quorum"),
        ({"witnesses": []}, "witnesses"),
        ({"witnesses": ["w/1"]}, "witnesses"),
        ({"witnesses": [vkey("w/1", ONE_KEY), vkey("w/2", ONE_KEY)]}, "witnesses"),
        ({"witnesses": [vkey("w/1", ONE_KEY), vkey("w/1", ONE_KEY)]}, "witnesses"),
        ({"log_keys": ["nobody.pem"]}, "log_keys"),
        ({"log_keys": "ab" * 32}, "log_keys"),
        ({"signers": ["0123456789abcdef"]}, "signers"),
        ({"checkpoint": "absent"}, "checkpoint"),
        ({"checkpoint": "not\na note\n"}, "checkpoint"),
        ({"checkpoint": ["a"]}, "checkpoint"),
        ({"models": ["ab"]}, "models"),
        ({"models": ["AB" * 32]}, "models"),
        ({"models": ["ab" * 32 + "\n"]}, "models"),
        ({"profiles": ["fast"]}, "profiles"),
        ({"max_age": 30}, "max_age"),
        ({"max_age": "30"}, "max_age"),
        ({"max_age": "0d"}, "max_age"),
        ({"max_age": "9999999d"}, "max_age"),
        ({"max_age": "1d\n"}, "max_age"),
        ({"max_delay": "1y"}, "max_delay"),
        ({"nonce": False}, "nonce"),
        ({"nonce": ""}, "nonce"),
        ({"nonce": "xyz"}, "nonce"),
        ({"nonce": 7}, "nonce"),
        ({"revoked": ["absent"]}, "revoked"),
        ({"revoked": ["."]}, "revoked"),
    ],
)
def test_a_field_with_anything_else_in_it_is_refused_naming_what_it_may_be(fields, field, tmp_path):
    with pytest.raises(MalformedPolicy, match=f"wrong {field}") as raised:
        Policy.parse(toml(**fields), folder=tmp_path)
    assert raised.value.next_step.startswith(f"{field} is ")
    assert str(raised.value).count("Next:") == 1 and "Errno" not in str(raised.value)


def test_the_place_in_a_list_is_named_with_what_stands_there():
    with pytest.raises(MalformedPolicy, match=r"wrong models\[1\]: 'ab'"):
        Policy.parse(toml(models=["0" * 64, "ab"]))


def test_the_profiles_a_policy_may_name_are_those_there_are():
    from torchnotary import notary

    assert PROFILES == notary.PROFILES
