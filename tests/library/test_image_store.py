"""Images whose home is an object store: there before their rows, and read
through copies on each machine.
"""

from __future__ import annotations

import hashlib
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import msgspec
import pytest
import trio

import imagen
from imagen import ImageStoreSettings
from imagen._storage.object_store import ObjectStore
from imagen._system.threads import ThreadWorkers
from imagen.library import Transform, _image_store, _uploads
from imagen.library._image_store import ImageStore
from imagen.library._rows import row_of
from tests.support.images import PNG, png
from tests.support.library import Clock, Shelf, open_shelf
from tests.support.paths import ROOT
from tests.support.store_server import StoreServer, fresh_bucket, open_store_server

# Makes one image, and dies at the named step: "file", before it is put, or
# "row", after it was put and before its row is written.
DYING = """
import os, signal, sys, trio, imagen
from imagen._storage.ledger import Ledger
from imagen.library._image_store import ImageStore

def die(*ignored, **more):
    os.kill(os.getpid(), signal.SIGKILL)

if sys.argv[1] == "file":
    ImageStore.put = die
else:
    Ledger.settle = die

async def main():
    async with imagen.open_client() as client:
        await client.generate("a lighthouse", model="sketch")

trio.run(main)
"""


# Adds and deletes images, for ever.
BUSY = """
import random, sys, time, trio
from pathlib import Path
from imagen import ImageStoreSettings
from imagen._system.threads import ThreadWorkers
from tests.support.images import png
from tests.support.library import open_shelf

async def main(home, url, seed):
    rnd = random.Random(seed)
    images = ImageStoreSettings(url=url)
    async with open_shelf(Path(home), ThreadWorkers(), images=images) as shelf:
        shelf.clock.now = time.time()
        while True:
            # Few colours: the two processes make the same bytes at times.
            made = await shelf.add(data=png((rnd.randrange(60), 0, 0)))
            if rnd.random() < 0.3:
                await shelf.library.delete(made)
            shelf.clock.now = time.time()

trio.run(main, sys.argv[1], sys.argv[2], int(sys.argv[3]))
"""
# Moves the images of a home to a store, slowly.
MOVING = """
import sys, time, trio
from pathlib import Path
from imagen import ImageStoreSettings
from imagen._system.threads import ThreadWorkers
from imagen.library._image_store import ImageStore
from tests.support.library import open_shelf

put = ImageStore.put

def put_slowly(self, path):
    put(self, path)
    time.sleep(1)

ImageStore.put = put_slowly

async def main(home, url):
    images = ImageStoreSettings(url=url)
    async with open_shelf(Path(home), ThreadWorkers(), images=images) as shelf:
        await shelf.library.upload()

trio.run(main, *sys.argv[1:])
"""


@pytest.fixture(scope="module")
def server() -> Iterator[StoreServer]:
    with open_store_server() as opened:
        yield opened


@pytest.fixture
def bucket(server: StoreServer, monkeypatch: pytest.MonkeyPatch) -> ImageStoreSettings:
    name = fresh_bucket(server, monkeypatch)
    options = {"endpoint": server.endpoint, "region": "us-east-1"}
    return ImageStoreSettings(url=f"s3://{name}/library", options=options)


