"""Publishing to an S3 that fails one time in ten, that is killed, that refuses:
complete in the end, or one sentence.
"""

from __future__ import annotations

import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

import imagen
from imagen import StoreSettings
from tests.support.publishing import image_of, open_shelf, running
from tests.support.store_server import ROOT, WRONG_KEY, StoreServer, fresh_bucket, open_store_server


@pytest.fixture(scope="module")
def server() -> Iterator[StoreServer]:
    with open_store_server() as opened:
        yield opened


@pytest.fixture
def bucket(server: StoreServer, monkeypatch: pytest.MonkeyPatch) -> str:
    return fresh_bucket(server, monkeypatch)


def settings_for(server: StoreServer, bucket: str, **more: object) -> StoreSettings:
    options = {"endpoint": server.endpoint, "region": "us-east-1"}
    return StoreSettings(url=f"s3://{bucket}/images", options=options, **more)


def image_list(count: int) -> list[bytes]:
    return [f"image {number} ".encode() * 50 for number in range(count)]


def assert_whole(objects: dict[str, dict[str, str]], images: list[imagen.Image]) -> None:
    """Every image is there, each with its own bytes and headers, and nothing
    else is.
    """
    assert {f"images/{image.sha256[:2]}/{image.sha256}.png" for image in images} == set(objects)
    for name, found in objects.items():
        assert found["sha256"] in name
        assert found["content_type"] == "image/png"
        assert found["cache_control"] == "public, max-age=31536000, immutable"


async def test_five_hundred_images_arrive_though_one_request_in_ten_fails(server, bucket, tmp_path):
    server.faults(0.1, seed=5)
    async with open_shelf(tmp_path) as shelf:
        images = await shelf.add(*image_list(500))
        async with running(shelf.publisher(settings_for(server, bucket))) as publisher:
            with trio.fail_after(60):
                done = await publisher.publish(images)
            status = await publisher.status()
    assert {one.state for one in done} == {"published"}
    assert (status.published, status.queued, status.failed) == (500, 0, 0)
    assert_whole(server.objects(bucket), images)
    log = server.log()
    tries = sum(one.tries for one in done)
    assert log["asked"]["PUT"] == tries > 500
    # What had arrived before its answer was lost was put again, and nothing
    # else.
    assert all(1 <= count <= 4 for count in log["puts"].values())
    again = sum(log["puts"].values()) - 500
    assert 0 < again < tries - 500


async def test_what_a_killed_process_left_is_published_by_the_next_one(server, bucket, tmp_path):
    server.faults(0.05, seed=6)
    async with open_shelf(tmp_path) as shelf:
        images = await shelf.add(*image_list(300))
        await shelf.publisher(settings_for(server, bucket)).publish(images, wait=False)
        process = await trio.lowlevel.open_process(
            [
                sys.executable,
                "-m",
                "tests.support.killed_publisher",
                str(tmp_path),
                server.endpoint,
                bucket,
            ],
            cwd=ROOT,
            stderr=subprocess.DEVNULL,
        )
        with trio.fail_after(30):
            while len(server.objects(bucket)) < 60:
                await trio.sleep(0.02)
            process.send_signal(signal.SIGKILL)
            await process.wait()
        before = server.objects(bucket)
        assert len(before) < 300
        # When the leases of the dead process are over.
        later = settings_for(server, bucket)
        async with running(shelf.publisher(later, now=lambda: time.time() + 1000)) as publisher:
            with trio.fail_after(60):
                done = await publisher.publish(images)
    assert {one.state for one in done} == {"published"}
    assert_whole(server.objects(bucket), images)
    assert all(count <= 5 for count in server.log()["puts"].values())


async def test_two_processes_share_the_work_and_put_nothing_twice(server, bucket, tmp_path):
    async with open_shelf(tmp_path) as shelf, open_shelf(tmp_path) as other:
        images = await shelf.add(*image_list(60))
        settings = settings_for(server, bucket)
        async with (
            running(shelf.publisher(settings)) as publisher,
            running(other.publisher(settings)) as second,
        ):
            with trio.fail_after(30):
                await publisher.publish(images[:30], wait=False)
                await second.publish(images)
                await publisher.publish(images)
    assert set(server.log()["puts"].values()) == {1}
    assert_whole(server.objects(bucket), images)


