"""Archives of strangers: what is good in them is kept, what is not is named,
and nothing else happens.
"""

from __future__ import annotations

import datetime
import hashlib
import json
import stat
import struct
import tempfile
import zipfile
import zlib
from decimal import Decimal
from pathlib import Path
from zipfile import ZipInfo

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import imagen
from imagen._requests.request import fingerprint_of
from imagen.sharing import ImportResult
from tests.support.images import png
from tests.support.sharing import Desk, open_desk, zip_of

GOOD = png((1, 2, 3))
OTHER = png((3, 2, 1))


async def take(desk: Desk, tmp_path: Path, data: bytes, **options: bool) -> ImportResult:
    path = tmp_path / "theirs.zip"
    path.write_bytes(data)
    return await desk.archives.import_from(path, **options)


def files_below(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize(
    "name",
    [
        "../../outside.png",
        "/tmp/outside.png",
        "C:\\outside.png",
        "a/../../outside.png",
        "con.png",
        "\x1b[2J.png",
        "<b>.png",
    ],
)
async def test_names_lead_nowhere(name, tmp_path):
    home = tmp_path / "deep" / "home"
    async with open_desk(home) as desk:
        done = await take(desk, tmp_path, zip_of({name: GOOD}))
        assert done == ImportResult(added=1)
        (image,) = await desk.everything()
        assert image.path is not None
        assert image.path.is_relative_to(home / "images")
        assert image.path.stem == hashlib.sha256(GOOD).hexdigest()
    assert {path.split("/")[0] for path in files_below(tmp_path)} == {"deep", "theirs.zip"}


def link(name: str, target: str) -> tuple[ZipInfo, bytes]:
    entry = ZipInfo(name)
    entry.create_system = 3
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry, target.encode()


def encrypted(name: str) -> bytes:
    data = bytearray(zip_of({name: GOOD}))
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(signature) + at] |= 1
    return bytes(data)


def pixels_claimed(width: int, height: int) -> bytes:
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n"
        + struct.pack(">I", 13)
        + head
        + struct.pack(">I", zlib.crc32(head))
        + b"\0" * 30
    )


def damaged(data: bytes) -> bytes:
    """With one wrong byte in the first file."""
    at = data.index(GOOD) + len(GOOD) // 2
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


UNFIT = {
    "a link": (
        zip_of([link("a.png", "/etc/passwd"), ("b.png", OTHER)]),
        "a.png is a link, which is not followed.",
    ),
    "no image": (
        zip_of({"a.png": b"GIF, honestly", "b.png": OTHER}),
        "a.png is not a PNG, JPEG, WebP, GIF or SVG image.",
    ),
    "an archive": (
        zip_of({"a.png": zip_of({"c.png": GOOD}), "b.png": OTHER}),
        "a.png is not a PNG, JPEG",
    ),
    "a page": (zip_of({"a.png": b"<html><script>", "b.png": OTHER}), "a.png is not a PNG, JPEG"),
    "a wrong checksum": (
        damaged(zip_of({"a.png": GOOD, "b.png": OTHER})),
        "a.png is damaged in the archive (Bad CRC",
    ),
    "pixels": (
        zip_of({"a.png": pixels_claimed(100_000, 100_000), "b.png": OTHER}),
        "a.png claims 100000x100000 pixels, and max_pixels",
    ),
    "a bomb": (
        zip_of({"a.png": GOOD + b"\0" * (32 << 20), "b.png": OTHER}, zipfile.ZIP_DEFLATED),
        "a.png unpacks to more than 200 times its size",
    ),
    "a rare packing": (
        zip_of([("a.png", GOOD)], zipfile.ZIP_LZMA),
        "a.png has an unsupported compression",
    ),
}


@pytest.mark.parametrize("name", UNFIT)
async def test_what_is_unfit_is_named_and_the_rest_is_kept(name, tmp_path):
    data, sentence = UNFIT[name]
    async with open_desk(tmp_path / "home") as desk:
        done = await take(desk, tmp_path, data)
        assert len(done.refused) == 1
        assert done.refused[0].name == "a.png"
        assert done.refused[0].reason.startswith(sentence)
        assert done.added == (b"b.png" in data)
        assert [image.data for image in await desk.everything()] == [OTHER] * done.added
        assert await desk.library.check() == []


