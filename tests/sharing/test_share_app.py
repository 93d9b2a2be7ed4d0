"""Replies of a server to callers with a link, and without one."""

from __future__ import annotations

import re
import socket
import struct
import zlib
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from functools import partial
from io import BytesIO

import httpx2
import hypercorn.config
import hypercorn.trio
import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image as PillowImage
from PIL.PngImagePlugin import PngInfo

import imagen
from imagen._system.threads import ThreadWorkers
from imagen.sharing import share_app
from tests.support.images import png
from tests.support.sharing import Desk, open_desk, zip_of

Message = dict[str, object]
Application = Callable[..., Awaitable[None]]


class Answer:
    """What was said, and whether it was said properly."""

    def __init__(self, messages: list[Message]) -> None:
        start, *bodies = messages
        assert start["type"] == "http.response.start"
        self.status = start["status"]
        self.headers = {name.decode(): value.decode() for name, value in start["headers"]}  # type: ignore[attr-defined]
        assert len(self.headers) == len(start["headers"])  # type: ignore[arg-type]
        self.pieces = [body["body"] for body in bodies]
        self.body = b"".join(self.pieces)  # type: ignore[arg-type]
        assert [body["more_body"] for body in bodies] == [True] * (len(bodies) - 1) + [False]


async def ask(
    app: Application, path: str, *, method: str = "GET", query: str = "", **headers: str
) -> Answer:
    said: list[Message] = []

    async def send(message: Message) -> None:
        await trio.lowlevel.checkpoint()
        said.append(message)

    async def receive() -> Message:
        raise AssertionError("nothing of the body is of interest")

    fields = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": query.encode(),
        "headers": fields,
    }
    await app(scope, receive, send)
    answer = Answer(said)
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["x-robots-tag"] == "noindex, nofollow"
    return answer


@asynccontextmanager
async def open_shared(
    tmp_path, count: int = 1
) -> AsyncIterator[tuple[Desk, Application, str, list[imagen.Image]]]:
    """A collection with images, and the token that opens it."""
    async with open_desk(tmp_path) as desk:
        images = [
            await desk.shelf.add(
                prompt="a secret prompt",
                notes="secret",
                tags=("hush",),
                data=png((day, 9, 9), (64, 40)),
            )
            for day in range(count)
        ]
        await desk.library.collections.create("plans/for the <i>Smiths", notes="secret")
        await desk.library.collections.add("plans/for the <i>Smiths", images)
        share = await desk.shares.share(collection="plans/for the <i>Smiths")
        yield desk, share_app(desk.shares), share.token, images


async def test_a_link_to_an_image_is_the_image(tmp_path):
    async with open_desk(tmp_path) as desk:
        image = await desk.shelf.add(prompt="a secret prompt")
        token = (await desk.shares.share(image)).token
        answer = await ask(share_app(desk.shares), f"/look/{token}")
    assert (answer.status, answer.body) == (200, image.data)
    assert answer.headers == {
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "x-robots-tag": "noindex, nofollow",
        "etag": f'"{image.sha256}"',
        "cache-control": "private, max-age=300",
        "content-type": "image/png",
        "content-disposition": f'inline; filename="{image.id}.png"',
        "content-security-policy": "default-src 'none'; sandbox",
        "content-length": str(len(image.data)),
    }


async def test_a_link_to_a_collection_is_a_page_that_says_nothing_of_its_images(tmp_path):
    async with open_shared(tmp_path, 3) as (_, app, token, images):
        answer = await ask(app, f"/look/{token}")
        assert answer.status == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["content-security-policy"].endswith("frame-ancestors 'none'")
        page = answer.body.decode()
        links = re.findall(r'(?:href|src)="([^"]+)"', page)
        assert links == [
            link
            for image in images
            for link in (f"{token}/{image.id}", f"{token}/{image.id}?thumbnail")
        ]
        assert "for the &lt;i&gt;Smiths" in page
        assert not [
            word for word in ("secret", "hush", "0.04", "test-model", "plans") if word in page
        ]


async def test_an_image_of_a_collection_is_sent_large_and_small(tmp_path):
    async with open_shared(tmp_path) as (_, app, token, (image,)):
        large = await ask(app, f"/{token}/{image.id}")
        assert (large.status, large.body) == (200, image.data)
        small = await ask(app, f"/{token}/{image.id}", query="thumbnail")
        assert (small.status, small.headers["content-type"]) == (200, "image/webp")
        with PillowImage.open(BytesIO(small.body)) as opened:
            assert opened.size == (64, 40)
        assert large.headers["etag"] != small.headers["etag"]