async def test_an_image_is_put_once_however_often_it_is_published(server, bucket, tmp_path):
    async with open_shelf(tmp_path) as shelf:
        (image,) = await shelf.add(b"one")
        async with running(shelf.publisher(settings_for(server, bucket))) as publisher:
            for _ in range(3):
                (found,) = await publisher.publish([image, image])
    assert found.published_at is not None
    assert list(server.log()["puts"].values()) == [1]


async def test_wrong_keys_end_in_one_sentence_and_are_not_tried_for_ever(
    server, bucket, tmp_path, monkeypatch
):
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", WRONG_KEY)
    async with open_shelf(tmp_path) as shelf:
        images = await shelf.add(*image_list(100))
        async with running(shelf.publisher(settings_for(server, bucket))) as publisher:
            with trio.fail_after(20):
                done = await publisher.publish(images)
            failed = await publisher.of_state("failed", limit=3)
        assert {one.state for one in done} == {"failed"}
        assert {one.last_error for one in done} == {
            f"The store s3://{bucket}/images refuses the keys (InvalidAccessKeyId): check"
            " AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, and what they allow."
        }
        assert len(failed) == 3
        # The first few found out for all of them.
        assert server.log()["asked"]["PUT"] <= 16
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
        async with running(shelf.publisher(settings_for(server, bucket))) as publisher:
            with trio.fail_after(20):
                done = await publisher.publish(images)
    assert {one.state for one in done} == {"published"}


async def test_a_bucket_that_is_not_there_is_one_sentence(server, bucket, tmp_path):
    async with open_shelf(tmp_path) as shelf:
        images = await shelf.add(b"one", b"two")
        async with running(shelf.publisher(settings_for(server, "no-such-bucket"))) as publisher:
            done = await publisher.publish(images)
    assert [one.state for one in done] == ["failed", "failed"]
    assert (
        done[0].last_error
        == "s3://no-such-bucket/images does not exist (NoSuchBucket): create the bucket, or correct"
        " the URL of the store."
    )


async def test_an_image_that_is_deleted_for_good_goes_from_the_store_unless_its_bytes_are_wanted(
    server, bucket, tmp_path
):
    async with open_shelf(tmp_path) as shelf:
        one, same, other = await shelf.add(b"one", b"one", b"other")
        async with running(shelf.publisher(settings_for(server, bucket))) as publisher:
            await publisher.publish([one, other])
            await shelf.delete([one])
            assert [found.state for found in await publisher.find([one])] == ["published"]
            await shelf.delete([same])
            assert [found.state for found in await publisher.find([one])] == ["removing"]
        async with running(shelf.publisher(settings_for(server, bucket))) as publisher:
            with trio.fail_after(20):
                while (await publisher.status()).removed < 1:
                    await trio.sleep(0.02)
    assert_whole(server.objects(bucket), [other])


async def test_unpublishing_takes_it_away_and_publishing_brings_it_back(server, bucket, tmp_path):
    async with open_shelf(tmp_path) as shelf:
        images = await shelf.add(b"one", b"two")
        async with running(shelf.publisher(settings_for(server, bucket))) as publisher:
            await publisher.publish(images)
            server.faults(0.4, seed=1)
            with trio.fail_after(60):
                assert [one.state for one in await publisher.unpublish(images[:1])] == ["removed"]
            assert_whole(server.objects(bucket), images[1:])
            assert await publisher.unpublish([image_of("f" * 32, "f" * 64)]) == []
            server.faults()
            await publisher.publish(images[:1])
    assert_whole(server.objects(bucket), images)


@pytest.mark.usefixtures("engine")
async def test_with_publish_always_every_new_image_goes_to_the_store(server, bucket, tmp_path):
    always = settings_for(server, bucket, publish="always")
    async with open_shelf(tmp_path) as shelf:
        early = await shelf.add(b"before")
        async with running(shelf.publisher(always)) as publisher:
            images = await shelf.add(b"one", b"two")
            assert len(await publisher.find(images)) == 2
            assert await publisher.find(early) == []
        # Leaving puts what is due.
        assert_whole(server.objects(bucket), images)
        # Another process that has the same database, and publishes on demand
        # only.
        async with open_shelf(tmp_path) as other:
            other.made = 100
            late = await other.add(b"three")
            assert await publisher.find(late) == []


