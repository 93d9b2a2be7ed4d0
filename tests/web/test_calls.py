"""The calls around the images: changes and their undoing, archives, prompts, money, links."""

from __future__ import annotations

import io
import random
import re
import zipfile
from pathlib import Path

import jsonschema
import pytest

from imagen.web._app import ALL_CALLS
from tests.support.web import PageCaller, open_page_caller, sketch

PAGE = Path(__file__).parents[2] / "docs" / "web-api.md"


async def make(page: PageCaller, n: int = 1, **fields: object) -> list[str]:
    made = await page.make(sketch(**fields), n=n)
    return [place["image"]["id"] for place in made["places"]]


async def looks(page: PageCaller, ids: list[str]) -> list[object]:
    keys = ("stars", "tags", "notes", "collections", "trashed")
    details = [await page.read(f"images/{image_id}") for image_id in ids]
    return [{key: one[key] for key in keys} for one in details]


async def test_a_change_of_many_images_is_undone_whole():
    async with open_page_caller() as page:
        ids = await make(page, 3)
        await page.done("collections", {"name": "trips/norway"})
        await page.done("images/change", {"ids": ids[:1], "stars": 5, "add_tags": ["Sea", "old"]})
        await page.done("images/change", {"ids": ids[1:2], "add_to": "trips/norway", "notes": "x"})
        before = await looks(page, ids)
        change = {
            "stars": 3,
            "add_tags": ["sea", "new"],
            "remove_tags": ["old"],
            "notes": "all",
            "add_to": "trips/norway",
            "trashed": True,
        }
        reply = await page.done("images/change", {"ids": [*ids, "unknown"], **change})
        assert reply["changed"] == 3
        after = await looks(page, ids)
        assert all(one["trashed"] and one["stars"] == 3 for one in after)
        assert [one["tags"] for one in after] == [["new", "sea"]] * 3
        assert await page.done("undo", {"undo": reply["undo"]}) == {"changed": 3}
        assert await looks(page, ids) == before
        again = await page.post("undo", {"undo": reply["undo"]})
        assert (again.status_code, again.json()["code"]) == (404, "NOT_FOUND")


async def test_any_changes_undone_in_reverse_leave_everything_as_it_was():
    rnd = random.Random(7)
    async with open_page_caller() as page:
        ids = await make(page, 4)
        for name in ("a", "b"):
            await page.done("collections", {"name": name})
        before, tokens = await looks(page, ids), []
        choices = {
            "stars": [0, 1, 5],
            "notes": ["", "x"],
            "add_tags": [[], ["sea"], ["sea", "fog"]],
            "remove_tags": [[], ["sea"], ["none"]],
            "add_to": ["a", "b"],
            "remove_from": ["a", "b"],
            "trashed": [True, False],
        }
        for _ in range(40):
            fields = rnd.sample(list(choices), rnd.randint(1, 3))
            if "add_to" in fields and "remove_from" in fields:
                fields.remove("add_to")
            change = {name: rnd.choice(choices[name]) for name in fields}
            some = rnd.sample(ids, rnd.randint(1, 4))
            tokens.append((await page.done("images/change", {"ids": some, **change}))["undo"])
        for token in reversed(tokens):
            await page.done("undo", {"undo": token})
        assert await looks(page, ids) == before


@pytest.mark.parametrize(
    "change",
    [{"stars": 6}, {"stars": "five"}, {"add_tags": ["a,b"]}, {"add_to": "none"}, {"star": 1}],
)
async def test_a_wrong_change_changes_nothing(change):
    async with open_page_caller() as page:
        ids = await make(page)
        before = await looks(page, ids)
        reply = await page.post("images/change", {"ids": ids, **change})
        assert (reply.status_code, reply.json()["code"]) == (400, "INVALID_REQUEST")
        assert await looks(page, ids) == before


