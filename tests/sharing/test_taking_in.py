"""Images that are no archive of ours: copies, files with sidecars, those of
other programs, folders.
"""

from __future__ import annotations

import os
import zipfile
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image as PillowImage
from PIL.PngImagePlugin import PngInfo

import imagen
from imagen.metadata._embed import write_sidecar
from imagen.sharing import ImportResult
from tests.support.images import png
from tests.support.sharing import Desk, open_desk, zip_of

LINES = (
    "a cat\nNegative prompt: dogs\nSteps: 20, Sampler: Euler a, CFG scale: 7, Seed: 42, Model:"
    " dreamshaper"
)


def of_automatic1111() -> bytes:
    info = PngInfo()
    info.add_text("parameters", LINES)
    out = BytesIO()
    PillowImage.new("RGB", (8, 8), (9, 9, 9)).save(out, "PNG", pnginfo=info)
    return out.getvalue()


async def copies(tmp_path: Path, **save: bool) -> imagen.Image:
    """An image with everything, and a copy of it in `out`."""
    async with open_desk(tmp_path / "before") as desk:
        image = await desk.shelf.add(prompt="a cat", seed=7, tags=("sea",), notes="nice", rating=4)
        (tmp_path / "out").mkdir()
        image.save(tmp_path / "out" / "copy.png", **save)
        return image


async def only(desk: Desk) -> imagen.Image:
    (image,) = await desk.everything()
    return image


@pytest.mark.parametrize("what", ["copy.png", ""], ids=["file", "folder"])
async def test_a_copy_that_was_saved_comes_back_as_the_image_it_was_made_from(what, tmp_path):
    before = await copies(tmp_path)
    async with open_desk(tmp_path / "after") as desk:
        assert await desk.archives.import_from(tmp_path / "out" / what) == ImportResult(added=1)
        after = await only(desk)
        assert (after.id, after.sha256, after.prompt, after.seed) == (
            before.id,
            before.sha256,
            "a cat",
            7,
        )
        assert (after.tags, after.notes, after.rating, after.cost) == (
            ("sea",),
            "nice",
            4,
            before.cost,
        )
        assert after.attempt_id == ""
        assert await desk.archives.import_from(tmp_path / "out" / what) == ImportResult(
            already_there=1
        )


async def test_a_copy_that_is_there_already_is_found_by_its_bytes(tmp_path):
    async with open_desk(tmp_path) as desk:
        image = await desk.shelf.add()
        for record in (True, False):
            image.save(tmp_path / "copy.png", record=record)
            assert await desk.archives.import_from(tmp_path / "copy.png") == ImportResult(
                already_there=1
            )
        assert await desk.everything() == [image]


@pytest.mark.parametrize("packed", [False, True])
async def test_a_record_beside_an_image_is_believed_of_its_own_bytes_only(packed, tmp_path):
    image = await copies(tmp_path, record=False)
    path = tmp_path / "out" / "copy.png"
    write_sidecar(path, image.record)
    (tmp_path / "out" / "other.png").write_bytes(png((9, 9, 9)))
    write_sidecar(tmp_path / "out" / "other.png", image.record)
    source = tmp_path / "out"
    if packed:
        source = tmp_path / "packed.zip"
        source.write_bytes(
            zip_of({one.name: one.read_bytes() for one in (tmp_path / "out").iterdir()})
        )
    async with open_desk(tmp_path / "after") as desk:
        done = await desk.archives.import_from(source)
        assert (done.added, [one.name for one in done.doubted]) == (2, ["other.png"])
        assert {one.id: one.prompt for one in await desk.everything()}[image.id] == "a cat"
        assert {one.prompt for one in await desk.everything()} == {"a cat", ""}


