"""The API from the first look to a changed image, as the page calls it."""

from __future__ import annotations

import datetime

import msgspec
import pytest

import imagen
from imagen.web._wire.requests import AskedRequest, read_request, write_request
from tests.support.images import png
from tests.support.web import open_page_caller, settings_of, sketch


async def test_images_are_made_listed_and_looked_at():
    async with open_page_caller() as page:
        before = await page.read("state")
        assert (before["images"], before["batches"]) == (0, [])
        made = await page.make(sketch(), sketch("a boat"), n=2)
        assert [made["state"], made["succeeded"], made["requested"]] == ["finished", 4, 4]
        prompts = [place["image"]["prompt"] for place in made["places"]]
        assert prompts == ["a harbour", "a harbour", "a boat", "a boat"]
        today = datetime.datetime.now(datetime.UTC).date().isoformat()
        assert await page.read("timeline") == {"total": 4, "days": [[today, 4]], "is_whole": True}
        part = {"total": 3, "days": [[today, 3]], "is_whole": False}
        assert await page.read("timeline", most=3, model="sketch") == part
        day = await page.read(f"days/{today}", offset=1, limit=2)
        listed = await page.read("images")
        assert day["images"] == listed["images"][1:3]
        found = await page.read("images", q="boat", limit=1)
        assert found["images"][0]["prompt"] == "a boat"
        assert found["cursor"] is not None
        image = found["images"][0]
        details = await page.read(f"images/{image['id']}")
        assert details["prompt"] == "a boat"
        assert details["request"]["operation"] == "generate"
        assert details["cost_usd"] == "0"
        thumbnail = await page.get(f"images/{image['id']}/thumbnail/128")
        assert thumbnail.headers["content-type"] == "image/webp"
        assert "immutable" in thumbnail.headers["cache-control"]
        file = await page.get(f"images/{image['id']}/file")
        assert file.content.startswith(b"\x89PNG")
        saved = await page.http.get(f"/api/1/images/{image['id']}/file?download")
        assert saved.headers["content-disposition"].startswith("attachment")
        assert len(saved.content) > len(file.content)
        after = await page.read("state")
        assert (after["images"], len(after["batches"])) == (4, 1)
        assert after["last_event_id"] != before["last_event_id"]


async def test_a_request_of_an_image_can_be_sent_again():
    async with open_page_caller() as page:
        first = (await page.make(sketch(seed=7)))["places"][0]["image"]
        request = (await page.read(f"images/{first['id']}"))["request"]
        again = (await page.make(request))["places"][0]["image"]
        files = [(await page.get(f"images/{one['id']}/file")).content for one in (first, again)]
        assert files[0] == files[1]


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({}, "requests"),
        ({"requests": []}, "requests"),
        ({"requests": "a harbour"}, "requests"),
        ({"requests": [{"operation": "destroy", "prompt": "x"}]}, "destroy"),
        ({"requests": [sketch(colour="red")]}, "colour"),
        ({"requests": [sketch()], "n": 0}, "n"),
        ({"requests": [sketch()], "n": 501}, "n"),
        ({"requests": [sketch()] * 300, "n": 2}, "600"),
        ({"requests": [sketch()], "max": 1}, "max"),
        ({"requests": [sketch(seed="seven")]}, "seed"),
        ({"requests": [sketch(references=["/etc/passwd"])]}, "references"),
        ({"requests": [sketch(references=["https://example.com/x.png"])]}, "references"),
        ({"requests": [sketch(references=[{}])]}, "id"),
        ({"requests": [sketch(references=[{"id": "a", "input": "b"}])]}, "input"),
        ({"requests": [{"operation": "edit", "prompt": "x"}]}, "images"),
    ],
)
async def test_a_wrong_body_is_one_sentence(body, words):
    async with open_page_caller() as page:
        for path in ("quote", "batches"):
            reply = await page.post(path, body)
            problem = reply.json()
            assert (reply.status_code, problem["code"]) == (400, "INVALID_REQUEST")
            assert words in problem["sentence"]
            assert problem.keys() == {"code", "sentence", "retryable", "details"}


@pytest.mark.parametrize("data", [b"", b"{", b"\xff", b"[" * 100_000, b"null", b"1e999"])
async def test_a_body_that_is_no_json_is_refused(data):
    async with open_page_caller() as page:
        reply = await page.http.post("/api/1/quote", content=data)
        assert (reply.status_code, reply.json()["code"]) == (400, "INVALID_REQUEST")


