"""A library goes out as one file and comes back as it was."""

from __future__ import annotations

import datetime
import tempfile
import zipfile
from decimal import Decimal
from pathlib import Path

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imagen
from imagen.library._rows import row_of
from imagen.sharing import ImportResult
from tests.support.images import png
from tests.support.sharing import names_in, open_desk, read_from

HOSTILE = (
    "../../etc/passwd",
    "<script>alert(1)</script>",
    "a\0b\x1b[2J",
    "\u202egnp.exe",
    "con",
    "🦊" * 90,
    "x" * 3000,
)
TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=40) | st.sampled_from(HOSTILE)
TAGS = st.lists(
    st.sampled_from(("sea", "night sky", "夜", "<b>", "--", "a/../b")), max_size=3, unique=True
)
IMAGES = st.fixed_dictionaries(
    {
        "prompt": TEXTS,
        "notes": TEXTS,
        "tags": TAGS.map(lambda tags: tuple(sorted(tags))),
        "rating": st.integers(0, 5),
        "day": st.floats(0, 300),
        "seed": st.none() | st.integers(-(2**63), 2**63 - 1),
        "usd": st.none() | st.decimals(0, 100, places=9).map(str),
        "index": st.integers(0, 999),
        "seconds": st.floats(0, 600),
        "parent_id": st.none() | st.just("0123456789abcdef"),
        "revised_prompt": st.none() | TEXTS,
        "provider_id": st.none() | st.text(max_size=40),
    }
)


def without_place(image: imagen.Image) -> imagen.Image:
    return msgspec.structs.replace(image, path=None, attempt_id="")


@settings(max_examples=12, deadline=None)
@given(images=st.lists(IMAGES, min_size=1, max_size=4), order=st.permutations(range(4)))
async def test_a_library_that_was_lost_comes_back_as_it_was(images, order):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "all.zip")
        async with open_desk(Path(folder, "before")) as desk:
            for number, fields in enumerate(images):
                await desk.shelf.add(data=png((number, 1, 2)), **fields)
            before = await desk.everything()
            data = [image.data for image in before]
            await desk.library.collections.create("outer/inner", notes="<i>both</i>")
            chosen = [before[number] for number in order if number < len(before)]
            await desk.library.collections.add("outer/inner", chosen)
            exported = await desk.archives.export_to(path)
            assert (exported.images, exported.left_out) == (len(before), ())
        async with open_desk(Path(folder, "after")) as desk:
            done = await desk.archives.import_from(path, trusted=True)
            assert done == ImportResult(added=len(before))
            after = await desk.everything()
            assert [without_place(image) for image in after] == [
                without_place(image) for image in before
            ]
            assert [image.data for image in after] == data
            assert [row_of(image).fingerprint for image in after] == [
                row_of(image).fingerprint for image in before
            ]
            page = await desk.library.collections.images("outer/inner", limit=10)
            assert [image.id for image in page] == [image.id for image in chosen]
            assert (await desk.library.collections.get("outer/inner")).notes == "<i>both</i>"
            assert await desk.library.check() == []
            assert await desk.archives.import_from(path, trusted=True) == ImportResult(
                already_there=len(before)
            )
            assert await desk.everything() == after


async def test_an_archive_holds_the_bytes_as_they_were_sent_and_a_record_of_each(tmp_path):
    async with open_desk(tmp_path) as desk:
        image = await desk.shelf.add(prompt="A Lighthouse, at dusk!", tags=("sea",))
        await desk.archives.export_to(tmp_path / "one.zip", image)
    name = f"pictures/a-lighthouse-at-dusk-{image.id}.png"
    assert names_in(tmp_path / "one.zip") == [
        name,
        f"thumbnails/{image.id}.webp",
        "index.html",
        "collection.json",
        "records.jsonl",
    ]
    assert read_from(tmp_path / "one.zip", name) == image.data
    (line,) = read_from(tmp_path / "one.zip", "records.jsonl").splitlines()
    found = msgspec.json.decode(line)
    assert found["file"] == name
    assert msgspec.convert(found["record"], imagen.metadata.Record) == image.record
    with zipfile.ZipFile(tmp_path / "one.zip") as archive:
        assert {entry.compress_type for entry in archive.infolist()} == {zipfile.ZIP_STORED}
        assert archive.testzip() is None


