"""The program: what each command prints, where, and with which exit code; never a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy
import pytest
import torch
from safetensors.torch import save_file

import torchnotary
from torchnotary import cli
from torchnotary.keys import SigningKey
from torchnotary.log.proofs import TlogProof

MODEL_FILE = """
import torch

torch.manual_seed(0)
net = torch.nn.Linear(8, 4).eval()


def score(x, scale=2):
    with torch.no_grad():
        return net(x) * scale


def other(x, scale=2):
    return score(x, scale) + 1
"""


@pytest.fixture
def run(capsys):
    """Runs a command line in this process: exit code, stdout, stderr."""

    def run(*arguments):
        code = cli.run([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.out + captured.err
        if code != 0:
            said = captured.out + captured.err
            assert any(x in said for x in ("\nNext: ", '"next"')), said
        return code, captured.out, captured.err

    return run


@pytest.fixture
def place(tmp_path, monkeypatch):
    """The current folder, with a module ``mymodel`` in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mymodel.py").write_text(MODEL_FILE)
    yield tmp_path
    sys.modules.pop("mymodel", None)
    sys.path[:] = [entry for entry in sys.path if entry != str(tmp_path)]


@pytest.fixture
def mymodel(place):
    sys.path.insert(0, str(place))
    import mymodel

    return mymodel


X = torch.arange(24, dtype=torch.float32).reshape(3, 8)


@pytest.fixture
def record(mymodel, notary, place):
    """A record of mymodel.score, saved plain as run.tnr, its values as files beside it."""
    y = notary.record(mymodel.score)(X)
    notary.last.save(place / "run.tnr")
    save_file({"x": X, "scale": torch.tensor(2)}, place / "wrong-kind.safetensors")
    save_file({"output": y}, place / "y.safetensors")
    numpy.savez(place / "y.npz", output=y.numpy())
    numpy.save(place / "y.npy", y.numpy())
    torch.save({"x": X, "scale": 2}, place / "in.pt")
    torch.save(y, place / "y.pt")
    save_file(mymodel.net.state_dict(), place / "net.safetensors")
    return notary.last


def one_document(text):
    document = json.loads(text)
    assert isinstance(document, dict) and "type" in document
    return document


# verify


def test_verify_prints_the_verdict_on_stdout_and_exits_with_its_code(run, record, monkeypatch):
    code, out, err = run("verify", "run.tnr")
    assert (code, err) == (0, "")
    assert out == f"{torchnotary.verify('run.tnr')}\n"
    monkeypatch.setenv("TORCHNOTARY_HOME", os.path.abspath("stranger"))
    code, out, err = run("verify", "run.tnr")
    assert (code, err) == (3, "")
    assert out.startswith("UNKNOWN SIGNER") and "Next: get their key another way" in out


def test_verify_takes_every_keyword_of_the_function_as_an_option(run, record, notary, mymodel):
    key = record.public_key
    open("key.pem", "wb").write(key.to_pem())
    open("checkpoint", "w").write(TlogProof.from_text(record.tlog_proof).checkpoint)
    open("policy.toml", "w").write('signers = ["key.pem"]\nrequired = ["witness"]\n')
    with notary.nonce(b"\x01\x02"):
        notary.record(mymodel.score)(X)
    notary.last.save("nonce.tnr")
    assert run("verify", "nonce.tnr", "--nonce", "0102")[0] == 0
    assert run("verify", "nonce.tnr", "--nonce", "0103")[0] == 1
    code, out, _ = run(
        *("verify", "run.tnr", "--signer", "key.pem", "--checkpoint", "checkpoint"),
        *("--policy", "policy.toml", "--model", "mymodel:net"),
        *("--inputs", "in.pt", "--outputs", "y.safetensors", "--json"),
    )
    assert code == 0, out
    outcomes = {step["name"]: step["outcome"] for step in one_document(out)["steps"]}
    assert {name for name, outcome in outcomes.items() if outcome != "passed"} == {"time", "nonce"}


@pytest.mark.parametrize("name", ["y.safetensors", "y.npz", "y.npy", "y.pt"])
def test_outputs_are_read_from_every_kind_of_file(run, record, name):
    assert run("verify", "run.tnr", "--outputs", name)[0] == 0
    assert run("verify", "run.tnr", "--outputs", "in.pt")[0] == 1


