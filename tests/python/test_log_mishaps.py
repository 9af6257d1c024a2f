"""A full disk, a folder that cannot be written and a clock that errs, as a recorder meets them."""

from __future__ import annotations

import resource
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

pytest.importorskip("torch")

from log_helpers import open_folder, run
from torchnotary import Notary
from torchnotary.capture import call
from torchnotary.errors import NotaryError
from torchnotary.log.check import check_folder
from torchnotary.log.reader import LogFolder


@contextmanager
def no_space() -> Iterator[None]:
    """No file of this process can be written any more."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_on_a_full_disk_calls_go_on_with_one_warning_and_are_counted(tmp_path):
    notary = Notary(tmp_path / "log")
    f = notary.record(lambda x: x + 1)
    f(0)
    notary.flush()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with no_space():
            assert [f(1), f(2)] == [2, 3]
            with pytest.raises(NotaryError, match="2 calls were not recorded.*free space"):
                notary.flush()
            assert f(3) == 4
            with pytest.raises(NotaryError, match="could not be stored"):
                notary.last.id  # noqa: B018
    assert [str(w.message).count("was not recorded") for w in caught] == [1]
    assert notary.stats()["missed"] == 3
    f(4)
    assert notary.last.predicate["record"]["missed"] == 3
    with pytest.raises(NotaryError, match="3 calls were not recorded"):
        notary.close()
    report = check_folder(tmp_path / "log")
    assert report.ok and report.records == 2, report.problems


def test_on_a_full_disk_a_strict_call_raises_and_the_next_one_is_recorded(tmp_path):
    notary = Notary(tmp_path / "log", strict=True)
    f = notary.record(lambda x: x + 1)
    with no_space(), pytest.raises(NotaryError, match="free space"):
        f(1)
    assert f(2) == 3 and notary.last.predicate["record"]["missed"] == 1
    with pytest.raises(NotaryError, match="1 calls were not recorded"):
        notary.close()
    assert check_folder(tmp_path / "log").ok


READ_ONLY = """
    import os, sys
    from pathlib import Path
    from log_helpers import RecordJob, become_nobody
    from torchnotary.errors import NotaryError
    from torchnotary.log.writer import LogWriter

    become_nobody()
    folder = Path(sys.argv[1])
    with LogWriter.open(folder) as writer:
        writer.submit(RecordJob(0)).wait()
        made = [folder, *folder.rglob("*")]
        for path in made:
            path.chmod(0o555)
    try:
        LogWriter.open(folder)
    except NotaryError as error:
        print(error)
    for path in made:
        path.exists() and path.chmod(0o755)
    with LogWriter.open(folder) as writer:
        print(writer.submit(RecordJob(1)).wait().index)
"""


def test_a_folder_that_became_read_only_is_refused_at_once_and_recovers():
    with open_folder() as parent:
        parent.chmod(0o777)
        home = str(parent / "home")
        said = run(READ_ONLY, parent / "log", TORCHNOTARY_HOME=home).stdout.splitlines()
        assert "cannot be written" in said[0] and "TORCHNOTARY_LOG" in said[0]
        assert said[1:] == ["1"]


def test_a_clock_that_goes_backwards_breaks_no_chain(notary, monkeypatch):
    f = notary.record(lambda x: x)
    now = time.time_ns()
    for seconds in (0, -3600, -7200, 60):
        with monkeypatch.context() as patched:
            patched.setattr(call.time, "time_ns", lambda at=seconds: now + at * 10**9)
            f(seconds)
            notary.flush()
    listed = list(LogFolder(notary.folder).list())
    assert [entry.index for entry in listed] == [0, 1, 2, 3]
    assert [listed[i].time for i in (2, 1, 0, 3)] == sorted(entry.time for entry in listed)
    report = check_folder(notary.folder)
    assert report.ok and report.records == 4, report.problems
