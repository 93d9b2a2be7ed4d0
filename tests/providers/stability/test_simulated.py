"""The simulated service and its reader of forms: what they refuse, which a
wrong client would have sent.
"""

from __future__ import annotations

from typing import Any

import httpx2
import pybase64
import pytest

import imagen
from imagen.providers._wire.http import FormFile, form_request
from imagen.testing.simulator import FewerImages, Simulator, open_simulator
from imagen.testing.simulator._core.forms import FilePart, FormError, parse_form
from tests.support.images import png
from tests.support.providers.stability import IMAGE as IMAGE_BYTES
from tests.support.providers.stability import MASK, open_client

TYPE = {"content-type": "multipart/form-data; boundary=xyz"}


def test_a_form_is_read_as_it_was_written():
    files = [
        FormFile("image", b"\r\n--\x00\r\n", "image/png", "a.png"),
        FormFile("image", b"", "image/webp", "b"),
    ]
    request = form_request(
        "x", [("prompt", "ü\r\n--z"), ("n", 2), ("n", True), ("left_out", None)], files
    )
    texts, parts = parse_form(dict(request.headers), request.body)
    assert texts == {"prompt": ["ü\r\n--z"], "n": ["2", "true"]}
    assert parts == {
        "image": [
            FilePart(filename="a.png", media_type="image/png", data=b"\r\n--\x00\r\n"),
            FilePart(filename="b", media_type="image/webp", data=b""),
        ]
    }


GOOD = b'--xyz\r\nContent-Disposition: form-data; name="a"\r\n\r\n1\r\n--xyz--\r\n'


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, GOOD),
        ({"content-type": "application/json; boundary=xyz"}, GOOD),
        ({"content-type": "multipart/form-data"}, GOOD),
        (TYPE, b""),
        (TYPE, GOOD[:-6]),
        (TYPE, b"before" + GOOD),
        (TYPE, GOOD.replace(b'name="a"', b"")),
        (TYPE, GOOD.replace(b"form-data", b"attachment")),
        (TYPE, GOOD.replace(b"1", b"\xff")),
    ],
)
def test_what_is_no_form_is_refused(headers, body):
    assert parse_form({"content-type": 'multipart/form-data; boundary="xyz"'}, GOOD) == (
        {"a": ["1"]},
        {},
    )
    with pytest.raises(FormError):
        parse_form(headers, body)


def edit(
    model: str, *, mask: bytes | None = None, image: bytes = IMAGE_BYTES, **options: Any
) -> imagen.Edit:
    return imagen.Edit(
        prompt="a cat", images=(image,), mask=mask, model=f"stability/{model}", options=options
    )


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (imagen.Generate(prompt="a cat", options={"n": 2}), "n: is not known"),
        (
            imagen.Generate(prompt="a cat", options={"strength": 0.5}, model="stable-image-ultra"),
            "strength",
        ),
        (
            imagen.Generate(prompt="a cat", options={"cfg_scale": 11}, model="sd3.5-large"),
            "cfg_scale",
        ),
        (imagen.Generate(prompt="a cat", options={"aspect_ratio": "3:1"}), "aspect_ratio"),
        (imagen.Generate(prompt="a cat", seed=2**32), "seed"),
        (imagen.Generate(prompt="a cat", options={"output_format": "gif"}), "output_format"),
        (edit("inpaint", mask=MASK, grow_mask=101), "grow_mask"),
        (edit("erase", mask=MASK, prompt_strength=1), "prompt_strength"),
        (edit("outpaint", left=2001), "left"),
        (edit("remove-background", output_format="jpeg"), "output_format"),
        (
            edit("replace-background-and-relight", light_source_direction="north"),
            "light_source_direction",
        ),
    ],
)
async def test_the_service_refuses_what_it_does_not_know(tmp_path, request_, said):
    async with open_simulator() as simulator, open_client(tmp_path, simulator) as client:
        with pytest.raises(imagen.InvalidRequestError, match=said):
            await client.generate(request_)
        assert len(simulator.received) == 1
        assert not simulator.bills


@pytest.mark.parametrize(
    ("model", "size"),
    [
        ("stability/structure", (64, 200)),
        ("stability/structure", (40, 64)),
        ("stability/remove-background", (2100, 2000)),
        ("stability/upscale-fast", (1200, 900)),
    ],
)
async def test_images_that_do_not_suit_are_refused_by_both_sides(tmp_path, model, size):
    request: imagen.Request = imagen.Edit(prompt="a cat", images=(png(size=size),), model=model)
    if model.endswith("fast"):
        request = imagen.Enhance(image=png(size=size), model=model)
    async with open_simulator() as simulator, open_client(tmp_path, simulator) as client:
        with pytest.raises(imagen.InvalidRequestError, match="does not suit"):
            await client.generate(request)
        assert not simulator.received