def test_inputs_are_read_from_json_and_by_leaf_path(run, notary, place):
    @notary.record
    def pick(texts, options):
        return texts[options["at"]]

    pick(["a", "b"], {"at": 1})
    notary.last.save("run.tnr")
    (place / "in.json").write_text('{"texts": ["a", "b"], "options": {"at": 1}}')
    assert run("verify", "run.tnr", "--inputs", "in.json")[0] == 0
    (place / "in.json").write_text('[["a", "b"], {"at": 1}]')
    assert run("verify", "run.tnr", "--inputs", "in.json")[0] == 0
    (place / "in.json").write_text('{"texts[0]":"a","texts[1]":"b","options[\\"at\\"]":1}')
    assert run("verify", "run.tnr", "--inputs", "in.json")[0] == 0
    (place / "in.json").write_text('{"texts": ["a", "c"], "options": {"at": 1}}')
    code, out, _ = run("verify", "run.tnr", "--inputs", "in.json")
    assert code == 1 and "texts[1]: another value" in out
    (place / "out.json").write_text('"b"')
    assert run("verify", "run.tnr", "--outputs", "out.json")[0] == 0


def test_a_tensor_given_for_a_plain_value_is_another_kind(run, record):
    code, out, _ = run("verify", "run.tnr", "--inputs", "wrong-kind.safetensors")
    assert code == 1 and "scale: recorded as int, given as tensor" in out


def test_weights_are_verified_from_a_file(run, record):
    code, out, _ = run("verify", "run.tnr", "--model", "net.safetensors")
    assert code == 0 and "weights" in out.split("yes ")[1].split("\n")[0]
    save_file({"weight": torch.ones(4, 8), "bias": torch.ones(4)}, "net.safetensors")
    code, out, _ = run("verify", "run.tnr", "--model", "net.safetensors")
    assert code == 1 and "tensor weight: changed" in out


def test_a_record_is_found_by_the_start_of_its_id(run, record):
    for length in (8, 16, 64):
        assert run("verify", record.id[:length])[0] == 0
    code, _, err = run("verify", "0" * 16)
    assert code == 2 and "no record is called" in err


def test_a_malformed_record_is_invalid_and_names_its_cause(run, record, place):
    data = (place / "run.tnr").read_bytes()
    (place / "cut.tnr").write_bytes(data[:-1])
    (place / "empty.tnr").write_bytes(b"")
    (place / "text.tnr").write_text("hello")
    for name in ("cut", "empty", "text"):
        code, out, _ = run("verify", f"{name}.tnr")
        assert code == 1
        assert out.startswith("INVALID: format failed (exit 1)\n")
        assert "no           format\n             format: " in out


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("bogus",),
        ("verify",),
        ("verify", "absent.tnr"),
        ("verify", "."),
        ("verify", "run.tnr", "--bogus"),
        ("verify", "run.tnr", "--nonce", "zz"),
        ("verify", "run.tnr", "--nonce", ""),
        ("verify", "run.tnr", "--signer", "/dev/zero"),
        ("verify", "run.tnr", "--checkpoint", "/dev/zero"),
        ("verify", "run.tnr", "--policy", "/dev/zero"),
        ("verify", "run.tnr", "--inputs", "pipe.json"),
        ("verify", "run.tnr", "--inputs", "pipe.npz"),
        ("verify", "run.tnr", "--inputs", "pipe.safetensors"),
        ("verify", "run.tnr", "--inputs", "pipe.pt"),
        ("commit", "pipe.json"),
        ("commit", "/dev/zero"),
        ("commit", "/dev/null"),
        ("commit", "/proc/self/status"),
        ("pin", "net.safetensors", "--path", "pipe.json"),
        ("pin", "net.safetensors", "--check", "--path", "pipe.json"),
        ("save", "run.tnr", "-o", "pipe.json"),
        ("verify", "run.tnr", "--signer", "absent.pem"),
        ("verify", "run.tnr", "--signer", "run.tnr"),
        ("verify", "run.tnr", "--signer", "ab" * 8),
        ("verify", "run.tnr", "--checkpoint", "absent"),
        ("verify", "run.tnr", "--policy", "absent"),
        ("verify", "run.tnr", "--policy", "run.tnr"),
        ("verify", "run.tnr", "--model", "absent"),
        ("verify", "run.tnr", "--model", "mymodel:absent"),
        ("verify", "run.tnr", "--inputs", "absent.npz"),
        ("verify", "run.tnr", "--inputs", "run.tnr"),
        ("verify", "run.tnr", "--inputs", "broken.npz"),
        ("verify", "run.tnr", "--inputs", "broken.pt"),
        ("verify", "run.tnr", "--inputs", "broken.json"),
        ("reproduce", "run.tnr"),
        ("reproduce", "run.tnr", "--call", "mymodel"),
        ("reproduce", "run.tnr", "--call", "absent:score"),
        ("reproduce", "run.tnr", "--call", "mymodel:absent"),
        ("diff", "run.tnr"),
        ("diff", "run.tnr", "absent.tnr"),
        ("save", "run.tnr"),
        ("save", "run.tnr", "-o", "absent/a.tnr"),
        ("save", "run.tnr", "-o", "a.tnr", "--disclose", "secrets"),
        ("commit", "absent"),
        ("commit", "."),
        ("manifest", "absent"),
        ("pin", "absent"),
        ("pin", "net.safetensors", "--check", "--path", "absent.lock"),
        ("keys",),
        ("keys", "trust", "absent"),
        ("keys", "untrust", "other.pem"),
        ("log",),
        ("log", "list", "absent"),
        ("log", "list", "--label", "nolabel"),
        ("log", "check", "absent"),
    ],
    ids=" ".join,
)
def test_usage_errors_exit_with_2_and_say_what_to_type(run, record, place, arguments):
    for suffix in ("npz", "pt", "json"):
        (place / f"broken.{suffix}").write_bytes(b"\xff\x00broken")
        os.mkfifo(place / f"pipe.{suffix}")
    os.mkfifo(place / "pipe.safetensors")
    (place / "other.pem").write_bytes(SigningKey.generate().public.to_pem())
    before = sorted(place.iterdir())
    code, out, err = run(*arguments)
    assert code == 2, out + err
    assert "Next: " in err
    assert sorted(place.iterdir()) == before, "something was written"