@pytest.fixture
def patient_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give up at once, and do not wait for what is put later."""
    monkeypatch.setattr(_image_store, "_WAITS", (0.01,))
    monkeypatch.setattr(_uploads, "_FIRST_SECONDS", 3600.0)


def in_folder(folder: Path, **more: object) -> ImageStoreSettings:
    return ImageStoreSettings(url=folder.as_uri(), **more)


def settings_at(home: Path, images: ImageStoreSettings) -> imagen.Settings:
    settings = imagen.load_settings({"IMAGEN_HOME": str(home)})
    return msgspec.structs.replace(settings, images=images)


def objects_in(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def names_in(folder: Path) -> list[str]:
    return [path.name for path in objects_in(folder)]


async def read(image: imagen.Image) -> bytes:
    return await trio.to_thread.run_sync(lambda: image.data)


async def until(is_so: Callable[[], bool]) -> None:
    with trio.fail_after(30):
        while not is_so():
            await trio.sleep(0.02)


# --- one machine --------------------------------------------------------------


@pytest.mark.usefixtures("engine")
async def test_an_image_lives_in_the_store_and_is_read_from_a_copy(tmp_path: Path):
    store, home = tmp_path / "store", tmp_path / "home"
    async with imagen.open_client(settings_at(home, in_folder(store))) as client:
        image = await client.generate("a lighthouse", model="sketch")
        assert names_in(store) == [image.sha256]
        data = image.path.read_bytes()
        image.path.unlink()
        found = await client.library.get(image.id)
        assert found == image
        assert await read(found) == data
        assert found.path.is_file()
        found.path.unlink()
        assert (await client.renditions.get(found, Transform(width=64))).is_file()
        assert await client.library.check() == []
        saved = await trio.to_thread.run_sync(found.save, tmp_path / "saved.png")
        assert saved.is_file()
    # Nothing is left that only this machine has.
    assert [path for path in objects_in(home / "images") if "cache" not in path.parts] == []


async def test_an_image_can_be_sent_to_another_process(tmp_path: Path):
    async with open_shelf(tmp_path, images=in_folder(tmp_path / "store")) as shelf:
        image = await shelf.add(data=PNG)
        image.path.unlink()
        sent = pickle.loads(pickle.dumps(image))
        assert sent == image
        assert sent.data == PNG


async def test_without_the_setting_the_store_is_not_even_imported(tmp_path: Path):
    code = (
        "import imagen, sys, trio\n"
        "async def main():\n"
        "    async with imagen.open_client() as client:\n"
        "        image = await client.generate('x', model='sketch')\n"
        "        assert image.path.parent.parent == client.library.folder\n"
        "trio.run(main)\n"
        "print('obstore' in sys.modules)"
    )
    done = await trio.run_process(
        [sys.executable, "-c", code],
        env={**os.environ, "IMAGEN_HOME": str(tmp_path)},
        cwd=ROOT,
        capture_stdout=True,
    )
    assert done.stdout.split() == [b"False"]


async def test_a_package_that_is_missing_is_said_before_anything_is_paid(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    with pytest.raises(imagen.ConfigurationError, match=r'pip install "imagen-trio\[store\]"'):
        async with imagen.open_client(settings_at(tmp_path, in_folder(tmp_path / "store"))):
            raise AssertionError("it opened")


def test_the_store_is_named_by_the_environment_or_the_file(tmp_path: Path):
    (tmp_path / "imagen.toml").write_text(
        '[images]\nurl = "s3://a/b"\nmax_cache_bytes = 5\n[images.options]\nregion = "x"\n'
    )
    environ = {"IMAGEN_HOME": str(tmp_path)}
    images = imagen.load_settings(environ).images
    assert images == ImageStoreSettings(url="s3://a/b", max_cache_bytes=5, options={"region": "x"})
    named = imagen.load_settings({**environ, "IMAGEN_IMAGES_URL": "gs://c"}).images
    assert named is not None
    assert (named.url, named.max_cache_bytes) == ("gs://c", 5)
    for table in ('url = "ftp://x"', 'url = "s3://x"\npublic_url = "y"', "max_cache_bytes = 1"):
        (tmp_path / "imagen.toml").write_text(f"[images]\n{table}\n")
        with pytest.raises(imagen.ConfigurationError):
            imagen.load_settings(environ)


# --- several machines ---------------------------------------------------------


async def test_an_image_of_one_machine_is_opened_on_another(tmp_path: Path):
    images = in_folder(tmp_path / "store")
    home = settings_at(tmp_path / "home", images)
    async with (
        imagen.open_client(home, library=tmp_path / "one") as one,
        imagen.open_client(home, library=tmp_path / "two") as two,
    ):
        image = await one.generate("a lighthouse", model="sketch")
        found = await two.library.get(image.id)
        assert found.path.is_relative_to(tmp_path / "two")
        assert await read(found) == await read(image)


async def test_two_homes_share_a_postgresql_and_a_store(tmp_path: Path, postgresql):
    url = imagen.load_settings(
        {"IMAGEN_HOME": str(tmp_path), "IMAGEN_DATABASE_URL": postgresql.new_schema()}
    ).database_url
    one, two = (
        msgspec.structs.replace(
            settings_at(tmp_path / name, in_folder(tmp_path / "store")), database_url=url
        )
        for name in ("one", "two")
    )
    async with imagen.open_client(one) as first, imagen.open_client(two) as second:
        image = await first.generate("a lighthouse", model="sketch")
        found = await second.library.get(image.id)
        assert await read(found) == await read(image)
        made = await second.generate("a harbour", model="sketch")
        assert await read(await first.library.get(made.id)) == await read(made)
        # What each of them puts is in one folder of the store.
        assert len({path.parents[1] for path in objects_in(tmp_path / "store")}) == 1
        copy = (await first.library.get(made.id)).path
        await second.library.delete(made)
        copy.unlink()
        with pytest.raises(imagen.StorageError, match="is not in the store"):
            await trio.to_thread.run_sync(first.library.files.remote.fetch, copy)


@pytest.mark.usefixtures("engine")
async def test_an_input_image_is_there_for_another_machine(tmp_path: Path):
    images = in_folder(tmp_path / "store")
    async with (
        open_shelf(tmp_path, images=images, folder=tmp_path / "one") as one,
        open_shelf(tmp_path, images=images, folder=tmp_path / "two") as two,
    ):
        named = {"sha256": hashlib.sha256(PNG).hexdigest(), "media_type": "image/png"}
        await one.library.keep_input(PNG, **named)
        find = two.library.files.find_input
        assert find(named["sha256"]) == PNG
        assert find("0" * 64) is None
        # The copy does not stand for the object, which another machine deleted.
        objects_in(tmp_path / "store")[0].unlink()
        await two.library.keep_input(PNG, **named)
        assert names_in(tmp_path / "store") == [named["sha256"]]


async def test_libraries_of_one_bucket_do_not_delete_for_each_other(tmp_path: Path):
    images = in_folder(tmp_path / "store")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    async with (
        open_shelf(tmp_path / "a", images=images) as one,
        open_shelf(tmp_path / "b", images=images) as two,
    ):
        mine, other = await one.add(data=PNG), await two.add(data=PNG)
        await one.library.delete(mine)
        other.path.unlink()
        assert other.data == PNG


# --- the store fails ----------------------------------------------------------


@pytest.mark.usefixtures("patient_no_more")
async def test_an_image_that_the_store_does_not_take_is_kept_and_put_later(
    server: StoreServer, bucket: ImageStoreSettings, tmp_path: Path
):
    server.faults(status="503 Slow Down")
    async with imagen.open_client(settings_at(tmp_path, bucket)) as client:
        image = await client.generate("a lighthouse", model="sketch")
        assert image.storage_error is None
        data = image.path.read_bytes()
        (finding,) = [one for one in await _check(client, server) if one.kind != "leftover"]
        assert (finding.kind, finding.image_id) == ("waiting", image.id)
        # The copy may go, as the file stays.
        image.path.unlink()
        assert await read(await client.library.get(image.id)) == data
        server.faults(status="503 Slow Down")
        with pytest.raises(imagen.ProviderError, match="answered 503"):
            await client.library.upload()
        server.faults()
        assert await client.library.upload() == 1
        assert await client.library.upload() == 0
        assert image.path.read_bytes() == data
        image.path.unlink()
        assert await read(image) == data
    ((name, found),) = server.objects(_name(bucket)).items()
    assert name.endswith(image.sha256)
    assert found["sha256"] == image.sha256


async def _check(client: imagen.Client, server: StoreServer):
    server.faults()
    return await client.library.check()


def _name(bucket: ImageStoreSettings) -> str:
    return bucket.url.split("/")[2]


async def test_what_waits_is_put_by_itself_when_the_store_is_back(
    server: StoreServer,
    bucket: ImageStoreSettings,
    tmp_path: Path,
    patient_no_more: None,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(_uploads, "_FIRST_SECONDS", 0.05)
    monkeypatch.setattr(_uploads, "_EVERY_SECONDS", 0.05)
    server.faults(status="500 Oops")
    async with imagen.open_client(settings_at(tmp_path, bucket)) as client:
        image = await client.generate("a lighthouse", model="sketch")
        server.faults()
        await until(lambda: len(server.objects(_name(bucket))) == 1)
        await until(lambda: client.library.files.remote.only_here() == [])
        assert image.path.is_file()


@pytest.mark.usefixtures("patient_no_more")
async def test_a_store_that_is_down_is_not_waited_for_with_each_image(
    server: StoreServer,
    bucket: ImageStoreSettings,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.setattr(_uploads, "_PAUSE_SECONDS", 3600.0)
    server.faults(status="503 Slow Down")
    async with imagen.open_client(settings_at(tmp_path, bucket)) as client:
        for number in range(5):
            await client.generate(f"lighthouse {number}", model="sketch")
        # One image was tried twice, and the others not at all.
        assert server.log()["asked"] == {"PUT": 2}


async def test_a_put_that_hangs_does_not_hold_up_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    goes_on = threading.Event()
    put = ObjectStore.put

    def hang(*args: object) -> None:
        goes_on.wait(30)
        put(*args)

    monkeypatch.setattr(ObjectStore, "put", hang)
    monkeypatch.setattr(_uploads, "_PUT_SECONDS", 0.2)
    store = tmp_path / "store"
    async with imagen.open_client(settings_at(tmp_path / "home", in_folder(store))) as client:
        with trio.fail_after(20):
            image = await client.generate("a lighthouse", model="sketch")
        assert image.path.is_file()
        assert await client.library.get(image.id) == image
        assert names_in(store) == []
        # The thread that was left ends its work.
        goes_on.set()
        await until(lambda: client.library.files.remote.only_here() == [])
        assert names_in(store) == [image.sha256]


@pytest.mark.usefixtures("patient_no_more")
async def test_a_store_that_is_down_is_one_sentence_for_a_reader(
    server: StoreServer, bucket: ImageStoreSettings, tmp_path: Path
):
    async with imagen.open_client(settings_at(tmp_path, bucket)) as client:
        image = await client.generate("a lighthouse", model="sketch")
        image.path.unlink()
        server.faults(status="503 Slow Down")
        with pytest.raises(imagen.StorageError) as caught:
            await read(image)
        assert caught.value.message == (
            f"The image {image.sha256[:12]} cannot be fetched. The store {bucket.url} answered 503"
            " (AsAsked)."
        )
        with pytest.raises(imagen.StorageError, match="cannot be fetched"):
            await client.renditions.get(image, Transform(width=64))


async def test_a_damaged_object_is_never_taken_for_the_image(tmp_path: Path):
    store = tmp_path / "store"
    async with open_shelf(tmp_path, images=in_folder(store)) as shelf:
        image = await shelf.add(data=PNG)
        image.path.unlink()
        (found,) = objects_in(store)
        found.write_bytes(PNG[:-1] + b"x")
        with pytest.raises(imagen.StorageError, match="is damaged"):
            _ = image.data
        assert not image.path.exists()
        found.write_bytes(PNG[:-1])
        (finding,) = await shelf.library.check(repair=True)
        # Another machine may have the bytes: the image is not trashed.
        assert (finding.kind, finding.repaired) == ("damaged", None)
        assert (await shelf.library.get(image.id)).trashed_at is None


async def test_what_the_store_lost_is_put_again_by_a_repair(tmp_path: Path):
    store = tmp_path / "store"
    async with open_shelf(tmp_path, images=in_folder(store)) as shelf:
        image = await shelf.add(data=PNG)
        objects_in(store)[0].unlink()
        (finding,) = await shelf.library.check(repair=True)
        assert (finding.kind, finding.repaired) == ("missing", "put into the store")
        assert names_in(store) == [image.sha256]
        # A copy that the disk damaged is fetched again.
        image.path.write_bytes(b"damaged")
        (finding,) = await shelf.library.check(repair=True)
        assert (finding.kind, finding.path) == ("leftover", image.path)
        assert image.data == PNG


# --- crashes ------------------------------------------------------------------


@pytest.mark.parametrize("step", ["file", "row"])
async def test_an_image_survives_the_death_of_its_process(tmp_path: Path, step: str):
    store, home = tmp_path / "store", tmp_path / "home"
    environ = {
        **os.environ,
        "IMAGEN_HOME": str(home),
        "IMAGEN_IMAGES_URL": store.as_uri(),
    }
    died = await trio.run_process(
        [sys.executable, "-c", DYING, step],
        env=environ,
        cwd=ROOT,
        check=False,
        stderr=subprocess.DEVNULL,
    )
    assert died.returncode == -signal.SIGKILL
    assert len(objects_in(store)) == (1 if step == "row" else 0)
    settings = settings_at(home, in_folder(store))
    # Of an image that is in the store another machine knows enough.
    folder = tmp_path / "elsewhere" if step == "row" else "home"
    async with imagen.open_client(settings, library=folder) as client:
        (image,) = await client.library.list()
        assert names_in(store) == [image.sha256]
        assert len(await read(image)) == image.size_bytes
        if step == "file":
            assert await client.library.check() == []


@pytest.mark.parametrize("seed", range(2))
async def test_killed_processes_leave_a_library_that_can_be_read_whole(tmp_path: Path, seed: int):
    store = tmp_path / "store"
    children = [
        subprocess.Popen(
            [sys.executable, "-c", BUSY, str(tmp_path), store.as_uri(), str(seed * 10 + number)],
            cwd=ROOT,
            stdout=subprocess.PIPE,
        )
        for number in range(2)
    ]
    await until(lambda: len(objects_in(store)) >= 20)
    for child in children:
        child.kill()
        child.communicate()
    async with open_shelf(tmp_path, ThreadWorkers(), images=in_folder(store)) as shelf:
        shelf.clock.now = time.time() + 86_400.0
        await shelf.library.delete([])
        kinds = {one.kind for one in await shelf.library.check(repair=True)}
        assert kinds <= {"waiting", "leftover", "orphan"}
        assert await shelf.library.check() == []
        listed = [image async for image in shelf.library.find(state="any")]
        for image in listed:
            image.path.unlink(missing_ok=True)
            assert len(image.data) == image.size_bytes
        # Nothing is there that was deleted.
        assert {image.sha256 for image in listed} == {
            name for name in names_in(store) if "#" not in name
        }
        assert await shelf.database.read("SELECT 1 FROM removals") == []


# --- copies -------------------------------------------------------------------


async def test_copies_stay_below_their_size_with_two_hundred_images(tmp_path: Path):
    clock, datas = Clock(), [png((number, 1, 2), (64, 64)) for number in range(200)]
    most = 20 * max(map(len, datas))
    async with open_shelf(
        tmp_path, images=in_folder(tmp_path / "store", max_cache_bytes=most)
    ) as shelf:
        shelf.clock.now = clock.now = time.time()
        made = []
        for data in datas:
            made.append(await shelf.add(data=data))
            shelf.clock.now += 100
            assert size_of_copies(shelf) <= most
        kept = [image for image in made if image.path.is_file()]
        # The latest are there, and every other one can be had.
        assert kept == made[-len(kept) :]
        assert 15 <= len(kept) <= 20
        for image, data in zip(made, datas, strict=True):
            shelf.clock.now += 100
            assert image.data == data
            assert size_of_copies(shelf) <= most


def size_of_copies(shelf: Shelf) -> int:
    return sum(path.stat().st_size for path in shelf.library.files.remote.copies())


async def test_a_copy_that_was_just_used_is_not_removed(tmp_path: Path):
    async with open_shelf(
        tmp_path, images=in_folder(tmp_path / "store", max_cache_bytes=1)
    ) as shelf:
        shelf.clock.now = time.time()
        first, second = await shelf.add(), await shelf.add()
        assert first.path.is_file()
        shelf.clock.now += 61
        second.fetch()
        await shelf.library.trim_copies()
        assert not first.path.is_file()
        assert second.path.is_file()


async def test_many_readers_fetch_an_image_once(
    server: StoreServer, bucket: ImageStoreSettings, tmp_path: Path
):
    async with open_shelf(tmp_path, ThreadWorkers(), images=bucket) as shelf:
        image = await shelf.add(data=PNG)
        image.path.unlink()
        server.faults()
        with ThreadPoolExecutor(50) as pool:
            found = await trio.to_thread.run_sync(
                lambda: list(pool.map(lambda _: image.data, range(200)))
            )
        assert found == [PNG] * 200
        assert server.log()["asked"] == {"GET": 1}


# --- deletion -----------------------------------------------------------------


@pytest.mark.usefixtures("engine")
async def test_an_object_is_deleted_with_the_last_image_that_has_its_bytes(tmp_path: Path):
    store = tmp_path / "store"
    async with open_shelf(tmp_path, images=in_folder(store)) as shelf:
        first, second = await shelf.add(data=PNG), await shelf.add(data=PNG)
        await shelf.library.delete(first)
        assert names_in(store) == [first.sha256]
        assert second.data == PNG
        await shelf.library.delete(second)
        assert names_in(store) == []
        assert not second.path.exists()
        assert await shelf.database.read("SELECT 1 FROM removals") == []


@pytest.mark.usefixtures("engine")
async def test_an_object_that_another_image_was_made_from_stays(tmp_path: Path):
    store = tmp_path / "store"
    async with open_shelf(tmp_path, images=in_folder(store)) as shelf:
        image = await shelf.add(data=PNG)
        source = imagen.InputImage(
            sha256=image.sha256, media_type="image/png", width=8, height=8, id=image.id
        )
        edited = await shelf.add(request=imagen.Edit(prompt="x", images=(source,)))
        await shelf.library.delete(image)
        assert names_in(store) == sorted([image.sha256, edited.sha256])
        assert shelf.library.files.find_input(image.sha256) == PNG
        await shelf.library.delete(edited)
        assert names_in(store) == []


@pytest.mark.usefixtures("patient_no_more")
async def test_an_object_that_cannot_be_deleted_now_is_deleted_later(
    server: StoreServer, bucket: ImageStoreSettings, tmp_path: Path
):
    async with open_shelf(tmp_path, ThreadWorkers(), images=bucket) as shelf:
        image = await shelf.add(data=PNG)
        server.faults(status="503 Slow Down")
        assert await shelf.library.delete(image) == 1
        server.faults()
        assert len(server.objects(_name(bucket))) == 1
        shelf.clock.now += _uploads.CLAIM_SECONDS + 1
        await shelf.library.delete([])
        assert server.objects(_name(bucket)) == {}


@pytest.mark.usefixtures("engine")
async def test_bytes_that_come_back_while_their_object_is_deleted_are_put_afterwards(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Another process has claimed the object, and its request is on the way."""
    store = tmp_path / "store"
    async with open_shelf(tmp_path, images=in_folder(store)) as shelf:
        image = await shelf.add(data=PNG)
        deleted: list[str] = []
        monkeypatch.setattr(ImageStore, "delete", lambda self, sha256: deleted.append(sha256))
        await shelf.database.write([("DELETE FROM images", ())])
        await shelf.database.write(
            [
                (
                    "INSERT INTO removals VALUES (?, 'image/png', 1.0, ?)",
                    (image.sha256, shelf.clock.now),
                )
            ]
        )
        again = await shelf.add(data=PNG)
        # The late deletion takes the object: the file is still here.
        objects_in(store)[0].unlink()
        assert await shelf.library.upload() == 1
        assert names_in(store) == []
        assert again.data == PNG
        # Another sweep does not end the claim, and begins no deletion.
        await shelf.library.delete([])
        await shelf.library.upload()
        assert (deleted, names_in(store)) == ([], [])
        shelf.clock.now += _uploads.CLAIM_SECONDS + 1
        await shelf.library.delete([])
        assert deleted == []
        await shelf.library.upload()
        assert names_in(store) == [image.sha256]