# --- asked without the adapter ------------------------------------------------

IMAGE = FormFile("image", IMAGE_BYTES, "image/png", "image.png")
NONE = FormFile("none", b"", "application/octet-stream", "none")


async def post(
    simulator: Simulator,
    path: str,
    fields: dict[str, object],
    *files: FormFile,
    accept: str = "image/*",
    key: str = "",
) -> httpx2.Response:
    form = form_request("", fields.items(), files or [NONE])
    headers = {**form.headers, "accept": accept, "authorization": f"Bearer {key or simulator.key}"}
    url = f"{simulator.base_url('stability')}/v2beta/stable-image/{path}"
    async with httpx2.AsyncClient(trust_env=False) as http:
        return await http.post(url, content=form.body, headers=headers)


CAT = {"prompt": "a cat"}


@pytest.mark.parametrize(
    ("path", "fields", "files", "status", "name"),
    [
        ("generate/core", {}, (), 400, "bad_request"),
        ("generate/core", {"prompt": "x" * 10_001}, (), 400, "bad_request"),
        ("generate/core", {"prompt": "chat échaudé"}, (), 422, "invalid_language"),
        ("generate/core", CAT, (IMAGE,), 400, "bad_request"),
        ("generate/core", {**CAT, "seed": "seven"}, (), 400, "bad_request"),
        (
            "generate/core",
            CAT,
            (FormFile("x", b"x" * (10 << 20), "image/png", "x"),),
            413,
            "payload_too_large",
        ),
        ("generate/sd3", {**CAT, "strength": 0.5}, (IMAGE,), 400, "bad_request"),
        (
            "generate/sd3",
            {**CAT, "strength": 0.5, "mode": "text-to-image"},
            (IMAGE,),
            400,
            "bad_request",
        ),
        ("generate/sd3", {**CAT, "mode": "image-to-image"}, (IMAGE,), 400, "bad_request"),
        ("edit/erase", {}, (), 400, "bad_request"),
        ("edit/erase", {}, (IMAGE, IMAGE), 400, "bad_request"),
        ("edit/erase", {}, (FormFile("image", b"GIF89a", "image/png", "x"),), 400, "bad_request"),
        ("edit/outpaint", {"left": 0}, (IMAGE,), 400, "bad_request"),
        (
            "edit/replace-background-and-relight",
            {},
            (IMAGE._replace(name="subject_image"),),
            400,
            "bad_request",
        ),
        ("edit/nothing", {}, (), 404, "not_found"),
    ],
)
async def test_a_wrong_form_is_refused_by_its_name(path, fields, files, status, name):
    async with open_simulator() as simulator:
        response = await post(simulator, path, fields, *files)
        assert (response.status_code, response.json()["name"]) == (status, name)
        assert not simulator.bills


async def test_a_ratio_does_not_go_with_a_variation():
    fields = {**CAT, "strength": 0.5, "mode": "image-to-image"}
    async with open_simulator() as simulator:
        assert (
            await post(simulator, "generate/sd3", {**fields, "aspect_ratio": "1:1"}, IMAGE)
        ).status_code == 400
        assert (await post(simulator, "generate/sd3", fields, IMAGE)).status_code == 200


async def test_the_key_and_the_accept_header_are_looked_at():
    async with open_simulator() as simulator:
        assert (await post(simulator, "generate/core", CAT, key="another")).status_code == 401
        assert (await post(simulator, "generate/core", CAT, accept="text/html")).status_code == 400
        assert not simulator.bills


async def test_json_holds_the_same_as_bytes():
    async with open_simulator() as simulator:
        response = await post(
            simulator, "generate/core", {**CAT, "seed": 7}, accept="application/json"
        )
        assert response.headers["content-type"] == "application/json; type=image/png"
        answer = response.json()
        assert (answer["finish_reason"], answer["seed"]) == ("SUCCESS", 7)
        assert pybase64.b64decode(answer["image"]).startswith(b"\x89PNG")


async def test_a_result_is_there_for_its_id_alone():
    async with open_simulator() as simulator, httpx2.AsyncClient(trust_env=False) as http:
        started = await post(simulator, "upscale/creative", CAT, IMAGE)
        assert len(started.json()["id"]) == 64
        headers = {"authorization": f"Bearer {simulator.key}", "accept": "application/json"}
        results = f"{simulator.base_url('stability')}/v2beta/results"
        assert (await http.get(f"{results}/{started.json()['id']}", headers=headers)).json()[
            "image"
        ]
        missing = await http.get(f"{results}/{'0' * 64}", headers=headers)
        assert (missing.status_code, missing.json()["name"]) == (404, "generation_not_found")


async def test_an_image_that_was_not_drawn_is_not_billed():
    async with open_simulator(faults=FewerImages()) as simulator:
        assert (await post(simulator, "generate/core", CAT)).status_code == 500
        assert not simulator.bills