@pytest.mark.parametrize("query", ["", "thumbnail"])
async def test_an_unchanged_file_is_not_sent_again(query, tmp_path):
    async with open_shared(tmp_path) as (_, app, token, (image,)):
        first = await ask(app, f"/{token}/{image.id}", query=query)
        tag = first.headers["etag"]
        for given_tags in (tag, f'"x", W/{tag}', "*"):
            again = await ask(app, f"/{token}/{image.id}", query=query, if_none_match=given_tags)
            assert (again.status, again.body, again.headers["etag"]) == (304, b"", tag)
            assert "content-length" not in again.headers
        assert (
            await ask(app, f"/{token}/{image.id}", query=query, if_none_match='"x"')
        ).status == 200


async def test_head_says_the_same_without_the_body(tmp_path):
    async with open_shared(tmp_path) as (_, app, token, (image,)):
        for path in (f"/{token}", f"/{token}/{image.id}", "/nothing"):
            get, head = await ask(app, path), await ask(app, path, method="HEAD")
            assert (head.status, head.headers, head.body) == (get.status, get.headers, b"")


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "get", "TRACE"])
async def test_other_methods_are_not_allowed(method, tmp_path):
    async with open_shared(tmp_path) as (_, app, token, _images):
        for path in (f"/{token}", "/nothing"):
            answer = await ask(app, path, method=method)
            assert (answer.status, answer.headers["allow"], answer.body) == (405, "GET, HEAD", b"")


async def test_everything_that_does_not_work_gets_the_same_answer(tmp_path):
    async with open_shared(tmp_path, 2) as (desk, app, token, (image, other)):
        single = (await desk.shares.share(image)).token
        revoked = await desk.shares.share(image)
        await desk.shares.revoke(revoked.id)
        outside = await desk.shelf.add(data=png((1, 1, 1)))
        await desk.library.trash(other)
        forged = token[:20] + ("A" if token[20] != "A" else "B") + token[21:]
        paths = [
            "",
            "/",
            "/x",
            f"/{forged}",
            f"/{revoked.token}",
            f"/{token}/",
            f"/{token}/{other.id}",
        ]
        paths += [
            f"/{token}/{outside.id}",
            f"/{token}/../{image.id}",
            f"/{single}/{image.id}",
            f"/{single}/x",
            f"/{'x' * 60}",
        ]
        paths += [
            f"/{token}/{image.id[:8]}",
            f"/{token}/{image.id}/x",
            f"/{token}/%00",
            f"/{token}/'--",
            f"/{'x' * 100_000}",
        ]
        answers = [await ask(app, path) for path in paths]
        answers.append(await ask(app, f"/{token}", query="after=nonsense"))
        desk.shelf.clock.now += 8 * 86_400
        answers.append(await ask(app, f"/{token}"))
    assert [answer.status for answer in answers] == [404] * len(answers)
    assert {(answer.body, tuple(answer.headers.items())) for answer in answers} == {
        (b"", tuple(answers[0].headers.items()))
    }
    assert answers[0].headers["cache-control"] == "no-store"


async def test_no_cache_keeps_an_image_for_longer_than_its_link(tmp_path):
    async with open_shared(tmp_path) as (desk, app, token, (image,)):
        desk.shelf.clock.now += 7 * 86_400 - 42
        for path in (f"/{token}", f"/{token}/{image.id}"):
            assert (await ask(app, path)).headers["cache-control"] == "private, max-age=42"


async def test_a_collection_of_many_has_pages(tmp_path):
    async with open_shared(tmp_path, 203) as (_, app, token, images):
        first = (await ask(app, f"/{token}")).body.decode()
        assert first.count("<figure>") == 200
        (link,) = re.findall(r'rel="next" href="([^"]+)"', first)
        path, _, query = link.partition("?")
        second = (await ask(app, f"/{path}", query=query)).body.decode()
        assert re.findall(rf'href="{token}/(\w+)"', second) == [image.id for image in images[200:]]
        assert f'rel="prev" href="{token}"' in second


def with_prompt(kind: str) -> bytes:
    out = BytesIO()
    image = PillowImage.effect_noise((32, 24), 60).convert("RGB")
    exif = PillowImage.Exif()
    exif[0x010E] = "a secret prompt"
    if kind == "PNG":
        info = PngInfo()
        info.add_text("parameters", "a secret prompt\nSteps: 3")
        image.save(out, kind, pnginfo=info)
    else:
        image.save(out, kind, exif=exif)
    return out.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
