"""An SVG may hold scripts: none runs in a gallery, from a link, or by an import."""

from __future__ import annotations

import pytest

from imagen.sharing import share_app
from tests.sharing.test_gallery import read_page
from tests.sharing.test_share_app import ask
from tests.support.drawings import decoded
from tests.support.sharing import open_desk, read_from
from tests.support.svg import ENTITIES, PLAIN, SCRIPT, needs_renderer, no_renderer

__all__ = ["no_renderer"]

OF_SVG = {"media_type": "image/svg+xml", "width": 10, "height": 20}


@pytest.mark.parametrize(("data", "is_linked"), [(PLAIN, True), (SCRIPT, False)])
async def test_a_gallery_links_to_an_svg_that_only_draws(tmp_path, data, is_linked):
    async with open_desk(tmp_path) as desk:
        image = await desk.shelf.add(data=data, **OF_SVG)
        done = await desk.archives.export_to(tmp_path / "all.zip")
    assert (done.images, done.left_out) == (1, ())
    elements = read_page(read_from(tmp_path / "all.zip", "index.html")).elements
    (link,) = [one["href"] for tag, one in elements if tag == "a"]
    (shown,) = [one["src"] for tag, one in elements if tag == "img"]
    assert link.endswith(".svg") is is_linked
    assert shown == f"thumbnails/{image.id}.webp"
    assert "svg" not in {tag for tag, _ in elements}
    assert decoded(read_from(tmp_path / "all.zip", shown)).size == (256, 512)


@pytest.mark.parametrize("data", [PLAIN, SCRIPT])
async def test_an_archive_brings_an_svg_back_with_its_record(tmp_path, data):
    async with open_desk(tmp_path / "one") as desk:
        image = await desk.shelf.add(prompt="a fox", data=data, **OF_SVG)
        await desk.archives.export_to(tmp_path / "all.zip")
    async with open_desk(tmp_path / "two") as desk:
        assert (await desk.archives.import_from(tmp_path / "all.zip")).added == 1
        (found,) = await desk.everything()
    assert (found.id, found.prompt, found.media_type) == (image.id, "a fox", "image/svg+xml")
    assert found.path.suffix == ".svg"
    assert found.path.read_bytes() == data


async def test_an_svg_comes_in_with_its_sidecar_and_one_with_entities_does_not(tmp_path):
    folder = tmp_path / "theirs"
    folder.mkdir()
    async with open_desk(tmp_path / "one") as desk:
        (await desk.shelf.add(prompt="a fox", data=PLAIN, **OF_SVG)).save(folder / "fox.svg")
        (folder / "bad.svg").write_bytes(ENTITIES)
        (folder / "text.svg").write_bytes(b"no markup")
    async with open_desk(tmp_path / "two") as desk:
        done = await desk.archives.import_from(folder)
        (found,) = await desk.everything()
    assert found.prompt == "a fox"
    assert sorted(one.name for one in done.refused) == ["bad.svg", "text.svg"]


@pytest.mark.parametrize("query", ["", "thumbnail"])
@pytest.mark.parametrize("data", [PLAIN, SCRIPT])
async def test_a_link_gives_pixels_and_no_document(tmp_path, data, query):
    async with open_desk(tmp_path) as desk:
        image = await desk.shelf.add(data=data, **OF_SVG)
        token = (await desk.shares.share(image)).token
        answer = await ask(share_app(desk.shares), f"/{token}", query=query)
    assert answer.status == 200
    assert answer.headers["content-type"] in ("image/png", "image/webp")
    assert answer.headers["content-security-policy"] == "default-src 'none'; sandbox"
    assert decoded(answer.body).size == ((256, 512) if query else (10, 20))
    assert b"<svg" not in answer.body


@needs_renderer
async def test_a_link_gives_the_drawing(tmp_path):
    async with open_desk(tmp_path) as desk:
        token = (await desk.shares.share(await desk.shelf.add(data=PLAIN, **OF_SVG))).token
        answer = await ask(share_app(desk.shares), f"/{token}")
    assert decoded(answer.body).convert("RGB").getpixel((5, 5)) == (255, 0, 0)


async def test_a_link_without_the_extra_gives_a_placeholder(tmp_path, no_renderer):
    async with open_desk(tmp_path) as desk:
        token = (await desk.shares.share(await desk.shelf.add(data=PLAIN, **OF_SVG))).token
        answer = await ask(share_app(desk.shares), f"/{token}")
    assert decoded(answer.body).convert("RGB").getpixel((0, 0)) == (236, 236, 236)
