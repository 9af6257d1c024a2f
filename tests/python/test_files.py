"""Files that somebody else named: what is not a regular file, or has no end, is refused."""

from __future__ import annotations

import os

import pytest

from torchnotary.errors import MalformedRecord
from torchnotary.files import NotRegular, open_regular, read_regular


def test_a_file_is_read_up_to_its_limit_and_not_beyond(tmp_path):
    path = tmp_path / "file"
    for size in (0, 9, 10):
        path.write_bytes(b"x" * size)
        assert read_regular(path, 10) == b"x" * size
    path.write_bytes(b"x" * 11)
    with pytest.raises(MalformedRecord) as caught:
        read_regular(path, 10)
    assert (caught.value.expected, caught.value.actual) == ("at most 10 bytes", "11 bytes")


def test_a_file_that_states_no_size_is_read_all_the_same():
    assert read_regular("/proc/self/status", 2**20).startswith(b"Name:")
    with pytest.raises(MalformedRecord):
        read_regular("/proc/self/status", 10)


def test_pipes_and_devices_are_refused_without_waiting_for_them(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for special in (tmp_path / "pipe", "/dev/zero", "/dev/null", "/dev/tty"):
        try:
            with pytest.raises(NotRegular, match="not a regular file"):
                open_regular(special)
        except OSError as error:
            assert special == "/dev/tty", error  # which a process without a terminal cannot open


def test_what_cannot_be_opened_is_an_os_error(tmp_path):
    for error, path in (
        (FileNotFoundError, tmp_path / "missing"),
        (IsADirectoryError, tmp_path),
        (OSError, "a\0b"),
    ):
        with pytest.raises(error):
            open_regular(path)


def test_refusing_a_file_leaves_no_descriptor_open(tmp_path):
    before = len(os.listdir("/proc/self/fd"))
    for path in (tmp_path, "/dev/zero"):
        with pytest.raises(OSError):
            open_regular(path)
    assert len(os.listdir("/proc/self/fd")) == before