@pytest.mark.usefixtures("engine")
async def test_an_image_that_is_deleted_while_it_is_put_leaves_no_object(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    async with open_shelf(tmp_path) as shelf:
        image = await shelf.add(data=PNG)
    store = tmp_path / "store"
    async with open_shelf(tmp_path, images=in_folder(store)) as shelf:
        put_now = shelf.library.uploads.put_now

        async def put_late(path: Path) -> None:
            await shelf.library.delete(image)
            path.write_bytes(PNG)
            await put_now(path)
            assert names_in(store) == [image.sha256]

        monkeypatch.setattr(shelf.library.uploads, "put_now", put_late)
        await shelf.library.upload()
        shelf.clock.now += _uploads.CLAIM_SECONDS + 1
        await shelf.library.delete([])
        assert names_in(store) == []
        assert await shelf.database.read("SELECT 1 FROM removals") == []


@pytest.mark.usefixtures("engine")
async def test_an_object_that_is_put_while_it_is_deleted_is_deleted_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    store = tmp_path / "store"
    async with open_shelf(tmp_path, images=in_folder(store)) as shelf:
        image, deletion = await shelf.add(data=PNG), shelf.library._deletion
        delete = deletion._delete_objects

        async def delete_too_early(hashes: list[str], claimed_at: float) -> set[str]:
            gone = await delete(hashes, claimed_at)
            # A put that had begun before the row was deleted ends now.
            shelf.clock.now += 1
            (folder,) = store.iterdir()
            (folder / image.sha256[:2] / image.sha256).write_bytes(PNG)
            again = (image.sha256, image.media_type, shelf.clock.now)
            await shelf.database.write([(_uploads._REMOVE_AGAIN, again)])
            return gone

        with monkeypatch.context() as patch:
            patch.setattr(deletion, "_delete_objects", delete_too_early)
            await shelf.library.delete(image)
        assert names_in(store) == [image.sha256]
        shelf.clock.now += _uploads.CLAIM_SECONDS + 1
        await shelf.library.delete([])
        assert names_in(store) == []
        assert await shelf.database.read("SELECT 1 FROM removals") == []


async def test_an_import_whose_object_a_sweep_has_taken_stays_here(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Between the put and the row a sweep of another machine claims the bytes."""
    store = tmp_path / "store"
    async with open_shelf(tmp_path, images=in_folder(store)) as shelf:
        put, calls = shelf.library.uploads.put, []

        async def put_and_lose(paths: list[Path]) -> None:
            await put(paths)
            calls.append(paths)
            if len(calls) == 1:
                await shelf.database.write(
                    [("UPDATE removals SET claimed_at = ?", (shelf.clock.now,))]
                )
                objects_in(store)[0].unlink()

        monkeypatch.setattr(shelf.library.uploads, "put", put_and_lose)
        image = shelf.image(data=PNG)
        await shelf.library.adopt(row_of(image), PNG)
        assert [path.stem for path in shelf.library.files.remote.only_here()] == [image.sha256]
        shelf.clock.now += _uploads.CLAIM_SECONDS + 1
        await shelf.library.delete([])
        await shelf.library.upload()
        assert names_in(store) == [image.sha256]


# --- moving -------------------------------------------------------------------


async def test_images_of_a_folder_move_to_the_store(tmp_path: Path):
    store = tmp_path / "store"
    async with open_shelf(tmp_path) as shelf:
        made = [await shelf.add() for _ in range(9)]
        orphan = shelf.library.files.path("0" * 64, "image/png")
        orphan.parent.mkdir(exist_ok=True)
        orphan.write_bytes(PNG)
        damaged = await shelf.add()
        damaged.path.write_bytes(b"damaged")
    async with open_shelf(tmp_path, images=in_folder(store, max_cache_bytes=0)) as shelf:
        shelf.clock.now = time.time() + 3600
        found = [await shelf.library.get(image.id) for image in made]
        # They are read before they have moved.
        assert [image.data for image in found] == [image.data for image in made]
        told: list[tuple[int, int]] = []
        with pytest.raises(imagen.StorageError, match="is damaged, so it is not put"):
            await shelf.library.upload(lambda *step: told.append(step))
        # It did not hold up the others.
        assert (told[0], told[-1]) == ((0, 10), (10, 10))
        assert sorted(names_in(store)) == sorted(image.sha256 for image in made)
        assert orphan.is_file()
        left = {path.stem for path in shelf.library.files.remote.only_here()}
        assert left == {damaged.sha256, orphan.stem}
        findings = {one.kind: one for one in await shelf.library.check(repair=True)}
        assert findings["damaged"].repaired == "its image is in the trash"
        await shelf.library.trim_copies()
        assert [image.data for image in found] == [png((n + 1, 0, 7)) for n in range(9)]


async def test_a_move_that_was_killed_goes_on(tmp_path: Path):
    async with open_shelf(tmp_path) as shelf:
        made = [await shelf.add() for _ in range(30)]
    store = tmp_path / "store"
    child = await trio.lowlevel.open_process(
        [sys.executable, "-c", MOVING, str(tmp_path), store.as_uri()], cwd=ROOT
    )
    await until(lambda: len(objects_in(store)) >= 5)
    child.kill()
    await child.wait()
    assert len(names_in(store)) < 30
    # Two processes that move the same files do not disturb each other.
    async with (
        open_shelf(tmp_path, ThreadWorkers(), images=in_folder(store)) as one,
        open_shelf(tmp_path, ThreadWorkers(), images=in_folder(store)) as two,
        trio.open_nursery() as nursery,
    ):
        nursery.start_soon(one.library.upload)
        await two.library.upload()
    wanted = sorted(image.sha256 for image in made)
    assert [name for name in names_in(store) if "#" not in name] == wanted
    async with open_shelf(tmp_path, images=in_folder(store)) as shelf:
        assert await shelf.library.check() == []


async def test_a_move_without_a_store_says_what_to_set(tmp_path: Path):
    async with open_shelf(tmp_path) as shelf:
        with pytest.raises(imagen.ConfigurationError, match="set IMAGEN_IMAGES_URL"):
            await shelf.library.upload()