async def test_a_signed_link_leads_to_the_bytes_and_holds_no_key(server, bucket, tmp_path):
    async with open_shelf(tmp_path) as shelf:
        image, other = await shelf.add(b"one", b"other")
        async with running(shelf.publisher(settings_for(server, bucket))) as publisher:
            await publisher.publish([image])
            link = await publisher.sign(image, expires_seconds=60)
            with pytest.raises(imagen.InvalidRequestError, match="is not published yet"):
                await publisher.sign(other)
            for seconds in (0, 604_801):
                with pytest.raises(imagen.InvalidRequestError, match="1 second to 7 days"):
                    await publisher.sign(image, expires_seconds=seconds)
    assert "X-Amz-Expires=60" in link
    assert "do-not-tell" not in link

    def fetch() -> bytes:
        with urllib.request.urlopen(link, timeout=10) as reply:
            return reply.read()

    assert await trio.to_thread.run_sync(fetch) == b"one"


async def test_the_url_is_that_of_the_cdn_where_one_is_set(server, bucket, tmp_path):
    async with open_shelf(tmp_path) as shelf:
        (image,) = await shelf.add(b"one")
        settings = settings_for(server, bucket, public_url="https://cdn.example.com/art/")
        sha256 = image.sha256
        expected = f"https://cdn.example.com/art/{sha256[:2]}/{sha256}.png"
        assert shelf.publisher(settings).url_of(image) == expected
        assert shelf.publisher(settings_for(server, bucket)).url_of(image) is None


async def test_a_file_that_is_gone_or_damaged_is_not_published(server, bucket, tmp_path):
    async with open_shelf(tmp_path) as shelf:
        gone, damaged, fine = await shelf.add(b"gone", b"damaged", b"fine")
        (tmp_path / "files" / gone.sha256).unlink()
        (tmp_path / "files" / damaged.sha256).write_bytes(b"something else")
        async with running(shelf.publisher(settings_for(server, bucket))) as publisher:
            done = await publisher.publish([gone, damaged, fine])
    assert [one.state for one in done] == ["failed", "failed", "published"]
    assert "is missing" in done[0].last_error
    assert "is damaged" in done[1].last_error
    assert_whole(server.objects(bucket), [fine])


@pytest.mark.usefixtures("engine")
async def test_a_plain_folder_is_a_store_too(tmp_path):
    folder = tmp_path / "public folder"
    async with open_shelf(tmp_path) as shelf:
        images = await shelf.add(b"one", b"two")
        settings = StoreSettings(url=folder.as_uri(), public_url="http://localhost:8000")
        async with running(shelf.publisher(settings)) as publisher:
            await publisher.publish(images)
            paths = [folder / image.sha256[:2] / f"{image.sha256}.png" for image in images]
            assert [path.read_bytes() for path in paths] == [b"one", b"two"]
            with pytest.raises(
                imagen.InvalidRequestError, match="A folder does not support signed links"
            ):
                await publisher.sign(images[0])
            await publisher.unpublish(images[:1])
            assert [path.exists() for path in paths] == [False, True]


async def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path):
    (tmp_path / "file").write_text("in the way")
    async with open_shelf(tmp_path) as shelf:
        images = await shelf.add(b"one")
        publisher = shelf.publisher(StoreSettings(url=(tmp_path / "file" / "folder").as_uri()))
        with pytest.raises(imagen.ConfigurationError, match="cannot be opened"):
            await publisher.publish(images)


async def test_without_the_package_a_sentence_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "obstore.store", None)
    async with open_shelf(tmp_path) as shelf:
        publisher = shelf.publisher(StoreSettings(url=Path(tmp_path / "out").as_uri()))
        with pytest.raises(imagen.ConfigurationError, match=r'pip install "imagen-trio\[store\]"'):
            await publisher.publish(await shelf.add(b"one"))
