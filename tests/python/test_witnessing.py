"""A witness cosigns one history of a log and no other, whatever it is shown."""

from __future__ import annotations

import errno
import os
import threading

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

import rfc9162_reference as reference
from torchnotary.errors import CheckpointConflict, MalformedRecord, NotaryError, VerificationFailed
from torchnotary.keys import SigningKey
from torchnotary.log.checkpoint import Checkpoint, SignedNote, origin_of
from torchnotary.log.proofs import ConsistencyProof
from torchnotary.log.witness import cosign
from torchnotary.log.witnessing import Witness

KEY, OTHER = (SigningKey(Ed25519PrivateKey.from_private_bytes(bytes([n] * 32))) for n in (1, 2))
ORIGIN = origin_of(KEY.public)
NAME = "witness.example/w1"
HONEST = [b"leaf %d" % i for i in range(9)]
FORKED = [*HONEST[:2], b"another", *HONEST[3:]]


def note(size: int, leaves=HONEST, key=KEY) -> str:
    return Checkpoint(origin_of(key.public), size, reference.mth(leaves[:size])).sign(key)


def growing_to(size: int, leaves=HONEST, key=KEY):
    """What a log whose leaves are these shows a witness."""

    def show(old: int) -> ConsistencyProof:
        hashes = reference.proof(old, leaves[:size]) if 0 < old <= size else []
        return ConsistencyProof(old, tuple(hashes), note(size, leaves, key))

    return show


@pytest.fixture
def witness(tmp_path) -> Witness:
    made = Witness.open(tmp_path / "witness", NAME)
    made.watch(KEY.public)
    return made


def time_of(witness: Witness, cosigned: str) -> int:
    return witness.identity.verify(SignedNote.parse(cosigned))


def test_a_growing_log_is_cosigned_each_time(witness):
    for now, size in enumerate([0, 1, 1, 4, 9]):
        cosigned = witness.cosign(ORIGIN, growing_to(size), lambda now=now: 1000 + now)
        assert Checkpoint.verify(cosigned, KEY.public).size == size
        assert time_of(witness, cosigned) == 1000 + now
        assert witness.seen(ORIGIN).note == cosigned


@pytest.mark.parametrize(
    "shown", [growing_to(9, FORKED), growing_to(4, FORKED), growing_to(3), growing_to(0)]
)
def test_a_fork_a_rewrite_and_a_rollback_are_refused_and_kept(witness, shown, tmp_path):
    before = witness.cosign(ORIGIN, growing_to(4), lambda: 1000)
    with pytest.raises(CheckpointConflict, match="not shown to extend") as caught:
        witness.cosign(ORIGIN, shown, lambda: 1001)
    assert "size 4, root" in caught.value.expected and "root" in caught.value.actual
    assert witness.seen(ORIGIN).note == before
    (kept,) = tmp_path.glob("witness/*/conflict-*")
    assert str(kept) in caught.value.next_step
    assert ConsistencyProof.from_text(kept.read_text()) == shown(4)


def test_another_process_cannot_have_a_fork_cosigned(witness, tmp_path):
    witness.cosign(ORIGIN, growing_to(4), lambda: 1000)
    again = Witness.open(tmp_path / "witness")
    assert again.identity == witness.identity
    with pytest.raises(CheckpointConflict):
        again.cosign(ORIGIN, growing_to(9, FORKED), lambda: 1001)


def test_two_at_once_cosign_one_after_the_other(witness, tmp_path):
    """Both are shown histories that extend what was there when they came: one must lose."""
    witness.cosign(ORIGIN, growing_to(2), lambda: 1000)
    inside, outcomes = threading.Event(), []

    def slow(old: int) -> ConsistencyProof:
        inside.set()
        rival.join(0.2)
        return growing_to(9)(old)

    def fork() -> None:
        inside.wait()
        try:
            other = Witness.open(tmp_path / "witness")
            other.cosign(ORIGIN, growing_to(9, FORKED), lambda: 1001)
        except NotaryError as error:
            outcomes.append(error)

    rival = threading.Thread(target=fork)
    rival.start()
    witness.cosign(ORIGIN, slow, lambda: 1001)
    rival.join()
    assert [type(error) for error in outcomes] == [CheckpointConflict]


def test_what_is_cosigned_is_kept_before_anyone_gets_it(witness, monkeypatch):
    witness.cosign(ORIGIN, growing_to(4), lambda: 1000)

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError):
        witness.cosign(ORIGIN, growing_to(9), lambda: 1001)
    monkeypatch.undo()
    assert witness.seen(ORIGIN).checkpoint.size == 4