async def test_a_prompt_inside_of_a_file_is_not_sent(kind, tmp_path):
    data = with_prompt(kind)
    assert b"a secret prompt" in data
    async with open_desk(tmp_path) as desk:
        (tmp_path / f"a.{kind.lower()}").write_bytes(data)
        await desk.archives.import_from(tmp_path / f"a.{kind.lower()}")
        (image,) = await desk.everything()
        answer = await ask(share_app(desk.shares), f"/{(await desk.shares.share(image)).token}")
    assert (answer.status, answer.headers["content-type"]) == (200, f"image/{kind.lower()}")
    assert b"secret" not in answer.body
    with PillowImage.open(BytesIO(answer.body)) as sent, PillowImage.open(BytesIO(data)) as had:
        assert sent.size == had.size
        if kind == "PNG":
            assert sent.convert("RGB").tobytes() == had.convert("RGB").tobytes()


SECRET = b"a secret prompt"


def saved(kind: str, frames: int = 1, **options: object) -> bytes:
    out = BytesIO()
    first, *others = [PillowImage.effect_noise((32, 24), 60 + frame) for frame in range(frames)]
    first.save(out, kind, save_all=frames > 1, append_images=others, **options)
    return out.getvalue()


def with_segment(marker: int, body: bytes) -> bytes:
    data = saved("JPEG")
    return data[:2] + bytes([0xFF, marker]) + struct.pack(">H", 2 + len(body)) + body + data[2:]


def with_png_chunk(kind: bytes, body: bytes) -> bytes:
    data = saved("PNG")
    chunk = struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
    return data[:-12] + chunk + data[-12:]


def with_webp_chunk(kind: bytes, body: bytes) -> bytes:
    body = saved("WEBP")[8:] + kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(saved("GIF", comment=SECRET), id="GIF: a comment"),
        pytest.param(
            saved("GIF", frames=3, loop=0, comment=SECRET), id="GIF: a comment of one that moves"
        ),
        pytest.param(saved("GIF") + SECRET, id="GIF: behind the end"),
        pytest.param(saved("PNG") + SECRET, id="PNG: behind the end"),
        pytest.param(with_png_chunk(b"prVt", SECRET), id="PNG: a chunk of another's"),
        pytest.param(with_png_chunk(b"tEXt", b"\0" + SECRET), id="PNG: a text without a name"),
        pytest.param(saved("JPEG") + SECRET, id="JPEG: behind the end"),
        pytest.param(saved("JPEG", comment=SECRET), id="JPEG: a comment"),
        pytest.param(
            with_segment(0xE1, b"http://ns.adobe.com/xmp/extension/\0" + SECRET),
            id="JPEG: more of an XMP packet",
        ),
        pytest.param(with_segment(0xE9, SECRET), id="JPEG: an application of another's"),
        pytest.param(
            saved("JPEG")[:-2] + b"\xff\xfe\x00\x11" + SECRET + b"\xff\xd9",
            id="JPEG: a comment behind the scan",
        ),
        pytest.param(saved("WEBP") + SECRET, id="WebP: behind the end"),
        pytest.param(with_webp_chunk(b"mine", SECRET), id="WebP: a chunk of another's"),
    ],
)
async def test_nothing_that_stands_anywhere_in_a_file_is_sent(data, tmp_path):
    assert SECRET in data
    async with open_desk(tmp_path) as desk:
        (tmp_path / "a.zip").write_bytes(zip_of({"a.png": data}))
        await desk.archives.import_from(tmp_path / "a.zip")
        (image,) = await desk.everything()
        answer = await ask(share_app(desk.shares), f"/{(await desk.shares.share(image)).token}")
    assert answer.status == 200
    assert SECRET not in answer.body
    with PillowImage.open(BytesIO(answer.body)) as sent:
        assert sent.size == (32, 24)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(saved("GIF", frames=3, loop=0), id="GIF that moves"),
        pytest.param(saved("PNG", frames=3), id="PNG that moves"),
        pytest.param(saved("PNG", icc_profile=b"colours", dpi=(72, 72)), id="PNG with colours"),
        pytest.param(
            saved("JPEG", progressive=True, icc_profile=b"colours"), id="JPEG of several scans"
        ),
        pytest.param(saved("JPEG", restart_marker_blocks=1), id="JPEG in parts"),
        pytest.param(saved("WEBP", lossless=True), id="WebP"),
        pytest.param(saved("WEBP", frames=3, icc_profile=b"colours"), id="WebP that moves"),
    ],
)
async def test_pixels_and_colours_are_sent_as_they_are(data, tmp_path):
    async with open_desk(tmp_path) as desk:
        (tmp_path / "a.zip").write_bytes(zip_of({"a.png": data}))
        await desk.archives.import_from(tmp_path / "a.zip")
        (image,) = await desk.everything()
        answer = await ask(share_app(desk.shares), f"/{(await desk.shares.share(image)).token}")
    assert (answer.status, answer.body) == (200, data)