@pytest.mark.parametrize("arguments", [("verify", "absent.tnr"), ("bogus",), ("verify",)])
def test_an_error_under_json_is_one_document_too(run, place, arguments):
    code, out, err = run(*arguments, "--json")
    document = one_document(out)
    assert (code, err) == (2, "")
    assert document["type"] == "error/1" and document["exit_code"] == 2 and document["next"]


def test_a_damaged_value_file_of_the_safetensors_kind_is_named(run, record, place):
    (place / "broken.safetensors").write_bytes(b"\xff" * 64)
    for option in ("--inputs", "--outputs", "--model"):
        code, _, err = run("verify", "run.tnr", option, "broken.safetensors")
        assert code == 2 and "broken.safetensors" in err
    assert run("manifest", "broken.safetensors")[0] == 1


# reproduce, diff, save


def test_reproduce_runs_the_named_function_from_the_current_folder(run, record):
    code, out, err = run("reproduce", "run.tnr", "--call", "mymodel:score", "--inputs", "in.pt")
    assert (code, err) == (0, "") and out.startswith("BITWISE")
    code, out, _ = run("reproduce", "run.tnr", "--call", "mymodel:other", "--inputs", "in.pt")
    assert code == 1 and out.startswith("DIVERGED") and "output: other elements" in out
    code, out, _ = run("reproduce", "run.tnr", "--call", "mymodel:score")
    assert code == 3 and out.startswith("NOT COMPARABLE")
    code, out, _ = run(
        *("reproduce", "run.tnr", "--call", "mymodel:other", "--inputs", "in.pt"),
        *("--outputs", "y.safetensors", "--model", "mymodel:net", "--json"),
    )
    document = one_document(out)
    assert code == 1 and document["outcome"] == "diverged" and document["distances"]


def test_a_safetensors_file_gives_tensors_to_call_with(run, notary, mymodel, place):
    notary.record(mymodel.net.forward, model=mymodel.net)(X)
    save_file({"input": X}, place / "in.safetensors")
    notary.last.save("net.tnr")
    code, out, _ = run(
        *("reproduce", "net.tnr", "--call", "mymodel:net", "--inputs", "in.safetensors")
    )
    assert code == 0, out


