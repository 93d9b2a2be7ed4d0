"""Atomic writes survive what file systems refuse, and leave no temporary file."""

from __future__ import annotations

import errno
import os

import pytest

from imagen._system.atomic_files import AtomicFile, FileToWrite, write_together


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


def test_a_file_that_fails_leaves_the_others_of_its_group(tmp_path, monkeypatch):
    """Short writes, a full disk for one, and no temporary file behind."""
    real = os.write

    def fake(descriptor, data):
        if bytes(data[:3]) == b"bad":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return real(descriptor, data[:2])

    monkeypatch.setattr("imagen._system.atomic_files.os.write", fake)
    files = [FileToWrite(tmp_path / "ab"[k % 2] / f"{k}", b"data %d" % k) for k in range(5)]
    bad = FileToWrite(tmp_path / "a" / "bad", b"bad data")
    write_together([*files[:2], bad, *files[2:]])
    assert isinstance(bad.error, OSError)
    assert [file.path.read_bytes() for file in files] == [b"data %d" % k for k in range(5)]
    assert [file.error for file in files] == [None] * 5
    assert len([path for path in tmp_path.rglob("*") if path.is_file()]) == 5


@pytest.mark.parametrize("name", ["fsync", "replace"])
def test_every_step_that_fails_leaves_nothing(tmp_path, monkeypatch, name):
    def fail(*_):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(f"imagen._system.atomic_files.os.{name}", fail)
    files = [FileToWrite(tmp_path / f"{k}", b"data") for k in range(3)]
    write_together(files)
    assert all(file.error is not None and file.error.errno == errno.EIO for file in files)
    assert not list(tmp_path.iterdir())


def test_the_folder_is_synced_once_for_all_renames(tmp_path, monkeypatch):
    real, synced = os.fsync, []

    def note(descriptor):
        synced.append(os.readlink(f"/proc/self/fd/{descriptor}"))
        real(descriptor)

    monkeypatch.setattr("imagen._system.atomic_files.os.fsync", note)
    write_together([FileToWrite(tmp_path / f"{k}", b"data") for k in range(3)])
    assert synced.count(str(tmp_path)) == 1
    assert synced[-1] == str(tmp_path)
    assert len(synced) == 4