async def test_two_images_of_the_same_bytes_stay_two(tmp_path):
    async with open_desk(tmp_path / "before") as desk:
        for prompt in ("a cat", "a dog"):
            await desk.shelf.add(prompt=prompt, data=png())
        before = await desk.everything()
        await desk.archives.export_to(tmp_path / "all.zip")
    async with open_desk(tmp_path / "after") as desk:
        assert await desk.archives.import_from(tmp_path / "all.zip") == ImportResult(added=2)
        after = await desk.everything()
        assert [(image.id, image.prompt) for image in after] == [
            (image.id, image.prompt) for image in before
        ]


async def test_the_same_images_give_the_same_file(tmp_path):
    async with open_desk(tmp_path) as desk:
        images = [await desk.shelf.add(day=day) for day in range(3)]
        for name in ("a.zip", "b.zip"):
            await desk.archives.export_to(tmp_path / name, images)
    assert (tmp_path / "a.zip").read_bytes() == (tmp_path / "b.zip").read_bytes()


@pytest.mark.parametrize("prompt", HOSTILE)
async def test_a_name_in_an_archive_is_safe_whatever_the_prompt(prompt, tmp_path):
    async with open_desk(tmp_path) as desk:
        await desk.archives.export_to(tmp_path / "one.zip", await desk.shelf.add(prompt=prompt))
    (name,) = [name for name in names_in(tmp_path / "one.zip") if name.startswith("pictures/")]
    folder, _, rest = name.partition("/")
    assert folder == "pictures"
    assert rest.isprintable()
    assert not set(rest) & set('/\\:*?"<>|\0')
    assert not rest.startswith((".", "-"))
    assert len(rest.encode()) <= 255


async def test_a_collection_is_exported_with_those_in_it_and_nothing_else(tmp_path):
    async with open_desk(tmp_path / "before") as desk:
        images = [await desk.shelf.add(day=day) for day in range(4)]
        for name, chosen in (("a", images[:1]), ("a/b", images[1:2]), ("ab", images[2:3])):
            await desk.library.collections.create(name)
            await desk.library.collections.add(name, chosen)
        assert (await desk.archives.export_to(tmp_path / "a.zip", collection="a")).images == 2
    async with open_desk(tmp_path / "after") as desk:
        await desk.archives.import_from(tmp_path / "a.zip")
        assert {image.id for image in await desk.everything()} == {image.id for image in images[:2]}
        assert [(one.name, one.images) for one in await desk.library.collections.list()] == [
            ("a", 1),
            ("a/b", 1),
        ]


async def test_images_that_were_picked_tell_nothing_of_collections(tmp_path):
    async with open_desk(tmp_path / "before") as desk:
        image = await desk.shelf.add()
        await desk.library.collections.create("private plans")
        await desk.library.collections.add("private plans", image)
        await desk.archives.export_to(tmp_path / "one.zip", [image, image])
    assert b"private plans" not in (tmp_path / "one.zip").read_bytes()
    assert (
        msgspec.json.decode(read_from(tmp_path / "one.zip", "collection.json"))["collections"] == []
    )


async def test_an_import_adds_to_a_collection_of_that_name(tmp_path):
    async with open_desk(tmp_path / "before") as desk:
        first = await desk.shelf.add()
        await desk.library.collections.create("sea", notes="theirs")
        await desk.library.collections.add("sea", first)
        await desk.archives.export_to(tmp_path / "sea.zip", collection="sea")
    async with open_desk(tmp_path / "after") as desk:
        mine = await desk.shelf.add(data=png((1, 2, 3)))
        await desk.library.collections.create("sea", notes="mine")
        await desk.library.collections.add("sea", mine)
        await desk.archives.import_from(tmp_path / "sea.zip")
        assert [one.id for one in await desk.library.collections.images("sea")] == [
            mine.id,
            first.id,
        ]
        assert (await desk.library.collections.get("sea")).notes == "mine"


SECRETS = (
    "0.0417",
    "my-tag",
    "for the Smith account",
    "job-77",
    "cost-centre",
    "hunter2",
    "the plan",
    "for-mrs-smith.png",
)


async def test_what_is_only_its_owners_stays_out_of_a_public_archive(tmp_path):
    reference = imagen.InputImage(
        sha256="0" * 64, media_type="image/png", width=8, height=8, name="for-mrs-smith.png"
    )
    request = imagen.Generate(
        prompt="a cat",
        options={"user": "hunter2"},
        tag="cost-centre",
        assume_usd=Decimal("0.0417"),
        references=(reference,),
    )
    async with open_desk(tmp_path) as desk:
        image = await desk.shelf.add(
            request=request,
            usd="0.0417",
            tags=("my-tag",),
            notes="for the Smith account",
            provider_id="job-77",
            rating=3,
        )
        await desk.library.collections.create("cats", notes="the plan")
        await desk.library.collections.add("cats", image)
        await desk.archives.export_to(tmp_path / "public.zip", collection="cats", public=True)
        await desk.archives.export_to(tmp_path / "own.zip", collection="cats")
    public, own = ((tmp_path / name).read_bytes() for name in ("public.zip", "own.zip"))
    assert [word for word in SECRETS if word.encode() in public] == []
    assert [word for word in SECRETS if word.encode() not in own] == []
    assert b"a cat" in public


