"""The commands under ``torchnotary keys`` that make, rotate, trust and revoke keys."""

from __future__ import annotations

import io
import json

import pytest
import typer

import torchnotary
from torchnotary import cli, keys
from torchnotary.keys import SigningKey
from torchnotary.keys.rotation import Rotation
from torchnotary.log.checkpoint import Checkpoint, origin_of
from torchnotary.log.proofs import TlogProof
from torchnotary.log.revocation import Revocation, own_revocation


@pytest.fixture
def run(capsys, tmp_path, monkeypatch):
    """Runs ``torchnotary keys …`` in an empty folder: exit code, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments):
        code = cli.run(["keys", *map(str, arguments)])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        assert code == 0 or "\nNext: " in captured.err
        return code, captured.out, captured.err

    return run


@pytest.fixture
def terminal(monkeypatch):
    """A terminal at which somebody types these answers."""

    class Terminal(io.StringIO):
        def isatty(self):
            return True

    def typing(*answers):
        left = list(answers)
        monkeypatch.setattr("sys.stdin", Terminal())
        monkeypatch.setattr(
            typer, "prompt", lambda text, **options: left.pop(0) if options["hide_input"] else None
        )
        return left

    return typing


def _listed(run):
    return json.loads(run("list", "--json")[1])["keys"]


def _rows(run):
    return [(row["whose"], row["fingerprint"]) for row in _listed(run)]


def test_a_p_256_key_is_made_on_request_and_named_in_the_list(run):
    code, out, _ = run("new", "--algorithm", "p256")
    assert code == 0 and "P-256" in out
    assert SigningKey.load().public.algorithm == "P-256"
    assert [row["algorithm"] for row in _listed(run)] == ["P-256"]
    assert run("new", "--algorithm", "rsa")[0] == 2


def test_a_key_is_encrypted_under_what_is_typed_or_what_the_environment_gives(
    run, terminal, home, monkeypatch
):
    assert run("new", "--encrypt")[0] == 2
    assert not (home / "keys").exists()
    terminal("s3cret")
    code, out, err = run("new", "--encrypt")
    assert code == 0 and "s3cret" not in out + err
    monkeypatch.setenv("TORCHNOTARY_KEY_PASSPHRASE", "s3cret")
    public = SigningKey.load().public
    monkeypatch.delenv("TORCHNOTARY_KEY_PASSPHRASE")
    assert run("show")[1] == out and _rows(run) == [("yours", public.fingerprint)]
    assert run("export")[1] == public.to_pem().decode()


def test_a_rotation_asks_for_the_old_passphrase_and_for_a_new_one(run, terminal, home, monkeypatch):
    monkeypatch.setenv("TORCHNOTARY_KEY_PASSPHRASE", "old")
    assert run("new", "--encrypt")[0] == 0
    monkeypatch.delenv("TORCHNOTARY_KEY_PASSPHRASE")
    assert run("rotate", "-o", "rotation.json")[0] == 2
    terminal("new", "wrong")
    assert run("rotate", "-o", "rotation.json")[0] == 2
    assert terminal("new", "old") and run("rotate", "-o", "rotation.json")[0] == 0
    monkeypatch.setenv("TORCHNOTARY_KEY_PASSPHRASE", "new")
    assert SigningKey.load().public == keys.own_keys()[0]


def test_a_rotation_is_written_listed_and_trusted_by_those_who_trust_the_old_key(run, stranger):
    assert run("rotate", "-o", "rotation.json")[0] == 2
    old = SigningKey.load_or_create().public
    assert run("rotate", "-o", "rotation.json", "--algorithm", "p256")[0] == 0
    new = SigningKey.load().public
    assert new.algorithm == "P-256"
    assert _rows(run) == [("yours", new.fingerprint), ("retired", old.fingerprint)]
    stranger()
    code, _, err = run("trust", "rotation.json")
    assert code == 3 and "keys trust FILE" in err
    keys.trust(old)
    code, out, _ = run("trust", "rotation.json")
    assert code == 0 and new.fingerprint in out
    assert {key.fingerprint for key in keys.trusted_keys()} == {old.fingerprint, new.fingerprint}


def test_a_forged_rotation_is_refused(run, tmp_path):
    old, thief = SigningKey.generate(), SigningKey.generate()
    keys.trust(old.public)
    signatures = Rotation.sign(thief, thief).signatures
    (tmp_path / "forged.json").write_bytes(Rotation(old.public, thief.public, signatures).encode())
    assert run("trust", "forged.json")[0] == 1
    (tmp_path / "junk.json").write_text("{}\n")
    assert run("trust", "junk.json")[0] == 1
    assert keys.trusted_keys() == [old.public]


def test_a_key_is_revoked_for_oneself_and_for_others(run, tmp_path, stranger, notary):
    notary.record(lambda x: x)(1)
    notary.last.save(tmp_path / "run.tnr")
    note = TlogProof.from_text(notary.last.tlog_proof).checkpoint
    (tmp_path / "log.checkpoint").write_text(note)
    old = SigningKey.load().public
    code, _, err = run("revoke", old.fingerprint)
    assert code == 2 and "keys rotate" in err and own_revocation(old.fingerprint) is None
    assert run("rotate", "-o", "rotation.json")[0] == 0
    assert run("revoke", old.fingerprint)[0] == 0
    assert torchnotary.verify(tmp_path / "run.tnr").exit_code == 1
    code, out, _ = run(
        "revoke", old.fingerprint, "--checkpoint", "log.checkpoint", "-o", "revocation.json"
    )
    assert code == 0 and "the first 1 entry of torchnotary.log/" in out
    assert torchnotary.verify(tmp_path / "run.tnr").ok
    origin = Revocation.load(tmp_path / "revocation.json").covered
    assert [row["revoked"] for row in _listed(run)] == [None, origin]
    stranger()
    assert run("revoke", "revocation.json")[0] == 0
    assert _rows(run) == [("unknown", old.fingerprint)]
    keys.trust(old)
    assert torchnotary.verify(tmp_path / "run.tnr").ok
    assert run("trust", "rotation.json")[0] == 1


def test_what_is_no_checkpoint_and_a_second_one_of_a_log_revoke_nothing(run, tmp_path):
    fingerprint = SigningKey.generate().public.fingerprint
    log_key = SigningKey.generate()
    for size in (1, 2):
        note = Checkpoint(origin_of(log_key.public), size, bytes(32)).sign(log_key)
        (tmp_path / f"{size}.checkpoint").write_text(note)
    (tmp_path / "junk").write_bytes(b"\xff")
    whole = Revocation(fingerprint).encode()
    (tmp_path / "revocation.json").write_bytes(whole)
    for arguments, expected in [
        ((fingerprint, "--checkpoint", "junk"), 2),
        ((fingerprint, "--checkpoint", "absent"), 2),
        ((fingerprint, "--checkpoint", "1.checkpoint", "--checkpoint", "2.checkpoint"), 2),
        (("revocation.json", "--checkpoint", "1.checkpoint"), 2),
        ((fingerprint[:16],), 2),
    ]:
        assert run("revoke", *arguments)[0] == expected
        assert own_revocation(fingerprint) is None
    assert run("revoke", "revocation.json")[0] == 0
    assert own_revocation(fingerprint).covered == {}


@pytest.mark.parametrize("command", ["export", "rotate", "revoke"])
def test_a_private_key_is_never_written_over(run, home, command):
    run("new")
    other = SigningKey.generate().public.fingerprint
    private = home / "keys" / "signing.pem"
    before = private.read_bytes()
    code, out, err = run(command, *([other] if command == "revoke" else []), "-o", private)
    assert (code, out) == (2, "") and f"{private} holds a private key" in err
    assert private.read_bytes() == before and own_revocation(other) is None


def test_a_key_is_not_revoked_where_the_revocation_cannot_be_written(run):
    other = SigningKey.generate().public.fingerprint
    code, _, err = run("revoke", other, "-o", "missing/revocation.json")
    assert code == 2 and err.startswith("missing/revocation.json: No such file")
    assert own_revocation(other) is None
