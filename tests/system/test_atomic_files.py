"""Atomic writes survive what file systems refuse, and leave no temporary file."""

from __future__ import annotations

import errno
import os

import pytest

from imagen._system.atomic_files import AtomicFile


def fail_for_folders(monkeypatch, name, number):
    """Let the call `os.<name>` fail if its argument is a folder."""
    real = getattr(os, name)

    def fake(target, *rest):
        descriptor = isinstance(target, int)
        if os.path.isdir(f"/proc/self/fd/{target}" if descriptor else target):
            raise OSError(number, os.strerror(number))
        return real(target, *rest)

    monkeypatch.setattr(f"imagen._system.atomic_files.os.{name}", fake)


def write(path, data):
    file = AtomicFile(path)
    file.stream.write(data)
    file.commit()


@pytest.mark.parametrize(
    ("name", "number"), [("open", errno.EACCES), ("fsync", errno.EINVAL)], ids=str
)
def test_a_folder_that_cannot_be_synced_does_not_matter(tmp_path, monkeypatch, name, number):
    fail_for_folders(monkeypatch, name, number)
    write(tmp_path / "a", b"data")
    assert (tmp_path / "a").read_bytes() == b"data"


def test_a_disk_that_fails_under_a_folder_is_an_error(tmp_path, monkeypatch):
    fail_for_folders(monkeypatch, "fsync", errno.EIO)
    with pytest.raises(OSError, match="Input/output"):
        write(tmp_path / "a", b"data")


def test_a_stream_appears_on_commit(tmp_path):
    file = AtomicFile(tmp_path / "a")
    file.stream.write(b"data")
    assert not (tmp_path / "a").exists()
    assert file.commit() == 4
    file.discard()
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_discarded_stream_leaves_nothing(tmp_path):
    file = AtomicFile(tmp_path / "a")
    file.stream.write(b"data")
    file.discard()
    assert not list(tmp_path.iterdir())