async def test_an_image_whose_file_is_gone_or_damaged_is_left_out_and_named(tmp_path):
    async with open_desk(tmp_path) as desk:
        good, gone, damaged = [await desk.shelf.add(day=day) for day in range(3)]
        assert gone.path is not None
        assert damaged.path is not None
        gone.path.unlink()
        damaged.path.write_bytes(damaged.data[:-1])
        done = await desk.archives.export_to(tmp_path / "all.zip")
    assert (done.images, [one.name for one in done.left_out]) == (1, [gone.id, damaged.id])
    assert (
        len([name for name in names_in(tmp_path / "all.zip") if name.startswith("pictures/")]) == 1
    )
    assert good.id in read_from(tmp_path / "all.zip", "records.jsonl").decode()


async def test_an_image_that_cannot_be_decoded_is_exported_without_a_preview(tmp_path):
    async with open_desk(tmp_path) as desk:
        # A head, and no pixels.
        image = await desk.shelf.add(data=png()[:33])
        await desk.archives.export_to(tmp_path / "one.zip", image)
    assert [name for name in names_in(tmp_path / "one.zip") if name.startswith("thumbnails/")] == []
    assert b"No preview" in read_from(tmp_path / "one.zip", "index.html")


async def test_an_export_that_fails_leaves_what_was_there(tmp_path):
    path = tmp_path / "out" / "all.zip"
    path.parent.mkdir()
    path.write_bytes(b"an older one")

    async def images(desk):
        yield await desk.shelf.add()
        raise RuntimeError("the caller's own")

    async with open_desk(tmp_path) as desk:
        with pytest.raises(RuntimeError, match="the caller's own"):
            await desk.archives.export_to(path, images(desk))
        assert path.read_bytes() == b"an older one"
        assert [one.name for one in path.parent.iterdir()] == ["all.zip"]
        with pytest.raises(
            imagen.StorageError,
            match=r"The archive cannot be written to .*no/all\.zip: No such file",
        ):
            await desk.archives.export_to(tmp_path / "no" / "all.zip")
        with pytest.raises(imagen.InvalidRequestError, match="images and a collection"):
            await desk.archives.export_to(path, [], collection="sea")
        with pytest.raises(imagen.InvalidRequestError, match="Unknown collection 'sea'"):
            await desk.archives.export_to(path, collection="sea")


@pytest.mark.parametrize("path", [".", "/", "", "a folder"])
async def test_an_archive_is_no_folder_and_that_is_said_before_anything_is_read(
    path, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a folder").mkdir()

    async def images():
        raise AssertionError("too late")
        yield

    async with open_desk(tmp_path) as desk:
        with pytest.raises(imagen.StorageError, match="it is a folder"):
            await desk.archives.export_to(path, images())


async def test_many_images_are_many_pages(tmp_path, monkeypatch):
    monkeypatch.setattr("imagen.sharing._archive.exporting._PER_PAGE", 2)
    async with open_desk(tmp_path) as desk:
        for day in range(5):
            await desk.shelf.add(day=day)
        await desk.archives.export_to(tmp_path / "all.zip")
    pages = [name for name in names_in(tmp_path / "all.zip") if name.endswith(".html")]
    assert pages == ["index.html", "page-2.html", "page-3.html"]
    shown = [read_from(tmp_path / "all.zip", page).decode() for page in pages]
    assert [page.count("<figure>") for page in shown] == [2, 2, 1]
    assert ['href="page-2.html"' in page for page in shown] == [True, False, True]
    assert ['href="page-3.html"' in page for page in shown] == [False, True, False]
    assert 'rel="prev" href="index.html"' in shown[1]


async def test_times_that_zip_files_cannot_say_do_no_harm(tmp_path):
    async with open_desk(tmp_path / "before") as desk:
        old = await desk.shelf.add(created_at=datetime.datetime(1971, 1, 1, tzinfo=datetime.UTC))
        await desk.archives.export_to(tmp_path / "old.zip", old)
    async with open_desk(tmp_path / "after") as desk:
        await desk.archives.import_from(tmp_path / "old.zip")
        assert [image.created_at for image in await desk.everything()] == [old.created_at]