async def test_a_copy_that_was_changed_is_another_image_made_from_that_one(tmp_path):
    image = await copies(tmp_path)
    path = tmp_path / "out" / "copy.png"
    with PillowImage.open(path) as opened:
        info = PngInfo()
        info.add_itxt("imagen", opened.text["imagen"])  # type: ignore[attr-defined]
        opened.rotate(90).crop((0, 0, 8, 4)).save(path, pnginfo=info)
    async with open_desk(tmp_path / "after") as desk:
        await desk.archives.import_from(path)
        after = await only(desk)
        assert (after.prompt, after.parent_id, after.cost.usd) == ("a cat", image.id, None)
        assert after.id == after.sha256[:16] != image.id


async def test_an_image_of_another_program_comes_with_what_that_says(tmp_path):
    (tmp_path / "a.PNG").write_bytes(of_automatic1111())
    os.utime(tmp_path / "a.PNG", (1_700_000_000, 1_700_000_000))
    async with open_desk(tmp_path / "home") as desk:
        assert await desk.archives.import_from(tmp_path / "a.PNG") == ImportResult(added=1)
        image = await only(desk)
        assert image.request == imagen.Generate(
            prompt="a cat", negative_prompt="dogs", seed=42, guidance=7.0, steps=20
        )
        assert (image.provider, image.model, image.seed) == ("automatic1111", "dreamshaper", 42)
        assert image.created_at.timestamp() == 1_700_000_000
        assert image.data == of_automatic1111()
        assert [one.id for one in await desk.library.search("cat")] == [image.id]
        assert await desk.archives.import_from(tmp_path / "a.PNG") == ImportResult(already_there=1)


async def test_a_folder_is_taken_in_with_those_in_it_but_no_links_and_nothing_hidden(tmp_path):
    folder = tmp_path / "theirs"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / ".cache").mkdir()
    (tmp_path / "secret.png").write_bytes(png((7, 7, 7)))
    for number, name in enumerate(("a.png", "deep/er/b.png", ".cache/c.png", ".d.png")):
        (folder / name).write_bytes(png((number, 0, 0)))
    (folder / "notes.txt").write_text("no image")
    (folder / "link.png").symlink_to(tmp_path / "secret.png")
    (folder / "loop").symlink_to(folder)
    async with open_desk(tmp_path / "home") as desk:
        done = await desk.archives.import_from(folder)
        assert done.added == 2
        assert [one.reason for one in done.refused] == [
            "link.png is a link, which is not followed."
        ]


@pytest.mark.parametrize("again", ["unpacked", "packed.zip", "deep.zip"])
async def test_an_archive_that_was_unpacked_and_packed_again_is_as_good(again, tmp_path):
    async with open_desk(tmp_path / "before") as desk:
        image = await desk.shelf.add(notes="nice")
        await desk.library.collections.create("sea")
        await desk.library.collections.add("sea", image)
        await desk.archives.export_to(tmp_path / "all.zip")
    with zipfile.ZipFile(tmp_path / "all.zip") as archive:
        archive.extractall(tmp_path / "unpacked")
    files = {
        path: path.relative_to(tmp_path / "unpacked")
        for path in (tmp_path / "unpacked").rglob("*.*")
    }
    (tmp_path / "packed.zip").write_bytes(
        zip_of({str(name): path.read_bytes() for path, name in files.items()})
    )
    (tmp_path / "deep.zip").write_bytes(
        zip_of({f"all/{name}": path.read_bytes() for path, name in files.items()})
    )
    async with open_desk(tmp_path / "after") as desk:
        assert await desk.archives.import_from(tmp_path / again) == ImportResult(added=1)
        assert (await only(desk)).notes == "nice"
        assert [one.id for one in await desk.library.collections.images("sea")] == [image.id]