async def test_only_the_trash_is_deleted_for_good():
    async with open_page_caller() as page:
        ids = await make(page, 2)
        await page.done("images/change", {"ids": ids[:1], "trashed": True})
        assert await page.done("images/delete", {"ids": ids}) == {"changed": 1}
        assert (await page.get(f"images/{ids[0]}")).status_code == 404
        assert (await page.get(f"images/{ids[1]}")).status_code == 200


async def test_images_are_saved_as_one_archive():
    async with open_page_caller() as page:
        ids = await make(page, 3)
        for body in ({"ids": ids[:2]}, {"filters": {"q": "harbour", "model": "sketch"}}):
            made = await page.done("zips", body)
            reply = await page.get(f"zips/{made['zip']}")
            assert "attachment" in reply.headers["content-disposition"]
            with zipfile.ZipFile(io.BytesIO(reply.content)) as archive:
                names = [name for name in archive.namelist() if name.endswith(".png")]
            assert len(names) >= made["images"] == (2 if "ids" in body else 3)
        assert (await page.get("zips/none")).status_code == 404
        assert (await page.post("zips", {})).status_code == 400


async def test_collections_are_made_renamed_and_deleted():
    async with open_page_caller() as page:
        ids = await make(page, 2)
        await page.done("collections", {"name": "trips"})
        await page.done("images/change", {"ids": ids, "add_to": "trips"})
        await page.done("collections/rename", {"name": "trips", "new_name": "travel"})
        (one,) = (await page.read("collections"))["collections"]
        assert one == {"name": "travel", "images": 2, "notes": ""}
        assert (await page.read("timeline", collection="travel"))["total"] == 2
        assert await page.done("collections/delete", {"name": "travel"}) == {"collections": []}
        assert (await page.post("collections/delete", {"name": "travel"})).status_code == 400


async def test_prompts_are_kept_found_and_deleted():
    async with open_page_caller() as page:
        await page.done("prompts", {"name": "sea", "text": "a {{thing}} at sea", "tags": ["x"]})
        await page.done("prompts", {"name": "sea", "text": "a {{thing}} by the sea"})
        await page.done("prompts/favour", {"name": "sea"})
        (one,) = (await page.read("prompts", q="", favourites="true"))["prompts"]
        assert [one["version"], one["favourite"], one["tags"]] == [2, True, ["x"]]
        assert (await page.read("prompts", q="nothing"))["prompts"] == []
        assert (await page.post("prompts/favour", {"name": "none"})).status_code == 404
        assert await page.done("prompts/delete", {"name": "sea"}) == {"prompts": []}


async def test_templates_are_counted_as_one_types(tmp_path):
    async with open_page_caller(tmp_path) as page:
        (tmp_path / "wildcards").mkdir()
        (tmp_path / "wildcards" / "hue.txt").write_text("red\nblue\ngreen\n")
        body = {"text": "a __hue__ {cat|dog}", "limit": 2}
        reply = await page.done("templates/expand", body)
        assert reply["count"] == 6
        assert reply["texts"] == ["a red cat", "a red dog"]
        assert reply["wildcards"] == ["hue"]
        for text in ("a __none__", "a {cat", "a {{x}}", "__../../etc/passwd__", "{a|b}" * 2000):
            reply = await page.post("templates/expand", {"text": text})
            assert reply.status_code in (200, 400), reply.text


async def test_styles_are_listed_and_applied():
    async with open_page_caller() as page:
        styles = (await page.read("styles"))["styles"]
        reply = await page.done(
            "styles/apply", {"request": sketch(), "styles": [styles[0]["name"]]}
        )
        assert reply["request"]["prompt"] != "a harbour"
        assert "a harbour" in reply["request"]["prompt"]
        wrong = await page.post("styles/apply", {"request": sketch(), "styles": ["none"]})
        assert wrong.status_code == 400


