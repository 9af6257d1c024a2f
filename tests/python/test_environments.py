"""Where recording runs: each of these works, or says in one sentence what to set."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
import torch

import torchnotary
from torchnotary import Notary, NotaryError
from torchnotary.keys import SigningKey

UNWRITABLE = "/dev/null/home"  # nobody can make this folder, root included


def run(code: str, *words: str, **environment: str) -> subprocess.CompletedProcess:
    return subprocess.run(
        [sys.executable, *words, "-c", textwrap.dedent(code)],
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
    )


RECORD_ONE = """
    import sys, torchnotary as tn
    notary = tn.Notary(sys.argv[1] if len(sys.argv) > 1 else None)
    f = notary.record(lambda x: x + 1)
    assert f(1) == 2
    print(notary.last.id)
"""


def logs_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if (path / "log.sqlite").exists())


def record_ids(folder: Path) -> list[str]:
    from torchnotary.log.reader import LogFolder

    return [entry.record_id for entry in LogFolder(folder).list()]


def test_a_read_only_home_without_a_key_says_what_to_set(tmp_path):
    result = run(RECORD_ONE, TORCHNOTARY_HOME=UNWRITABLE, TORCHNOTARY_LOG=str(tmp_path / "log"))
    assert result.returncode == 1
    last = result.stderr.strip().splitlines()[-1]
    assert "NotaryError" in last and "TORCHNOTARY_HOME" in last and "TORCHNOTARY_KEY" in last


def test_a_read_only_home_with_a_key_records(tmp_path):
    pem = SigningKey.generate().to_pem().decode()
    for expected in (1, 2):  # without a place for a token every process begins its own log
        result = run(
            RECORD_ONE,
            TORCHNOTARY_HOME=UNWRITABLE,
            TORCHNOTARY_KEY=pem,
            TORCHNOTARY_LOG=str(tmp_path / "log"),
        )
        assert result.returncode == 0, result.stderr
        assert len(logs_in(tmp_path / "log")) == expected


def test_a_read_only_home_with_a_key_discloses_from_the_recording_process(tmp_path):
    code = """
        import os, sys, torchnotary as tn
        notary = tn.Notary("log")
        notary.record(lambda x: x)(1)
        os.chdir("/")
        notary.last.save(sys.argv[1], disclose=("inputs",))
        assert tn.verify(sys.argv[1], inputs=(1,)).steps[10].outcome == "passed"
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "run.tnr")],
        env={
            **os.environ,
            "TORCHNOTARY_HOME": UNWRITABLE,
            "TORCHNOTARY_KEY": SigningKey.generate().to_pem().decode(),
        },
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr


def test_a_log_folder_that_cannot_be_written_is_refused_at_construction():
    with pytest.raises(NotaryError, match="TORCHNOTARY_LOG|another folder"):
        Notary(UNWRITABLE)


def test_constructing_a_notary_writes_nothing(tmp_path, home):
    Notary(tmp_path / "log").close()
    assert not (tmp_path / "log").exists() and not home.exists()


def test_a_second_process_on_the_folder_gets_its_own_log_and_readers_see_both(tmp_path, notary):
    f = notary.record(lambda x: x)
    f(1)
    notary.flush()
    result = run(RECORD_ONE, TORCHNOTARY_LOG=str(notary.folder))
    assert result.returncode == 0, result.stderr
    assert len(logs_in(notary.folder)) == 2
    assert {notary.last.id, result.stdout.strip()} == set(record_ids(notary.folder))


def test_a_restarted_kernel_continues_its_log(tmp_path):
    ids = [run(RECORD_ONE, TORCHNOTARY_LOG=str(tmp_path / "log")).stdout.strip() for _ in range(3)]
    assert len(set(ids)) == 3 and all(len(i) == 64 for i in ids)
    assert len(logs_in(tmp_path / "log")) == 1
    assert set(record_ids(tmp_path / "log")) == set(ids)