async def test_an_image_whose_file_is_gone_is_not_found(tmp_path):
    async with open_shared(tmp_path) as (_, app, token, (image,)):
        assert image.path is not None
        data = image.data
        image.path.unlink()
        assert (await ask(app, f"/{token}/{image.id}")).status == 404
        image.path.write_bytes(data)
        assert (await ask(app, f"/{token}/{image.id}")).status == 200
        image.path.unlink()
        assert (await ask(app, f"/{token}/{image.id}")).status == 404


async def test_a_large_file_is_sent_in_pieces(tmp_path):
    data = with_png_chunk(b"caBX", b"\0" * 1_000_000)
    async with open_desk(tmp_path) as desk:
        image = await desk.shelf.add(data=data)
        answer = await ask(share_app(desk.shares), f"/{(await desk.shares.share(image)).token}")
    assert answer.body == data
    assert [len(piece) for piece in answer.pieces] == [262_144] * 3 + [len(data) - 3 * 262_144]  # type: ignore[arg-type]


async def test_a_client_that_reads_nothing_holds_no_file_forever(tmp_path, autojump_clock):
    async with open_desk(tmp_path) as desk:
        image = await desk.shelf.add(data=with_png_chunk(b"caBX", b"\0" * 1_000_000))
        app = share_app(desk.shares)
        scope = {
            "type": "http",
            "method": "GET",
            "path": f"/{(await desk.shares.share(image)).token}",
            "headers": [],
        }

        async def send(message: Message) -> None:
            if message["type"] == "http.response.body":
                await trio.sleep_forever()

        await app(scope, None, send)
        assert trio.current_time() == 60


@settings(max_examples=80, deadline=None)
@given(
    path=st.text()
    | st.lists(st.sampled_from(("", "..", "x" * 60, "%2e", "\0")), max_size=4).map("/".join),
    method=st.sampled_from(("GET", "HEAD")) | st.text(),
    query=st.binary(),
    headers=st.lists(st.tuples(st.just(b"if-none-match") | st.binary(), st.binary()), max_size=3),
)
async def test_anything_at_all_gets_a_plain_answer(path, method, query, headers, tmp_path_factory):
    said: list[Message] = []

    async def send(message: Message) -> None:
        said.append(message)

    async with open_desk(tmp_path_factory.mktemp("home")) as desk:
        scope: Mapping[str, object] = {
            "type": "http",
            "method": method,
            "path": path,
            "query_string": query,
            "headers": headers,
        }
        await share_app(desk.shares)(scope, None, send)
    assert Answer(said).status == (404 if method in ("GET", "HEAD") else 405)


async def test_a_server_starts_and_stops_it_and_is_told_of_what_it_is_not(tmp_path):
    async with open_desk(tmp_path) as desk:
        app = share_app(desk.shares)
        said: list[Message] = []

        async def receive() -> Message:
            return {}

        async def send(message: Message) -> None:
            said.append(message)

        for kind in ("lifespan", "websocket"):
            await app({"type": kind}, receive, send)
        assert [message["type"] for message in said] == [
            "lifespan.startup.complete",
            "lifespan.shutdown.complete",
            "websocket.close",
        ]
        with pytest.raises(NotImplementedError, match="not by smoke"):
            await app({"type": "smoke"}, receive, send)


async def test_over_real_sockets(tmp_path):
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    base = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = hypercorn.config.Config()
    config.bind = [f"fd://{listener.detach()}"]
    config.loglevel = "ERROR"
    stop = trio.Event()
    data = with_png_chunk(b"caBX", bytes(range(256)) * 8000)
    with trio.fail_after(20):
        async with open_desk(tmp_path, ThreadWorkers()) as desk, httpx2.AsyncClient() as http:
            image = await desk.shelf.add(data=data)
            await desk.library.collections.create("sea")
            await desk.library.collections.add("sea", image)
            token = (await desk.shares.share(collection="sea")).token
            app = share_app(desk.shares)
            async with trio.open_nursery() as nursery:
                await nursery.start(
                    partial(hypercorn.trio.serve, app, config, shutdown_trigger=stop.wait)
                )
                got = await http.get(f"{base}/look/{token}/{image.id}")
                assert (got.status_code, got.content) == (200, data)
                head = await http.head(f"{base}/look/{token}/{image.id}")
                assert (head.status_code, head.headers["content-length"]) == (200, str(len(data)))
                again = await http.get(
                    f"{base}/look/{token}/{image.id}",
                    headers={"If-None-Match": got.headers["etag"]},
                )
                assert (again.status_code, again.content) == (304, b"")
                assert (await http.get(f"{base}/look/{token}")).text.count("<figure>") == 1
                assert (await http.get(f"{base}/look/{token[::-1]}")).status_code == 404
                assert (
                    await http.post(f"{base}/look/{token}", content=b"x" * 1000)
                ).status_code == 405
                stop.set()