async def test_what_is_encrypted_is_named(tmp_path):
    async with open_desk(tmp_path / "home") as desk:
        done = await take(desk, tmp_path, encrypted("a.png"))
        assert (done.added, done.refused[0].reason[:18]) == (0, "a.png is encrypted")


async def test_a_size_that_is_a_lie_reads_no_more_than_it_says(tmp_path):
    data = bytearray(zip_of({"a.png": GOOD + b"\0" * (8 << 20)}, zipfile.ZIP_DEFLATED))
    at = data.index(b"PK\x01\x02") + 24
    data[at : at + 4] = struct.pack("<I", 100)
    async with open_desk(tmp_path / "home") as desk:
        done = await take(desk, tmp_path, bytes(data))
        assert (done.added, len(done.refused)) == (0, 1)
        assert done.refused[0].reason.startswith("a.png is damaged in the archive")


def overlapping(entries: int, size: int) -> bytes:
    """Many entries that are all the same large file."""
    data = zip_of({"0.png": GOOD + b"\0" * size})
    start, end = data.index(b"PK\x01\x02"), data.index(b"PK\x05\x06")
    one = data[start:end]
    index = b"".join(
        one.replace(b"0.png", f"{number % 10}.png".encode()) for number in range(entries)
    )
    tail = bytearray(data[end:])
    struct.pack_into("<HHI", tail, 8, entries, entries, len(index))
    return data[:start] + index + bytes(tail)


async def test_an_archive_that_unpacks_to_far_more_than_it_is_is_not_read_to_its_end(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("imagen.sharing._archive.sources._TOTAL_FREE_BYTES", 0)
    async with open_desk(tmp_path / "home") as desk:
        done = await take(desk, tmp_path, overlapping(60_000, 100_000))
        # Of sixty thousand.
        assert done.added + done.already_there + len(done.refused) < 200
        assert "unpacks to more than 4 times its size" in done.refused[-1].reason


async def test_files_of_one_name_are_all_there(tmp_path):
    with pytest.warns(UserWarning, match="Duplicate name"):
        data = zip_of([("a.png", GOOD), ("a.png", OTHER), ("a.png", b"nothing")])
    async with open_desk(tmp_path / "home") as desk:
        done = await take(desk, tmp_path, data)
        assert (done.added, [one.name for one in done.refused]) == (2, ["a (3).png"])


async def test_a_hundred_thousand_files_that_are_none_cost_little(tmp_path):
    data = zip_of({f"{number}.txt": b"" for number in range(100_000)} | {"a.png": GOOD})
    async with open_desk(tmp_path / "home") as desk:
        done = await take(desk, tmp_path, data)
    assert (done.added, len(done.ignored)) == (1, 1001)
    assert done.ignored[0].reason == "0.txt is not an image."
    assert done.ignored[-1].reason == "99,000 more files are not images."


@pytest.mark.parametrize(
    "data",
    [
        b"PK\x03\x04",
        b"PK\x05\x06" + b"\xff" * 18,
        zip_of({"a.png": GOOD})[:-30],
        b"PK\x03\x04" + b"\0" * 500,
    ],
)
async def test_an_archive_that_cannot_be_read_is_said_to_be_none(data, tmp_path):
    async with open_desk(tmp_path / "home") as desk:
        with pytest.raises(
            imagen.InvalidRequestError, match=r"theirs\.zip is not a readable zip file"
        ):
            await take(desk, tmp_path, data)
        assert await desk.everything() == []


async def test_a_list_of_contents_that_would_fill_the_memory_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("imagen.sharing._archive.sources._LARGEST_INDEX", 1 << 17)
    data = zip_of({f"{number:0100}.txt": b"" for number in range(1000)})
    async with open_desk(tmp_path / "home") as desk:
        with pytest.raises(imagen.InvalidRequestError, match="its list of contents is too large"):
            await take(desk, tmp_path, data)


@settings(max_examples=40, deadline=None)
@given(
    edits=st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=6),
    cut=st.integers(0, 50),
)
async def test_whatever_is_wrong_with_an_archive_nothing_breaks(edits, cut):
    data = bytearray(archive(record(GOOD)))
    for at, byte in edits:
        data[at % len(data)] = byte
    with tempfile.TemporaryDirectory() as folder:
        async with open_desk(Path(folder, "home")) as desk:
            try:
                done = await take(desk, Path(folder), bytes(data[: len(data) - cut]))
            except imagen.ImagenError:
                done = ImportResult()
            images = await desk.everything()
            assert len(images) == done.added
            assert await desk.library.check() == []