def test_records_made_right_before_exit_are_durable(tmp_path):
    code = """
        import sys, torchnotary as tn
        f = tn.Notary(sys.argv[1]).record(lambda x: x)
        for i in range(300):
            f(i)
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "log")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert len(record_ids(tmp_path / "log")) == 300


def test_a_forked_data_loader_worker_records_into_a_log_of_its_own(tmp_path, notary):
    f = notary.record(lambda x: x + 1)
    f(torch.zeros(2))
    notary.flush()

    class Data(torch.utils.data.Dataset):
        def __len__(self):
            return 4

        def __getitem__(self, i):
            value = f(torch.full((2,), float(i)))
            return value, notary.last.id

    loader = torch.utils.data.DataLoader(
        Data(), num_workers=1, batch_size=None, multiprocessing_context="fork"
    )
    ids = [identity for _, identity in loader]
    f(torch.zeros(2))
    notary.flush()
    assert len(set(ids)) == 4
    assert set(record_ids(notary.folder)) >= {*ids, notary.last.id}
    assert len(logs_in(notary.folder)) == 2


def test_a_fork_with_work_in_flight_neither_hangs_nor_corrupts(tmp_path, notary):
    f = notary.record(lambda x: x)
    for i in range(50):
        f(i)
    context = multiprocessing.get_context("fork")
    children = []
    for _ in range(3):
        child = context.Process(target=lambda: (f(1), notary.flush(), os._exit(0)))
        child.start()
        children.append(child)
        f(2)
    for child in children:
        child.join(60)
        assert child.exitcode == 0
    notary.flush()
    assert len(record_ids(notary.folder)) == 50 + 3 + 3


def test_torchrun_with_two_ranks_gives_each_its_log_and_signs_ranks(tmp_path):
    script = tmp_path / "ranks.py"
    script.write_text(
        textwrap.dedent(
            """
            import os, pathlib, time, torchnotary as tn
            f = tn.record(lambda x: x)
            f(int(os.environ["RANK"]))
            notary = tn.record.notary()
            section = notary.last.predicate["record"]
            # Neither leaves before both hold a log: one after the other they would share it.
            here = pathlib.Path(os.environ["TORCHNOTARY_LOG"]).parent
            (here / f"rank-{section['rank']}").touch()
            while len(list(here.glob("rank-*"))) < 2:
                time.sleep(0.05)
            print("rank", section["rank"], "of", section["world_size"], flush=True)
            """
        )
    )
    result = subprocess.run(
        [
            sys.executable,
            "-m",
            "torch.distributed.run",
            "--standalone",
            "--nproc-per-node=2",
            script,
        ],
        env={**os.environ, "TORCHNOTARY_LOG": str(tmp_path / "log"), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=180,
    )
    assert result.returncode == 0, result.stderr
    assert "rank 0 of 2" in result.stdout and "rank 1 of 2" in result.stdout
    assert len(logs_in(tmp_path / "log")) == 2
    assert len(record_ids(tmp_path / "log")) == 2


def test_two_notaries_of_a_process_share_the_folders_log(tmp_path):
    first, second = Notary(tmp_path / "log"), Notary(tmp_path / "log")
    first.record(lambda x: x)(1)
    second.record(lambda x: x)(2)
    first.flush(), second.flush()
    assert len(logs_in(tmp_path / "log")) == 1
    first.close()
    second.record(lambda x: x)(3)
    second.close()
    assert len(record_ids(tmp_path / "log")) == 3


def test_a_closed_notary_lets_calls_pass_and_counts_them(notary):
    f = notary.record(lambda x: x)
    f(1)
    notary.close()
    with pytest.warns(RuntimeWarning, match="closed"):
        assert f(2) == 2
    assert notary.stats()["missed"] == 1


def test_recording_works_before_torch_is_imported(tmp_path):
    code = """
        import sys, torchnotary as tn
        notary = tn.Notary(sys.argv[1])
        f = notary.record(lambda text: text.upper())
        assert f("a") == "A"
        notary.last.save(sys.argv[1] + "/a.tnr")
        assert tn.verify(sys.argv[1] + "/a.tnr").ok
        assert "torch" not in sys.modules and "numpy" not in sys.modules
    """
    result = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "log")],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.returncode == 0, result.stderr
    assert torchnotary.verify(tmp_path / "log" / "a.tnr").ok