def test_diff_exits_with_0_1_or_3(run, record, notary, mymodel, place, monkeypatch):
    notary.record(mymodel.score)(X + 1)
    notary.last.save("other.tnr")
    notary.record(mymodel.score)(X)
    notary.last.save("again.tnr")
    assert run("diff", "run.tnr", record.id)[0] == 0
    code, out, err = run("diff", "run.tnr", "other.tnr")
    assert (code, err) == (1, "") and "differ  inputs, outputs" in out
    code, out, _ = run("diff", "run.tnr", "other.tnr", "--json")
    assert code == 1 and one_document(out)["type"] == "diff/1"
    monkeypatch.setenv("TORCHNOTARY_HOME", str(place / "stranger"))
    code, out, _ = run("diff", "run.tnr", "again.tnr")
    assert code == 3 and "not comparable" in out


def test_save_by_id_discloses_what_was_named(run, record, place, monkeypatch):
    code, out, _ = run(
        *("save", record.id[:12], "-o", "open.tnr", "--disclose", "inputs,outputs"),
        *("--inputs", "in.pt", "--outputs", "y.npz"),
    )
    assert code == 0 and out == f"{record.id[:16]}  open.tnr\n"
    monkeypatch.setenv("TORCHNOTARY_HOME", str(place / "stranger"))
    code, out, _ = run("verify", "open.tnr", "--json")
    steps = {step["name"]: step["outcome"] for step in one_document(out)["steps"]}
    assert code == 3 and steps["inputs"] == steps["outputs"] == "passed"
    code, _, err = run("save", "run.tnr", "-o", "b.tnr", "--disclose", "inputs")
    assert code == 1 and "private store" in err and not (place / "b.tnr").exists()


def test_values_that_are_not_the_recorded_ones_are_not_saved(run, record, place):
    code, _, err = run("save", "run.tnr", "-o", "b.tnr", "--outputs", "in.pt")
    assert code == 1 and not (place / "b.tnr").exists()


# commit, manifest, pin


def test_commit_prints_a_digest_line_for_every_tensor(run, place):
    a, b = torch.arange(6.0).reshape(2, 3), torch.arange(4, dtype=torch.bfloat16)
    save_file({"a": a, "b": b}, "t.safetensors")
    torch.save({"a": a, "b": b}, "t.pt")
    numpy.savez("t.npz", a=a.numpy())
    numpy.save("t.npy", a.numpy())
    line = f"{torchnotary.commit(a).digest}  float32[2, 3]  a\n"
    other = f"{torchnotary.commit(b).digest}  bfloat16[4]  b\n"
    assert run("commit", "t.safetensors") == (0, line + other, "")
    assert run("commit", "t.pt") == (0, line + other, "")
    assert run("commit", "t.npz") == (0, line, "")
    assert run("commit", "t.npy") == (0, line.replace("  a\n", "  t.npy\n"), "")
    _, out, _ = run("commit", "t.safetensors", "--json")
    first = one_document(out)["tensors"][0]
    assert first["data_root"] == torchnotary.commit(a).data_root
    assert first["shape"] == [2, 3] and first["nbytes"] == 24


def test_commit_takes_any_other_file_as_its_bytes(run, place):
    (place / "some.txt").write_bytes(b"hello")
    (place / "empty.txt").write_bytes(b"")
    expected = torchnotary.commit(torch.frombuffer(bytearray(b"hello"), dtype=torch.uint8))
    assert run("commit", "some.txt")[1] == f"{expected.digest}  uint8[5]  some.txt\n"
    empty = torchnotary.commit(torch.empty(0, dtype=torch.uint8))
    assert run("commit", "empty.txt")[1] == f"{empty.digest}  uint8[0]  empty.txt\n"


def test_manifest_prints_roots_and_writes_line_files(run, record, mymodel, place):
    roots = torchnotary.Manifest.of(mymodel.net)
    code, out, err = run("manifest", "mymodel:net", "-o", "lines")
    assert code == 0 and roots.weights_root in out and roots.structure_root in out
    assert sorted(p.name for p in (place / "lines").iterdir()) == [
        "structure.jsonl",
        "weights.jsonl",
    ]
    assert run("manifest", "lines")[1] == out
    document = one_document(run("manifest", "net.safetensors", "--json")[1])
    assert document["weights"]["root"] == roots.weights_root and document["structure"] is None