# --- records that lie ---------------------------------------------------------


def record(data: bytes, **fields: object) -> dict[str, object]:
    return {
        "id": "00112233445566ff",
        "request": {"operation": "generate", "prompt": "a cat"},
        "operation": "generate",
        "prompt": "a cat",
        "provider": "openai",
        "model": "test-model",
        "created_at": "2026-01-01T00:00:00Z",
        "sha256": hashlib.sha256(data).hexdigest(),
        **fields,
    }


def archive(*records: dict[str, object], data: bytes = GOOD, **more: bytes) -> bytes:
    lines = b"".join(
        json.dumps({"file": "pictures/a.png", "record": one}).encode() + b"\n" for one in records
    )
    return zip_of({"pictures/a.png": data, "records.jsonl": lines, **more})


async def take_one(
    tmp_path: Path, data: bytes, **options: bool
) -> tuple[imagen.Image, ImportResult]:
    async with open_desk(tmp_path / "home") as desk:
        done = await take(desk, tmp_path, data, **options)
        (image,) = await desk.everything()
        assert await desk.library.check() == []
        return image, done


async def test_a_record_of_other_bytes_is_not_believed(tmp_path):
    image, done = await take_one(tmp_path, archive(record(OTHER, prompt="a lie"), data=GOOD))
    assert image.id == image.sha256[:16] == hashlib.sha256(GOOD).hexdigest()[:16]
    assert (image.prompt, image.model) == ("", "unknown")
    assert [one.name for one in done.doubted] == ["pictures/a.png"]
    assert "of other bytes" in done.doubted[0].reason


@pytest.mark.parametrize(
    "image_id",
    ["", "../../etc", "0" * 15, "0" * 17, "ABCDEF0123456789", "00112233445566fg", "x" * 999],
)
async def test_an_id_that_is_none_of_ours_is_not_taken(image_id, tmp_path):
    image, _ = await take_one(tmp_path, archive(record(GOOD, id=image_id, parent_id=image_id)))
    assert (image.id, image.parent_id) == (image.sha256[:16], None)


async def test_the_id_of_another_image_is_not_taken_over(tmp_path):
    async with open_desk(tmp_path / "home") as desk:
        mine = await desk.shelf.add(data=OTHER, prompt="mine", notes="keep")
        theirs = archive(record(GOOD, id=mine.id), **collection([mine.id]))
        assert await take(desk, tmp_path, theirs) == ImportResult(added=1)
        assert await take(desk, tmp_path, theirs) == ImportResult(already_there=1)
        images = {image.data: image for image in await desk.everything()}
        assert images[OTHER] == mine
        assert images[GOOD].id == images[GOOD].sha256[:16]
        assert [one.id for one in await desk.library.collections.images("theirs")] == [
            images[GOOD].id
        ]


def collection(ids: list[str], name: str = "theirs") -> dict[str, bytes]:
    return {
        "collection.json": json.dumps({"collections": [{"name": name, "images": ids}]}).encode()
    }


async def test_an_id_that_was_taken_beforehand_hides_no_image(tmp_path):
    squatter = archive(record(GOOD, id=hashlib.sha256(OTHER).hexdigest()[:16]))
    async with open_desk(tmp_path / "home") as desk:
        await take(desk, tmp_path, squatter)
        for done in (ImportResult(added=1), ImportResult(already_there=1)):
            assert await take(desk, tmp_path, zip_of({"other.png": OTHER})) == done
        assert {image.data for image in await desk.everything()} == {GOOD, OTHER}


async def test_a_list_of_lines_that_are_none_is_not_read_to_its_end(tmp_path):
    decoded = json.dumps({"file": "records.jsonl", "index": 0, "record": record(GOOD)}).encode()
    absent = json.dumps({"file": "absent.png", "index": 0, "record": record(GOOD)}).encode()
    lines = b"\n".join([decoded, *[b"x", absent] * 5000])
    image, done = await take_one(tmp_path, zip_of({"pictures/a.png": GOOD, "records.jsonl": lines}))
    assert image.data == GOOD
    assert len(done.refused) < 1100
    assert done.refused[-1].reason.startswith(
        "records.jsonl was read to line 1001 only: 1,000 lines name files that are not"
    )