def test_a_clock_that_went_back_is_refused(witness):
    witness.cosign(ORIGIN, growing_to(4), lambda: 1000.9)
    with pytest.raises(NotaryError, match="clock is behind"):
        witness.cosign(ORIGIN, growing_to(9), lambda: 999.9)
    assert time_of(witness, witness.cosign(ORIGIN, growing_to(9), lambda: 1000)) == 1000


def test_a_log_it_was_never_told_to_watch_is_refused(witness):
    origin = origin_of(OTHER.public)
    with pytest.raises(NotaryError, match="does not watch"):
        witness.cosign(origin, growing_to(4, key=OTHER), lambda: 1000)
    assert witness.seen(origin) is None


def test_a_checkpoint_by_another_key_is_refused(witness):
    forged = Checkpoint(ORIGIN, 4, bytes(32)).sign(OTHER)
    with pytest.raises(VerificationFailed, match="not signed by the log's key"):
        witness.cosign(ORIGIN, lambda old: ConsistencyProof(old, (), forged), lambda: 1000)


def test_a_proof_from_another_size_is_refused_and_says_from_which(witness):
    witness.cosign(ORIGIN, growing_to(4), lambda: 1000)
    with pytest.raises(VerificationFailed, match="another size") as caught:
        witness.cosign(ORIGIN, lambda _: growing_to(9)(3), lambda: 1001)
    assert (caught.value.expected, caught.value.actual) == (4, 3)


def test_lines_it_did_not_check_are_left_out(witness):
    def show(old: int) -> ConsistencyProof:
        return ConsistencyProof(old, (), cosign(note(4), "witness.example/other", OTHER, 7))

    cosigned = witness.cosign(ORIGIN, show, lambda: 1000)
    names = [name for name, _, _ in SignedNote.parse(cosigned).signatures]
    assert names == [ORIGIN, NAME]


def test_a_folder_is_one_witnesss(tmp_path):
    folder = tmp_path / "witness"
    with pytest.raises(NotaryError, match="no witness in .* yet"):
        Witness.open(folder)
    with pytest.raises(MalformedRecord, match="not the name"):
        Witness.open(folder, "two names")
    assert not folder.exists()
    made = Witness.open(folder, NAME)
    assert (folder / "key.pem").stat().st_mode & 0o777 == 0o600
    assert Witness.open(folder, NAME).identity == made.identity
    for name, key in [("witness.example/w2", None), (NAME, OTHER), (None, OTHER)]:
        with pytest.raises(NotaryError, match="belongs to another witness"):
            Witness.open(folder, name, key)


def test_a_key_that_is_kept_elsewhere_is_not_copied(tmp_path):
    folder = tmp_path / "witness"
    assert Witness.open(folder, NAME, OTHER).identity.key == OTHER.public
    assert not (folder / "key.pem").exists()
    with pytest.raises(NotaryError, match="keeps its key elsewhere"):
        Witness.open(folder)
    assert Witness.open(folder, key=OTHER).identity.name == NAME


def test_a_log_cannot_be_its_own_witness(tmp_path):
    with pytest.raises(NotaryError, match="its own witness"):
        Witness.open(tmp_path / "witness", NAME, KEY).watch(KEY.public)


def test_memory_that_was_edited_is_refused(witness, tmp_path):
    witness.cosign(ORIGIN, growing_to(4), lambda: 1000)
    (path,) = tmp_path.glob("witness/*/checkpoint")
    path.write_text(note(2))
    with pytest.raises(VerificationFailed, match="not cosigned by this witness"):
        witness.cosign(ORIGIN, growing_to(9, FORKED), lambda: 1001)


@pytest.mark.parametrize("name", ["witness.vkey", "key.pem", "*/log.vkey", "*/checkpoint"])
@pytest.mark.parametrize("content", ["", "damaged\n"])
def test_what_is_damaged_of_its_memory_is_named(witness, tmp_path, name, content):
    witness.cosign(ORIGIN, growing_to(4), lambda: 1000)
    (path,) = tmp_path.glob(f"witness/{name}")
    path.write_text(content)
    with pytest.raises(NotaryError, match=f"{path} is damaged: .*begin in a new folder"):
        Witness.open(tmp_path / "witness").cosign(ORIGIN, growing_to(9), lambda: 1001)


def test_a_folder_that_cannot_be_written_is_named(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(NotaryError, match="key.pem cannot be made: No space.*--state DIR"):
        Witness.open(tmp_path / "witness", NAME)