async def test_what_is_no_image_is_refused_in_a_sentence(tmp_path):
    (tmp_path / "a.png").write_bytes(b"no image")
    async with open_desk(tmp_path / "home") as desk:
        done = await desk.archives.import_from(tmp_path / "a.png")
        assert [one.reason for one in done.refused] == [
            "a.png is not a PNG, JPEG, WebP, GIF or SVG image."
        ]
        with pytest.raises(imagen.StorageError, match=r"nowhere\.zip cannot be read: No such file"):
            await desk.archives.import_from(tmp_path / "nowhere.zip")
        with pytest.raises(imagen.InvalidRequestError, match=r"a\.txt: expected an image"):
            (tmp_path / "a.txt").write_text("no image")
            await desk.archives.import_from(tmp_path / "a.txt")


async def test_an_image_may_have_the_longest_name_that_there_is(tmp_path):
    path = tmp_path / f"{'x' * 251}.png"
    path.write_bytes(png())
    async with open_desk(tmp_path / "home") as desk:
        assert (await desk.archives.import_from(path)).added == 1


async def test_a_file_that_was_lost_comes_back_with_an_import(tmp_path):
    async with open_desk(tmp_path / "home") as desk:
        image = await desk.shelf.add()
        data = image.data
        await desk.archives.export_to(tmp_path / "all.zip")
        assert image.path is not None
        image.path.unlink()
        assert await desk.archives.import_from(tmp_path / "all.zip") == ImportResult(
            already_there=1
        )
        assert (await only(desk)).data == data


async def test_an_image_in_the_trash_stays_there(tmp_path):
    async with open_desk(tmp_path / "home") as desk:
        image = await desk.shelf.add()
        await desk.archives.export_to(tmp_path / "all.zip")
        await desk.library.trash(image)
        assert await desk.archives.import_from(tmp_path / "all.zip") == ImportResult(
            already_there=1
        )
        assert (await only(desk)).trashed_at is not None


@pytest.mark.parametrize("sidecar", [b"", b"<", b"x" * 5_000_000, b"\xff\xfe"], ids=len)
async def test_a_sidecar_that_is_damaged_hides_no_image(sidecar, tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "a.png.xmp").write_bytes(sidecar)
    async with open_desk(tmp_path / "home") as desk:
        assert await desk.archives.import_from(tmp_path / "a.png") == ImportResult(added=1)


async def test_a_record_inside_of_a_file_that_is_damaged_hides_no_image(tmp_path):
    info = PngInfo()
    info.add_itxt("imagen", '{"id": 3}')
    PillowImage.new("RGB", (8, 8)).save(tmp_path / "a.png", pnginfo=info)
    async with open_desk(tmp_path / "home") as desk:
        assert await desk.archives.import_from(tmp_path / "a.png") == ImportResult(added=1)


async def test_a_file_that_is_too_large_or_cannot_be_read_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("imagen.sharing._archive.sources.LARGEST_IMAGE", 1 << 20)
    folder = tmp_path / "theirs"
    folder.mkdir()
    (folder / "a.png").write_bytes(png() + b"\0" * (1 << 20))
    (folder / "b.png").write_bytes(png())
    os.mkfifo(folder / "c.png")
    (tmp_path / "theirs.zip").write_bytes(
        zip_of({"a.png": png() + b"\0" * (1 << 20), "d.png": png((3, 3, 3))})
    )
    async with open_desk(tmp_path / "home") as desk:
        done = await desk.archives.import_from(folder)
        assert (done.added, [one.reason for one in done.refused]) == (
            1,
            ["a.png is larger than 1 MiB.", "c.png is not a file."],
        )
        done = await desk.archives.import_from(tmp_path / "theirs.zip")
        assert (done.added, [one.reason for one in done.refused]) == (
            1,
            ["a.png is larger than 1 MiB."],
        )


async def test_a_link_that_its_owner_names_is_followed(tmp_path):
    (tmp_path / "a.png").write_bytes(png())
    (tmp_path / "b.png").symlink_to(tmp_path / "a.png")
    async with open_desk(tmp_path / "home") as desk:
        assert await desk.archives.import_from(tmp_path / "b.png") == ImportResult(added=1)