@pytest.mark.parametrize(
    "path",
    [
        *("images?colour=red", "images?limit=0", "images?limit=many", "images?seed=x"),
        *("images?since=soon", "timeline?state=lost", "days/tomorrow", "days/2026-13-01"),
        *("images?min_usd=much", "images?after=x", "images?size=big", "compare?id=a"),
        *("days/2026-11-29?offset=-1", "timeline?operation=paint", "timeline?most=0"),
    ],
)
async def test_a_wrong_parameter_is_one_sentence(path):
    async with open_page_caller() as page:
        reply = await page.http.get(f"/api/1/{path}")
        assert (reply.status_code, reply.json()["code"]) == (400, "INVALID_REQUEST"), reply.text


ODD_URLS = (
    *("images?seed=99999999999999999999999999", "images?seed=-1", "images?min_stars=99"),
    *("images?min_usd=NaN", "images?max_usd=Infinity", "images?min_usd=-1", "images?min_usd=1e999"),
    *("images?min_pixels=-1", "images?max_pixels=1000000000000000000000000000000"),
    *("images?since=0001-01-01", "images?until=9999-12-31", "images?since=2026-11-29T10:00:00Z"),
    *("images?collection=none", "images?collection=/", "images?tag=", "images?tag=a,b"),
    *("images?q=%00", "images?q=%ff", "images?q=" + "x" * 5000, "images?q=" + "a%20" * 2000),
    *("images?provider=%00", "images?model=%F0%9F%8F%A0", "images?size=0x0", "images?q=OR%20NOT"),
    *("days/0001-01-01", "days/9999-12-31", "days/2026-11-29?offset=99999999999999999999999"),
    *("days/20261129", "days/2026-W48-1", "days/%00", "timeline?since=2026-11-29&until=2026-11-01"),
    *("images?after=newest:999999999999999999", "images?order=cost&after=cost:1:", "compare"),
    *("spending?since=0001-01-01", "statistics?until=9999-12-31", "statistics?by=month&since=x"),
    *("prompts?q=%22", "prompts?q=-", "prompts?tag=a,b", "events%00", "images/%00/file"),
    *("images/x/thumbnail/99999999999999999999999", "images/x/thumbnail/-1", "batches/%2e%2e"),
)


@pytest.mark.parametrize("path", ODD_URLS)
async def test_no_address_is_a_fault_of_the_server(path):
    async with open_page_caller() as page:
        reply = await page.http.get(f"/api/1/{path}")
        assert reply.status_code in (200, 400, 404), reply.text


ODD_REQUESTS = (
    *({"prompt": "\x00"}, {"prompt": "x" * 100_000}, {"prompt": ""}, {"seed": 2**63 - 1}),
    *({"seed": -(2**70)}, {"size": "0x0"}, {"size": "99999999x9"}, {"size": "big"}),
    *({"model": "none"}, {"model": ""}, {"assume_usd": "NaN"}, {"assume_usd": "-1"}),
    *({"previews": -1}, {"previews": 10**9}, {"steps": 10**400}, {"guidance": 1e308}),
    *({"options": {"a": {"b": [1] * 1000}}}, {"tag": "\n"}, {"parent": "none"}, {"style": "\x7f"}),
    *({"references": [{"input": "../../etc/passwd"}]}, {"references": [{"id": "../x"}]}),
    *({"references": [{"input": "a" * 64}]}, {"aspect_ratio": "0:0"}, {"resolution": "9K"}),
)


@pytest.mark.parametrize("fields", ODD_REQUESTS, ids=lambda fields: str(fields)[:40])
async def test_no_request_is_a_fault_of_the_server(fields):
    async with open_page_caller() as page:
        for path in ("quote", "batches"):
            reply = await page.post(path, {"requests": [sketch(**fields)], "n": 2})
            assert reply.status_code < 500 or reply.json()["code"] == "API_ERROR", reply.text


async def test_half_a_letter_is_refused():
    async with open_page_caller() as page:
        for text in (b'"\\ud800"', b'"a\\udc00b"'):
            body = b'{"requests": [{"operation": "generate", "prompt": ' + text + b"}]}"
            for path in ("quote", "batches"):
                reply = await page.http.post(f"/api/1/{path}", content=body)
                assert reply.status_code == 400, reply.text


@pytest.mark.parametrize("path", ["images/none", "images/none/file", "batches/none", "inputs/none"])
async def test_what_is_not_there_is_not_found(path):
    async with open_page_caller() as page:
        reply = await page.get(path)
        assert (reply.status_code, reply.json()["code"]) == (404, "NOT_FOUND")


async def test_an_address_names_one_image_for_ever():
    async with open_page_caller() as page:
        image = (await page.make(sketch()))["places"][0]["image"]["id"]
        for part in (image[:-1], image[:1], image.upper() + "G", f"{image}0", "%"):
            for what in ("", "/file", "/thumbnail/128", "/lineage"):
                reply = await page.get(f"images/{part}{what}")
                assert reply.status_code == 404


async def test_another_method_is_refused():
    async with open_page_caller() as page:
        reply = await page.http.put("/api/1/batches")
        assert (reply.status_code, reply.json()["code"]) == (405, "METHOD_NOT_ALLOWED")


