"""Cosignatures (C2SP tlog-cosignature v1): the specification's own example, and what is refused."""

from __future__ import annotations

import base64
import hashlib
import struct

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from torchnotary.errors import MalformedRecord, NotaryError, VerificationFailed
from torchnotary.keys import SigningKey
from torchnotary.log.checkpoint import Checkpoint, SignedNote, origin_of
from torchnotary.log.witness import WitnessKey, cosign, verify_every_line

LOG_KEY, KEY, OTHER_KEY = (
    SigningKey(Ed25519PrivateKey.from_private_bytes(bytes([seed] * 32))) for seed in (1, 2, 3)
)
ORIGIN = origin_of(LOG_KEY.public)
NOTE = Checkpoint(ORIGIN, 7, bytes(range(32))).sign(LOG_KEY)
NAME = "witness.example/w1"
WITNESS = WitnessKey(NAME, KEY.public)
TIME = 1679315147
COSIGNED = cosign(NOTE, NAME, KEY, TIME)

# The note that c2sp.org/tlog-cosignature shows.
EXAMPLE = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2"
    "q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
    "— witness.example.com/w1 jWbPPwAAAABkGFDLEZMHwSRaJNiIDoe9DYn/zXcrtPHeolMI5OWXEhZCB9dlrDJsX3b2o"
    "yin1nPZqhf5nNo0xUe+mbIUBkBIfZ+qnA==\n"
)