def written(kind: str) -> bytes:
    file = BytesIO()
    PillowImage.new("RGB", (8, 8), (9, 90, 9)).save(file, kind)
    return file.getvalue()


def packed(path: Path, files: dict[str, bytes], *, as_zip: bool) -> Path:
    """Write files to a folder or a zip archive."""
    if as_zip:
        with zipfile.ZipFile(path, "w") as archive:
            for name, data in files.items():
                archive.writestr(name, data)
        return path
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)
    return path


@pytest.mark.parametrize("as_zip", [True, False])
async def test_images_are_known_by_their_content_and_what_is_left_out_is_said(tmp_path, as_zip):
    files = {
        "a.jfif": written("JPEG"),
        "b.jpe": png((1, 1, 1)),
        "no-ending": png((2, 2, 2)),
        "photo.tmp": written("WEBP"),
        "wrong.txt": written("GIF"),
        "c.bmp": written("BMP"),
        "d.tif": written("TIFF"),
        "e.avif": written("AVIF"),
        "f.JP2": written("JPEG2000"),
        "g.heic": b"\0\0\0\x18ftypheic" + bytes(40),
        "h.txt": b"<?xml version='1.0'?>\n<svg xmlns='http://www.w3.org/2000/svg'/>",
        "h.svgz": b"\x1f\x8b\x08" + bytes(40),
        "i.psd": b"8BPS" + bytes(40),
        "j": written("TIFF"),
        "k.jxl": b"",
        "notes.txt": b"BMW, 3 pieces",
        "empty": b"",
        "film.mp4": b"\0\0\0\x18ftypmp42" + bytes(40),
    }
    source = packed(tmp_path / "theirs", files, as_zip=as_zip)
    async with open_desk(tmp_path / "home") as desk:
        done = await desk.archives.import_from(source)
    assert done.added == 6
    refused = ["c.bmp", "d.tif", "e.avif", "f.JP2", "g.heic", "h.svgz", "i.psd", "j", "k.jxl"]
    assert sorted(one.name for one in done.refused) == refused
    assert all("which the library does not hold" in one.reason for one in done.refused)
    ignored = ["empty", "film.mp4", "notes.txt"]
    assert sorted(one.name for one in done.ignored) == ignored
    assert {one.reason for one in done.ignored} == {f"{name} is not an image." for name in ignored}


async def test_a_folder_that_is_linked_or_not_readable_is_named(tmp_path, monkeypatch):
    folder = packed(tmp_path / "theirs", {"a.png": png(), "shut/b.png": png()}, as_zip=False)
    (folder / "loop").symlink_to(folder)
    scan = os.scandir

    def refuse(path):
        if str(path).endswith("shut"):
            raise PermissionError(13, "Permission denied", str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", refuse)
    async with open_desk(tmp_path / "home") as desk:
        done = await desk.archives.import_from(folder)
    assert done.added == 1
    assert [one.reason for one in done.ignored] == [
        "loop is a link, which is not followed.",
        "shut is a folder that cannot be read.",
    ]


@pytest.mark.parametrize(("name", "kind"), [("a", "JPEG"), ("a.jfif", "JPEG"), ("a.txt", "PNG")])
async def test_one_file_is_known_by_its_content(tmp_path, name, kind):
    (tmp_path / name).write_bytes(written(kind))
    async with open_desk(tmp_path / "home") as desk:
        assert await desk.archives.import_from(tmp_path / name) == ImportResult(added=1)


async def test_a_single_file_of_another_format_is_refused_with_its_format(tmp_path):
    (tmp_path / "a.dat").write_bytes(written("TIFF"))
    async with open_desk(tmp_path / "home") as desk:
        done = await desk.archives.import_from(tmp_path / "a.dat")
    assert [one.reason for one in done.refused] == [
        "a.dat is of the format TIFF, which the library does not hold: convert it to PNG."
    ]
