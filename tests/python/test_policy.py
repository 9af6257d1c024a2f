"""A policy file: what it may say, and that everything else is refused by name."""

from __future__ import annotations

import os
import time

import pytest

from torchnotary.errors import MalformedPolicy
from torchnotary.keys import SigningKey
from torchnotary.verifier.policy import Policy

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