def test_pin_and_its_check(run, record, mymodel, place):
    assert run("pin", "mymodel:net")[0] == 0
    assert run("pin", "mymodel:net", "--check")[0] == 0
    with torch.no_grad():
        mymodel.net.weight[0, 0] += 1
    code, out, _ = run("pin", "mymodel:net", "--check")
    assert code == 1 and out.startswith("CHANGED") and "weight" in out
    code, out, _ = run("pin", "mymodel:net", "--check", "--json")
    assert code == 1 and one_document(out)["same"] is False


# keys, log, doctor


def test_keys_are_made_shown_exported_trusted_and_forgotten(run, place):
    assert run("keys", "show")[0] == 2
    assert run("keys", "export")[0] == 2
    code, out, _ = run("keys", "new")
    own = SigningKey.load().public
    assert code == 0 and own.fingerprint in out and own.short in out
    assert run("keys", "new")[0] == 2
    assert run("keys", "show")[1] == out
    assert run("keys", "export")[1] == own.to_pem().decode()
    assert run("keys", "export", "-o", "own.pem")[0] == 0
    assert (place / "own.pem").read_bytes() == own.to_pem()
    other = SigningKey.generate().public
    (place / "other.pem").write_bytes(other.to_pem())
    assert run("keys", "trust", "other.pem")[0] == 0
    listed = one_document(run("keys", "list", "--json")[1])["keys"]
    assert [(key["whose"], key["fingerprint"]) for key in listed] == [
        ("yours", own.fingerprint),
        ("trusted", other.fingerprint),
    ]
    assert run("keys", "untrust", other.fingerprint)[0] == 0
    assert other.fingerprint not in run("keys", "list")[1]


def test_a_private_key_is_refused_where_a_public_one_is_asked_for(run, place):
    (place / "secret.pem").write_bytes(SigningKey.generate().to_pem())
    code, out, err = run("keys", "trust", "secret.pem")
    assert code == 2 and "PRIVATE" not in out + err and "private key" in err


def test_a_record_is_listed_on_one_line_whatever_its_name_is(run, notary):
    with notary.labels(user="7\nOK"):
        notary.record(lambda x: x, name="score\nOK: logs 1")(1)
    notary.flush()
    (line,) = run("log", "list", notary.folder)[1].splitlines()
    assert line.endswith(
        "score\N{REPLACEMENT CHARACTER}OK: logs 1  user=7\N{REPLACEMENT CHARACTER}OK"
    )


def test_the_log_lists_records_by_label_and_time(run, notary, mymodel):
    score = notary.record(mymodel.score)
    score(X)
    first = notary.last.id
    with notary.labels(user="7", kind="test"):
        score(X)
    second = notary.last.id
    notary.flush()
    code, out, _ = run("log", "list", notary.folder)
    assert code == 0
    assert [line[:16] for line in out.splitlines()] == [first[:16], second[:16]]
    assert out.splitlines()[1].endswith("mymodel.score  kind=test  user=7")
    assert second[:16] in run("log", "list", notary.folder, "--label", "user=7")[1]
    assert first[:16] not in run("log", "list", notary.folder, "--label", "user=7")[1]
    assert "no records" in run("log", "list", notary.folder, "--label", "user=8")[1]
    assert "no records" in run("log", "list", notary.folder, "--since", "2999-01-01")[1]
    assert first[:16] in run("log", "list", notary.folder, "--since", "2000-01-01T00:00Z")[1]
    assert run("log", "list", notary.folder, "--since", "tomorrow")[0] == 2
    document = one_document(run("log", "list", notary.folder, "--json")[1])
    assert [r["id"] for r in document["records"]] == [first, second]


def test_log_check_names_a_broken_entry(run, record, notary):
    import sqlite3

    notary.close()
    code, out, _ = run("log", "check", notary.folder)
    assert code == 0 and out.startswith("OK: logs 1, entries 1")
    path = next(notary.folder.glob("*/log.sqlite"))
    with sqlite3.connect(path) as store:
        store.execute("UPDATE records SET payload = x'7b7d'")
    store.close()
    code, out, _ = run("log", "check", notary.folder)
    assert code == 1 and "entry 0" in out and "Next: " in out
    code, out, _ = run("log", "check", notary.folder, "--json")
    assert one_document(out)["problems"][0]["index"] == 0