async def test_collections_come_in_whatever_their_order(tmp_path):
    names = ["Outer/Inner", "Outer"]
    listed = json.dumps(
        {"collections": [{"name": name, "images": ["00112233445566ff"]} for name in names]}
    ).encode()
    async with open_desk(tmp_path / "home") as desk:
        for done in (ImportResult(added=1), ImportResult(already_there=1)):
            assert (
                await take(desk, tmp_path, archive(record(GOOD), **{"collection.json": listed}))
                == done
            )
        there = {one.name: one.images for one in await desk.library.collections.list()}
        assert there == {"Outer": 1, "Outer/Inner": 1}


async def test_a_collection_takes_in_images_of_its_own_archive_only(tmp_path):
    async with open_desk(tmp_path / "home") as desk:
        mine = await desk.shelf.add(data=OTHER)
        await take(
            desk, tmp_path, archive(record(GOOD), **collection([mine.id, "00112233445566ff"]))
        )
        assert [one.id for one in await desk.library.collections.images("theirs")] == [
            "00112233445566ff"
        ]


@pytest.mark.parametrize("name", ["", "a/b/c", "\0", "x" * 1000])
async def test_a_collection_that_cannot_be_called_so_is_named(name, tmp_path):
    _, done = await take_one(tmp_path, archive(record(GOOD), **collection([], name)))
    assert len(done.refused) == 1
    assert "Invalid collection name" in done.refused[0].reason


@pytest.mark.parametrize(
    "text", [b"", b"[]", b'{"collections": [{"name": 3}]}', b"\xff", b"[" * 100_000]
)
async def test_a_list_of_collections_that_is_none_is_named(text, tmp_path):
    _, done = await take_one(tmp_path, archive(record(GOOD), **{"collection.json": text}))
    assert [one.name for one in done.refused] == ["collection.json"]


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"null",
        b"{}",
        b"[" * 100_000,
        b"\xff\xfe",
        b'{"file": "a", "record": 3}',
        b"x" * 17_000_000,
    ],
)
async def test_a_line_that_is_no_record_hides_no_image(line, tmp_path):
    data = zip_of({"pictures/a.png": GOOD, "records.jsonl": line + b"\n"})
    image, done = await take_one(tmp_path, data)
    assert image.data == GOOD
    assert {one.name for one in done.refused} <= {"records.jsonl"}
    assert bool(done.refused) == bool(line)


@pytest.mark.parametrize(
    "name", ["../home/imagen.sqlite3", "/etc/passwd", "nothing.png", "thumbnails/a.webp"]
)
async def test_a_record_names_files_of_its_archive_only(name, tmp_path):
    line = json.dumps({"file": name, "record": record(GOOD)}).encode() + b"\n"
    _, done = await take_one(tmp_path, zip_of({"pictures/a.png": GOOD, "records.jsonl": line}))
    assert [one.reason for one in done.refused] == [
        f"{name} is not in the archive, which has a record of it."
    ]


LIES = {
    "cost_usd": ["NaN", "-1", "1e30", "Infinity"],
    "seed": [-(2**63) - 1, 2**63, 2**64 - 1],
    "rating": [-1, 6, 2**40],
    "tags": [["a,b"], ["x" * 65], ["\0"], [""]],
    "seconds": [-1.0, 1e300],
    "created_at": [
        "0001-01-01T00:00:00+14:00",
        "9999-12-31T23:59:59Z",
        "2500-01-01T00:00:00+14:00",
    ],
    "notes": ["x" * 200_000],
}


@pytest.mark.parametrize(
    ("field", "value"),
    [(field, value) for field, values in LIES.items() for value in values],
    ids=str,
)
async def test_a_value_that_no_column_holds_is_left_out(field, value, tmp_path):
    image, done = await take_one(tmp_path, archive(record(GOOD, **{field: value})))
    assert (done.added, done.refused, image.id, image.prompt) == (
        1,
        (),
        "00112233445566ff",
        "a cat",
    )
    assert image.cost.usd is None
    assert image.seed is None
    assert image.rating == 0
    assert image.tags == ()
    assert image.seconds == 0
    assert image.created_at <= datetime.datetime.now(datetime.UTC) + datetime.timedelta(days=400)
    assert len(image.notes) <= 100_000


