"""What a home holds is its user's alone, and killed processes leave nothing."""

from __future__ import annotations

import os
import stat
import sys
import time

import pytest

import imagen
from tests.support.custom_provider import Atelier, open_atelier
from tests.support.images import PNG

pytestmark = pytest.mark.usefixtures("engine")

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="rights of POSIX")


def rights(path):
    return stat.S_IMODE(path.stat().st_mode)


async def test_a_new_home_and_all_in_it_are_private(tmp_path):
    mask = os.umask(0o022)
    home = tmp_path / "deep" / "home"
    try:
        settings = imagen.load_settings({"IMAGEN_HOME": str(home)})
        async with imagen.open_client(settings) as client:
            image = await client.generate("a cat", model="sketch", size="64x64")
            open_files = [path for path in home.rglob("*") if path.is_file()]
            assert {rights(path) for path in home.rglob("*") if path.is_dir()} == {0o700}
            assert {rights(path) for path in open_files if path.parent == home} == {0o600}
            copy = image.save(tmp_path / "copy.png")
    finally:
        os.umask(mask)
    assert rights(home) == rights(home.parent) == 0o700
    # A copy is for others too.
    assert rights(copy) == 0o644


async def test_a_home_that_exists_keeps_its_rights(tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    home.chmod(0o755)
    async with open_atelier(Atelier(), home=home) as client:
        await client.generate("a cat")
    assert rights(home) == 0o755


async def test_leftovers_of_killed_processes_are_swept(tmp_path):
    async with open_atelier(Atelier(), home=tmp_path / "home") as client:
        await client.vary(PNG)
        folder = client.library.folder
        old, new = folder / "a" / ".x-12.part", folder / "inputs" / ".y-34.part"
        for path in (old, new):
            path.parent.mkdir(exist_ok=True)
            path.write_bytes(b"half an image")
        before = time.time() - 2 * 3600
        os.utime(old, (before, before))
        await client.library.clean(imagen.library.CleanupRules(), dry_run=True)
        assert old.exists()
        await client.library.clean(imagen.library.CleanupRules())
        assert (old.exists(), new.exists()) == (False, True)
        assert [file for file in folder.rglob("*") if file.suffix == ".png"]