async def test_money_and_statistics_are_those_of_the_ledger():
    async with open_page_caller() as page:
        await make(page, 3)
        for by in ("day", "model", "provider", "tag", "batch"):
            spent = await page.read("spending", by=by, since="2026-01-01")
            assert spent["total"]["images"] == 3
            assert sum(group["images"] for group in spent["groups"]) == 3
        for by in ("model", "provider", "operation", "tag", "day", "month"):
            (group,) = (await page.read("statistics", by=by))["groups"]
            assert [group["images"], group["success_rate"]] == [3, 1.0]
        assert await page.read("unknown") == {"attempts": []}
        assert await page.done("unknown/collect") == {"collected": 0}
        wrong = await page.post("unknown/none/reconcile", {"usd": "1"})
        assert wrong.status_code == 400
        assert (await page.get("spending", by="colour")).status_code == 400


async def test_links_need_a_secret_and_are_revoked(tmp_path, monkeypatch):
    async with open_page_caller() as page:
        reply = await page.get("shares")
        assert (reply.status_code, reply.json()["code"]) == (422, "CONFIGURATION")
        assert not (await page.read("state"))["features"]["shares"]
        reply = await page.post("publishing", {"ids": []})
        assert (reply.status_code, reply.json()["code"]) == (422, "CONFIGURATION")


async def test_replies_are_as_openapi_describes_them():
    async with open_page_caller() as page:
        made = await page.make(sketch(quality="high", tag="x"), n=2)
        image = made["places"][0]["image"]["id"]
        await page.done("prompts", {"name": "sea", "text": "a {{thing}} at sea"})
        described = await page.read("openapi.json")
        assert described["openapi"] == "3.1.0"
        parts = {"{image_id}": image, "{batch_id}": made["id"]}
        days = await page.read("timeline")
        parts["{day}"] = days["days"][0][0]
        checked = 0
        for path, methods in described["paths"].items():
            reply = methods.get("get", {}).get("responses", {}).get("200", {})
            if "content" not in reply or path in ("/shares", "/compare"):
                continue
            for part, value in parts.items():
                path = path.replace(part, value)
            schema = reply["content"]["application/json"]["schema"]
            jsonschema.validate(
                await page.read(path[1:]), {**schema, "components": described["components"]}
            )
            checked += 1
        assert checked >= 15


def test_every_call_stands_on_its_page():
    page = re.sub(r"\{\w+\}", "{}", PAGE.read_text("utf-8"))
    for calls in ALL_CALLS:
        for call in calls.all:
            path = re.sub(r"\{[\w:]+\}", "{}", call.path)
            assert re.search(rf"`{call.method} {re.escape(path)}[`?]", page), (call.method, path)


ODD_BODIES = (
    *(None, [], {}, "x", 7, {"ids": None}, {"ids": ["\x00", "", "x" * 9999]}, {"ids": [1]}),
    *({"name": ""}, {"name": "\x00"}, {"name": "a/b/c"}, {"name": "x" * 9999}, {"name": None}),
    *({"name": "a", "text": ""}, {"name": "a", "text": "x", "parameters": {"size": 7}}),
    *({"name": "a", "new_name": "a"}, {"undo": ""}, {"usd": "NaN"}, {"usd": -1}, {"usd": "1e400"}),
    *({"text": "{{"}, {"text": "__../x__"}, {"text": "x", "values": {"a": 1}}, {"image": "none"}),
    *({"collection": "none"}, {"collection": "x", "days": 1e9}, {"filters": {"seed": "x"}}),
    *({"ids": [], "stars": 9}, {"ids": [], "notes": "\x00"}, {"ids": [], "add_to": ""}),
)


async def test_no_body_is_a_fault_of_the_server():
    posts = [call.path for calls in ALL_CALLS for call in calls.all if call.method == "POST"]
    async with open_page_caller() as page:
        for path in posts:
            named = re.sub(r"\{\w+:int\}", "0", path)
            for body in ODD_BODIES:
                reply = await page.post(re.sub(r"\{\w+\}", "none", named), body)
                assert reply.status_code < 500, (path, body, reply.text)
                if reply.status_code >= 400:
                    assert reply.json()["sentence"].endswith((".", "?")), (path, reply.text)