def test_doctor_says_what_works_and_what_to_set(run, place, monkeypatch):
    code, out, _ = run("doctor")
    assert code == 0 and "CPU path" in out and "torch layer" in out
    monkeypatch.setenv("TORCHNOTARY_LOGS", "typo")
    code, out, _ = run("doctor", "--json")
    document = one_document(out)
    assert code == 1 and document["ok"] is False
    assert "unset TORCHNOTARY_LOGS" in [c["next"] for c in document["checks"] if c["next"]][0]


def test_doctor_never_shows_a_key(run, monkeypatch):
    pem = SigningKey.generate().to_pem().decode()
    for text in (pem, pem.replace("\n", "\\n")):
        monkeypatch.setenv("TORCHNOTARY_KEY", text)
        _, out, err = run("doctor")
        assert pem.splitlines()[1] not in out + err


# the process


def spawn(*arguments, **options):
    command = [sys.executable, "-m", "torchnotary", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, **options)


def test_commands_that_only_verify_never_import_torch(record, place):
    blocker = (
        "import sys\n"
        "for name in ('torch', 'numpy', 'transformers'): sys.modules[name] = None\n"
        "from torchnotary.cli import run\n"
        "code = run(sys.argv[1:])\n"
        "assert not any(name.startswith('torch.') for name in sys.modules)\n"
        "sys.exit(code)\n"
    )
    for arguments in (
        ("verify", "run.tnr"),
        ("verify", "run.tnr", "--model", "net.safetensors", "--outputs", "y.safetensors"),
        ("diff", "run.tnr", "run.tnr"),
        ("commit", "y.safetensors"),
        ("manifest", "net.safetensors"),
        ("pin", "net.safetensors"),
        ("keys", "list"),
        ("log", "check", "log"),
        ("log", "list", "log"),
        ("save", "run.tnr", "-o", "again.tnr", "--outputs", "y.safetensors"),
        ("--help",),
    ):
        command = [sys.executable, "-c", blocker, *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)


def test_python_m_runs_the_program(record):
    done = spawn("verify", "run.tnr")
    assert done.returncode == 0 and done.stdout.startswith("VALID") and done.stderr == ""


def test_a_terminal_without_the_characters_still_gets_the_verdict(record, place):
    done = spawn("diff", "run.tnr", "run.tnr", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 0 and done.stderr == ""
    (place / "größe.tnr").write_bytes((place / "run.tnr").read_bytes()[:-1])
    done = spawn("verify", "größe.tnr", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 1 and done.stdout.startswith("INVALID") and done.stderr == ""
    done = spawn("verify", "nicht-größe", env={**os.environ, "PYTHONIOENCODING": "ascii"})
    assert done.returncode == 2 and "Next: " in done.stderr and "Traceback" not in done.stderr


def test_what_strangers_wrote_cannot_reach_the_terminal_as_commands(run, notary, place):
    with notary.labels(user="\x1b[2J\rhidden"):
        notary.record(lambda x: x, name="\x1b]0;title\x07")(1)
    notary.last.save("run.tnr")
    for arguments in (
        ("log", "list", notary.folder),
        ("verify", "run.tnr"),
        ("diff", "run.tnr", "run.tnr"),
    ):
        _, out, err = run(*arguments)
        assert "\x1b" not in out + err and "\x07" not in out + err and "\r" not in out + err


@pytest.mark.parametrize("buffered", ["", "1"])
def test_a_reader_that_goes_away_is_no_error(record, buffered):
    command = f"{sys.executable} -m torchnotary verify run.tnr | true"
    environment = {**os.environ, "PYTHONUNBUFFERED": buffered}
    done = subprocess.run(
        command, shell=True, capture_output=True, text=True, timeout=60, env=environment
    )
    assert done.stderr == ""


def test_help_lists_the_commands_of_this_version_and_no_others(run):
    code, out, _ = run("--help")
    listed = {line.split()[1] for line in out.splitlines() if line.startswith("│ ")}
    assert code == 0
    assert {*cli.COMMANDS, *cli.GROUPS} <= listed
    assert not listed & {"report", "audit"}


@pytest.mark.parametrize("command", [*cli.COMMANDS, *cli.GROUPS])
def test_every_command_explains_itself(run, command):
    code, out, err = run(command, "--help")
    assert code == 0 and f"Usage: torchnotary {command}" in out and err == ""