def reference_key_id(name: str, raw: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n\x04" + raw).digest()[:4]


def reference_line(note: str, name: str, key: Ed25519PrivateKey, time: int) -> str:
    """A cosignature made from the specification alone."""
    body = note[: note.rindex("\n\n") + 1]
    signature = key.sign(f"cosignature/v1\ntime {time}\n{body}".encode())
    kid = reference_key_id(name, key.public_key().public_bytes_raw())
    data = base64.b64encode(kid + struct.pack(">Q", time) + signature).decode()
    return f"— {name} {data}\n"


def reference_verify(note: str, name: str, raw: bytes) -> int:
    body = note[: note.rindex("\n\n") + 1]
    for line in note[note.rindex("\n\n") + 2 :].splitlines():
        _, who, data = line.split(" ")
        data = base64.b64decode(data)
        if who == name and data[:4] == reference_key_id(name, raw):
            (time,) = struct.unpack(">Q", data[4:12])
            message = f"cosignature/v1\ntime {time}\n{body}".encode()
            Ed25519PublicKey.from_public_bytes(raw).verify(data[12:], message)
            return time
    raise LookupError(name)


def test_the_specifications_example_has_the_time_that_it_says():
    data = SignedNote.parse(EXAMPLE).signatures[1][2]
    assert len(data) == 72 and int.from_bytes(data[:8], "big") == TIME


def test_a_cosignature_made_from_the_specification_alone_verifies():
    key = Ed25519PrivateKey.generate()
    own = SigningKey(key)
    note = NOTE + reference_line(NOTE, NAME, key, TIME)
    assert note == cosign(NOTE, NAME, own, TIME)
    assert WitnessKey(NAME, own.public).verify(SignedNote.parse(note)) == TIME


@pytest.mark.parametrize("time", [0, 1, TIME, 2**63 - 1])
def test_a_cosignature_of_ours_verifies_elsewhere(time):
    note = cosign(NOTE, NAME, KEY, time)
    assert reference_verify(note, NAME, KEY.public.raw) == time
    assert WITNESS.verify(SignedNote.parse(note)) == time
    assert Checkpoint.verify(note, LOG_KEY.public).size == 7


@pytest.mark.parametrize("time", [-1, 2**63])
def test_a_time_that_no_cosignature_has_is_refused(time):
    with pytest.raises(MalformedRecord, match="no time"):
        cosign(NOTE, NAME, KEY, time)


def test_a_cosignature_read_with_a_time_beyond_the_last_one_is_refused():
    line = reference_line(NOTE, NAME, KEY._private, 2**63)
    with pytest.raises(MalformedRecord, match="no time"):
        WITNESS.verify(SignedNote.parse(NOTE + line))


@pytest.mark.parametrize(
    "name, key", [("witness.example/w2", KEY), (NAME, OTHER_KEY)], ids=["name", "key"]
)
def test_another_witness_is_not_this_one(name, key):
    with pytest.raises(VerificationFailed, match="not cosigned by this witness"):
        WITNESS.verify(SignedNote.parse(cosign(NOTE, name, key, TIME)))


def test_a_log_cannot_be_its_own_witness_by_its_signature():
    """The two kinds of signature have key ids of their own, so neither stands for the other."""
    with pytest.raises(VerificationFailed, match="not cosigned"):
        WitnessKey(ORIGIN, LOG_KEY.public).verify(SignedNote.parse(NOTE))


def test_one_witness_counts_once():
    twice = cosign(COSIGNED, NAME, KEY, TIME + 1)
    with pytest.raises(MalformedRecord, match="twice"):
        WITNESS.verify(SignedNote.parse(twice))


def test_a_cosignature_of_another_checkpoint_is_refused():
    line = COSIGNED.splitlines(keepends=True)[-1]
    larger = Checkpoint(ORIGIN, 8, bytes(32)).sign(LOG_KEY)
    with pytest.raises(VerificationFailed, match="not this key's"):
        WITNESS.verify(SignedNote.parse(larger + line))


def test_a_cosignature_with_another_time_is_refused():
    line = reference_line(NOTE, NAME, KEY._private, TIME)
    data = bytearray(base64.b64decode(line.split(" ")[2]))
    data[11] ^= 1
    forged = f"— {NAME} {base64.b64encode(data).decode()}\n"
    with pytest.raises(VerificationFailed, match="not this key's"):
        WITNESS.verify(SignedNote.parse(NOTE + forged))


@pytest.mark.parametrize("size", [1, 64, 71, 73])
def test_a_cosignature_of_another_length_is_refused(size):
    data = WITNESS.key_id() + bytes(size)
    line = f"— {NAME} {base64.b64encode(data).decode()}\n"
    with pytest.raises(MalformedRecord, match="a time and a signature"):
        WITNESS.verify(SignedNote.parse(NOTE + line))


def test_a_verifier_key_is_the_one_of_the_specification():
    raw = KEY.public.raw
    typed = base64.b64encode(b"\x04" + raw).decode()
    assert WITNESS.vkey() == f"{NAME}+{reference_key_id(NAME, raw).hex()}+{typed}"
    assert WitnessKey.from_vkey(WITNESS.vkey()) == WITNESS


VKEY = WITNESS.vkey()
RAW = KEY.public.raw


def test_a_witness_is_named_in_one_word():
    for name in ("", "two names", "a+b", "x\u2003y", "tab\t", "x" * 257):
        with pytest.raises(MalformedRecord, match="not the name of a witness"):
            WitnessKey(name, KEY.public)


def vkey_of(name: str, typed: bytes) -> str:
    kid = hashlib.sha256(name.encode() + b"\n" + typed).digest()[:4].hex()
    return f"{name}+{kid}+{base64.b64encode(typed).decode()}"


@pytest.mark.parametrize(
    "text, cause",
    [
        ("", "not a verifier key"),
        (NAME, "not a verifier key"),
        (VKEY + "\n", "not a verifier key"),
        ("\udcfd" + VKEY, "not a verifier key"),  # as a terminal passes bytes that are no UTF-8
        (VKEY.upper(), "not a verifier key"),
        (VKEY.replace(NAME, "witness.example/w2"), "id is not the one"),
        (vkey_of(NAME, b"\x01" + RAW), "another kind"),
        (vkey_of(NAME, b"\x06" + RAW), "another kind"),
        (vkey_of(NAME, b"\x04" + RAW[:-1]), "32 bytes"),
        (vkey_of(NAME, b"\x04" + RAW + b"\0"), "too large"),
        (vkey_of(NAME, b"\x04" + bytes(32)), "small order"),
        (vkey_of(NAME, b"\x04" + b"\xff" * 32), "one encoding"),
        (vkey_of("two names", b"\x04" + RAW), "not a verifier key"),
        (vkey_of("", b"\x04" + RAW), "not a verifier key"),
        (vkey_of("x" * 257, b"\x04" + RAW), "not the name of a witness"),
    ],
)
def test_what_is_no_verifier_key_of_a_witness_is_refused_by_name(text, cause):
    with pytest.raises(MalformedRecord, match=cause):
        WitnessKey.from_vkey(text)


def test_every_single_bit_of_a_cosignature_line_counts():
    encoded = COSIGNED.encode()
    for bit in range(len(NOTE.encode()) * 8, len(encoded) * 8):
        damaged = bytearray(encoded)
        damaged[bit // 8] ^= 1 << bit % 8
        try:
            text = bytes(damaged).decode()
        except UnicodeDecodeError:
            continue
        with pytest.raises(NotaryError):
            verify_every_line(text, LOG_KEY.public, [WITNESS])


def test_a_checkpoint_is_known_with_all_its_cosignatures():
    other = WitnessKey("witness.example/w2", OTHER_KEY.public)
    note = cosign(COSIGNED, other.name, OTHER_KEY, TIME + 1)
    checkpoint, cosigned = verify_every_line(note, LOG_KEY.public, [WITNESS, other])
    assert checkpoint == Checkpoint(ORIGIN, 7, bytes(range(32)))
    assert cosigned == ((WITNESS, TIME), (other, TIME + 1))


def test_a_line_that_nobody_checks_is_refused_where_every_line_must_be_checked():
    with pytest.raises(MalformedRecord, match="lines nobody checks"):
        verify_every_line(COSIGNED, LOG_KEY.public, [])
    with pytest.raises(VerificationFailed, match="not cosigned by this witness"):
        verify_every_line(NOTE, LOG_KEY.public, [WITNESS])