async def test_what_a_model_takes_differently_is_said_before():
    async with open_page_caller() as page:
        quote = await page.done("quote", {"requests": [sketch(quality="high")], "n": 3})
        (one,) = quote["adjustments"]
        assert [one["parameter"], one["asked"], one["used"]] == ["quality", "high", None]
        assert one["reason"]
        made = (await page.make(sketch(quality="high")))["places"][0]["image"]
        details = await page.read(f"images/{made['id']}")
        assert details["adjustments"] == quote["adjustments"]


async def test_a_search_takes_each_key_as_it_is_typed():
    async with open_page_caller() as page:
        await page.make(sketch("a red boat"))
        for typed in ("", " ", "r", "re", "red", "red ", 'red "', "-", "*", '"', "-red", "red -x"):
            reply = await page.get("timeline", q=typed)
            assert reply.status_code == 200, (typed, reply.text)
        assert (await page.read("timeline", q="red"))["total"] == 1
        assert (await page.read("timeline", q="blue"))["total"] == 0
        assert (await page.read("timeline", tag=["sea", "x"]))["total"] == 0


async def test_uploads_are_worked_on_and_keep_their_parent(tmp_path):
    async with open_page_caller() as page:
        made = (await page.make(sketch()))["places"][0]["image"]
        kept = await page.http.post("/api/1/inputs?name=a.png", content=png(size=(64, 64)))
        again = await page.http.post("/api/1/inputs", content=png(size=(64, 64)))
        handle = kept.json()["input"]
        assert again.json()["input"] == handle
        assert [kept.json()["width"], kept.json()["media_type"]] == [64, "image/png"]
        edit = {
            "operation": "edit",
            "prompt": "x",
            "images": [{"input": handle}],
            "parent": made["id"],
        }
        asked = msgspec.convert(edit, AskedRequest)
        assert write_request(await read_request(page.client, asked)) == edit
        for wrong in ({"images": [{"input": "none"}]}, {"parent": "none"}):
            reply = await page.post("quote", {"requests": [{**edit, **wrong}]})
            assert (reply.status_code, reply.json()["code"]) == (404, "NOT_FOUND")


@pytest.mark.parametrize("data", [b"", b"hello", b"<html></html>", b"\x89PNG\r\n\x1a\n"])
async def test_an_upload_that_is_no_image_is_refused(data):
    async with open_page_caller() as page:
        reply = await page.http.post("/api/1/inputs", content=data)
        assert reply.status_code == 400, reply.text


# The test's transport leaves the rest of the body unread.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
async def test_an_upload_is_bounded():
    async with open_page_caller(text="[bounds]\nmax_input_bytes = 1000\n") as page:
        reply = await page.http.post("/api/1/inputs", content=bytes(1001))
        assert (reply.status_code, reply.json()["code"]) == (413, "TOO_LARGE")


async def test_a_model_has_parameters_in_the_order_of_all():
    async with open_page_caller() as page:
        reply = await page.read("models")
        names, models = reply["parameters"], reply["models"]
        assert models[0]["is_default"]
        assert {"size", "seed", "mask", "references", "quality"} <= set(names)
        assert len(set(names)) == len(names)
        for model in models:
            own = [parameter["name"] for parameter in model["parameters"]]
            assert own == [name for name in names if name in own]
            assert all(parameter["operations"] for parameter in model["parameters"])
        every = {one["name"] for model in models for one in model["parameters"]}
        assert every == set(names)


async def test_lineage_and_differences():
    async with open_page_caller() as page:
        made = await page.make(sketch(seed=1), n=2)
        one, two = (place["image"]["id"] for place in made["places"])
        tree = await page.read(f"images/{one}/lineage")
        assert (tree["root"]["image"]["id"], tree["root"]["children"]) == (one, [])
        reply = await page.read("compare", id=[one, two])
        assert {"field": "seed", "values": ["1", "2"]} in reply["differences"]


async def test_budgets_are_shown_with_what_is_left():
    text = '[[budgets]]\nper = "day"\nusd = "5"\n[[budgets]]\nper = "ever"\nimages = 10\n'
    async with open_page_caller(text=text) as page:
        await page.make(sketch(), n=3)
        money, images = (await page.read("state"))["budgets"]
        assert [money["limit_usd"], money["taken_usd"], money["left_usd"]] == ["5", "0", "5"]
        assert [images["limit_images"], images["taken_images"]] == [10, 3]
        quote = await page.done("quote", {"requests": [sketch()]})
        assert quote["left_usd"] == "5"


async def test_a_client_without_a_library_has_no_page(tmp_path):
    async with imagen.open_client(settings_of(tmp_path), library=None) as client:
        with pytest.raises(imagen.ConfigurationError):
            async with imagen.web.open_app(client):
                pass