@pytest.mark.parametrize(
    "source", ["/etc/passwd", "https://evil.example/x.png", "file:///etc/passwd"]
)
async def test_a_request_that_names_files_or_links_does_not_come_in(source, tmp_path):
    request = {"operation": "edit", "prompt": "a cat", "images": [source]}
    image, done = await take_one(tmp_path, archive(record(GOOD, request=request)), trusted=True)
    assert image.request == imagen.Generate(prompt="a cat")
    assert "which only the user's own request may do" in done.doubted[0].reason


OPTIONS = {
    "operation": "generate",
    "prompt": "a cat",
    "options": {"webhook": "https://evil.example"},
    "tag": "theirs",
    "assume_usd": "0",
}


STEERING = {
    "climbs": {"sha256": "../../../victim", "media_type": "image/png"},
    "is absolute": {"sha256": "VICTIM", "media_type": "image/png"},
    "has no ending": {"sha256": "0" * 64, "media_type": "application/x-none"},
}


@pytest.mark.parametrize("trusted", [False, True])
@pytest.mark.parametrize("name", STEERING)
async def test_an_image_that_one_was_made_from_names_no_file_to_delete(name, trusted, tmp_path):
    victim = tmp_path / "victim.png"
    victim.write_bytes(b"another's")
    source = {**STEERING[name], "width": 8, "height": 8}
    source["sha256"] = source["sha256"].replace("VICTIM", str(tmp_path / "victim"))
    request = {"operation": "edit", "prompt": "a cat", "images": [source]}
    async with open_desk(tmp_path / "deep" / "home") as desk:
        done = await take(desk, tmp_path, archive(record(GOOD, request=request)), trusted=trusted)
        assert [one.name for one in done.doubted] == (
            [] if name == "has no ending" else ["pictures/a.png"]
        )
        (image,) = await desk.everything()
        assert image.prompt == "a cat"
        assert await desk.library.delete(image) == 1
        assert await desk.everything() == []
    assert victim.read_bytes() == b"another's"


@pytest.mark.parametrize("trusted", [False, True])
async def test_what_would_be_sent_or_counted_is_kept_of_ones_own_archives_only(trusted, tmp_path):
    image, _ = await take_one(tmp_path, archive(record(GOOD, request=OPTIONS)), trusted=trusted)
    expected = imagen.Generate(prompt="a cat")
    if trusted:
        expected = msgspec.structs.replace(
            expected,
            options={"webhook": "https://evil.example"},
            tag="theirs",
            assume_usd=Decimal(0),
        )
    assert image.request == expected


@pytest.mark.parametrize("trusted", [False, True])
async def test_only_images_of_ones_own_answer_requests(trusted, tmp_path):
    async with open_desk(tmp_path / "home") as desk:
        await take(desk, tmp_path, archive(record(GOOD)), trusted=trusted)
        rows = await desk.shelf.database.read("SELECT fingerprint FROM images")
        answers = fingerprint_of(imagen.Generate(prompt="a cat"), "test-model")
        assert rows == [(answers if trusted else None,)]


@pytest.mark.parametrize("number", [10**30, 2**64, -(10**30)])
async def test_a_number_that_no_column_holds_does_no_harm(number, tmp_path):
    request = {"operation": "generate", "prompt": "a cat", "seed": number, "options": {"x": number}}
    image, _ = await take_one(tmp_path, archive(record(GOOD, request=request)), trusted=True)
    assert (image.id, image.prompt, image.seed) == ("00112233445566ff", "a cat", None)


async def test_two_records_of_one_file_are_one_image(tmp_path):
    image, done = await take_one(tmp_path, archive(record(GOOD), record(GOOD, id="ff" * 8)))
    assert (image.id, done) == ("00112233445566ff", ImportResult(added=1))


async def test_half_a_letter_is_no_text(tmp_path):
    text = '{"operation": "generate", "prompt": "\\ud800 cat"}'
    line = json.dumps({"file": "pictures/a.png", "record": record(GOOD)})
    line = line.replace('{"operation": "generate", "prompt": "a cat"}', text)
    assert "ud800" in line
    image, _ = await take_one(
        tmp_path, zip_of({"pictures/a.png": GOOD, "records.jsonl": line.encode()})
    )
    assert image.data == GOOD
